//! What the tests of the links share.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use plenary_cluster::model::{NodeId, Timestamp};
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use super::{ClusterCa, ClusterSecret, EnrollError, EnrollReply, EnrollRequest, Handler, Identity};

pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) fn now() -> Timestamp {
    super::enroll::wall_clock()
}

/// A cluster's key material, from which nodes are made.
pub(crate) struct Cluster {
    ca: Arc<ClusterCa>,
    secret: ClusterSecret,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let ca = Arc::new(ClusterCa::generate(Uuid::new_v4(), now()).unwrap());
        Self { ca, secret: ClusterSecret::generate().unwrap() }
    }

    pub(crate) fn node(&self, number: u64) -> Arc<Identity> {
        let ca = ClusterCa::from_parts(self.ca.cluster(), self.ca.certificate().clone(), &self.ca.key_pem()).unwrap();
        Arc::new(Identity::issued_by(ca, self.secret.clone(), NodeId::new(number), now()).unwrap())
    }
}

/// Answers with the caller's id and the request; `hang` never, `fail` with a refusal, `big` with 48 MiB.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) spent: Mutex<Vec<u128>>,
}

impl Handler for Echo {
    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'_, Result<Bytes, String>> {
        Box::pin(async move {
            match &request[..] {
                b"hang" => std::future::pending().await,
                b"fail" => Err("not today".to_owned()),
                b"big" => Ok(Bytes::from(vec![7; 48 << 20])),
                _ => Ok(Bytes::from([from.to_string().as_bytes(), b":", &request].concat())),
            }
        })
    }

    fn enroll(&self, request: EnrollRequest) -> BoxFuture<'_, Result<EnrollReply, EnrollError>> {
        Box::pin(async move {
            let mut spent = self.spent.lock();
            if spent.contains(&request.token) {
                return Err(EnrollError::Spent);
            }
            spent.push(request.token);
            Ok(EnrollReply { node: NodeId::new(40 + u64::try_from(spent.len()).unwrap()) })
        })
    }
}

/// Ends a runtime and all its tasks. What is dropped afterwards says nothing to its peers any more.
pub(crate) async fn kill(runtime: tokio::runtime::Runtime) {
    tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
}

/// A runtime of its own for what will be killed.
pub(crate) fn mortal() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Waits until `condition` holds; panics after ten seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let poll = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !condition() {
            tick.tick().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), poll).await.is_ok(), "never: {what}");
}

/// What was logged on this thread since it was made.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

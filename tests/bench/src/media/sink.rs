//! Takes in what the floor and forwarders send.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

/// Bytes that wait for the thread.
const SOCKET_BUFFER: usize = 4 << 20;

/// A socket and the thread that empties it.
pub(super) struct Sink {
    pub(super) port: u16,
    done: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<u64>>,
}

impl Sink {
    pub(super) fn open() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER)?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let (port, done) = (socket.local_addr()?.port(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&done);
        let thread = std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
            let (mut buffer, mut packets) = ([0; 2048], 0);
            while !told.load(Ordering::Relaxed) {
                match socket.recv(&mut buffer) {
                    Ok(_) => packets += 1,
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(packets)
        })?;
        Ok(Self { port, done, thread })
    }

    /// How many packets came.
    pub(super) fn close(self) -> Result<u64> {
        self.done.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| anyhow::anyhow!("the sink panicked"))??)
    }
}

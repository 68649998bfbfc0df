//! What runs on the streams of a media link.
//!
//! A unidirectional stream opens with a byte that says what it carries:
//! - 1, reliable: frames `kind u8 · length u32 · payload`, big-endian. Each side opens exactly one, and its first frame
//!   says whether it wants the link; the dialler counts the link as up when it has read the acceptor's.
//! - 2, a datagram that was too large to be one: its bytes until the stream ends.

use bytes::Bytes;
use quinn::{RecvStream, SendStream};

/// Longest payload of a frame, and longest datagram on a stream.
pub(crate) const MAX_PAYLOAD: usize = 64 << 10;

const STREAM_RELIABLE: u8 = 1;
const STREAM_DATAGRAM: u8 = 2;
const FRAME_DATA: u8 = 0;
const FRAME_WANTED: u8 = 1;
const FRAME_UNWANTED: u8 = 2;

/// Why a stream can't be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("peer breaks the protocol: {0}")]
    Malformed(&'static str),
    #[error("stream ended: {0}")]
    Ended(String),
}

/// A frame of the reliable stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The relay's bytes.
    Data(Bytes),
    /// Whether the sender wants the link.
    Wanted(bool),
}

/// A stream whose first byte was read.
pub(crate) enum Incoming {
    Reliable(RecvStream),
    Datagram(RecvStream),
}

/// Opens the reliable stream and says whether this side wants the link.
pub(crate) async fn open_reliable(connection: &quinn::Connection, wanted: bool) -> Result<SendStream, StreamError> {
    let mut send = connection.open_uni().await.map_err(|error| StreamError::Ended(error.to_string()))?;
    send.write_all(&[STREAM_RELIABLE]).await.map_err(|error| StreamError::Ended(error.to_string()))?;
    write_frame(&mut send, Frame::Wanted(wanted)).await?;
    Ok(send)
}

pub(crate) async fn write_frame(send: &mut SendStream, frame: Frame) -> Result<(), StreamError> {
    let (kind, payload) = match frame {
        Frame::Data(payload) => (FRAME_DATA, payload),
        Frame::Wanted(true) => (FRAME_WANTED, Bytes::new()),
        Frame::Wanted(false) => (FRAME_UNWANTED, Bytes::new()),
    };
    let length = u32::try_from(payload.len()).map_err(|_| StreamError::Malformed("frame too long"))?;
    let [a, b, c, d] = length.to_be_bytes();
    let written = async {
        send.write_all(&[kind, a, b, c, d]).await?;
        send.write_chunk(payload).await
    };
    written.await.map_err(|error| StreamError::Ended(error.to_string()))
}

pub(crate) async fn read_frame(recv: &mut RecvStream) -> Result<Frame, StreamError> {
    let mut header = [0; 5];
    read_exact(recv, &mut header).await?;
    let [kind, a, b, c, d] = header;
    // Length before kind: nothing is kept of a frame that is too long.
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > MAX_PAYLOAD {
        return Err(StreamError::Malformed("frame too long"));
    }
    let mut payload = vec![0; length];
    read_exact(recv, &mut payload).await?;
    match (kind, length) {
        (FRAME_DATA, _) => Ok(Frame::Data(payload.into())),
        (FRAME_WANTED, 0) => Ok(Frame::Wanted(true)),
        (FRAME_UNWANTED, 0) => Ok(Frame::Wanted(false)),
        _ => Err(StreamError::Malformed("unknown frame")),
    }
}

/// Reads what a fresh stream carries.
pub(crate) async fn read_kind(mut recv: RecvStream) -> Result<Incoming, StreamError> {
    let mut kind = [0];
    read_exact(&mut recv, &mut kind).await?;
    match kind[0] {
        STREAM_RELIABLE => Ok(Incoming::Reliable(recv)),
        STREAM_DATAGRAM => Ok(Incoming::Datagram(recv)),
        _ => Err(StreamError::Malformed("unknown stream")),
    }
}

/// Waits for the peer's reliable stream and whether the peer wants the link.
pub(crate) async fn accept_reliable(connection: &quinn::Connection) -> Result<(RecvStream, bool), StreamError> {
    let recv = connection.accept_uni().await.map_err(|error| StreamError::Ended(error.to_string()))?;
    let Incoming::Reliable(mut recv) = read_kind(recv).await? else {
        return Err(StreamError::Malformed("first stream is not the reliable one"));
    };
    let Frame::Wanted(wanted) = read_frame(&mut recv).await? else {
        return Err(StreamError::Malformed("first frame does not say whether the link is wanted"));
    };
    Ok((recv, wanted))
}

/// Sends a datagram on a stream of its own.
pub(crate) async fn write_datagram(connection: &quinn::Connection, payload: Bytes) -> Result<(), StreamError> {
    let written = async {
        let mut send = connection.open_uni().await?;
        send.write_all(&[STREAM_DATAGRAM]).await?;
        send.write_chunk(payload).await?;
        // Fails only on a stream that was finished or reset before, and this one was not.
        let _ = send.finish();
        Ok::<_, quinn::WriteError>(())
    };
    written.await.map_err(|error| StreamError::Ended(error.to_string()))
}

/// Reads a datagram from a stream of its own.
pub(crate) async fn read_datagram(mut recv: RecvStream) -> Result<Bytes, StreamError> {
    match recv.read_to_end(MAX_PAYLOAD).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(quinn::ReadToEndError::TooLong) => Err(StreamError::Malformed("datagram too long")),
        Err(quinn::ReadToEndError::Read(error)) => Err(StreamError::Ended(error.to_string())),
    }
}

async fn read_exact(recv: &mut RecvStream, bytes: &mut [u8]) -> Result<(), StreamError> {
    recv.read_exact(bytes).await.map_err(|error| StreamError::Ended(error.to_string()))
}

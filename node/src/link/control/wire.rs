//! Requests and answers on a stream.
//!
//! `request = length u32 · body`, `answer = status u8 · length u32 · body`, big-endian. The length tells a whole body
//! from one that was cut off when its sender gave up: a dropped stream ends like a finished one.

use bytes::{Bytes, BytesMut};
use quinn::{RecvStream, SendStream};

/// Longest body between members: a snapshot.
pub(crate) const MAX_BODY: usize = 64 << 20;

/// Why a body did not arrive or leave.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("body of {length} bytes exceeds the limit of {limit}")]
    TooLong { length: usize, limit: usize },
    #[error("stream ended inside a body")]
    CutOff,
    #[error("unknown answer status {0}")]
    Status(u8),
    #[error(transparent)]
    Read(#[from] quinn::ReadError),
    #[error(transparent)]
    Write(#[from] quinn::WriteError),
}

/// Writes a body and ends the stream.
pub(crate) async fn write_body(send: &mut SendStream, body: Bytes) -> Result<(), WireError> {
    let too_long = WireError::TooLong { length: body.len(), limit: MAX_BODY };
    let Some(length) = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY) else {
        return Err(too_long);
    };
    send.write_all(&length.to_be_bytes()).await?;
    send.write_chunk(body).await?;
    // Fails only on a stream that was finished or reset before, and this one was not.
    let _ = send.finish();
    Ok(())
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_body(recv: &mut RecvStream, limit: usize) -> Result<Bytes, WireError> {
    let mut header = [0; 4];
    read_exact(recv, &mut header).await?;
    let length = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(WireError::TooLong { length, limit });
    }
    // Grows with what arrives: a claimed length alone costs no memory.
    let mut body = BytesMut::new();
    while body.len() < length {
        let chunk = recv.read_chunk(length - body.len(), true).await?.ok_or(WireError::CutOff)?;
        body.extend_from_slice(&chunk.bytes);
    }
    Ok(body.freeze())
}

/// Writes an answer: the body, or words of refusal.
pub(crate) async fn write_answer(send: &mut SendStream, answer: Result<Bytes, String>) -> Result<(), WireError> {
    let (status, body) = match answer {
        Ok(body) => (0, body),
        Err(reason) => (1, Bytes::from(reason)),
    };
    send.write_all(&[status]).await?;
    write_body(send, body).await
}

/// Reads an answer.
pub(crate) async fn read_answer(recv: &mut RecvStream) -> Result<Result<Bytes, String>, WireError> {
    let mut status = [0];
    read_exact(recv, &mut status).await?;
    let body = read_body(recv, MAX_BODY).await?;
    match status[0] {
        0 => Ok(Ok(body)),
        1 => Ok(Err(String::from_utf8_lossy(&body).into_owned())),
        other => Err(WireError::Status(other)),
    }
}

async fn read_exact(recv: &mut RecvStream, bytes: &mut [u8]) -> Result<(), WireError> {
    recv.read_exact(bytes).await.map_err(|error| match error {
        quinn::ReadExactError::FinishedEarly(_) => WireError::CutOff,
        quinn::ReadExactError::ReadError(error) => error.into(),
    })
}

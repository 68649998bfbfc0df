//! A worker's UDP socket: batches in (recvmmsg and GRO), trains out (GSO).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

/// Socket buffers in each direction: about 100 ms of 300 Mbit/s. The kernel may grant less.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Longest train in bytes: a UDP datagram can't be longer, whatever its segments.
const MAX_TRAIN_BYTES: usize = 60_000;

/// A media address can't be used.
#[derive(Debug, thiserror::Error)]
#[error("media address {address} can't be bound")]
pub struct SocketError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// A bound socket and the address by which clients know it.
#[derive(Debug)]
pub struct BoundSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Offered as ICE host candidate.
    advertised: SocketAddr,
}

impl BoundSocket {
    /// Binds `listen`; clients are told `advertise` with the bound port, or the bound address.
    ///
    /// # Errors
    /// [`SocketError`] when the system refuses.
    pub fn bind(listen: SocketAddr, advertise: Option<IpAddr>) -> Result<Self, SocketError> {
        let fault = |source| SocketError { address: listen, source };
        let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP)).map_err(fault)?;
        // Larger buffers are a wish: the limits of the system decide.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        socket.bind(&listen.into()).map_err(fault)?;
        let socket: UdpSocket = socket.into();
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).map_err(fault)?;
        let bound = socket.local_addr().map_err(fault)?;
        let advertised = SocketAddr::new(advertise.unwrap_or_else(|| bound.ip()), bound.port());
        Ok(Self { socket, state, advertised })
    }

    /// The address that clients are told.
    #[must_use]
    pub const fn advertised(&self) -> SocketAddr {
        self.advertised
    }

    /// For waiting.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Receives one batch and hands each datagram to `take`. False when nothing was waiting.
    pub(super) fn receive(&self, buffers: &mut ReceiveBuffers, mut take: impl FnMut(SocketAddr, &[u8])) -> bool {
        let mut slices: Vec<IoSliceMut<'_>> = buffers.bytes.chunks_mut(buffers.each).map(IoSliceMut::new).collect();
        let received = self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut buffers.meta);
        drop(slices);
        // Errors are those of single datagrams (ICMP) or WouldBlock: either way there is nothing to hand on.
        let Ok(count) = received else { return false };
        for (meta, buffer) in buffers.meta.iter().take(count).zip(buffers.bytes.chunks(buffers.each)) {
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                take(meta.addr, datagram);
            }
        }
        count > 0
    }

    /// Sends datagrams, which are in order for each destination, as trains. Returns how many the system refused.
    pub(super) fn send(&self, datagrams: &mut Vec<(SocketAddr, Vec<u8>)>, train: &mut Vec<u8>) -> u64 {
        datagrams.sort_by_key(|(destination, _)| *destination);
        let mut refused = 0;
        let mut rest = datagrams.as_slice();
        while let Some((destination, first)) = rest.first() {
            let count = train_length(rest, self.state.max_gso_segments());
            let (cars, after) = rest.split_at(count);
            rest = after;
            let contents: &[u8] = if count == 1 {
                first
            } else {
                train.clear();
                cars.iter().for_each(|(_, car)| train.extend_from_slice(car));
                train
            };
            let segment_size = (count > 1).then_some(first.len());
            let transmit = Transmit { destination: *destination, ecn: None, contents, segment_size, src_ip: None };
            if self.state.try_send(UdpSockRef::from(&self.socket), &transmit).is_err() {
                refused += count as u64;
            }
        }
        datagrams.clear();
        refused
    }
}

/// How many datagrams at the head can go in one train: same destination, same size, the last may be shorter.
fn train_length(datagrams: &[(SocketAddr, Vec<u8>)], most: usize) -> usize {
    let (destination, first) = &datagrams[0];
    let mut bytes = first.len();
    let mut count = 1;
    for (other, car) in datagrams.iter().skip(1).take(most.saturating_sub(1)) {
        bytes += car.len();
        if other != destination || car.len() > first.len() || bytes > MAX_TRAIN_BYTES {
            break;
        }
        count += 1;
        if car.len() < first.len() {
            break;
        }
    }
    count
}

/// Memory for one batch.
#[derive(Debug)]
pub(super) struct ReceiveBuffers {
    bytes: Vec<u8>,
    each: usize,
    meta: [RecvMeta; BATCH_SIZE],
}

impl ReceiveBuffers {
    pub(super) fn new() -> Self {
        // GRO may fill one buffer with 64 KiB of datagrams.
        let each = 65_536;
        Self { bytes: vec![0; each * BATCH_SIZE], each, meta: [RecvMeta::default(); BATCH_SIZE] }
    }

    /// Without memory: what stands in while a worker has lent its buffers out.
    pub(super) fn empty() -> Self {
        Self { bytes: Vec::new(), each: 1, meta: [RecvMeta::default(); BATCH_SIZE] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trains_hold_equal_sizes_and_end_with_a_shorter_one() {
        let to = |port: u16, size: usize| (SocketAddr::from(([127, 0, 0, 1], port)), vec![0; size]);
        assert_eq!(train_length(&[to(1, 10), to(1, 10), to(1, 4), to(1, 4)], 64), 3);
        assert_eq!(train_length(&[to(1, 10), to(1, 12)], 64), 1);
        assert_eq!(train_length(&[to(1, 10), to(2, 10)], 64), 1);
        assert_eq!(train_length(&[to(1, 10), to(1, 10), to(1, 10)], 2), 2);
    }

    #[test]
    fn a_train_arrives_as_its_datagrams() {
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let sender = BoundSocket::bind(local, None).expect("loopback binds");
        let receiver = BoundSocket::bind(local, None).expect("loopback binds");
        let to = receiver.advertised();
        let mut datagrams = vec![(to, vec![1; 100]), (to, vec![2; 100]), (to, vec![3; 50])];
        assert_eq!(sender.send(&mut datagrams, &mut Vec::new()), 0);
        let mut got = Vec::new();
        let mut buffers = ReceiveBuffers::new();
        while got.len() < 3 {
            let mut fds = [rustix::event::PollFd::from_borrowed_fd(receiver.fd(), rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None).expect("poll works");
            receiver.receive(&mut buffers, |_, datagram| got.push((datagram[0], datagram.len())));
        }
        assert_eq!(got, [(1, 100), (2, 100), (3, 50)]);
    }
}

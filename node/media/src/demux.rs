//! Which session a datagram is for.
//!
//! A source address counts only after a STUN check from it that the session's `Rtc` accepted, so that nobody can put
//! bytes into a session by guessing. STUN is always looked up by the local ufrag in its username: a client that comes
//! back from the same port with a new session is not sent to the old one. Everything else goes by address.
//!
//! **Invariant:** an unknown datagram is answered with nothing.

use std::collections::HashMap;
use std::net::SocketAddr;

use str0m::ice::StunMessage;

use crate::session::SessionKey;

/// RFC 8489 §5: the header of a STUN message; RFC 7983 §7: its first byte is below 4.
const STUN_HEADER: usize = 20;
const STUN_FIRST_BYTE: u8 = 3;

/// Where a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// From an address that this session proved to have.
    Known(SessionKey),
    /// It names this session; true once the session has accepted it.
    Claimed(SessionKey),
}

/// The addresses and ufrags of one worker's sessions.
#[derive(Debug, Default)]
pub(crate) struct Demux {
    addresses: HashMap<SocketAddr, SessionKey>,
    ufrags: HashMap<String, SessionKey>,
}

impl Demux {
    /// Finds the session of a datagram.
    pub(crate) fn find(&self, source: SocketAddr, contents: &[u8]) -> Option<Target> {
        let first = *contents.first()?;
        if first > STUN_FIRST_BYTE {
            return self.addresses.get(&source).copied().map(Target::Known);
        }
        if contents.len() < STUN_HEADER {
            return None;
        }
        let message = StunMessage::parse(contents).ok()?;
        let (local, _) = message.split_username()?;
        self.ufrags.get(local).copied().map(Target::Claimed)
    }

    /// A session proved that it has this address. Returns whether that is news.
    pub(crate) fn learn(&mut self, source: SocketAddr, session: SessionKey) -> bool {
        self.addresses.insert(source, session) != Some(session)
    }

    /// Forgets an address, unless another session has it meanwhile.
    pub(crate) fn forget(&mut self, source: SocketAddr, session: SessionKey) {
        if self.addresses.get(&source) == Some(&session) {
            self.addresses.remove(&source);
        }
    }

    /// A session is reached under this ufrag.
    pub(crate) fn register(&mut self, ufrag: &str, session: SessionKey) {
        self.ufrags.insert(ufrag.to_owned(), session);
    }

    /// A session is not reached under this ufrag any more.
    pub(crate) fn deregister(&mut self, ufrag: &str) {
        self.ufrags.remove(ufrag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn media_goes_by_an_address_that_was_proved() {
        let mut demux = Demux::default();
        let session = SessionKey::new(3);
        assert_eq!(demux.find(address(1), &[0x80; 40]), None);
        assert!(demux.learn(address(1), session));
        assert!(!demux.learn(address(1), session));
        assert_eq!(demux.find(address(1), &[0x80; 40]), Some(Target::Known(session)));
        demux.learn(address(1), SessionKey::new(4));
        demux.forget(address(1), session);
        assert_eq!(demux.find(address(1), &[0x80; 40]), Some(Target::Known(SessionKey::new(4))));
    }

    #[test]
    fn garbage_is_nobodys() {
        let mut demux = Demux::default();
        demux.learn(address(1), SessionKey::new(3));
        for garbage in [&[][..], &[0], &[0; 19], &[0; 200], &[1; 1200]] {
            assert_eq!(demux.find(address(1), garbage), None);
        }
    }
}

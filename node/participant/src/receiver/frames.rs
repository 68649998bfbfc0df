//! Puts frames together and says which of them a decoder could use.

use std::collections::VecDeque;

use plenary_protocol::SourceName;

use crate::marker::Marker;
use crate::source::MAX_PACKETS;

/// Frames under construction at a time; the oldest is given up.
const OPEN: usize = 64;

/// The newest frames of a slot.
#[derive(Debug, Default)]
pub(super) struct Frames {
    open: VecDeque<Frame>,
    /// The newest frame a decoder would have used.
    used: Option<Name>,
}

/// What a packet did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Completed {
    /// It completed its frame.
    pub(super) frame: bool,
    /// So many frames can be used now that could not before.
    pub(super) usable: u64,
}

/// Which frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    publisher: u64,
    source: SourceName,
    layer: u16,
    frame: u32,
}

#[derive(Debug)]
struct Frame {
    name: Name,
    keyframe: bool,
    count: u16,
    /// Bit n: packet n was received.
    received: u128,
}

impl Frame {
    fn is_complete(&self) -> bool {
        self.received.count_ones() == u32::from(self.count)
    }
}

const _: () = assert!(MAX_PACKETS <= 128, "a frame's packets must fit the bits of `received`");

impl Frames {
    /// Takes in a packet that has not been seen before.
    pub(super) fn insert(&mut self, marker: &Marker) -> Completed {
        let Marker { publisher, source, layer, frame, .. } = *marker;
        let name = Name { publisher, source, layer, frame };
        let Some(bit) = 1_u128.checked_shl(u32::from(marker.index)) else { return Completed::default() };
        let at = self.open.iter().rposition(|frame| frame.name == name).unwrap_or_else(|| self.begin(name, marker));
        let frame = &mut self.open[at];
        frame.received |= bit;
        if !frame.is_complete() {
            return Completed::default();
        }
        Completed { frame: true, usable: self.advance() }
    }

    fn begin(&mut self, name: Name, marker: &Marker) -> usize {
        if self.open.len() == OPEN {
            self.open.pop_front();
        }
        self.open.push_back(Frame { name, keyframe: marker.keyframe, count: marker.count, received: 0 });
        self.open.len() - 1
    }

    /// Uses every frame that can be used now: the successor of the last one, else a keyframe.
    fn advance(&mut self) -> u64 {
        let mut usable = 0;
        while let Some(at) = self.next_usable() {
            self.used = Some(self.open[at].name);
            // Whatever began earlier comes too late for a decoder.
            self.open.drain(..=at);
            usable += 1;
        }
        usable
    }

    fn next_usable(&self) -> Option<usize> {
        let complete = || self.open.iter().enumerate().filter(|(_, frame)| frame.is_complete());
        let successor = self.used.map(|used| Name { frame: used.frame.wrapping_add(1), ..used });
        let next = complete().find(|(_, frame)| Some(frame.name) == successor);
        next.or_else(|| complete().find(|(_, frame)| frame.keyframe)).map(|(at, _)| at)
    }
}

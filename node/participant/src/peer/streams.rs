//! The RTP streams of a publish m-line: one, or one for each layer (RFC 8853).
//!
//! str0m gives each layer that is offered an SSRC, and keeps them whatever the answer says. The offer does not name them
//! ([`without_sources`]): a node that takes no layers would expect three streams where one comes. An answer takes layers by
//! naming them in `a=rid` lines, which is all that str0m shows of it. One that names none gets a single stream without a
//! rid (RFC 8852 §3.1), on the SSRC that str0m has allotted to the highest layer.

use plenary_protocol::SourceName;
use str0m::Rtc;
use str0m::media::{Media, MediaKind, Mid, Pt, Rid, Rids, Simulcast, SimulcastLayer};
use str0m::rtp::Ssrc;

use super::codecs;
use crate::source::{Layers, Video};

/// What str0m calls a layer's stream, once negotiated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    pub(super) ssrc: Ssrc,
    pub(super) repairs: Option<Ssrc>,
    pub(super) pt: Pt,
    pub(super) rid: Option<Rid>,
    /// Which of the source's layers it carries.
    pub(super) layer: usize,
    /// Next sequence number, extended.
    pub(super) sequence: u64,
}

/// What an m-line offers to send: RFC 8853 §5.3.1.
pub(super) fn offered(kind: MediaKind, layers: Layers) -> Option<Simulcast> {
    if kind.is_audio() || layers == Layers::One {
        return None;
    }
    let mut simulcast = Simulcast::new();
    for rid in Layers::RIDS {
        simulcast.add_send_layer(SimulcastLayer::new(rid));
    }
    Some(simulcast)
}

/// The streams of a publish m-line, the lowest layer first; none when the node does not take the codec.
pub(super) fn find(rtc: &mut Rtc, mid: Mid, publisher: u64, name: SourceName, video: Video) -> Vec<Stream> {
    let Some(media) = rtc.media(mid) else { return Vec::new() };
    let (kind, config) = (media.kind(), rtc.codec_config());
    let fits = |pt: &Pt| kind.is_audio() || codecs::of(config, *pt) == Some(video.codec);
    let Some(pt) = media.remote_pts().iter().copied().find(fits) else { return Vec::new() };
    let taken = if offered(kind, video.layers).is_some() { taken(media) } else { Vec::new() };
    let rids = match taken[..] {
        [] => vec![(0, None)],
        _ => taken.into_iter().map(|(layer, rid)| (layer, Some(rid))).collect(),
    };
    let mut direct = rtc.direct_api();
    let stream = |(layer, rid)| {
        let stream = direct.stream_tx_by_mid(mid, rid)?;
        let sequence = first_sequence(publisher, name, layer);
        Some(Stream { ssrc: stream.ssrc(), repairs: stream.rtx(), pt, rid, layer, sequence })
    };
    rids.into_iter().filter_map(stream).collect()
}

/// The layers that the answer takes, with their places among ours.
fn taken(media: &Media) -> Vec<(usize, Rid)> {
    let Rids::Specific(named) = media.rids_tx() else { return Vec::new() };
    let rids = Layers::RIDS.into_iter().map(Rid::from).enumerate();
    rids.filter(|(_, rid)| named.contains(rid)).collect()
}

/// Puts one stream without a rid in the place of layers that were offered and not taken.
pub(super) fn merge_refused(rtc: &mut Rtc, mid: Mid) {
    if rtc.media(mid).is_none_or(|media| !taken(media).is_empty()) {
        return;
    }
    let mut direct = rtc.direct_api();
    let mut highest = None;
    for rid in Layers::RIDS {
        if let Some(stream) = direct.stream_tx_by_mid(mid, Some(rid.into())) {
            let (ssrc, repairs) = (stream.ssrc(), stream.rtx());
            direct.remove_stream_tx(ssrc);
            highest = Some((ssrc, repairs));
        }
    }
    if let Some((ssrc, repairs)) = highest {
        direct.declare_stream_tx(ssrc, repairs, mid, None);
    }
}

/// An offer without `a=ssrc` lines where it has layers: rids tell those apart.
pub(super) fn without_sources(sdp: &str) -> String {
    let sections = sdp.match_indices("m=").map(|(at, _)| at).filter(|at| sdp[..*at].ends_with('\n'));
    let starts: Vec<usize> = std::iter::once(0).chain(sections).collect();
    let ends = starts.iter().copied().skip(1).chain([sdp.len()]);
    let mut text = String::with_capacity(sdp.len());
    for (start, end) in starts.iter().copied().zip(ends) {
        let section = &sdp[start..end];
        let layers = section.contains("\na=simulcast:");
        text.extend(section.split_inclusive('\n').filter(|line| !layers || !line.starts_with("a=ssrc")));
    }
    text
}

/// Anywhere in the lower half of 16 bits: RFC 3711 §3.3.1 starts without a rollover.
fn first_sequence(publisher: u64, name: SourceName, layer: usize) -> u64 {
    (publisher.wrapping_mul(0x9E37_79B9) ^ name as u64).wrapping_add(layer as u64 * 0x2A5D) & 0x7FFF
}

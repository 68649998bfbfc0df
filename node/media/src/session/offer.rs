//! A client's offer: checked before anything changes, so that a bad one leaves the session as it was.

use std::time::Instant;

use plenary_cluster::model::{MediaKind, Source};
use str0m::Rtc;
use str0m::change::SdpOffer;
use str0m::media::Mid;

use super::config::RtcTemplate;
use super::description::{self, Direction, MediaLine};
use crate::io::OfferError;

/// Slots beyond this are a mistake: 3 audio and 25 video are the largest pool.
const MAX_SLOTS: usize = 32;
/// As many m-lines as slots, publish m-lines and some that are not used any more.
const MAX_LINES: usize = 64;

/// An offer that can be accepted.
#[derive(Debug)]
pub(super) struct CheckedOffer {
    pub(super) offer: SdpOffer,
    /// mid and source of each publish m-line.
    pub(super) tracks: Vec<(Mid, Source)>,
    /// mid, name and kind of each slot, in the client's order.
    pub(super) slots: Vec<(Mid, String, MediaKind)>,
    /// All mids in their order.
    pub(super) lines: Vec<String>,
}

/// Checks an offer against itself, against what was negotiated before, and by a trial on an `Rtc` of its own.
pub(super) fn check(
    now: Instant,
    template: &RtcTemplate,
    (negotiated, known_slots): (&[String], &[&str]),
    sdp: &str,
    tracks: &[(String, Source)],
    slots: &[String],
) -> Result<CheckedOffer, OfferError> {
    if sdp.len() > description::MAX_BYTES {
        return Err(OfferError::Malformed(format!("it is longer than {} bytes", description::MAX_BYTES)));
    }
    SdpOffer::from_sdp_string(sdp).map_err(|error| OfferError::Malformed(error.to_string()))?;
    let lines = description::media_lines(sdp).map_err(OfferError::Malformed)?;
    check_lines(&lines, negotiated, slots)?;
    if !known_slots.iter().zip(slots).all(|(known, slot)| known == slot) || slots.len() < known_slots.len() {
        return Err(OfferError::Unsupported(format!("`slots` must begin with {}", known_slots.join(", "))));
    }
    let tracks = check_tracks(&lines, tracks)?;
    let checked_slots = check_slots(&lines, slots, &tracks)?;
    let text = description::without_simulcast(&description::with_stream_ids(sdp, &lines, slots));
    let offer = SdpOffer::from_sdp_string(&text).map_err(|error| OfferError::Malformed(error.to_string()))?;
    let mut trial: Rtc = template.build(now);
    let rehearsal = SdpOffer::from_sdp_string(&text).map_err(|error| OfferError::Malformed(error.to_string()))?;
    trial.sdp_api().accept_offer(rehearsal).map_err(|error| OfferError::Unsupported(error.to_string()))?;
    Ok(CheckedOffer { offer, tracks, slots: checked_slots, lines: lines.into_iter().map(|line| line.mid).collect() })
}

fn check_lines(lines: &[MediaLine], negotiated: &[String], slots: &[String]) -> Result<(), OfferError> {
    if lines.len() > MAX_LINES || slots.len() > MAX_SLOTS {
        return Err(OfferError::Unsupported(format!("at most {MAX_LINES} m-lines and {MAX_SLOTS} slots are taken")));
    }
    // RFC 8829 §5.2.2: an m-line keeps its place for the life of the session.
    for (index, mid) in negotiated.iter().enumerate() {
        if lines.get(index).is_none_or(|line| line.mid != *mid) {
            return Err(OfferError::Unsupported(format!("m-line {index} must stay mid {mid}")));
        }
    }
    Ok(())
}

fn check_tracks(lines: &[MediaLine], tracks: &[(String, Source)]) -> Result<Vec<(Mid, Source)>, OfferError> {
    let mut checked: Vec<(Mid, Source)> = Vec::new();
    for (mid, source) in tracks {
        let wrong = |problem| OfferError::Mid { field: "tracks", mid: mid.clone(), problem };
        let line = find(lines, mid).ok_or_else(|| wrong("the description has no such m-line"))?;
        if line.kind != Some(source.kind()) {
            return Err(wrong("the m-line is of another kind than the source"));
        }
        if line.direction == Direction::Receive {
            return Err(wrong("the m-line is recvonly; offer it sendonly"));
        }
        if checked.iter().any(|(known, other)| *known == Mid::from(mid.as_str()) || other == source) {
            return Err(wrong("the mid or its source is named twice"));
        }
        checked.push((Mid::from(mid.as_str()), *source));
    }
    Ok(checked)
}

fn check_slots(
    lines: &[MediaLine],
    slots: &[String],
    tracks: &[(Mid, Source)],
) -> Result<Vec<(Mid, String, MediaKind)>, OfferError> {
    let mut checked: Vec<(Mid, String, MediaKind)> = Vec::new();
    for mid in slots {
        let wrong = |problem| OfferError::Mid { field: "slots", mid: mid.clone(), problem };
        let line = find(lines, mid).ok_or_else(|| wrong("the description has no such m-line"))?;
        let kind = line.kind.ok_or_else(|| wrong("the m-line is neither audio nor video"))?;
        let name = Mid::from(mid.as_str());
        if line.direction == Direction::Send || tracks.iter().any(|(track, _)| *track == name) {
            return Err(wrong("the m-line is for publishing; offer a recvonly one"));
        }
        if line.rejected {
            return Err(wrong("the m-line has port 0"));
        }
        if checked.iter().any(|(known, _, _)| *known == name) {
            return Err(wrong("the mid is named twice"));
        }
        checked.push((name, mid.clone(), kind));
    }
    Ok(checked)
}

fn find<'a>(lines: &'a [MediaLine], mid: &str) -> Option<&'a MediaLine> {
    lines.iter().find(|line| line.mid == mid)
}

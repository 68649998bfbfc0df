//! Reads a client's frames, and says of a bad one which field is wrong and how to mend it. Pure.

use plenary_cluster::model::ParticipantId;
use plenary_protocol::{ErrorCode, Interest, ProtocolError, RequestFrame, VERSION, VideoInterest};
use serde_json::Value;

use super::wire::{error, field_error};

/// Pictures that one interest may list.
const MAX_WANTED: usize = 64;

/// Whether an interest names what can be named.
pub(super) fn check_interest(interest: &Interest) -> Result<(), ProtocolError> {
    let VideoInterest::Tracks { tracks } = &interest.video else { return Ok(()) };
    if tracks.len() > MAX_WANTED {
        let message = format!("`video.tracks` names {} tracks: name at most {MAX_WANTED}", tracks.len());
        return Err(field_error(ErrorCode::InvalidField, "video.tracks", "too_many", message));
    }
    for (index, wanted) in tracks.iter().enumerate() {
        if wanted.participant.parse::<ParticipantId>().is_err() {
            let path = format!("video.tracks.{index}.participant");
            let message = format!("`{path}` is no participant id: take it from the roster");
            return Err(field_error(ErrorCode::InvalidField, &path, "invalid", message));
        }
    }
    Ok(())
}

/// Reads a frame; on failure says what is wrong, and which request it was if that can be told.
pub(super) fn parse(text: &str) -> Result<RequestFrame, (u64, ProtocolError)> {
    let value: Value = serde_json::from_str(text).map_err(|fault| {
        let message = format!("not JSON ({fault}): send one JSON object in each text frame");
        (0, error(ErrorCode::MalformedMessage, message))
    })?;
    let id = value.get("id").and_then(Value::as_u64).unwrap_or(0);
    let missing = |field: &str, what: &str| {
        let message = format!("`{field}` is missing or wrong: {what}");
        (id, field_error(ErrorCode::MalformedMessage, field, "invalid", message))
    };
    if value.get("v").and_then(Value::as_u64) != Some(u64::from(VERSION)) {
        let message = format!("`v` must be {VERSION}, the version spoken here");
        return Err((id, field_error(ErrorCode::UnsupportedVersion, "v", "unsupported", message)));
    }
    if value.get("id").and_then(Value::as_u64).is_none() {
        return Err(missing("id", "number each request with a positive whole number"));
    }
    let Some(kind) = value.get("type").and_then(Value::as_str) else {
        return Err(missing("type", "name the request, for example \"join\""));
    };
    let kind = kind.to_owned();
    serde_json::from_value(value).map_err(|fault| {
        let fault = fault.to_string();
        if fault.starts_with("unknown variant") && fault.contains(&format!("`{kind}`")) {
            let message = format!("`type` {kind:?} is not known here: see the protocol's list of requests");
            return (id, field_error(ErrorCode::UnknownType, "type", "unknown", message));
        }
        (id, error(ErrorCode::MalformedMessage, format!("`{kind}` request: {fault}")))
    })
}

//! The little that is read off an offer's text beside str0m, what is put into it, and what is taken out.
//!
//! str0m keeps its parsed description to itself, so the m-lines' mids, kinds and directions are read here, to check
//! what the client says about them. Stream ids are put in: see [`with_stream_ids`].

use plenary_cluster::model::MediaKind;

/// Longest description that is looked at; 100 m-lines of a browser are about 150 KiB.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// str0m holds a mid in 16 bytes and replaces what is not a letter or digit.
const MAX_MID: usize = 16;

/// RFC 3264 §5.1, as seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Send,
    Receive,
    Both,
    Inactive,
}

/// One m-line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaLine {
    pub(super) mid: String,
    /// `None` for a data channel.
    pub(super) kind: Option<MediaKind>,
    pub(super) direction: Direction,
    /// RFC 8829 §5.2.2: port 0.
    pub(super) rejected: bool,
    /// Lines of the text that belong to it.
    lines: std::ops::Range<usize>,
}

/// Whether str0m can name this mid.
pub(super) fn is_plain(mid: &str) -> bool {
    !mid.is_empty() && mid.len() <= MAX_MID && mid.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Reads all m-lines in their order.
///
/// # Errors
///
/// Says what is wrong with the first m-line that can't be used.
pub(super) fn media_lines(sdp: &str) -> Result<Vec<MediaLine>, String> {
    let mut found: Vec<MediaLine> = Vec::new();
    for (number, line) in sdp.lines().enumerate() {
        if let Some(rest) = line.strip_prefix("m=") {
            found.push(open(rest, number));
        } else if let Some(current) = found.last_mut() {
            current.lines.end = number + 1;
            read_attribute(current, line);
        }
    }
    for (number, line) in found.iter().enumerate() {
        if !is_plain(&line.mid) {
            return Err(format!("m-line {number} needs a mid of 1 to {MAX_MID} letters and digits"));
        }
        if found.iter().take(number).any(|other| other.mid == line.mid) {
            return Err(format!("mid {} names two m-lines", line.mid));
        }
    }
    if found.is_empty() { Err("it has no m-line".to_owned()) } else { Ok(found) }
}

fn open(rest: &str, number: usize) -> MediaLine {
    let mut words = rest.split_ascii_whitespace();
    let kind = match words.next() {
        Some("audio") => Some(MediaKind::Audio),
        Some("video") => Some(MediaKind::Video),
        Some(_) | None => None,
    };
    MediaLine {
        mid: String::new(),
        kind,
        direction: Direction::Both,
        rejected: words.next() == Some("0"),
        lines: number..number + 1,
    }
}

fn read_attribute(current: &mut MediaLine, line: &str) {
    let Some(attribute) = line.trim_end().strip_prefix("a=") else { return };
    if let Some(mid) = attribute.strip_prefix("mid:") {
        mid.clone_into(&mut current.mid);
        return;
    }
    current.direction = match attribute {
        "sendonly" => Direction::Send,
        "recvonly" => Direction::Receive,
        "sendrecv" => Direction::Both,
        "inactive" => Direction::Inactive,
        _ => return,
    };
}

/// Gives audio slot i and video slot i one stream id, so that a receiver plays them in sync: an `a=msid` line under
/// each slot's m-line of the offer, which str0m repeats in its answer.
pub(super) fn with_stream_ids(sdp: &str, lines: &[MediaLine], slots: &[String]) -> String {
    let mut insertions = Vec::new();
    let mut numbers = [0_usize; 2];
    for slot in slots {
        let Some(line) = lines.iter().find(|line| line.mid == *slot) else { continue };
        let number = match line.kind {
            Some(MediaKind::Audio) => &mut numbers[0],
            Some(MediaKind::Video) => &mut numbers[1],
            None => continue,
        };
        insertions.push((line.lines.clone(), format!("a=msid:slot{number} {slot}")));
        *number += 1;
    }
    let mut text = String::with_capacity(sdp.len() + insertions.len() * 32);
    for (number, line) in sdp.lines().enumerate() {
        let slot = insertions.iter().find(|(lines, _)| lines.contains(&number));
        if slot.is_none() || !line.starts_with("a=msid:") {
            text.push_str(line.trim_end());
            text.push_str("\r\n");
        }
        if let Some((lines, msid)) = slot
            && number + 1 == lines.end
        {
            text.push_str(msid);
            text.push_str("\r\n");
        }
    }
    text
}

/// Leaves out what offers simulcast. RFC 8853 §5.3.2: who does not take it ignores those lines; str0m would answer that
/// it takes them, and then drop every packet without a rid. A client could send no other: the header extension that
/// carries rids is not enabled.
pub(super) fn without_simulcast(sdp: &str) -> String {
    let offers = |line: &&str| line.starts_with("a=simulcast:") || line.starts_with("a=rid:");
    sdp.split_inclusive('\n').filter(|line| !offers(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=recvonly\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v1\r\na=recvonly\r\na=rtcp-mux\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=inactive\r\n";

    #[test]
    fn m_lines_are_read() {
        let lines = media_lines(SDP).unwrap();
        let seen: Vec<_> = lines.iter().map(|line| (line.mid.as_str(), line.kind, line.direction)).collect();
        assert_eq!(
            seen,
            [
                ("0", Some(MediaKind::Audio), Direction::Send),
                ("1", Some(MediaKind::Audio), Direction::Receive),
                ("v1", Some(MediaKind::Video), Direction::Receive),
                ("2", Some(MediaKind::Video), Direction::Inactive),
            ]
        );
        assert!(lines[3].rejected && !lines[2].rejected);
    }

    #[test]
    fn an_audio_and_a_video_slot_share_a_stream() {
        let lines = media_lines(SDP).unwrap();
        let text = with_stream_ids(SDP, &lines, &["1".to_owned(), "v1".to_owned(), "2".to_owned()]);
        assert!(text.contains("a=recvonly\r\na=msid:slot0 1\r\nm=video"), "{text}");
        assert!(text.contains("a=rtcp-mux\r\na=msid:slot0 v1\r\nm=video"), "{text}");
        assert!(text.ends_with("a=inactive\r\na=msid:slot1 2\r\n"), "{text}");
        let again = with_stream_ids(&text, &media_lines(&text).unwrap(), &["1".to_owned()]);
        assert_eq!(again.matches("a=msid:slot0 1").count(), 1);
    }

    #[test]
    fn simulcast_is_left_out() {
        let offered =
            SDP.replace("a=mid:v1\r\n", "a=mid:v1\r\na=rid:l send\r\na=rid:h send\r\na=simulcast:send l;h\r\n");
        assert_ne!(offered, SDP);
        assert_eq!(without_simulcast(&offered), SDP);
    }

    #[test]
    fn a_mid_is_needed_once_and_plain() {
        assert!(media_lines("v=0\r\n").is_err());
        assert!(media_lines("m=audio 9 X 1\r\n").is_err());
        assert!(media_lines("m=audio 9 X 1\r\na=mid:a b\r\n").is_err());
        assert!(media_lines("m=audio 9 X 1\r\na=mid:1\r\nm=audio 9 X 1\r\na=mid:1\r\n").is_err());
    }
}

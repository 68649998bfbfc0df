//! Makes two offers each other's answers: a watcher's, whose m-lines are all recvonly, and Janus's for the same streams.
//!
//! Names stay each side's own: m-lines correspond by their order. The watcher's header extensions are used, without the
//! one for mids (RFC 9143 §15), which name m-lines differently on the two sides: streams are known by their SSRCs.

use anyhow::{Result, ensure};

/// A description cut before each m-line.
struct Sections<'a> {
    session: &'a str,
    media: Vec<&'a str>,
}

impl<'a> Sections<'a> {
    fn of(sdp: &'a str) -> Self {
        let starts: Vec<usize> = sdp.match_indices("m=").map(|(at, _)| at).filter(|at| begins_line(sdp, *at)).collect();
        let ends = starts.iter().skip(1).copied().chain([sdp.len()]);
        let media = starts.iter().zip(ends).map(|(from, to)| &sdp[*from..to]).collect();
        Self { session: &sdp[..starts.first().copied().unwrap_or(sdp.len())], media }
    }
}

fn begins_line(sdp: &str, at: usize) -> bool {
    at == 0 || sdp.as_bytes()[at - 1] == b'\n'
}

/// The kinds of all m-lines, in order.
pub(super) fn kinds(sdp: &str) -> Vec<String> {
    let kind = |section: &&str| section["m=".len()..].split(' ').next().unwrap_or_default().to_owned();
    Sections::of(sdp).media.iter().map(kind).collect()
}

/// The mids of m-lines of a kind, in order.
pub(super) fn mids(sdp: &str, kind: &str) -> Vec<String> {
    let media = Sections::of(sdp).media;
    let of_kind = media.iter().filter(|section| section["m=".len()..].split(' ').next() == Some(kind));
    of_kind.filter_map(|section| attribute(section, "mid")).map(str::to_owned).collect()
}

/// What the watcher takes for Janus's answer to its offer.
pub(super) fn answer_of_janus(theirs: &str, offer: &str) -> Result<String> {
    merge(theirs, offer, "passive")
}

/// What Janus takes for the watcher's answer to its offer.
pub(super) fn answer_to_janus(offer: &str, theirs: &str) -> Result<String> {
    merge(offer, theirs, "active")
}

/// `from`, with the mids of `to`, this end of DTLS (RFC 8842 §5.3), and the extensions that both know.
fn merge(from: &str, to: &str, setup: &str) -> Result<String> {
    let (from, to) = (Sections::of(from), Sections::of(to));
    ensure!(from.media.len() == to.media.len(), "{} m-lines against {}", from.media.len(), to.media.len());
    let mids: Vec<&str> = to.media.iter().filter_map(|section| attribute(section, "mid")).collect();
    ensure!(mids.len() == to.media.len(), "an m-line has no mid");
    let mut out = String::new();
    for line in lines(from.session) {
        match line {
            group if group.starts_with("a=group:BUNDLE") => {
                push(&mut out, &format!("a=group:BUNDLE {}", mids.join(" ")))
            }
            line => push(&mut out, line),
        }
    }
    for (number, (section, mid)) in from.media.iter().zip(&mids).enumerate() {
        let (mine, other) = (extensions(section), extensions(to.media[number]));
        for line in lines(section) {
            if line.starts_with("a=mid:") {
                push(&mut out, &format!("a=mid:{mid}"));
            } else if line.starts_with("a=setup:") {
                push(&mut out, &format!("a=setup:{setup}"));
            } else if let Some((_, uri)) = extension(line) {
                // Numbers are those of the watcher, who receives: its description has recvonly m-lines.
                let watcher = if attributes(section).any(|line| line == "recvonly") { &mine } else { &other };
                let known = mine.iter().any(|(_, other)| *other == uri) && other.iter().any(|(_, other)| *other == uri);
                let id = watcher.iter().find(|(_, other)| *other == uri).map(|(id, _)| id);
                if let Some(id) = id.filter(|_| known && !uri.ends_with("sdes:mid")) {
                    push(&mut out, &format!("a=extmap:{id} {uri}"));
                }
            } else {
                push(&mut out, line);
            }
        }
    }
    Ok(out)
}

fn lines(section: &str) -> impl Iterator<Item = &str> {
    section.lines().map(str::trim_end).filter(|line| !line.is_empty())
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

fn attributes(section: &str) -> impl Iterator<Item = &str> {
    lines(section).filter_map(|line| line.strip_prefix("a="))
}

fn attribute<'a>(section: &'a str, name: &str) -> Option<&'a str> {
    attributes(section).find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Number and URI of an `a=extmap` line (RFC 8285 §5).
fn extension(line: &str) -> Option<(&str, &str)> {
    let (id, uri) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
    let id = id.split('/').next()?;
    Some((id, uri.split(' ').next()?))
}

fn extensions(section: &str) -> Vec<(&str, &str)> {
    lines(section).filter_map(extension).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCHER: &str = "v=0\r\na=group:BUNDLE x y\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:x\r\na=recvonly\r\na=setup:actpass\r\n\
        a=extmap:1 urn:level\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:y\r\na=recvonly\r\na=setup:actpass\r\na=extmap:3 urn:twcc\r\n";
    const JANUS: &str = "v=0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendonly\r\na=setup:actpass\r\n\
        a=extmap:7 urn:level\r\na=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=ssrc:5 cname:janus\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendonly\r\na=setup:actpass\r\na=extmap:8 urn:other\r\n";

    #[test]
    fn two_offers_become_each_others_answers() {
        let to_watcher = answer_of_janus(JANUS, WATCHER).expect("they fit");
        assert_eq!(
            to_watcher,
            "v=0\r\na=group:BUNDLE x y\r\na=ice-lite\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:x\r\na=sendonly\r\na=setup:passive\r\n\
            a=extmap:1 urn:level\r\na=ssrc:5 cname:janus\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:y\r\na=sendonly\r\na=setup:passive\r\n"
        );
        let to_janus = answer_to_janus(WATCHER, JANUS).expect("they fit");
        assert!(to_janus.contains("a=group:BUNDLE 0 1\r\n") && to_janus.contains("a=mid:1\r\n"));
        assert!(to_janus.contains("a=setup:active\r\n") && to_janus.contains("a=extmap:1 urn:level\r\n"));
        assert!(!to_janus.contains("sdes:mid") && !to_janus.contains("twcc"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (one, _) = JANUS.split_at(JANUS.find("m=video").expect("a second m-line"));
        assert!(answer_of_janus(one, WATCHER).is_err());
        assert_eq!(kinds(WATCHER), ["audio", "video"]);
        assert_eq!(mids(WATCHER, "video"), ["y"]);
    }
}

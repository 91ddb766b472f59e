//! Real offers, and copies of them that are still the same offer.

use std::time::Instant;

use str0m::{
    Rtc,
    media::{Direction, MediaKind},
};

/// Makes the offer of a new peer connection, without candidates.
pub(crate) fn new(direction: Direction) -> String {
    let mut rtc = Rtc::builder()
        .clear_codecs()
        .enable_opus(true, false)
        .enable_vp8(true)
        .enable_h264(true)
        .build(Instant::now());
    let mut changes = rtc.sdp_api();
    let stream = Some("probe".to_owned());
    changes.add_media(MediaKind::Audio, direction, stream.clone(), None, None);
    changes.add_media(MediaKind::Video, direction, stream, None, None);
    let (offer, _pending) = changes.apply().expect("new media sections should need an offer");
    offer.to_sdp_string()
}

/// The offer as a client reads it back after gathering: with ports, an address and candidates.
pub(crate) fn gathered(offer: &str) -> String {
    let mut text = String::with_capacity(offer.len() + 512);
    for (index, section) in sections(offer).enumerate() {
        if index == 0 {
            text.push_str(section);
            continue;
        }
        for line in section.split_inclusive("\r\n") {
            if line.starts_with("m=") {
                text.push_str(&line.replacen(" 9 ", " 50000 ", 1));
            } else if line.starts_with("c=") {
                text.push_str("c=IN IP4 127.0.0.1\r\n");
            } else if !line.starts_with("a=candidate:") && !line.starts_with("a=end-of-candidates") {
                text.push_str(line);
            }
        }
        text.push_str("a=candidate:1 1 udp 2130706431 127.0.0.1 50000 typ host\r\na=end-of-candidates\r\n");
    }
    text
}

/// The offer with other line endings, as text editors and some JSON libraries leave it.
pub(crate) fn with_line_feeds(offer: &str) -> String {
    offer.replace("\r\n", "\n")
}

/// The offer with attributes that nobody knows, so that it is longer than `size`.
pub(crate) fn padded(offer: &str, size: usize) -> String {
    let mut text = offer.to_owned();
    while text.len() <= size {
        text.push_str("a=x-probe:");
        text.extend(std::iter::repeat_n('x', 200));
        text.push_str("\r\n");
    }
    text
}

/// The session part of the offer, without its media sections.
pub(crate) fn without_media(offer: &str) -> &str {
    sections(offer).next().unwrap_or_default()
}

/// The value of the first `a=ice-ufrag`.
pub(crate) fn ufrag(sdp: &str) -> Option<&str> {
    let value = sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"))?;
    Some(value.trim()).filter(|value| !value.is_empty())
}

/// Splits before each `m=` line.
fn sections(sdp: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(sdp);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.get(1..)?.find("\nm=") {
            Some(end) => {
                let (section, others) = text.split_at(end + 2);
                rest = Some(others);
                Some(section)
            }
            None => rest.take(),
        }
    })
}

#[cfg(test)]
mod tests {
    use tower_offer_dedup::Fingerprint;

    use super::*;

    #[test]
    fn copies_are_the_same_offer() {
        let offer = new(Direction::SendOnly);
        let first = Fingerprint::sdp(&offer);
        for copy in [gathered(&offer), with_line_feeds(&offer), padded(&offer, 64 * 1024)] {
            assert_ne!(copy, offer);
            assert_eq!(Fingerprint::sdp(&copy), first, "{copy}");
        }
        assert!(padded(&offer, 64 * 1024).len() > 64 * 1024);
        assert_eq!(gathered(&offer).matches("a=candidate:").count(), 2);
        assert_eq!(gathered(&offer).matches(" 50000 UDP/").count(), 2);
    }

    #[test]
    fn new_offers_differ() {
        let [one, other] = [(); 2].map(|()| new(Direction::RecvOnly));
        assert_ne!(Fingerprint::sdp(&one), Fingerprint::sdp(&other));
        assert_ne!(ufrag(&one), ufrag(&other));
        assert!(ufrag(&one).is_some() && one.contains("a=recvonly\r\n"));
    }

    #[test]
    fn session_part_has_no_media() {
        let offer = new(Direction::SendOnly);
        let part = without_media(&offer);
        assert!(part.starts_with("v=0\r\n") && part.ends_with("\r\n") && !part.contains("m="));
        assert_eq!(without_media(""), "");
    }
}

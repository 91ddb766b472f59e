//! The offers: a real one from Chromium, varied for each peer.

use std::{io::Write, ops::Range, path::PathBuf};

use http::{HeaderValue, Request, header::AUTHORIZATION, header::CONTENT_TYPE, header::COOKIE};

/// The file of the offer. The original reads it too.
pub(crate) fn template() -> PathBuf {
    crate::root().join("tests/data/corpus/offers/chromium-whip-first.sdp")
}

/// The fields that distinguish the offers of two peers: the session id of `o=`, and the ICE credentials.
const OWN: [(&str, usize); 3] = [("o=- ", 19), ("a=ice-ufrag:", 4), ("a=ice-pwd:", 24)];

/// Makes one offer per peer, all of the same length.
#[derive(Clone, Debug)]
pub(crate) struct Offers {
    template: String,
    own: Vec<Range<usize>>,
}

impl Offers {
    pub(crate) fn load() -> Result<Self, String> {
        let path = template();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self::of(text))
    }

    fn of(template: String) -> Self {
        let own = OWN.iter().flat_map(|(field, length)| {
            let starts = template.match_indices(field);
            starts.map(move |(at, _)| at + field.len()..at + field.len() + length)
        });
        Self {
            own: own.collect(),
            template,
        }
    }

    pub(crate) fn length(&self) -> usize {
        self.template.len()
    }

    /// The offer of a peer. The ufrag has room for the last four digits only. The password holds all of them.
    pub(crate) fn sdp(&self, peer: u64) -> Vec<u8> {
        let mut sdp = self.template.clone().into_bytes();
        for range in &self.own {
            let digits = format!("{peer:019}");
            let slot = &mut sdp[range.clone()];
            let used = slot.len().min(digits.len());
            let tail = slot.len() - used;
            slot[tail..].copy_from_slice(&digits.as_bytes()[digits.len() - used..]);
        }
        sdp
    }

    /// The `POST` of a peer as sent on the wire.
    pub(crate) fn post(&self, peer: u64, cookie: Option<&str>) -> Vec<u8> {
        let mut post = Vec::with_capacity(self.length() + 256);
        let length = self.length();
        let (path, token) = (path(peer), token(peer));
        let cookie = cookie.map(|cookie| format!("cookie: {cookie}\r\n")).unwrap_or_default();
        write!(
            post,
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/sdp\r\nauthorization: {token}\r\n\
             {cookie}content-length: {length}\r\n\r\n"
        )
        .expect("writing to a vector cannot fail");
        post.extend_from_slice(&self.sdp(peer));
        post
    }

    /// The same request for a service in this process.
    pub(crate) fn request<B: From<Vec<u8>>>(&self, peer: u64, cookie: Option<&str>) -> Request<B> {
        let mut request = Request::post(path(peer))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/sdp"))
            .header(AUTHORIZATION, token(peer));
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        request
            .body(self.sdp(peer).into())
            .expect("path and fields should be valid")
    }
}

/// The request with which a client gets a session.
pub(crate) const LOGIN: &str = "POST /session HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\n\r\n";

fn path(peer: u64) -> String {
    format!("/whip/{peer}")
}

fn token(peer: u64) -> String {
    format!("Bearer token-of-{peer:08}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tower_offer_dedup::Fingerprint;

    use super::*;

    #[test]
    fn every_peer_has_its_own_offer() {
        let offers = Offers::load().unwrap();
        let peers = [0, 1, 9, 10, 9_999, 10_000, 10_001, 999_999];
        let texts: Vec<_> = peers
            .iter()
            .map(|peer| String::from_utf8(offers.sdp(*peer)).unwrap())
            .collect();
        assert!(texts.iter().all(|text| text.len() == offers.length()));
        let known: HashSet<_> = texts.iter().map(|text| Fingerprint::sdp(text)).collect();
        assert_eq!(known.len(), peers.len());
        // The original compares the first hundred characters of the offer as JSON.
        let starts: HashSet<_> = texts.iter().map(|text| &text[..60]).collect();
        assert_eq!(starts.len(), peers.len());
    }

    #[test]
    fn template_contains_every_varied_field() {
        // One `o=`, and the credentials of audio and of video.
        assert_eq!(Offers::load().unwrap().own.len(), 5);
    }
}

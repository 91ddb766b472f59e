//! [`Fingerprint`]: 128 bits that identify an offer.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

use super::sdp;

/// Identifies an offer by 128 bits: equal for two texts of one offer, different for two offers.
///
/// It is not the DTLS `a=fingerprint`. That one names a certificate, stays the same from offer to offer, and is one of
/// the fields that count here.
///
/// Fingerprints are compared within one [`PeerKey`](crate::PeerKey) only. A client that chooses its descriptions can
/// make two that collide, and loses an offer of its own.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::Fingerprint;
///
/// let offer = "v=0\r\n\
///     o=- 4611731400430051336 2 IN IP4 127.0.0.1\r\n\
///     s=-\r\n\
///     t=0 0\r\n\
///     m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
///     c=IN IP4 0.0.0.0\r\n\
///     a=ice-ufrag:7h6h\r\n\
///     a=ice-pwd:lF1Q6I2sAcQC21gBAS7eiHIh\r\n\
///     a=setup:actpass\r\n\
///     a=mid:0\r\n\
///     a=sctp-port:5000\r\n";
///
/// // Read back after gathering, it has a port, an address and candidates.
/// // It is the same offer.
/// let gathered = offer
///     .replace(" 9 ", " 54321 ")
///     .replace("0.0.0.0", "203.0.113.7")
///     + "a=candidate:1 1 udp 2122260223 203.0.113.7 54321 typ host\r\n\
///        a=end-of-candidates\r\n";
/// assert_eq!(Fingerprint::sdp(offer), Fingerprint::sdp(&gathered));
///
/// // An ICE restart is another offer. FFmpeg, str0m and libpeer do not
/// // even change the `o=` line for it.
/// let restarted = offer.replace("7h6h", "Q7uz");
/// assert_ne!(Fingerprint::sdp(offer), Fingerprint::sdp(&restarted));
/// ```
///
/// # Consistency
///
/// A fingerprint is an XXH3 hash, the same on every machine and in every version of this crate. It is not secret: it
/// confirms a guess of the description, but does not reveal it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Fingerprints a session description: the offer, not its bytes.
    ///
    /// A wrongly merged offer is lost work. Its sender gets the answer to another offer, or none, and the new media,
    /// the ICE restart or the rejoin never happens. A missed duplicate is one more peer connection and the glare that
    /// comes with it. Therefore the fields that a client changes to mean something new count. Whatever changes when one
    /// offer is sent, stored or read again does not.
    ///
    /// | counts | from |
    /// |---|---|
    /// | the whole `o=` line | RFC 8866 §5.2 |
    /// | `a=group`, which lists what is bundled | RFC 5888 §5, RFC 9143 §7 |
    /// | the media, protocol and formats of each `m=` line, and whether its port is zero | RFC 8866 §5.14, RFC 3264 §5.1 |
    /// | `a=mid` | RFC 5888 §4 |
    /// | `a=ice-ufrag`, `a=ice-pwd`, which a restart changes | RFC 8839 §5.4, §4.4.1.1.1 |
    /// | `a=sendrecv`, `sendonly`, `recvonly`, `inactive`; without one, `sendrecv` | RFC 8866 §6.7 |
    /// | `a=fingerprint` and `a=setup` of DTLS | RFC 8122 §5, RFC 8842 §5, RFC 4145 §4 |
    /// | `a=sctp-port` | RFC 8841 §5 |
    /// | `a=msid` | RFC 8830 §2 |
    /// | the ids in `a=ssrc`, each once | RFC 5576 §4.1 |
    ///
    /// The session's `ice-ufrag`, `ice-pwd`, `fingerprint`, `setup` and direction serve the sections that have none of
    /// their own.
    ///
    /// These do not count:
    ///
    /// - candidates and `a=end-of-candidates` (RFC 8839 §5.1, RFC 8840);
    /// - ports other than zero, `c=` and `a=rtcp`, which gathering fills in (RFC 9429 §5.2.1);
    /// - codec parameters, header extensions and simulcast layers, which some clients rewrite on the way;
    /// - line endings, a missing last one, trailing blanks, and the order of different attributes within a section.
    ///
    /// A client that means to change one of these makes an offer with a new version in its `o=` line (RFC 3264 §8).
    /// That line alone is not an identity, because several clients send the same one in every offer.
    ///
    /// A text that is not a session description, without `v=0` first or without an `o=` line, gets its
    /// [exact](Self::exact) fingerprint.
    ///
    /// The text is read once, in linear time and without allocation. Up to 64 ssrc ids of a section count once each,
    /// wherever their lines are. Further ids count once for each run of lines.
    pub fn sdp(text: &str) -> Self {
        match sdp::identity(text) {
            Some(identity) => Self::under(Rule::Sdp, identity),
            None => Self::exact(text.as_bytes()),
        }
    }

    /// Fingerprints exactly these bytes, for offers that are not SDP or have an identity of their own.
    ///
    /// It misses every duplicate that is not a copy, such as a description read back after gathering.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::Fingerprint;
    ///
    /// assert_eq!(Fingerprint::exact(b"call 7"), Fingerprint::sdp("call 7"));
    /// assert_ne!(Fingerprint::exact(b"call 7"), Fingerprint::exact(b"call 7 "));
    /// ```
    pub fn exact(bytes: &[u8]) -> Self {
        Self::under(Rule::Exact, xxh3_128(bytes))
    }

    /// Fingerprints the first `len` bytes, or all if there are fewer. It is unsafe for WebRTC offers; use
    /// [`sdp`](Self::sdp).
    ///
    /// Room servers have done this with the first 100 characters of the JSON message, and this method reproduces their
    /// behaviour. Those characters hold the `o=` line at best; the ICE ufrag first appears at character 156 to 294.
    /// Behind an envelope with ids, even the version in `o=` falls past them. Every renegotiation and every ICE restart
    /// of a peer then looks like a duplicate and is lost. FFmpeg, str0m and libpeer lose theirs without an envelope,
    /// because their `o=` never changes.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::Fingerprint;
    ///
    /// let first = b"{\"type\":\"offer\",\"from\":\"4e3f2c8a\",\
    ///     \"sdp\":\"v=0\\r\\no=- 4611731400430051336 2 ";
    /// let renegotiated = b"{\"type\":\"offer\",\"from\":\"4e3f2c8a\",\
    ///     \"sdp\":\"v=0\\r\\no=- 4611731400430051336 3 ";
    /// assert_ne!(first, renegotiated);
    /// assert_eq!(
    ///     Fingerprint::prefix(first, 70),
    ///     Fingerprint::prefix(renegotiated, 70),
    /// );
    /// ```
    pub fn prefix(bytes: &[u8], len: usize) -> Self {
        Self::under(Rule::Prefix, xxh3_128(&bytes[..len.min(bytes.len())]))
    }

    /// Returns the fingerprint as bytes, for a store that several servers share.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Returns the fingerprint that [`to_bytes`](Self::to_bytes) gave these bytes for.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::Fingerprint;
    ///
    /// let fingerprint = Fingerprint::exact(b"call 7");
    /// assert_eq!(Fingerprint::from_bytes(fingerprint.to_bytes()), fingerprint);
    /// ```
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Returns the first 32 bits, which identify the offer in a log.
    pub(crate) fn short(self) -> u32 {
        let [a, b, c, d, ..] = self.to_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    fn under(rule: Rule, hash: u128) -> Self {
        Self(hash & !Rule::MASK | rule as u128)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.short())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self}…)")
    }
}

/// The rule that made a fingerprint. It is kept in the last bits, so that no text is equal under two rules.
#[derive(Clone, Copy)]
enum Rule {
    Sdp,
    Exact,
    Prefix,
}

impl Rule {
    const MASK: u128 = 0b11;
}

#[cfg(test)]
mod tests {
    use super::Fingerprint;

    const OFFER: &str = "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:7h6h\r\na=ice-pwd:lF1Q6I2sAcQC21gBAS7eiHIh\r\n\
        a=fingerprint:sha-256 1A:B2:3F\r\na=setup:actpass\r\na=ssrc:601170599 cname:x\r\n";

    /// Servers of several versions share a store, so a change of these values is a breaking change.
    #[test]
    fn fingerprints_never_change() {
        let hex = |fingerprint: Fingerprint| format!("{:032x}", u128::from_be_bytes(fingerprint.to_bytes()));
        assert_eq!(hex(Fingerprint::sdp(OFFER)), "15a3a10229a27f6824657a9830487a7c");
        assert_eq!(hex(Fingerprint::sdp("v=0\no=x")), "c00cbad32b260a70ddd3aec1a91b2e24");
        assert_eq!(
            hex(Fingerprint::exact(OFFER.as_bytes())),
            "c2fe4a6e5ed508f274b8a718e795b489"
        );
        assert_eq!(hex(Fingerprint::exact(b"")), "99aa06d3014798d86001c324468d497d");
        assert_eq!(
            hex(Fingerprint::prefix(OFFER.as_bytes(), 100)),
            "3799558ab79ff097a74e75f770835e5a"
        );
    }

    #[test]
    fn rules_never_collide() {
        for text in [OFFER, "", "call 7"] {
            let bytes = text.as_bytes();
            assert_ne!(Fingerprint::prefix(bytes, usize::MAX), Fingerprint::exact(bytes));
            assert_ne!(Fingerprint::prefix(bytes, usize::MAX), Fingerprint::sdp(text));
        }
        assert_ne!(Fingerprint::sdp(OFFER), Fingerprint::exact(OFFER.as_bytes()));
    }

    #[test]
    fn prefix_may_exceed_the_text() {
        assert_eq!(Fingerprint::prefix(b"abc", 2), Fingerprint::prefix(b"abd", 2));
        assert_eq!(Fingerprint::prefix(b"abc", 3), Fingerprint::prefix(b"abc", usize::MAX));
    }

    #[test]
    fn debug_shows_first_bits() {
        let fingerprint = Fingerprint::exact(b"");
        assert_eq!(format!("{fingerprint}"), "99aa06d3");
        assert_eq!(format!("{fingerprint:?}"), "Fingerprint(99aa06d3…)");
    }
}

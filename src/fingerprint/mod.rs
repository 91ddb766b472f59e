//! Which offer a text is: [`Fingerprint`].

mod sdp;

use std::fmt;

use xxhash_rust::xxh3::xxh3_128;

/// The identity of an offer: 128 bits that are equal for two texts of one offer and differ for two offers.
///
/// It is not the DTLS `a=fingerprint`, which names a certificate and stays the same from offer to offer; that is one of
/// the fields that count here. It is an XXH3 hash, the same on every machine and in every version of this crate, and it
/// is not secret: whoever can read it can test a guess of the description, not read it.
///
/// Two fingerprints are compared within one [`PeerKey`](crate::PeerKey) only. Who can choose a description can make
/// two that collide, and then lose an offer of their own.
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
/// // Read again after gathering, with a port, an address and candidates: the same offer.
/// let gathered = offer.replace(" 9 ", " 54321 ").replace("0.0.0.0", "203.0.113.7")
///     + "a=candidate:1 1 udp 2122260223 203.0.113.7 54321 typ host\r\na=end-of-candidates\r\n";
/// assert_eq!(Fingerprint::sdp(offer), Fingerprint::sdp(&gathered));
///
/// // ICE restarted: another offer, though FFmpeg, str0m and libpeer would not even change the `o=` line.
/// let restarted = offer.replace("7h6h", "Q7uz");
/// assert_ne!(Fingerprint::sdp(offer), Fingerprint::sdp(&restarted));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of a session description: of the offer, not of its bytes.
    ///
    /// A wrongly merged offer is lost work: its sender is answered for another offer, or not at all, and the new media,
    /// the ICE restart or the rejoin never happens. A missed duplicate is one more peer connection, and the glare that
    /// comes with it. So what a client changes when it means something new counts, and what changes when one offer is
    /// sent, stored or read again does not.
    ///
    /// | counts | from |
    /// |---|---|
    /// | the `o=` line, whole | RFC 8866 §5.2 |
    /// | `a=group`: what is bundled | RFC 5888 §5, RFC 9143 §7 |
    /// | of each `m=` line the media, protocol and formats, and whether the port is zero | RFC 8866 §5.14, RFC 3264 §5.1 |
    /// | `a=mid` | RFC 5888 §4 |
    /// | `a=ice-ufrag`, `a=ice-pwd`; a restart changes them | RFC 8839 §5.4, §4.4.1.1.1 |
    /// | `a=sendrecv`, `sendonly`, `recvonly`, `inactive`; none is `sendrecv` | RFC 8866 §6.7 |
    /// | `a=fingerprint` and `a=setup` of DTLS | RFC 8122 §5, RFC 8842 §5, RFC 4145 §4 |
    /// | `a=sctp-port` | RFC 8841 §5 |
    /// | `a=msid` | RFC 8830 §2 |
    /// | the ids in `a=ssrc`, each once | RFC 5576 §4.1 |
    ///
    /// `ice-ufrag`, `ice-pwd`, `fingerprint`, `setup` and the direction of the session serve the sections that have none
    /// of their own.
    ///
    /// Not counted are candidates and `a=end-of-candidates` (RFC 8839 §5.1, RFC 8840), ports other than zero, `c=`
    /// and `a=rtcp`, which gathering fills in (RFC 9429 §5.2.1), nor codec parameters, header extensions and simulcast
    /// layers, which some clients rewrite on the way; nor do line endings, a missing last one, trailing blanks, or the
    /// order of different attributes within a section. What a client means to change there, it offers under a new
    /// version of its `o=` line (RFC 3264 §8). That line alone would be no identity: several clients send the same one
    /// for every offer.
    ///
    /// A text that is no session description, without `v=0` first or without an `o=` line, gets its
    /// [exact](Self::exact) fingerprint.
    ///
    /// Reads the text once, in linear time and without allocation, whatever is in it. Of one section's ssrc ids 64 are
    /// told apart wherever their lines stand; any more count again for each run of lines.
    pub fn sdp(text: &str) -> Self {
        match sdp::identity(text) {
            Some(identity) => Self::under(Rule::Sdp, identity),
            None => Self::exact(text.as_bytes()),
        }
    }

    /// The fingerprint of exactly these bytes, for offers that are not SDP or have an identity of their own.
    ///
    /// It misses every duplicate that is not a copy, such as a description read again after gathering.
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

    /// The fingerprint of the first `len` bytes, or of all if there are fewer: unsafe for WebRTC offers.
    ///
    /// It is what room servers have done with the first 100 characters of the JSON message, and is here so that their
    /// behaviour can be reproduced. Those characters hold the `o=` line at best: the ICE ufrag comes first at character
    /// 156 to 294. Behind an envelope with ids, even the version in `o=` falls past them, and then every renegotiation
    /// and every ICE restart of a peer is taken for a duplicate and lost. FFmpeg, str0m and libpeer lose theirs without
    /// an envelope, since their `o=` never changes. Use [`sdp`](Self::sdp).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::Fingerprint;
    ///
    /// let first = b"{\"type\":\"offer\",\"from\":\"4e3f2c8a\",\"sdp\":\"v=0\\r\\no=- 4611731400430051336 2 ";
    /// let renegotiated = b"{\"type\":\"offer\",\"from\":\"4e3f2c8a\",\"sdp\":\"v=0\\r\\no=- 4611731400430051336 3 ";
    /// assert_eq!(Fingerprint::prefix(first, 70), Fingerprint::prefix(renegotiated, 70));
    /// ```
    pub fn prefix(bytes: &[u8], len: usize) -> Self {
        Self::under(Rule::Prefix, xxh3_128(&bytes[..len.min(bytes.len())]))
    }

    /// The fingerprint as bytes, for a store that several servers share.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The fingerprint that [`to_bytes`](Self::to_bytes) gave.
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

    /// The first 32 bits, to tell offers apart in a log.
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

/// How a fingerprint was made, kept in its last bits: no text is the same under two rules.
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

    /// Servers of several versions and machines share a store: a change here is a breaking one.
    #[test]
    fn is_the_same_on_every_machine() {
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
    fn no_text_is_the_same_under_two_rules() {
        for text in [OFFER, "", "call 7"] {
            let bytes = text.as_bytes();
            assert_ne!(Fingerprint::prefix(bytes, usize::MAX), Fingerprint::exact(bytes));
            assert_ne!(Fingerprint::prefix(bytes, usize::MAX), Fingerprint::sdp(text));
        }
        assert_ne!(Fingerprint::sdp(OFFER), Fingerprint::exact(OFFER.as_bytes()));
    }

    #[test]
    fn a_prefix_may_be_longer_than_the_text() {
        assert_eq!(Fingerprint::prefix(b"abc", 2), Fingerprint::prefix(b"abd", 2));
        assert_eq!(Fingerprint::prefix(b"abc", 3), Fingerprint::prefix(b"abc", usize::MAX));
    }

    #[test]
    fn shows_its_first_bits_only() {
        let fingerprint = Fingerprint::exact(b"");
        assert_eq!(format!("{fingerprint}"), "99aa06d3");
        assert_eq!(format!("{fingerprint:?}"), "Fingerprint(99aa06d3…)");
    }
}

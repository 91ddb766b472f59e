//! The identity of a description: the hash that two texts of one offer share.
//!
//! The text is read once, line by line. Each counted value is hashed where it is found and added to the [`Values`] of
//! its field. The order of different attributes therefore does not matter, and no value can pass for another field's.

use xxhash_rust::xxh3::xxh3_128;

/// Returns the identity of `text`, or `None` if it is not SDP (RFC 8866): without `v=0` first or without an `o=` line.
pub(super) fn identity(text: &str) -> Option<u128> {
    let (version, rest) = text.split_once('\n')?;
    if version.trim_ascii_end() != "v=0" {
        return None;
    }
    let mut description = Description::default();
    each_line(rest.as_bytes(), |line| {
        if may_count(line) {
            description.read(line);
        }
    });
    description.identity()
}

/// A description as far as it has been read.
#[derive(Default)]
struct Description<'a> {
    session: Fields,
    /// The section that is being read, after the first `m=` line.
    section: Fields,
    in_section: bool,
    sections: Values,
    sources: Sources<'a>,
}

impl<'a> Description<'a> {
    // Kept out of the loop over all lines: few lines get here.
    #[inline(never)]
    fn read(&mut self, line: &'a [u8]) {
        let Some((field, value)) = counted(line.trim_ascii_end()) else {
            return;
        };
        let fields = if self.in_section {
            &mut self.section
        } else {
            &mut self.session
        };
        match field {
            Field::Media => self.begin_section(value),
            Field::Source => {
                if let Some(source) = self.sources.first_seen(value) {
                    fields.at(field).push_hash(source);
                }
            }
            _ => fields.at(field).push(value),
        }
    }

    fn begin_section(&mut self, media: &[u8]) {
        self.end_section();
        self.in_section = true;
        self.section = Fields::of_section(media);
        self.sources.forget();
    }

    #[inline(always)]
    fn end_section(&mut self) {
        if self.in_section {
            self.section.inherit(&self.session);
            self.sections.push_hash(hash(self.section.values()));
        }
    }

    fn identity(mut self) -> Option<u128> {
        let origin = *self.session.at(Field::Origin);
        if origin.is_empty() {
            return None;
        }
        if !self.in_section {
            // Without sections that inherit them, the session's values count themselves.
            self.section = self.session;
            self.in_section = true;
        }
        self.end_section();
        Some(hash(&[origin, *self.session.at(Field::Group), self.sections]))
    }
}

/// The fields that count: those of the session, then those of a section. The order is part of the definition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Origin,
    Group,
    Media,
    Mid,
    IceUfrag,
    IcePwd,
    Direction,
    Fingerprint,
    Setup,
    SctpPort,
    Msid,
    Source,
}

impl Field {
    const COUNT: usize = Self::Source as usize + 1;

    /// The fields that a section without a value of its own takes from the session.
    const INHERITED: [Self; 5] = [
        Self::IceUfrag,
        Self::IcePwd,
        Self::Direction,
        Self::Fingerprint,
        Self::Setup,
    ];
}

/// Returns `false` for most lines that do not count, by their second letter.
///
/// Four lines of five are `rtpmap`, `rtcp-fb`, `fmtp`, `extmap` or `candidate`. No counted attribute has the second
/// letter of one of these.
fn may_count(line: &[u8]) -> bool {
    match line {
        [b'a', b'=', _, second, ..] => !matches!(second, b't' | b'm' | b'x' | b'a'),
        [b'm' | b'o', ..] => true,
        _ => false,
    }
}

/// Returns the field and the value in `line`, if it counts.
fn counted(line: &[u8]) -> Option<(Field, &[u8])> {
    match line {
        [b'a', b'=', attribute @ ..] => counted_attribute(attribute),
        [b'm', b'=', value @ ..] => Some((Field::Media, value)),
        [b'o', b'=', value @ ..] => Some((Field::Origin, value)),
        _ => None,
    }
}

fn counted_attribute(attribute: &[u8]) -> Option<(Field, &[u8])> {
    match attribute.first()? {
        b'f' => valued(attribute, b"fingerprint:", Field::Fingerprint),
        b'g' => valued(attribute, b"group:", Field::Group),
        b'i' => valued(attribute, b"ice-ufrag:", Field::IceUfrag)
            .or_else(|| valued(attribute, b"ice-pwd:", Field::IcePwd))
            .or_else(|| direction(attribute, b"inactive")),
        b'm' => valued(attribute, b"mid:", Field::Mid).or_else(|| valued(attribute, b"msid:", Field::Msid)),
        b'r' => direction(attribute, b"recvonly"),
        b's' => valued(attribute, b"ssrc:", Field::Source)
            .or_else(|| valued(attribute, b"setup:", Field::Setup))
            .or_else(|| valued(attribute, b"sctp-port:", Field::SctpPort))
            .or_else(|| direction(attribute, b"sendrecv"))
            .or_else(|| direction(attribute, b"sendonly")),
        _ => None,
    }
}

// The length of the name is known here, so that it is compared without a call.
fn valued<'a, const N: usize>(attribute: &'a [u8], name: &[u8; N], field: Field) -> Option<(Field, &'a [u8])> {
    Some((field, attribute.strip_prefix(name)?))
}

fn direction<'a, const N: usize>(attribute: &'a [u8], name: &[u8; N]) -> Option<(Field, &'a [u8])> {
    (attribute == name).then_some((Field::Direction, attribute))
}

/// The values of the session or of one section, by field.
#[derive(Clone, Copy, Default)]
struct Fields([Values; Field::COUNT]);

impl Fields {
    /// Makes the fields of the section that `m=<media> <port> <proto> <fmt> …` begins. A port counts by being zero or
    /// not.
    fn of_section(line: &[u8]) -> Self {
        let (media, rest) = cut(line);
        let (port, formats) = cut(rest);
        let mut fields = Self::default();
        let values = fields.at(Field::Media);
        values.push(media);
        values.push(formats);
        values.push_hash(u128::from(port == b"0"));
        fields
    }

    fn at(&mut self, field: Field) -> &mut Values {
        &mut self.0[field as usize]
    }

    /// Takes the values of `session` where the section has none of its own.
    fn inherit(&mut self, session: &Self) {
        for field in Field::INHERITED {
            if self.at(field).is_empty() {
                *self.at(field) = session.0[field as usize];
            }
        }
        if self.at(Field::Direction).is_empty() {
            self.at(Field::Direction).push(b"sendrecv");
        }
    }

    /// Returns the values of a section, without those that only the session has.
    fn values(&self) -> &[Values] {
        &self.0[Field::Media as usize..]
    }
}

/// The values of one field, in order. They are a polynomial of their hashes, which takes the room of one value.
#[derive(Clone, Copy, Default)]
struct Values(u128);

impl Values {
    /// 2^128 divided by the golden ratio; any odd number of mixed bits would do.
    const FACTOR: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

    fn push(&mut self, value: &[u8]) {
        self.push_hash(xxh3_128(value));
    }

    fn push_hash(&mut self, hash: u128) {
        self.0 = self.0.wrapping_mul(Self::FACTOR).wrapping_add(hash);
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[inline]
fn hash(fields: &[Values]) -> u128 {
    let mut bytes = [0; 16 * Field::COUNT];
    for (place, values) in bytes.chunks_exact_mut(16).zip(fields) {
        place.copy_from_slice(&values.0.to_le_bytes());
    }
    xxh3_128(&bytes[..16 * fields.len()])
}

/// The `ssrc` ids seen in a section. Several lines may be about one id (RFC 5576 §4.1), which counts once.
struct Sources<'a> {
    last: Option<&'a [u8]>,
    seen: [u128; REMEMBERED],
    len: usize,
}

/// The number of ids remembered of a section. Past it, only consecutive lines count as one: the search stays short.
const REMEMBERED: usize = 64;

impl<'a> Sources<'a> {
    fn forget(&mut self) {
        self.last = None;
        self.len = 0;
    }

    /// Returns the hash of the id in `line`, unless it was seen before.
    fn first_seen(&mut self, line: &'a [u8]) -> Option<u128> {
        let (id, _) = cut(line);
        if self.last == Some(id) {
            return None;
        }
        self.last = Some(id);
        let hash = xxh3_128(id);
        if self.seen[..self.len].contains(&hash) {
            return None;
        }
        if let Some(free) = self.seen.get_mut(self.len) {
            *free = hash;
            self.len += 1;
        }
        Some(hash)
    }
}

impl Default for Sources<'_> {
    fn default() -> Self {
        Self {
            last: None,
            seen: [0; REMEMBERED],
            len: 0,
        }
    }
}

/// Calls `read` with each line, without its line feed.
#[inline]
fn each_line<'a>(text: &'a [u8], mut read: impl FnMut(&'a [u8])) {
    let mut start = 0;
    let mut last = [0; BLOCK];
    for offset in (0..text.len()).step_by(BLOCK) {
        let rest = &text[offset..];
        let block = rest.first_chunk().unwrap_or_else(|| {
            last[..rest.len()].copy_from_slice(rest);
            &last
        });
        let mut ends = line_ends(block);
        while ends != 0 {
            let end = offset + ends.trailing_zeros() as usize;
            read(&text[start..end]);
            start = end + 1;
            ends &= ends - 1;
        }
    }
    read(&text[start..]);
}

const BLOCK: usize = 64;

/// Returns one bit for each line feed in a block. Lines are short: this costs less than a search for each end.
#[inline]
fn line_ends(block: &[u8; BLOCK]) -> u64 {
    let mut found = [0; BLOCK];
    for (found, byte) in found.iter_mut().zip(block) {
        *found = u8::from(*byte == b'\n');
    }
    let mut ends = 0;
    for (at, eight) in found.chunks_exact(8).enumerate() {
        // The product gathers the lowest bits of eight bytes in its highest byte.
        let eight = u64::from_le_bytes(eight.try_into().unwrap_or_default()).wrapping_mul(0x0102_0408_1020_4080);
        ends |= (eight >> 56) << (8 * at);
    }
    ends
}

/// Splits `text` at its first blank.
fn cut(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

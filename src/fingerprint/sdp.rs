//! The identity of a description: what makes two texts one offer.
//!
//! The text is read once, line by line. Each counted value is hashed where it is found and goes to a place of its own,
//! [`Values`], so the order of different attributes does not matter and no value can pass for another field's.

use xxhash_rust::xxh3::xxh3_128;

/// The identity of the description `text`, or `None` where it is no SDP (RFC 8866): without `v=0` first or without `o=`.
pub(super) fn identity(text: &str) -> Option<u128> {
    let (version, rest) = text.split_once('\n')?;
    if version.trim_ascii_end() != "v=0" {
        return None;
    }
    let mut description = Description::default();
    each_line(rest.as_bytes(), |line| description.read(line));
    description.identity()
}

/// What has been read of a description.
#[derive(Default)]
struct Description<'a> {
    session: Fields,
    section: Option<Fields>,
    sections: Values,
    sources: Sources<'a>,
}

impl<'a> Description<'a> {
    fn read(&mut self, line: &'a [u8]) {
        let Some((field, value)) = counted(line) else {
            return;
        };
        let value = value.trim_ascii_end();
        if field == Field::Media {
            self.end_section();
            self.sources.forget();
            self.section = Some(Fields::of_media(value));
            return;
        }
        let fields = self.section.as_mut().unwrap_or(&mut self.session);
        match field {
            Field::Source => {
                if let Some(source) = self.sources.first_seen(value) {
                    fields.at(field).push_hash(source);
                }
            }
            _ => fields.at(field).push(value),
        }
    }

    fn end_section(&mut self) {
        if let Some(section) = self.section.take() {
            self.sections.push_hash(section.within(&self.session).hash());
        }
    }

    fn identity(mut self) -> Option<u128> {
        if self.session.at(Field::Origin).is_empty() {
            return None;
        }
        // Without sections nothing inherits the session's values, so they count themselves.
        if self.section.is_none() {
            self.section = Some(self.session);
        }
        self.end_section();
        let mut whole = Fields::default();
        *whole.at(Field::Origin) = *self.session.at(Field::Origin);
        *whole.at(Field::Group) = *self.session.at(Field::Group);
        *whole.at(Field::Media) = self.sections;
        Some(whole.hash())
    }
}

/// What counts. The order is part of the fingerprint's definition.
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

    /// What a section without a value of its own takes from the session.
    const INHERITED: [Self; 5] = [
        Self::IceUfrag,
        Self::IcePwd,
        Self::Direction,
        Self::Fingerprint,
        Self::Setup,
    ];
}

/// The field that `line` has a value for, if it counts.
fn counted(line: &[u8]) -> Option<(Field, &[u8])> {
    match line {
        [b'a', b'=', attribute @ ..] => counted_attribute(attribute),
        [b'm', b'=', value @ ..] => Some((Field::Media, value)),
        [b'o', b'=', value @ ..] => Some((Field::Origin, value)),
        _ => None,
    }
}

/// Four lines of five are `rtpmap`, `rtcp-fb`, `fmtp` or `extmap`: the first letter is looked at before any name.
fn counted_attribute(attribute: &[u8]) -> Option<(Field, &[u8])> {
    let valued = |name: &[u8], field| Some((field, attribute.strip_prefix(name)?));
    let direction = |name: &[u8]| {
        (attribute.starts_with(name) && attribute.trim_ascii_end() == name).then_some((Field::Direction, attribute))
    };
    match attribute.first()? {
        b'f' => valued(b"fingerprint:", Field::Fingerprint),
        b'g' => valued(b"group:", Field::Group),
        b'i' => valued(b"ice-ufrag:", Field::IceUfrag)
            .or_else(|| valued(b"ice-pwd:", Field::IcePwd))
            .or_else(|| direction(b"inactive")),
        b'm' => valued(b"mid:", Field::Mid).or_else(|| valued(b"msid:", Field::Msid)),
        b'r' => direction(b"recvonly"),
        b's' => valued(b"ssrc:", Field::Source)
            .or_else(|| valued(b"setup:", Field::Setup))
            .or_else(|| valued(b"sctp-port:", Field::SctpPort))
            .or_else(|| direction(b"sendrecv"))
            .or_else(|| direction(b"sendonly")),
        _ => None,
    }
}

/// The values of the session or of one section, by field.
#[derive(Clone, Copy, Default)]
struct Fields([Values; Field::COUNT]);

impl Fields {
    /// A section that begins with `m=<media> <port> <proto> <fmt> …`; of the port only whether it is zero counts.
    fn of_media(line: &[u8]) -> Self {
        let (media, rest) = cut(line);
        let (port, formats) = cut(rest);
        let mut fields = Self::default();
        let values = fields.at(Field::Media);
        values.push(media);
        values.push(formats);
        values.push(if port == b"0" { b"0" } else { b"" });
        fields
    }

    fn at(&mut self, field: Field) -> &mut Values {
        &mut self.0[field as usize]
    }

    /// These values, with those of `session` where a section has none of its own.
    fn within(mut self, session: &Self) -> Self {
        for field in Field::INHERITED {
            if self.at(field).is_empty() {
                *self.at(field) = session.0[field as usize];
            }
        }
        if self.at(Field::Direction).is_empty() {
            self.at(Field::Direction).push(b"sendrecv");
        }
        self
    }

    fn hash(&self) -> u128 {
        let mut bytes = [0; 16 * Field::COUNT];
        for (place, values) in bytes.chunks_exact_mut(16).zip(self.0) {
            place.copy_from_slice(&values.0.to_le_bytes());
        }
        xxh3_128(&bytes)
    }
}

/// The values of one field, in order: a polynomial of their hashes, so any number of them takes no more room than one.
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

/// Tells a section's `ssrc` ids apart from further lines about the same ids (RFC 5576 §4.1).
struct Sources<'a> {
    last: &'a [u8],
    seen: [u128; REMEMBERED],
    len: usize,
}

/// Ids told apart in one section. Beyond it only lines in a row count as one: the search stays short, whatever is sent.
const REMEMBERED: usize = 64;

impl<'a> Sources<'a> {
    fn forget(&mut self) {
        self.last = b"";
        self.len = 0;
    }

    /// The hash of the id in `line`, unless it was seen before.
    fn first_seen(&mut self, line: &'a [u8]) -> Option<u128> {
        let (id, _) = cut(line);
        if id == self.last {
            return None;
        }
        self.last = id;
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
            last: b"",
            seen: [0; REMEMBERED],
            len: 0,
        }
    }
}

/// Calls `read` with each line, without its ending.
#[inline]
fn each_line<'a>(text: &'a [u8], mut read: impl FnMut(&'a [u8])) {
    let mut start = 0;
    for (block, offset) in text.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
        let mut ends = line_ends(block);
        while ends != 0 {
            let end = offset + ends.trailing_zeros() as usize;
            ends &= ends - 1;
            read(&text[start..end]);
            start = end + 1;
        }
    }
    read(&text[start..]);
}

const BLOCK: usize = 64;

/// The line ends among up to 64 bytes, one bit each.
#[inline]
fn line_ends(text: &[u8]) -> u64 {
    let mut last = [0; BLOCK];
    let block = text.first_chunk::<BLOCK>().unwrap_or_else(|| {
        last[..text.len()].copy_from_slice(text);
        &last
    });
    let found = block.map(|byte| u8::from(byte == b'\n'));
    found.rchunks_exact(8).fold(0, |ends, eight| {
        let eight = u64::from_le_bytes(eight.try_into().unwrap_or_default());
        // The product gathers the lowest bits of the eight bytes in the highest one.
        ends << 8 | eight.wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

/// What stands before the first blank, and what behind it.
fn cut(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

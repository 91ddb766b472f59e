//! What offers are serialised by: [`PeerKey`], and the parts it is made of.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Whatever must be serialised: the parts that tell one negotiation from another.
///
/// For WHIP that is the path and the principal, for a mesh room `(room, from, to)`: a key of the sender alone would
/// serialise a mesh, since one sender rightly offers to several targets at once.
///
/// It is a 128-bit BLAKE3 digest of the parts, each with its kind and length before it, so that no choice of ids makes
/// two peers one: `("ab", "c")` is not `("a", "bc")`, and the text `"7"` is not the number `7`. The digest is the same
/// on every machine. Ids and tokens are not kept.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::PeerKey;
///
/// assert_eq!(PeerKey::from("alice"), PeerKey::from(b"alice"));
/// assert_ne!(PeerKey::from(("ab", "c")), PeerKey::from(("a", "bc")));
/// assert_ne!(PeerKey::from(7_u64), PeerKey::from("7"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PeerKey([u8; 16]);

impl PeerKey {
    /// The key of a number of parts known only at run time; the same as that of a tuple of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::PeerKey;
    ///
    /// assert_eq!(PeerKey::of_parts(["room-7", "alice"]), PeerKey::from(("room-7", "alice")));
    /// ```
    pub fn of_parts<P: Part>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut digest = Digest::default();
        parts.into_iter().for_each(|part| part.feed(&mut digest));
        digest.finish()
    }

    /// The first 32 bits, to tell peers apart in a log.
    pub(crate) fn short(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The low bits, to spread peers over shards.
    pub(crate) fn shard(self, shards: usize) -> usize {
        let [.., y, z] = self.0;
        usize::from(u16::from_be_bytes([y, z])) % shards
    }
}

/// As one number: a hasher takes an array as bytes of any length, which costs it a multiple.
impl Hash for PeerKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.0));
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({:08x}…)", self.short())
    }
}

/// What a [`PeerKey`] is made of: text, bytes, a `u64`, or another key.
///
/// Sealed: it is implemented for the types listed, and for references to them.
pub trait Part: sealed::Sealed {
    #[doc(hidden)]
    #[allow(private_interfaces, reason = "sealed: called by this crate alone")]
    fn feed(&self, digest: &mut Digest);
}

macro_rules! parts {
    ($($part:ty: |$self:ident, $digest:ident| $feed:expr;)*) => {$(
        impl sealed::Sealed for $part {}

        impl Part for $part {
            #[allow(private_interfaces, reason = "sealed: called by this crate alone")]
            fn feed(&self, $digest: &mut Digest) {
                let $self = self;
                $feed;
            }
        }
    )*};
}

parts! {
    Box<str>: |part, digest| digest.bytes(part.as_bytes());
    Arc<str>: |part, digest| digest.bytes(part.as_bytes());
    str: |part, digest| digest.bytes(part.as_bytes());
    String: |part, digest| digest.bytes(part.as_bytes());
    [u8]: |part, digest| digest.bytes(part);
    Vec<u8>: |part, digest| digest.bytes(part);
    u64: |part, digest| digest.number(*part);
    PeerKey: |part, digest| digest.key(*part);
}

impl<const N: usize> sealed::Sealed for [u8; N] {}

impl<const N: usize> Part for [u8; N] {
    #[allow(private_interfaces, reason = "sealed: called by this crate alone")]
    fn feed(&self, digest: &mut Digest) {
        digest.bytes(self);
    }
}

impl<P: Part + ?Sized> sealed::Sealed for &P {}

impl<P: Part + ?Sized> Part for &P {
    #[allow(private_interfaces, reason = "sealed: called by this crate alone")]
    fn feed(&self, digest: &mut Digest) {
        (**self).feed(digest);
    }
}

mod sealed {
    #[allow(unnameable_types, reason = "that is what seals `Part`")]
    pub trait Sealed {}
}

/// Collects parts, each behind its kind and length, so that no two lists of parts read the same.
#[derive(Default)]
pub(crate) struct Digest(blake3::Hasher);

impl Digest {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.part(b'b', bytes);
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.part(b'n', &number.to_le_bytes());
    }

    /// A part that is not there, unlike any that is.
    #[cfg(any(feature = "http", feature = "json"))]
    pub(crate) fn absent(&mut self) {
        self.part(b'-', &[]);
    }

    pub(crate) fn key(&mut self, key: PeerKey) {
        self.part(b'k', &key.0);
    }

    fn part(&mut self, kind: u8, bytes: &[u8]) {
        let [a, b, c, d, e, f, g, h] = (bytes.len() as u64).to_le_bytes();
        self.0.update(&[kind, a, b, c, d, e, f, g, h]);
        self.0.update(bytes);
    }

    pub(crate) fn finish(&self) -> PeerKey {
        let mut key = [0; 16];
        key.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
        PeerKey(key)
    }
}

macro_rules! key_of_one {
    ($($part:ty),*) => {$(
        impl From<$part> for PeerKey {
            fn from(part: $part) -> Self {
                Self::of_parts([part])
            }
        }
    )*};
}

key_of_one!(&str, &String, String, Box<str>, Arc<str>, &[u8], &Vec<u8>, u64);

impl<const N: usize> From<&[u8; N]> for PeerKey {
    fn from(part: &[u8; N]) -> Self {
        Self::of_parts([part])
    }
}

macro_rules! key_of_tuple {
    ($($part:ident),*) => {
        impl<$($part: Part),*> From<($($part,)*)> for PeerKey {
            fn from(parts: ($($part,)*)) -> Self {
                #[allow(non_snake_case, reason = "one binding a type parameter")]
                let ($($part,)*) = parts;
                let mut digest = Digest::default();
                $($part.feed(&mut digest);)*
                digest.finish()
            }
        }
    };
}

key_of_tuple!(A);
key_of_tuple!(A, B);
key_of_tuple!(A, B, C);
key_of_tuple!(A, B, C, D);
key_of_tuple!(A, B, C, D, E);
key_of_tuple!(A, B, C, D, E, F);

//! The unit of serialisation: [`PeerKey`], and the [`PeerParts`] it is made of.

mod digest;

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

#[cfg(feature = "json")]
pub(crate) use self::digest::BoundParts;
pub(crate) use self::digest::Digest;
use self::{digest::Sink, sealed::Feed};

/// Identifies a peer, the unit of serialisation: the layer processes one offer of a peer at a time.
///
/// Choose the parts that identify one negotiation. For WHIP they are the target URI and the credentials, for a mesh
/// room `(room, from, to)`. A key of the sender alone would serialise a mesh, where one sender rightly offers to
/// several targets at once.
///
/// A key is a 128-bit BLAKE3 digest of its [parts](PeerParts), each with its kind and its length in front. No choice of
/// ids makes two peers one: `("ab", "c")` differs from `("a", "bc")`, and the text `"7"` from the number `7`. Integers
/// are keyed by value: `7_u8`, `7_i64` and the JSON number `7` are equal. Ids and tokens are not kept.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::PeerKey;
///
/// assert_eq!(PeerKey::from("alice"), PeerKey::from(b"alice"));
/// assert_eq!(PeerKey::from(("lobby", 7_u8)), PeerKey::from(("lobby", 7_i64)));
///
/// assert_ne!(PeerKey::from(("ab", "c")), PeerKey::from(("a", "bc")));
/// assert_ne!(PeerKey::from(7), PeerKey::from("7"));
/// ```
///
/// # Consistency
///
/// The digest is the same on every machine and in every version of this crate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PeerKey([u8; 16]);

impl PeerKey {
    /// Makes a key of parts whose number is known at run time only. It equals the key of a tuple of the same parts.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::PeerKey;
    ///
    /// let parts = vec!["room-7", "alice"];
    /// assert_eq!(PeerKey::of_parts(parts), PeerKey::from(("room-7", "alice")));
    /// ```
    pub fn of_parts<P: PeerParts>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut digest = Digest::default();
        parts.into_iter().for_each(|part| part.feed(&mut digest));
        digest.finish()
    }

    /// Returns the key as bytes, for a store that several servers share.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Returns the key that [`to_bytes`](Self::to_bytes) gave these bytes for.
    ///
    /// The bytes are taken as they are. `PeerKey::from(&bytes)` digests them instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_offer_dedup::PeerKey;
    ///
    /// let key = PeerKey::from(("room-7", "alice"));
    /// assert_eq!(PeerKey::from_bytes(key.to_bytes()), key);
    /// ```
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the first 32 bits, which identify the peer in a log.
    pub(crate) fn short(self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Returns the index of the shard that holds the peer, from the low bits.
    pub(crate) fn shard(self, shards: usize) -> usize {
        let [.., y, z] = self.0;
        usize::from(u16::from_be_bytes([y, z])) % shards
    }
}

/// Hashes the key as one number. As an array it would be hashed as bytes of any length, which costs a multiple.
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

/// The parts of a [`PeerKey`]: text, bytes, an integer, another key, or a tuple of parts.
///
/// A tuple inside a tuple adds its parts in order, so `("lobby", ("alice", "bob"))` are the three parts of
/// `("lobby", "alice", "bob")`. A `PeerKey` among other parts is one part, the key as a whole; alone it is that key.
///
/// This trait is sealed. It is implemented for `str`, `String`, `Box<str>`, `Arc<str>`, `[u8]`, `[u8; N]`, `Vec<u8>`,
/// every integer type, `PeerKey`, tuples of up to eight parts, and references to all of them.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::{PeerKey, extract::PeerParts};
///
/// fn key_of(sender: impl PeerParts, target: u32) -> PeerKey {
///     PeerKey::from((sender, target))
/// }
///
/// assert_eq!(key_of(("lobby", "alice"), 7), PeerKey::from(("lobby", "alice", 7)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a part of a `PeerKey`",
    note = "parts are text, bytes, integers, other `PeerKey`s, and tuples of these"
)]
pub trait PeerParts: sealed::Feed {}

/// The traits behind [`PeerParts`], which nobody else can implement or call.
mod sealed {
    #![allow(unnameable_types, reason = "that seals `PeerParts`")]

    use super::{Digest, PeerKey, Sink};

    pub trait Feed {
        fn feed<S: Sink>(&self, digest: &mut Digest<S>);

        /// Returns the key of these parts alone.
        fn key(&self) -> PeerKey {
            let mut digest = Digest::default();
            self.feed(&mut digest);
            digest.finish()
        }
    }
}

macro_rules! parts {
    ($($part:ty: |$self:ident, $digest:ident| $feed:expr;)*) => {$(
        impl Feed for $part {
            fn feed<S: Sink>(&self, $digest: &mut Digest<S>) {
                let $self = self;
                $feed;
            }
        }

        impl PeerParts for $part {}
    )*};
}

parts! {
    Box<str>: |part, digest| digest.bytes(part.as_bytes());
    Arc<str>: |part, digest| digest.bytes(part.as_bytes());
    str: |part, digest| digest.bytes(part.as_bytes());
    String: |part, digest| digest.bytes(part.as_bytes());
    [u8]: |part, digest| digest.bytes(part);
    Vec<u8>: |part, digest| digest.bytes(part);
}

impl<const N: usize> Feed for [u8; N] {
    fn feed<S: Sink>(&self, digest: &mut Digest<S>) {
        digest.bytes(self);
    }
}

impl<const N: usize> PeerParts for [u8; N] {}

impl Feed for PeerKey {
    fn feed<S: Sink>(&self, digest: &mut Digest<S>) {
        digest.key(*self);
    }

    fn key(&self) -> PeerKey {
        *self
    }
}

impl PeerParts for PeerKey {}

impl<P: Feed + ?Sized> Feed for &P {
    fn feed<S: Sink>(&self, digest: &mut Digest<S>) {
        (**self).feed(digest);
    }

    fn key(&self) -> PeerKey {
        (**self).key()
    }
}

impl<P: PeerParts + ?Sized> PeerParts for &P {}

macro_rules! key_of_one {
    ($($part:ty),*) => {$(
        impl From<$part> for PeerKey {
            fn from(part: $part) -> Self {
                part.key()
            }
        }
    )*};
}

key_of_one!(&str, &String, String, Box<str>, Arc<str>, &[u8], &Vec<u8>, Vec<u8>);

impl<const N: usize> From<&[u8; N]> for PeerKey {
    fn from(part: &[u8; N]) -> Self {
        part.key()
    }
}

macro_rules! integers {
    ($as_number:ident($wide:ty): $($integer:ty),*) => {
        parts! { $($integer: |part, digest| digest.$as_number(*part as $wide);)* }
        key_of_one!($($integer),*);
    };
}

integers!(unsigned(u128): u8, u16, u32, u64, u128, usize);
integers!(signed(i128): i8, i16, i32, i64, i128, isize);

macro_rules! tuples {
    ($(($($part:ident),*))*) => {$(
        impl<$($part: Feed),*> Feed for ($($part,)*) {
            fn feed<S: Sink>(&self, digest: &mut Digest<S>) {
                #[allow(non_snake_case, reason = "one binding a type parameter")]
                let ($($part,)*) = self;
                $($part.feed(digest);)*
            }
        }

        impl<$($part: PeerParts),*> PeerParts for ($($part,)*) {}

        impl<$($part: PeerParts),*> From<($($part,)*)> for PeerKey {
            fn from(parts: ($($part,)*)) -> Self {
                parts.key()
            }
        }
    )*};
}

tuples! {
    (A)
    (A, B)
    (A, B, C)
    (A, B, C, D)
    (A, B, C, D, E)
    (A, B, C, D, E, F)
    (A, B, C, D, E, F, G)
    (A, B, C, D, E, F, G, H)
}

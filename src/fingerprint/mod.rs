//! The identity of an offer: [`Fingerprint`].

mod digest;
mod sdp;

pub use self::digest::Fingerprint;

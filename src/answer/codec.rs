//! Encodes the recorded responses of [`Replay`](super::Replay) for other nodes.

use super::EncodedRecord;

/// Encodes recorded responses for a [store](crate::store) that several nodes share. See
/// [`Replay::codec`](crate::Replay::codec).
pub trait Codec<Res> {
    /// Encodes a response. `None` keeps it on its node.
    fn encode(&self, response: &Res) -> Option<EncodedRecord>;

    /// Decodes what another node has encoded. `None` stands for a response that does not fit.
    fn decode(&self, record: &EncodedRecord) -> Option<Res>;
}

/// Keeps recorded responses on their node. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unshared;

impl<Res> Codec<Res> for Unshared {
    fn encode(&self, _: &Res) -> Option<EncodedRecord> {
        None
    }

    fn decode(&self, _: &EncodedRecord) -> Option<Res> {
        None
    }
}

/// Encodes and decodes by two closures.
#[derive(Clone, Copy)]
pub struct WithClosures<N, D> {
    pub(super) tag: u32,
    pub(super) encode: N,
    pub(super) decode: D,
}

impl<N, D, Res> Codec<Res> for WithClosures<N, D>
where
    N: Fn(&Res) -> Option<Vec<u8>>,
    D: Fn(&[u8]) -> Option<Res>,
{
    fn encode(&self, response: &Res) -> Option<EncodedRecord> {
        (self.encode)(response).map(|bytes| EncodedRecord::new(self.tag, bytes))
    }

    fn decode(&self, record: &EncodedRecord) -> Option<Res> {
        (record.tag() == self.tag).then(|| (self.decode)(record.bytes()))?
    }
}

impl<N, D> std::fmt::Debug for WithClosures<N, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WithClosures")
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

/// Encodes and decodes as JSON.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug)]
pub struct AsJson {
    pub(super) tag: u32,
}

#[cfg(feature = "json")]
impl<Res> Codec<Res> for AsJson
where
    Res: serde::Serialize + serde::de::DeserializeOwned,
{
    fn encode(&self, response: &Res) -> Option<EncodedRecord> {
        let bytes = serde_json::to_vec(response).ok()?;
        Some(EncodedRecord::new(self.tag, bytes))
    }

    fn decode(&self, record: &EncodedRecord) -> Option<Res> {
        (record.tag() == self.tag).then(|| serde_json::from_slice(record.bytes()).ok())?
    }
}

use super::{Duplicates, Settled};
use crate::{Offer, Refusal};

/// Builds the answers of the layer: to requests that pass, to the first of an offer, and to its duplicates.
///
/// `Res` and `E` are the response and the error of the inner service. See the [module](super) for an example.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not build answers for a service that responds with `{Res}` and fails with `{E}`",
    note = "configure the layer with `.answer(..)`: `Refuse::with(|refusal| ..)` or `Replay::with(|refusal| ..)`, whose \
            closure returns a response, `with_error`, whose closure returns an error, or for HTTP `http::HttpAnswer`; \
            `Replay` needs a response that is `Clone + Send + Sync + 'static`"
)]
pub trait Answer<Res, E> {
    /// The response that goes out.
    type Response;

    /// The part of an answer that is kept to replay it.
    type Record: Send + Sync + 'static;

    /// The future that reads the answer to an offer. The peer stays locked until it is ready. It does not borrow the
    /// offer.
    type Settle: Future<Output = Settled<Self::Response, Self::Record>>;

    /// Returns what duplicates of an offer in flight do. By default they are refused.
    fn duplicates(&self) -> Duplicates {
        Duplicates::Refuse
    }

    /// Answers a request that is not an offer.
    fn pass(&self, response: Res) -> Self::Response;

    /// Answers an offer: what goes out, whether it was a success, and what is kept of it.
    fn settle(&self, response: Res, offer: &Offer) -> Self::Settle;

    /// Returns whether `response`, to a request that may [end](crate::extract::Found::Ending) a session, ended it. By
    /// default it did not.
    fn ended(&self, response: &Res) -> Ended {
        let _ = response;
        Ended::No
    }

    /// Answers a duplicate of an offer whose answer was recorded.
    fn replay(&self, record: &Self::Record) -> Self::Response;

    /// Answers a request that is refused: by a response, or by an error of the inner service's type.
    ///
    /// # Errors
    ///
    /// The error that the sender gets in place of a response, if the implementation refuses by errors.
    fn refuse(&self, refusal: &Refusal) -> Result<Self::Response, E>;

    /// Encodes a record for a store that several nodes share. `None`, the default, keeps the record on its node.
    fn encode(&self, record: &Self::Record) -> Option<EncodedRecord> {
        let _ = record;
        None
    }

    /// Decodes a record that another node has encoded. `None`, the default, stands for one that does not fit: its
    /// duplicates are refused as [`NotRecorded`](crate::Reason::NotRecorded).
    fn decode(&self, record: &EncodedRecord) -> Option<Self::Record> {
        let _ = record;
        None
    }
}

/// The effect of a response on the session that its request may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The session has ended.
    Yes,
    /// The session has ended if the request carried the credentials that the session was created with.
    IfSamePrincipal,
    /// The session goes on, or there is none.
    No,
}

/// A record in the form that a shared store keeps.
///
/// # Examples
///
/// ```
/// use tower_offer_dedup::answer::EncodedRecord;
///
/// let encoded = EncodedRecord::new(1, b"v=0\r\n".to_vec());
/// assert_eq!((encoded.tag(), encoded.bytes()), (1, &b"v=0\r\n"[..]));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EncodedRecord {
    tag: u32,
    bytes: Vec<u8>,
}

impl EncodedRecord {
    /// Makes an encoded record. The tag names the type and version of the encoding, so that a service with another one
    /// does not misread it.
    pub fn new(tag: u32, bytes: Vec<u8>) -> Self {
        Self { tag, bytes }
    }

    /// Returns the tag.
    pub fn tag(&self) -> u32 {
        self.tag
    }

    /// Returns the encoded bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Shows the length only: answers hold ICE credentials.
impl std::fmt::Debug for EncodedRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncodedRecord")
            .field("tag", &self.tag)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

//! [`Recorded`]: an answer that is kept to be given again.

use std::fmt;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH},
    response::Parts,
};

use crate::answer::EncodedRecord;

const OFFER_REPLAYED: HeaderName = HeaderName::from_static("offer-replayed");

/// Names the type and version of the encoding.
const TAG: u32 = u32::from_le_bytes(*b"htp1");

/// Decides whether a field is kept, by its name and by the default.
pub(super) type KeepField = dyn Fn(&HeaderName, bool) -> bool + Send + Sync;

/// A recorded answer of [`HttpAnswer`](super::HttpAnswer).
#[derive(Clone)]
pub struct Recorded {
    status: StatusCode,
    /// The values are slices of one buffer, in which the body comes last.
    fields: Box<[(HeaderName, HeaderValue)]>,
    body: Bytes,
}

impl Recorded {
    /// Copies an answer. The originals may be pieces of a larger buffer, which they would keep alive.
    pub(super) fn new(head: &Parts, body: &[u8], keep_field: Option<&KeepField>) -> Self {
        let named = named_hop_by_hop(&head.headers);
        let is_kept = |name: &HeaderName| {
            let default = is_kept_by_default(name);
            !is_never_kept(name) && !named.contains(name) && keep_field.map_or(default, |keep| keep(name, default))
        };
        let kept: Vec<_> = head.headers.iter().filter(|(name, _)| is_kept(name)).collect();
        let values: usize = kept.iter().map(|(_, value)| value.len()).sum();
        let mut buffer = Vec::with_capacity(values + body.len());
        for (_, value) in &kept {
            buffer.extend_from_slice(value.as_bytes());
        }
        buffer.extend_from_slice(body);
        let mut rest = Bytes::from(buffer);
        let fields = kept.into_iter().map(|(name, value)| {
            let copy = rest.split_to(value.len());
            let mut copy = HeaderValue::from_maybe_shared(copy).expect("it was a field's value");
            copy.set_sensitive(value.is_sensitive());
            (name.clone(), copy)
        });
        Self {
            status: head.status,
            fields: fields.collect(),
            body: rest,
        }
    }

    /// Builds the response to a duplicate.
    pub(super) fn replay(&self) -> Response<Bytes> {
        let mut headers = HeaderMap::with_capacity(self.fields.len() + 2);
        for (name, value) in &self.fields {
            headers.append(name, value.clone());
        }
        // RFC 9110 §8.6: none with 204. FFmpeg fails on a 201 without it.
        if self.status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        headers.insert(OFFER_REPLAYED, HeaderValue::from_static("true"));
        let mut response = Response::new(self.body.clone());
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }

    /// Returns what the record takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let texts = self
            .fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        size_of::<Self>() + size_of_val(&*self.fields) + texts.sum::<usize>() + self.body.len()
    }

    /// Encodes the record: the status, the number of fields, for each field whether it is sensitive, its name and its
    /// value, then the body. Numbers are little-endian; names and values have their length before them.
    pub(super) fn encode(&self) -> Option<EncodedRecord> {
        let mut bytes = Vec::with_capacity(self.bytes());
        bytes.extend_from_slice(&self.status.as_u16().to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(self.fields.len()).ok()?.to_le_bytes());
        for (name, value) in &self.fields {
            bytes.push(u8::from(value.is_sensitive()));
            bytes.extend_from_slice(&u16::try_from(name.as_str().len()).ok()?.to_le_bytes());
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(&u32::try_from(value.len()).ok()?.to_le_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes.extend_from_slice(&self.body);
        Some(EncodedRecord::new(TAG, bytes))
    }

    /// Decodes what [`encode`](Self::encode) has encoded. `None` for anything else.
    pub(super) fn decode(record: &EncodedRecord) -> Option<Self> {
        if record.tag() != TAG {
            return None;
        }
        let mut rest = Bytes::copy_from_slice(record.bytes());
        let status = StatusCode::from_u16(u16::from_le_bytes(take(&mut rest)?)).ok()?;
        let count = u16::from_le_bytes(take(&mut rest)?);
        let fields = (0..count).map(|_| {
            let [is_sensitive] = take(&mut rest)?;
            let length = u16::from_le_bytes(take(&mut rest)?);
            let name = HeaderName::from_bytes(&split(&mut rest, usize::from(length))?).ok()?;
            let length = u32::from_le_bytes(take(&mut rest)?);
            let value = split(&mut rest, usize::try_from(length).ok()?)?;
            let mut value = HeaderValue::from_maybe_shared(value).ok()?;
            value.set_sensitive(is_sensitive != 0);
            Some((name, value)).filter(|(name, _)| !is_never_kept(name))
        });
        Some(Self {
            status,
            fields: fields.collect::<Option<_>>()?,
            body: rest,
        })
    }
}

/// Shows sizes only: answers hold ICE credentials.
impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("status", &self.status)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

fn take<const N: usize>(rest: &mut Bytes) -> Option<[u8; N]> {
    split(rest, N)?.as_ref().try_into().ok()
}

fn split(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

/// Returns the fields that `Connection` declares to concern one connection only (RFC 9110 §7.6.1).
fn named_hop_by_hop(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

/// Returns whether a field concerns one connection only, or is set anew in each replay.
fn is_never_kept(name: &HeaderName) -> bool {
    let is_of_one_connection = matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    );
    is_of_one_connection || name == OFFER_REPLAYED
}

/// Returns whether a field is repeated by default: not if it belongs to one response, as a cookie, a date, a count of
/// what is left of a rate limit, or the id of a request.
///
/// `Retry-After` is repeated: it belongs to failures, and these go only to duplicates that wait already.
fn is_kept_by_default(name: &HeaderName) -> bool {
    const RATE_LIMITS: &[&str] = &["ratelimit", "x-ratelimit", "x-rate-limit"];
    let text = name.as_str();
    let is_of_one_response = matches!(
        text,
        "age"
            | "date"
            | "set-cookie"
            | "server-timing"
            | "request-id"
            | "x-request-id"
            | "correlation-id"
            | "x-correlation-id"
            | "x-trace-id"
            | "traceparent"
            | "tracestate"
            | "traceresponse"
    );
    !is_of_one_response && !RATE_LIMITS.iter().any(|prefix| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn decoded(tag: u32, bytes: Vec<u8>) -> Option<Recorded> {
        Recorded::decode(&EncodedRecord::new(tag, bytes))
    }

    proptest! {
        #[test]
        fn records_survive_encoding(
            status in 100_u16..1000,
            fields in vec(("[a-z][a-z0-9-]{0,20}", "[ -~]{0,40}", any::<bool>()), 0..8),
            body in vec(any::<u8>(), 0..200),
        ) {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value, is_sensitive) in &fields {
                let mut value = HeaderValue::from_str(value).unwrap();
                value.set_sensitive(*is_sensitive);
                response.headers_mut().append(name.parse::<HeaderName>().unwrap(), value);
            }
            let recorded = Recorded::new(&response.into_parts().0, &body, None);
            let decoded = Recorded::decode(&recorded.encode().unwrap()).unwrap();
            let sensitive = |recorded: &Recorded| -> Vec<bool> {
                recorded.fields.iter().map(|(_, value)| value.is_sensitive()).collect()
            };
            prop_assert_eq!(decoded.status, recorded.status);
            prop_assert_eq!(&decoded.fields, &recorded.fields);
            prop_assert_eq!(sensitive(&decoded), sensitive(&recorded));
            prop_assert_eq!(&decoded.body[..], &body[..]);
        }

        #[test]
        fn garbage_never_panics(bytes in vec(any::<u8>(), 0..64), count in 0_u16..3) {
            decoded(TAG, bytes.clone());
            // With a head that is right, more of the rest is read.
            let head = [200_u16.to_le_bytes(), count.to_le_bytes()].concat();
            decoded(TAG, [head, bytes].concat());
        }
    }

    #[test]
    fn foreign_records_do_not_decode() {
        let whole = [200_u16.to_le_bytes(), 0_u16.to_le_bytes()].concat();
        assert!(decoded(TAG, whole.clone()).is_some());
        assert!(decoded(TAG + 1, whole).is_none());

        let field = |name: &[u8], value: &[u8]| {
            let mut bytes = [200_u16.to_le_bytes(), 1_u16.to_le_bytes()].concat();
            bytes.push(0);
            bytes.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(value);
            bytes
        };
        assert!(decoded(TAG, field(b"etag", b"\"7\"")).is_some());
        assert!(decoded(TAG, field(b"content-length", b"7")).is_none());
        assert!(decoded(TAG, field(b"e tag", b"7")).is_none());
        assert!(decoded(TAG, field(b"etag", b"7\r\nx: y")).is_none());
    }
}

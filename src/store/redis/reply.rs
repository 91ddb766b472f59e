//! Reading of replies.

use std::{time::Duration, vec};

use redis::{RedisError, Value};

use super::super::{ClaimToken, Fence, StoreError};

/// The elements of a reply that is an array.
pub(super) struct Reply(vec::IntoIter<Value>);

impl Reply {
    pub(super) fn new(value: Value) -> Result<Self, StoreError> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        self.optional()?.ok_or_else(unexpected)
    }

    /// Reads bytes, or a `false` of the script.
    pub(super) fn optional(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.0.next() {
            Some(Value::BulkString(bytes)) => Ok(Some(bytes)),
            // A script's `false` is a boolean in RESP3.
            Some(Value::Nil | Value::Boolean(false)) => Ok(None),
            _ => Err(unexpected()),
        }
    }

    pub(super) fn token(&mut self) -> Result<Option<ClaimToken>, StoreError> {
        let bytes = self.optional()?;
        bytes
            .map(|bytes| bytes.try_into().map(ClaimToken::from_bytes).map_err(|_| unexpected()))
            .transpose()
    }

    pub(super) fn fence(&mut self) -> Result<Fence, StoreError> {
        Ok(Fence::new(self.number()?))
    }

    pub(super) fn millis(&mut self) -> Result<Duration, StoreError> {
        Ok(Duration::from_millis(self.number()?))
    }

    fn number(&mut self) -> Result<u64, StoreError> {
        match self.0.next() {
            Some(Value::Int(number)) => u64::try_from(number).map_err(|_| unexpected()),
            _ => Err(unexpected()),
        }
    }
}

/// Reads a reply that is 1 or 0.
pub(super) fn flag(value: &Value) -> Result<bool, StoreError> {
    match value {
        Value::Int(number) => Ok(*number != 0),
        _ => Err(unexpected()),
    }
}

pub(super) fn unexpected() -> StoreError {
    StoreError::new("the server gave an unexpected reply")
}

/// Describes an error of a call. The server's messages name commands and keys, which hold no secret.
pub(super) fn failed(error: RedisError) -> StoreError {
    StoreError::new("the server refused a call or could not be reached").with_source(error)
}

//! [`StoreError`], and what a layer does about it.

use std::{borrow::Cow, error::Error, fmt};

/// The policy of a layer while its store cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreError {
    /// The node decides alone: calls go on, and duplicates on different nodes may both be processed.
    #[default]
    FailOpen,
    /// New offers are refused as [`StoreUnavailable`](crate::Reason::StoreUnavailable). Duplicates that the node knows
    /// are still answered.
    FailClosed,
}

/// A call of a store failed or took too long. Whether it took effect is unknown.
#[derive(Debug)]
pub struct StoreError {
    message: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// Makes an error with a message for logs. It must not contain secrets.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Names the error behind this one.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

//! [`End`]: the end of a claim.

use std::time::Duration;

use super::{clock::Tick, completion::Resolution, history::Record};
use crate::{Reason, Refusal, fence::Fence, outcome::Outcome, settings::Settings};

/// The end of a claim.
#[derive(Debug)]
pub(super) enum End {
    /// The offer was processed here, and its processing ended this long ago.
    Here(Outcome, Option<Record>, Duration),
    /// Another node has processed the offer.
    Elsewhere(Elsewhere),
    /// The shared store refuses the offer.
    Refused(Refusal),
}

/// An offer that another node has processed.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) record: Option<Record>,
    /// The rest of its window.
    pub(crate) left: Duration,
    pub(crate) fence: Fence,
}

/// The record that a claim leaves.
#[derive(Debug)]
pub(super) struct Processed {
    pub(super) record: Option<Record>,
    pub(super) at: Tick,
    /// The number of the claim in the shared store, if another node held it.
    pub(super) fence: Option<Fence>,
}

impl End {
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Self::Here(_, record, _) | Self::Elsewhere(Elsewhere { record, .. }) => record.as_ref(),
            Self::Refused(_) => None,
        }
    }

    /// Returns whether the offer was processed here.
    pub(super) fn is_here(&self) -> bool {
        matches!(self, Self::Here(..))
    }

    /// Returns what followers do next, and what is remembered.
    #[inline]
    pub(super) fn resolve(self, settings: &Settings, now: Tick) -> (Resolution, Option<Processed>) {
        let refused = |reason| Resolution::Refused(Refusal::new(reason));
        match self {
            Self::Here(outcome, record, age) => {
                let counts = settings.counts(outcome);
                let resolution = match (outcome, &record) {
                    (Outcome::Broken | Outcome::Abandoned | Outcome::Superseded, _) => Resolution::Retry,
                    (_, Some(record)) => Resolution::Replay(record.clone()),
                    (_, None) if counts => refused(Reason::NotRecorded),
                    // A failure that may be tried again, without an answer to share.
                    (_, None) => refused(Reason::InFlight),
                };
                let processed = Processed {
                    record,
                    at: now.before(age),
                    fence: None,
                };
                (resolution, counts.then_some(processed))
            }
            Self::Elsewhere(Elsewhere { record, left, fence }) => {
                let resolution = match &record {
                    Some(record) => Resolution::Replay(record.clone()),
                    None => refused(Reason::NotRecorded),
                };
                let processed = Processed {
                    record,
                    at: now.before(settings.window.saturating_sub(left)),
                    fence: Some(fence),
                };
                (resolution, Some(processed))
            }
            Self::Refused(refusal) => (Resolution::Refused(refusal), None),
        }
    }
}

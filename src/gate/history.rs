//! The memory of one peer: [`Record`], [`Remembered`] and [`History`].

use std::{any::Any, fmt, slice, sync::Arc, time::Duration};

use super::{clock::Tick, number::ClaimNumber};
use crate::{Fingerprint, fence::Fence, quiet::quietly};

/// The number of offers of one peer that are remembered. Past it, the oldest are evicted.
const MAX_OFFERS: usize = 16;

/// The bytes that moka and the allocator take for a peer with one offer, measured at a million peers.
const ENTRY_BYTES: usize = 336;

/// A recorded answer. The layer does not know the response types of its services, so the type is erased.
#[derive(Clone)]
pub(crate) struct Record(Arc<Weighed<dyn Any + Send + Sync>>);

/// The weight is kept with the answer, so that a memory stays small.
struct Weighed<T: ?Sized> {
    bytes: usize,
    answer: T,
}

/// A recorded value whose `Drop` may panic. It is dropped inside moka and in other callers' requests.
struct Recorded<T>(Option<T>);

impl<T> Drop for Recorded<T> {
    fn drop(&mut self) {
        let answer = self.0.take();
        quietly(|| drop(answer));
    }
}

impl Record {
    pub(crate) fn new<T: Send + Sync + 'static>(answer: T, bytes: usize) -> Self {
        Self(Arc::new(Weighed {
            // Whatever a weigher returns, the sum of a peer's answers must not overflow.
            bytes: bytes.min(usize::MAX / (2 * MAX_OFFERS)),
            answer: Recorded(Some(answer)),
        }))
    }

    fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// Returns the answer, or `None` if a service with another response type recorded it.
    pub(crate) fn answer<T: 'static>(&self) -> Option<&T> {
        self.0.answer.downcast_ref::<Recorded<T>>()?.0.as_ref()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// One remembered offer.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    /// The claim that processed the offer, or the offer that superseded it.
    pub(super) number: ClaimNumber,
    /// The number of that claim in a shared store.
    pub(super) fence: Fence,
    pub(super) fingerprint: Fingerprint,
    pub(super) at: Tick,
    pub(super) kind: Kind,
}

/// The reason to remember an offer.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// It was processed. Its answer may not have been recorded.
    Processed(Option<Record>),
    /// The offer with the number beside it superseded it.
    Superseded,
}

impl Remembered {
    fn record_bytes(&self) -> usize {
        match &self.kind {
            Kind::Processed(Some(record)) => record.bytes(),
            Kind::Processed(None) | Kind::Superseded => 0,
        }
    }

    /// Returns whether this marks an offer that `number` superseded.
    pub(super) fn is_mark_of(&self, number: ClaimNumber) -> bool {
        self.number == number && matches!(self.kind, Kind::Superseded)
    }

    /// Returns whether this is the memory of the claim `number`.
    pub(super) fn is_claim(&self, number: ClaimNumber) -> bool {
        self.number == number && matches!(self.kind, Kind::Processed(_))
    }
}

/// Decides which memories count at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutoff {
    /// Memories from before this tick are past their window.
    oldest: Tick,
    /// Memories with a lower number are cleared.
    floor: ClaimNumber,
}

impl Cutoff {
    pub(super) fn new(now: Tick, window: Duration, floor: ClaimNumber) -> Self {
        Self {
            oldest: now.window_start(window),
            floor,
        }
    }

    /// Excludes memories from before `tick` as well.
    pub(super) fn not_before(self, tick: Tick) -> Self {
        Self {
            oldest: self.oldest.max(tick),
            ..self
        }
    }

    pub(super) fn includes(&self, offer: &Remembered) -> bool {
        offer.at >= self.oldest && offer.number >= self.floor
    }
}

/// The losses that keep a history inside its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trimmed {
    /// Offers that are no longer remembered.
    pub(super) offers: usize,
    /// Offers that are still remembered, without their answer.
    pub(super) answers: usize,
}

/// The remembered offers of one peer, oldest first.
#[derive(Clone, Debug)]
pub(super) enum History {
    /// The common case, which needs no allocation of its own.
    One(Remembered),
    Many(Arc<[Remembered]>),
}

impl History {
    /// Finds the offer `fingerprint` among the memories that count.
    pub(super) fn find(&self, fingerprint: Fingerprint, cutoff: &Cutoff) -> Option<&Remembered> {
        let mut offers = self.as_slice().iter();
        offers.rfind(|offer| offer.fingerprint == fingerprint && cutoff.includes(offer))
    }

    /// Returns whether any memory counts.
    pub(super) fn is_live(&self, cutoff: &Cutoff) -> bool {
        self.as_slice().iter().any(|offer| cutoff.includes(offer))
    }

    /// Appends `offer` to the live memories of `known`. Past the limits, the oldest go first.
    pub(super) fn append(known: Option<&Self>, offer: Remembered, cutoff: &Cutoff, max_memory: u64) -> (Self, Trimmed) {
        let known = known.map_or(&[][..], Self::as_slice);
        let mut live = known.iter().filter(|known| cutoff.includes(known)).peekable();
        if live.peek().is_none() && offer.record_bytes() <= max_peer_bytes(max_memory) {
            return (Self::One(offer), Trimmed::default());
        }
        let mut offers: Vec<_> = live.cloned().collect();
        // A later memory of the same offer replaces the earlier one.
        offers.retain(|known| known.fingerprint != offer.fingerprint);
        offers.push(offer);
        let trimmed = trim(&mut offers, max_memory);
        match offers.pop() {
            Some(newest) if offers.is_empty() => (Self::One(newest), trimmed),
            newest => (Self::Many(offers.into_iter().chain(newest).collect()), trimmed),
        }
    }

    /// Returns the history without the offers that `drops` holds for, or `None` if nothing is left.
    pub(super) fn without(&self, drops: impl Fn(&Remembered) -> bool) -> Option<Self> {
        let mut kept: Vec<_> = self.as_slice().iter().filter(|offer| !drops(offer)).cloned().collect();
        let newest = kept.pop()?;
        Some(if kept.is_empty() {
            Self::One(newest)
        } else {
            Self::Many(kept.into_iter().chain([newest]).collect())
        })
    }

    /// Returns the history with the marks of `from` renumbered to `to`, or `None` if there are none. Marks that do not
    /// count stay as they are: a higher number would bring back a cleared one.
    pub(super) fn with_marks_transferred(&self, from: ClaimNumber, to: ClaimNumber, cutoff: &Cutoff) -> Option<Self> {
        let is_transferred = |offer: &Remembered| offer.is_mark_of(from) && cutoff.includes(offer);
        if !self.as_slice().iter().any(is_transferred) {
            return None;
        }
        let transfer = |offer: &Remembered| Remembered {
            number: if is_transferred(offer) { to } else { offer.number },
            ..offer.clone()
        };
        Some(match self {
            Self::One(offer) => Self::One(transfer(offer)),
            Self::Many(offers) => Self::Many(offers.iter().map(transfer).collect()),
        })
    }

    pub(super) fn as_slice(&self) -> &[Remembered] {
        match self {
            Self::One(offer) => slice::from_ref(offer),
            Self::Many(offers) => offers,
        }
    }

    /// Returns an estimate of the memory that the history takes, with the entry that holds it.
    pub(super) fn bytes(&self) -> usize {
        bytes_of(self.as_slice())
    }
}

fn bytes_of(offers: &[Remembered]) -> usize {
    let list = if offers.len() > 1 { size_of_val(offers) } else { 0 };
    ENTRY_BYTES + list + offers.iter().map(Remembered::record_bytes).sum::<usize>()
}

/// The recorded answers of one peer may take a sixteenth of the memory, so that no peer evicts all others.
fn max_peer_bytes(max_memory: u64) -> usize {
    usize::try_from(max_memory / 16).unwrap_or(usize::MAX)
}

/// Drops the oldest offers past the limit for one peer, then the oldest answers, then more offers.
fn trim(offers: &mut Vec<Remembered>, max_memory: u64) -> Trimmed {
    let before = offers.len();
    offers.drain(..before.saturating_sub(MAX_OFFERS));
    let mut answers = 0;
    let mut record_bytes: usize = offers.iter().map(Remembered::record_bytes).sum();
    for offer in offers.iter_mut() {
        if record_bytes <= max_peer_bytes(max_memory) {
            break;
        }
        if let Kind::Processed(record @ Some(_)) = &mut offer.kind {
            record_bytes -= record.take().map_or(0, |record| record.bytes());
            answers += 1;
        }
    }
    // moka keeps nothing of an entry that is larger than all that it may hold.
    while offers.len() > 1 && bytes_of(offers) as u64 > max_memory {
        offers.remove(0);
    }
    Trimmed {
        offers: before - offers.len(),
        answers,
    }
}

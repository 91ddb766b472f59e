//! The original: a room manager in JavaScript with a `Map`, a `Set` and two `setTimeout` calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Time since the start.
pub(crate) type Time = Duration;
pub(crate) type Peer = &'static str;
/// The index of a processed offer.
pub(crate) type Ticket = usize;

const PREFIX: usize = 100;
const KEPT: Duration = Duration::from_secs(10);
const LOCKED: Duration = Duration::from_secs(2);
const LEASE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Manager {
    /// Follows `docs/design.md` where the original differs from it.
    is_amended: bool,
    /// The `Map`: fingerprints per peer, and whether their processing has ended.
    processed: BTreeMap<(Peer, String), bool>,
    /// The `Set`: peers that are being processed or cooling down.
    processing: BTreeSet<Peer>,
    timers: Vec<(Time, Timer)>,
    tickets: Vec<Processing>,
}

#[derive(Clone, Debug)]
struct Processing {
    peer: Peer,
    fingerprint: String,
    since: Time,
    has_ended: bool,
    /// Amended: nobody waits for the answer any more, and a different offer may take over.
    is_abandoned: bool,
    /// Amended: the claim was forgotten or lost the lock.
    is_void: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Timer {
    Forget(Peer, String),
    Release(Peer),
}

/// The decision on an offer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    Processed(Ticket),
    /// The original drops such an offer silently.
    Ignored(Cause),
}

/// The cause, derived from the original's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cause {
    InFlight,
    Processed,
    Busy,
    CoolingDown,
}

impl Manager {
    pub(crate) fn new(is_amended: bool) -> Self {
        Self {
            is_amended,
            ..Self::default()
        }
    }

    pub(crate) fn offer(&mut self, peer: Peer, message: &str, now: Time) -> Verdict {
        let fingerprint = self.fingerprint(message);
        if self.is_amended {
            self.take_over(peer, &fingerprint, now);
        }
        let key = (peer, fingerprint);
        if let Some(has_ended) = self.processed.get(&key) {
            return Verdict::Ignored(if *has_ended { Cause::Processed } else { Cause::InFlight });
        }
        if self.processing.contains(peer) {
            let is_busy = self.active_ticket(peer).is_some();
            return Verdict::Ignored(if is_busy { Cause::Busy } else { Cause::CoolingDown });
        }
        self.processing.insert(peer);
        self.processed.insert(key.clone(), false);
        self.tickets.push(Processing {
            peer,
            fingerprint: key.1,
            since: now,
            has_ended: false,
            is_abandoned: false,
            is_void: false,
        });
        Verdict::Processed(self.tickets.len() - 1)
    }

    /// Ends processing whatever its result, as `finally` does.
    pub(crate) fn end(&mut self, ticket: Ticket, now: Time) {
        self.tickets[ticket].has_ended = true;
        let Processing {
            peer,
            fingerprint,
            is_void,
            ..
        } = self.tickets[ticket].clone();
        if is_void {
            return;
        }
        if let Some(has_ended) = self.processed.get_mut(&(peer, fingerprint.clone())) {
            *has_ended = true;
        }
        self.timers.push((now + KEPT, Timer::Forget(peer, fingerprint)));
        self.timers.push((now + LOCKED, Timer::Release(peer)));
    }

    /// Ends processing that panicked or lost its client. In the original, a rejected promise ends like any other, and a
    /// promise cannot be dropped.
    pub(crate) fn abandon(&mut self, ticket: Ticket, now: Time) {
        if !self.is_amended {
            return self.end(ticket, now);
        }
        let Processing {
            peer,
            fingerprint,
            is_void,
            ..
        } = self.tickets[ticket].clone();
        self.tickets[ticket].has_ended = true;
        if !is_void {
            self.processed.remove(&(peer, fingerprint));
            self.processing.remove(peer);
        }
    }

    /// Notes that nobody waits any more for the answer of processing that goes on.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.tickets[ticket].is_abandoned = true;
    }

    /// Amended: ends the memory or the processing of one offer. The cooldown of its peer stays.
    pub(crate) fn forget_offer(&mut self, peer: Peer, message: &str) {
        if !self.is_amended {
            return;
        }
        let fingerprint = self.fingerprint(message);
        let active = self.active_ticket(peer);
        if let Some(ticket) = active.filter(|ticket| self.tickets[*ticket].fingerprint == fingerprint) {
            self.void_ticket(ticket);
        }
        let forget = Timer::Forget(peer, fingerprint.clone());
        self.timers.retain(|(_, timer)| *timer != forget);
        self.processed.remove(&(peer, fingerprint));
    }

    pub(crate) fn remove_peer(&mut self, peer: Peer) {
        self.processed.retain(|(whose, _), _| *whose != peer);
        self.processing.remove(peer);
        if self.is_amended {
            self.timers.retain(|(_, timer)| timer.peer() != peer);
            self.void(peer);
        }
    }

    pub(crate) fn destroy(&mut self) {
        self.processed.clear();
        self.processing.clear();
        if self.is_amended {
            self.timers.clear();
            self.tickets.iter_mut().for_each(|processing| processing.is_void = true);
        }
    }

    /// Fires the timers that are due, in order.
    pub(crate) fn advance(&mut self, now: Time) {
        self.timers.sort_by_key(|(at, _)| *at);
        let due = self.timers.partition_point(|(at, _)| *at <= now);
        for (_, timer) in self.timers.drain(..due) {
            match timer {
                Timer::Forget(peer, fingerprint) => {
                    self.processed.remove(&(peer, fingerprint));
                }
                Timer::Release(peer) => {
                    self.processing.remove(peer);
                }
            }
        }
    }

    /// Returns `true` while an offer of the peer is processed and holds the lock.
    pub(crate) fn is_busy(&self, peer: Peer) -> bool {
        self.active_ticket(peer).is_some()
    }

    fn active_ticket(&self, peer: Peer) -> Option<Ticket> {
        let holds = |processing: &Processing| processing.peer == peer && !processing.has_ended && !processing.is_void;
        self.tickets.iter().rposition(holds)
    }

    fn take_over(&mut self, peer: Peer, fingerprint: &str, now: Time) {
        let Some(ticket) = self.active_ticket(peer) else { return };
        // A remembered offer is refused before the lock is checked.
        let is_remembered = self.processed.get(&(peer, fingerprint.to_owned())) == Some(&true);
        let active = &self.tickets[ticket];
        let is_abandoned = active.is_abandoned && active.fingerprint != fingerprint;
        if (is_abandoned || active.since + LEASE <= now) && !is_remembered {
            self.void_ticket(ticket);
        }
    }

    /// Takes the lock from an offer that is processed.
    fn void_ticket(&mut self, ticket: Ticket) {
        let Processing { peer, fingerprint, .. } = self.tickets[ticket].clone();
        self.processed.remove(&(peer, fingerprint));
        self.processing.remove(peer);
        self.tickets[ticket].is_void = true;
    }

    fn void(&mut self, peer: Peer) {
        for processing in self.tickets.iter_mut().filter(|processing| processing.peer == peer) {
            processing.is_void = true;
        }
    }

    /// `JSON.stringify(offer).substring(0, 100)`, which counts UTF-16 units. The amended version counts bytes.
    fn fingerprint(&self, message: &str) -> String {
        if self.is_amended {
            let bytes = &message.as_bytes()[..PREFIX.min(message.len())];
            return String::from_utf8_lossy(bytes).into_owned();
        }
        let units: Vec<u16> = message.encode_utf16().take(PREFIX).collect();
        String::from_utf16_lossy(&units)
    }
}

impl Timer {
    fn peer(&self) -> Peer {
        match self {
            Self::Forget(peer, _) | Self::Release(peer) => peer,
        }
    }
}

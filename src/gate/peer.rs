//! [`Peer`]: the entry of one peer in the lock table. Plain state under the shard's mutex.

use super::{active::Active, clock::Tick, effects::Effects, history::History};

/// The entry of a peer that is busy, cooling down or waited for.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Zero if the peer has not cooled since the last sweep.
    pub(super) cooling_until: Tick,
    /// Boxed: most entries only cool down.
    pub(super) active: Option<Box<Active>>,
}

impl Peer {
    /// Returns the active state, which starts from `known` if there is none.
    pub(super) fn activate(&mut self, known: Option<History>, effects: &mut Effects) -> &mut Active {
        match &mut self.active {
            Some(active) => {
                // Not dropped here: its answers may call back into the gate.
                effects.discard(known);
                active
            }
            vacant => vacant.insert(Active::new(known)),
        }
    }

    /// Returns whether nothing is left of the peer but perhaps a memory.
    pub(super) fn is_idle(&self) -> bool {
        self.active.is_none() && self.cooling_until == Tick::default()
    }
}

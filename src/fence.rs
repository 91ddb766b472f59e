//! [`Fence`]: the number of a claim in a shared store.

/// The number that the store grants with a claim: a fencing token. Of two claims of one peer, the later has the higher
/// number, also after the store lost its data. Numbers begin at 1.
///
/// A handler finds it in an admitted request, for HTTP in the extensions. Systems behind the handler can refuse writes
/// that carry a lower number than one they have seen: they come from a node that has lost its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(u64);

impl Fence {
    /// Stands for a claim that no store has granted.
    pub(crate) const NONE: Self = Self(0);

    /// Makes the fence with this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub fn get(self) -> u64 {
        self.0
    }
}

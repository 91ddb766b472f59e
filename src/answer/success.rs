/// Decides whether a response means that an offer was processed. Implemented for closures `Fn(&Res) -> bool`.
pub trait Success<Res> {
    /// Returns whether `response` is that of a success.
    fn is_success(&self, response: &Res) -> bool;
}

impl<F: Fn(&Res) -> bool, Res> Success<Res> for F {
    fn is_success(&self, response: &Res) -> bool {
        self(response)
    }
}

/// Takes every response for a success. Failures are then `Err`.
#[derive(Clone, Copy, Debug, Default)]
pub struct EveryOk;

impl<Res> Success<Res> for EveryOk {
    fn is_success(&self, _: &Res) -> bool {
        true
    }
}

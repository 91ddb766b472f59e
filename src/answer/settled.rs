use crate::{extract::SessionUri, outcome::Outcome};

/// An answer to an offer, as [`Answer::settle`](super::Answer::settle) has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled<Res, Rec> {
    response: Res,
    outcome: Outcome,
    record: Option<(Rec, usize)>,
    session: Option<SessionUri>,
}

impl<Res, Rec> Settled<Res, Rec> {
    /// Makes a success: the offer was processed and is remembered.
    pub fn success(response: Res) -> Self {
        Self::new(response, Outcome::Success)
    }

    /// Makes a failure: the offer may be retried at once.
    ///
    /// A recorded answer goes to the duplicates that wait already. Without one, they are refused as
    /// [`InFlight`](crate::Reason::InFlight).
    pub fn failure(response: Res) -> Self {
        Self::new(response, Outcome::Failure)
    }

    /// Makes a broken answer: the response broke off and serves nobody. As after an `Err`, the offer may be retried at
    /// once, and one of the duplicates that wait already is processed next.
    pub fn broken(response: Res) -> Self {
        Self::new(response, Outcome::Broken)
    }

    pub(crate) fn of(response: Res, is_success: bool) -> Self {
        if is_success {
            Self::success(response)
        } else {
            Self::failure(response)
        }
    }

    fn new(response: Res, outcome: Outcome) -> Self {
        Self {
            response,
            outcome,
            record: None,
            session: None,
        }
    }

    /// Keeps `record` to answer duplicates with. It takes `bytes` bytes of the layer's memory.
    #[must_use]
    pub fn recorded(self, record: Rec, bytes: usize) -> Self {
        Self {
            record: Some((record, bytes)),
            ..self
        }
    }

    /// Names the URI of the session that the offer created. A later request that
    /// [ends](crate::extract::Found::Ending) that URI forgets the offer.
    #[must_use]
    pub fn session(self, uri: SessionUri) -> Self {
        Self {
            session: Some(uri),
            ..self
        }
    }

    /// Returns the response that goes out.
    pub fn response(&self) -> &Res {
        &self.response
    }

    /// Returns the response that goes out.
    pub fn into_response(self) -> Res {
        self.response
    }

    /// Returns whether the offer is remembered.
    pub fn is_success(&self) -> bool {
        self.outcome == Outcome::Success
    }

    /// Returns what is kept to answer duplicates with.
    pub fn record(&self) -> Option<&Rec> {
        self.record.as_ref().map(|(record, _)| record)
    }

    /// Returns the URI of the session that the offer created.
    pub fn session_uri(&self) -> Option<SessionUri> {
        self.session
    }

    /// Changes the response, for an answer that wraps another one.
    pub fn map<Out>(self, map: impl FnOnce(Res) -> Out) -> Settled<Out, Rec> {
        Settled {
            response: map(self.response),
            outcome: self.outcome,
            record: self.record,
            session: self.session,
        }
    }

    pub(crate) fn into_parts(self) -> (Res, Outcome, Option<(Rec, usize)>) {
        (self.response, self.outcome, self.record)
    }
}

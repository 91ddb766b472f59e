//! Judges what came back. Only what breaks or misleads a client is a failure; what clients may stumble over is a warning.

use std::collections::BTreeMap;

use crate::{
    args::Protocol,
    check::Ruling,
    reply::{Answer, Lost, Outcome, Reply, sessions},
};

/// One offer, sent once.
pub(crate) fn one(protocol: Protocol, reply: &Reply) -> Ruling {
    let answer = match &reply.outcome {
        Outcome::Answered(answer) => answer,
        Outcome::Empty { status } => return Ruling::fail(format!("{status}, but no SDP answer in it")),
        Outcome::Refused { status, .. } => return Ruling::fail(format!("a valid offer was refused with {status}")),
        Outcome::Lost(lost) => return Ruling::fail(format!("no response: {lost}")),
    };
    if answer.ufrag.is_none() {
        return Ruling::fail(format!("{}, but no SDP answer in it", answer.status));
    }
    if matches!(protocol, Protocol::Json | Protocol::Ws) {
        return Ruling::pass("answered");
    }
    if answer.location.is_none() {
        return Ruling::fail("the answer has no Location, so nobody can end its session");
    }
    if answer.status != 201 {
        return Ruling::warn(format!("the answer has status {}, and should have 201", answer.status));
    }
    if !answer.is_sdp {
        return Ruling::warn("the answer's media type is not application/sdp");
    }
    Ruling::pass("answered with 201 and a Location")
}

/// Copies of one offer, of which each client waits for its own answer.
pub(crate) fn same_offer(replies: &[Reply]) -> Ruling {
    let sessions = sessions(replies);
    if sessions > 1 {
        return Ruling::fail(format!("{sessions} sessions for one offer"));
    }
    if let Some(ruling) = faulty(replies) {
        return ruling;
    }
    let unanswered = replies.iter().filter(|reply| reply.answer().is_none());
    match (sessions, unanswered.count()) {
        (0, _) => Ruling::fail("no copy was answered"),
        (_, 0) => Ruling::pass("one session, and every copy got its answer"),
        (_, unanswered) => Ruling::warn(format!(
            "one session, but {unanswered} of {} copies got no answer: {}. OBS, FFmpeg and GStreamer give up on that",
            replies.len(),
            refusals(replies)
        )),
    }
}

/// The last of these is what the client waits for. The others were cut.
pub(crate) fn cut(replies: &[Reply]) -> Ruling {
    let Some((last, cut)) = replies.split_last() else {
        return Ruling::fail("nothing was sent");
    };
    let sessions = sessions(replies);
    if sessions > 1 {
        return Ruling::fail(format!(
            "{sessions} sessions for one offer, of which the client knows the last"
        ));
    }
    if last.answer().is_none() {
        return Ruling::fail(format!("the client never gets its answer: {}", last.outcome));
    }
    let silent = cut.iter().filter(|reply| matches!(reply.outcome, Outcome::Lost(_)));
    match silent.count() {
        0 => Ruling::pass("one session, and the client gets its answer"),
        silent => Ruling::pass(format!(
            "the client gets its answer. {silent} cut requests sent nothing back: a session made for them would not show"
        )),
    }
}

/// An offer, and another one while the first is pending.
pub(crate) fn newer(protocol: Protocol, first: &Reply, newer: &Reply) -> Ruling {
    match (&newer.outcome, first.answer()) {
        // On a WebSocket both are of one connection, which may keep its credentials.
        (Outcome::Answered(answer), Some(other)) if protocol != Protocol::Ws && answer.is_session_of(other) => {
            Ruling::fail("the newer offer got the answer of the older one")
        }
        (Outcome::Answered(_), Some(_)) => Ruling::pass("each offer got an answer of its own"),
        (Outcome::Answered(_), None) => match &first.outcome {
            Outcome::Lost(Lost::TimedOut) => Ruling::warn("the newer offer was answered, but the older one hangs"),
            outcome => Ruling::pass(format!(
                "the newer offer was answered, and the older one was not: {outcome}"
            )),
        },
        (
            Outcome::Refused {
                status,
                retry_after: true,
            },
            _,
        ) => Ruling::warn(format!(
            "the newer offer was refused with {status} and Retry-After, which publishers ignore"
        )),
        (
            Outcome::Refused {
                status,
                retry_after: false,
            },
            _,
        ) if !is_server_error(*status) => Ruling::warn(format!(
            "the newer offer was refused with {status}, without a word on when to come back"
        )),
        (outcome, _) => Ruling::fail(format!("the newer offer was lost: {outcome}")),
    }
}

/// An offer, the status of its session's `DELETE`, and the offer again.
pub(crate) fn ended(first: &Answer, deleted: &Outcome, again: &Reply) -> Ruling {
    let is_ended = matches!(deleted, Outcome::Empty { .. } | Outcome::Answered(_));
    if !is_ended {
        return Ruling::fail(format!("the session's Location did not take DELETE: {deleted}"));
    }
    match &again.outcome {
        Outcome::Answered(answer) if answer.is_session_of(first) => {
            Ruling::fail("the answer of the session that has ended was given again")
        }
        Outcome::Answered(_) => Ruling::pass("a new session was made"),
        Outcome::Refused { status, .. } if !is_server_error(*status) => Ruling::warn(format!(
            "the offer was refused with {status}, although its session has ended"
        )),
        outcome => Ruling::fail(format!("the offer was not answered: {outcome}")),
    }
}

/// One user's offer, and the same offer from others.
pub(crate) fn principal(first: &Reply, others: &[Reply]) -> Ruling {
    let Some(answer) = first.answer() else {
        return Ruling::fail(format!("the first user's offer was not answered: {}", first.outcome));
    };
    let is_given = |other: &Reply| {
        other.answer().is_some_and(|other| {
            other.is_session_of(answer) || (other.location.is_some() && other.location == answer.location)
        })
    };
    if others.iter().any(is_given) {
        return Ruling::fail("another user got the first one's session, with its ICE credentials");
    }
    if let Some(ruling) = faulty(others) {
        return ruling;
    }
    if others.iter().any(|other| other.answer().is_some()) {
        Ruling::pass("another user got a session of its own")
    } else {
        Ruling::pass(format!("another user was refused: {}", refusals(others)))
    }
}

/// Many offers, each repeated.
pub(crate) fn storm(replies: &[Reply]) -> Ruling {
    let mut offers: BTreeMap<usize, Vec<&Reply>> = BTreeMap::new();
    for reply in replies {
        offers.entry(reply.offer).or_default().push(reply);
    }
    let each = offers.values().map(|replies| sessions(replies.iter().copied()));
    let each: Vec<_> = each.collect();
    let multiple = each.iter().filter(|sessions| **sessions > 1).count();
    let made: usize = each.iter().sum();
    let all = offers.len();
    if multiple > 0 {
        return Ruling::fail(format!(
            "{multiple} of {all} offers made more than one session, {made} in all"
        ));
    }
    if let Some(ruling) = faulty(replies) {
        return ruling;
    }
    let answered = each.iter().filter(|sessions| **sessions == 1).count();
    if sessions(replies) < answered {
        return Ruling::fail("offers that differ got the same answer");
    }
    if answered == 0 {
        return Ruling::fail("no offer was answered");
    }
    let hint = |reply: &Reply| {
        !matches!(
            reply.outcome,
            Outcome::Refused { retry_after: false, .. } | Outcome::Lost(_)
        )
    };
    let refused = refusals(replies);
    match (answered == all, refused.is_empty(), replies.iter().all(hint)) {
        (true, true, _) => Ruling::pass("one session for each offer, and every copy got its answer"),
        (_, _, true) => Ruling::pass(format!(
            "{answered} of {all} offers were answered, with one session each; refused with Retry-After: {refused}"
        )),
        (_, _, false) => Ruling::warn(format!(
            "{answered} of {all} offers were answered, with one session each; without a word on when to come back: {refused}"
        )),
    }
}

/// Requests that are no offers, a valid offer longer than 64 KiB, and a valid offer after them.
pub(crate) fn bodies(broken: &[Reply], long: &Reply, after: &Reply) -> Ruling {
    if let Some(reply) = broken.iter().find(|reply| reply.answer().is_some()) {
        return Ruling::fail(format!("a body that is no offer was answered with {}", reply.outcome));
    }
    if after.answer().is_none() {
        return Ruling::fail(format!(
            "after broken bodies a valid offer was not answered: {}",
            after.outcome
        ));
    }
    let all = || broken.iter().chain([long]);
    if let Some(reply) = all().find(|reply| reply.outcome == Outcome::Lost(Lost::TimedOut)) {
        return Ruling::fail(format!("a broken or long body hangs: {}", reply.outcome));
    }
    let is_wrong = |reply: &&Reply| match &reply.outcome {
        Outcome::Refused { status, .. } => is_server_error(*status),
        Outcome::Empty { .. } => true,
        // A WebSocket need not say anything about a message that it does not understand.
        Outcome::Lost(lost) => *lost != Lost::Silent,
        Outcome::Answered(_) => false,
    };
    match all().find(is_wrong) {
        Some(reply) => Ruling::warn(format!(
            "a broken or long body got: {}. It should be a client error",
            reply.outcome
        )),
        None => Ruling::pass("refused, and the server goes on"),
    }
}

/// A failure that no request should meet: nothing came back, or success without an answer, or an error of the server.
fn faulty(replies: &[Reply]) -> Option<Ruling> {
    let is_faulty = |reply: &&Reply| match &reply.outcome {
        Outcome::Answered(_) => false,
        Outcome::Refused { status, .. } => is_server_error(*status),
        Outcome::Lost(lost) => *lost != Lost::Silent,
        Outcome::Empty { .. } => true,
    };
    let faulty: Vec<_> = replies.iter().filter(is_faulty).collect();
    let first = faulty.first()?;
    Some(Ruling::fail(format!(
        "{} of {} requests failed, the first with: {}",
        faulty.len(),
        replies.len(),
        first.outcome
    )))
}

/// 503 is no error: the server says that it is busy.
fn is_server_error(status: u16) -> bool {
    status >= 500 && status != 503
}

/// The outcomes without an answer, each once.
fn refusals(replies: &[Reply]) -> String {
    let mut outcomes: Vec<_> = replies.iter().filter(|reply| reply.answer().is_none()).collect();
    outcomes.sort_by_cached_key(|reply| reply.outcome.to_string());
    outcomes.dedup_by_key(|reply| reply.outcome.to_string());
    let outcomes: Vec<_> = outcomes.iter().map(|reply| reply.outcome.to_string()).collect();
    outcomes.join(", ")
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;

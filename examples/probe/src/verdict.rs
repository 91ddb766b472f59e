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
            "the client gets its answer. To {silent} of {} cut requests nothing came back: a session made for one would not show",
            cut.len()
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::Verdict::{self, Fail, Pass, Warn};

    const TIMED_OUT: Outcome = Outcome::Lost(Lost::TimedOut);
    const SILENT: Outcome = Outcome::Lost(Lost::Silent);

    /// Session 0 has nothing that identifies it.
    fn session(number: usize) -> Outcome {
        Outcome::Answered(Answer {
            status: 201,
            location: (number > 0).then(|| format!("http://host/{number}")),
            ufrag: (number > 0).then(|| number.to_string()),
            is_sdp: true,
        })
    }

    fn refused(status: u16) -> Outcome {
        Outcome::Refused {
            status,
            retry_after: status == 503,
        }
    }

    fn replies(outcomes: impl IntoIterator<Item = Outcome>) -> Vec<Reply> {
        outcomes.into_iter().map(|outcome| of(0, outcome)).collect()
    }

    fn of(offer: usize, outcome: Outcome) -> Reply {
        Reply {
            offer,
            outcome,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn copies_share_one_session() {
        let rows: &[(Verdict, &[Outcome])] = &[
            (Pass, &[session(1), session(1)]),
            (Pass, &[session(0), session(0)]),
            (Fail, &[session(1), session(2)]),
            (Fail, &[session(1), session(2), TIMED_OUT]),
            (Warn, &[session(1), refused(409)]),
            (Warn, &[session(1), refused(503)]),
            (Warn, &[session(1), SILENT]),
            (Fail, &[session(1), refused(500)]),
            (Fail, &[session(1), TIMED_OUT]),
            (Fail, &[session(1), Outcome::Empty { status: 200 }]),
            (Fail, &[refused(409), refused(409)]),
            (Fail, &[SILENT]),
            (Fail, &[]),
        ];
        for (verdict, outcomes) in rows {
            let ruling = same_offer(&replies(outcomes.to_vec()));
            assert_eq!(ruling.verdict, *verdict, "{outcomes:?}: {}", ruling.why);
        }
    }

    #[test]
    fn sessions_count_by_location_or_ufrag() {
        let answer = |location: &str, ufrag: &str| {
            Outcome::Answered(Answer {
                location: Some(location.to_owned()),
                ufrag: Some(ufrag.to_owned()),
                ..Answer::default()
            })
        };
        let count = |outcomes: [Outcome; 2]| sessions(&replies(outcomes));
        assert_eq!(count([answer("/a", "a"), answer("/a", "a")]), 1);
        assert_eq!(count([answer("/a", "a"), answer("/a", "b")]), 2);
        assert_eq!(count([answer("/a", "a"), answer("/b", "a")]), 2);
        assert_eq!(count([refused(409), answer("/b", "a")]), 1);
    }

    #[test]
    fn repeat_after_cut_is_answered() {
        let closed = || Outcome::Lost(Lost::Closed);
        let rows = [
            (Pass, [session(1), session(1), session(1)]),
            (Pass, [closed(), closed(), session(1)]),
            (Fail, [session(1), closed(), session(2)]),
            (Fail, [closed(), closed(), refused(403)]),
            (Fail, [session(1), session(1), TIMED_OUT]),
        ];
        for (verdict, outcomes) in rows {
            assert_eq!(cut(&replies(outcomes.clone())).verdict, verdict, "{outcomes:?}");
        }
        assert!(cut(&replies([closed(), session(1)])).why.contains("would not show"));
    }

    #[test]
    fn newer_offer_is_not_lost() {
        let rows = [
            (Pass, session(1), session(2)),
            (Pass, refused(409), session(2)),
            (Warn, TIMED_OUT, session(2)),
            (Fail, session(1), session(1)),
            (Warn, session(1), refused(503)),
            (Warn, session(1), refused(409)),
            (Fail, session(1), refused(500)),
            (Fail, session(1), TIMED_OUT),
        ];
        for (verdict, first, second) in rows {
            let ruling = newer(Protocol::Whip, &of(0, first), &of(1, second));
            assert_eq!(ruling.verdict, verdict, "{}", ruling.why);
        }
        let same = newer(Protocol::Ws, &of(0, session(1)), &of(1, session(1)));
        assert_eq!(same.verdict, Pass);
    }

    #[test]
    fn dead_session_is_not_replayed() {
        let deleted = Outcome::Empty { status: 200 };
        let rows = [
            (Pass, &deleted, session(2)),
            (Fail, &deleted, session(1)),
            (Warn, &deleted, refused(409)),
            (Fail, &deleted, refused(500)),
            (Fail, &deleted, TIMED_OUT),
            (Fail, &refused(405), session(2)),
        ];
        let first = session(1);
        let Outcome::Answered(first) = &first else {
            unreachable!()
        };
        for (verdict, deleted, again) in rows {
            let ruling = ended(first, deleted, &of(0, again));
            assert_eq!(ruling.verdict, verdict, "{}", ruling.why);
        }
    }

    #[test]
    fn users_do_not_share_a_session() {
        let rows = [
            (Pass, session(2)),
            (Pass, refused(401)),
            (Fail, session(1)),
            (Fail, refused(500)),
            (Fail, TIMED_OUT),
        ];
        for (verdict, other) in rows {
            let ruling = principal(&of(0, session(1)), &replies([session(3), other]));
            assert_eq!(ruling.verdict, verdict, "{}", ruling.why);
        }
        assert_eq!(principal(&of(0, refused(409)), &[]).verdict, Fail);
    }

    #[test]
    fn storm_makes_one_session_for_each_offer() {
        let rows: &[(Verdict, &[(usize, Outcome)])] = &[
            (Pass, &[(0, session(1)), (0, session(1)), (1, session(2))]),
            (Pass, &[(0, session(1)), (1, refused(503))]),
            (Warn, &[(0, session(1)), (1, refused(429))]),
            (Warn, &[(0, session(1)), (0, refused(409))]),
            (Fail, &[(0, session(1)), (0, session(2))]),
            (Fail, &[(0, session(1)), (0, session(2)), (1, session(3))]),
            (Fail, &[(0, session(1)), (1, session(1))]),
            (Fail, &[(0, session(1)), (1, TIMED_OUT)]),
            (Fail, &[(0, refused(503)), (1, refused(503))]),
        ];
        for (verdict, outcomes) in rows {
            let replies: Vec<_> = outcomes
                .iter()
                .cloned()
                .map(|(offer, outcome)| of(offer, outcome))
                .collect();
            let ruling = storm(&replies);
            assert_eq!(ruling.verdict, *verdict, "{outcomes:?}: {}", ruling.why);
        }
    }

    #[test]
    fn broken_bodies_are_client_errors() {
        let rows = [
            (Pass, refused(400), session(1), session(2)),
            (Pass, refused(400), refused(413), session(2)),
            (Pass, SILENT, SILENT, session(2)),
            (Warn, refused(500), refused(413), session(2)),
            (Warn, refused(400), Outcome::Lost(Lost::Closed), session(2)),
            (Warn, Outcome::Empty { status: 200 }, refused(413), session(2)),
            (Fail, session(1), refused(413), session(2)),
            (Fail, refused(400), TIMED_OUT, session(2)),
            (Fail, refused(400), refused(413), refused(403)),
        ];
        for (verdict, broken, long, after) in rows {
            let ruling = bodies(&replies([broken]), &of(0, long), &of(1, after));
            assert_eq!(ruling.verdict, verdict, "{}", ruling.why);
        }
    }

    #[test]
    fn whip_answers_need_a_location() {
        let answer = Answer {
            status: 201,
            location: Some("http://host/1".into()),
            ufrag: Some("a".into()),
            is_sdp: true,
        };
        let without = |change: fn(&mut Answer)| {
            let mut answer = answer.clone();
            change(&mut answer);
            Outcome::Answered(answer)
        };
        let rows = [
            (Pass, Pass, without(|_| {})),
            (Fail, Pass, without(|answer| answer.location = None)),
            (Fail, Fail, without(|answer| answer.ufrag = None)),
            (Warn, Pass, without(|answer| answer.status = 200)),
            (Warn, Pass, without(|answer| answer.is_sdp = false)),
            (Fail, Fail, refused(406)),
            (Fail, Fail, TIMED_OUT),
        ];
        for (whip, json, outcome) in rows {
            let reply = of(0, outcome);
            assert_eq!(one(Protocol::Whip, &reply).verdict, whip, "{reply:?}");
            assert_eq!(one(Protocol::Json, &reply).verdict, json, "{reply:?}");
        }
    }
}

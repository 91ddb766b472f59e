//! Single calls beside a `PING` on the same connection.

use std::time::{Duration, Instant};

use bytes::Bytes;
use idempotent::{
    CachedResponse, Fingerprint as TheirFingerprint, IdempotencyEntry, IdempotencyKey, IdempotencyStore, InsertResult,
    Metadata, valkey::ValkeyStore,
};
use tower_offer_dedup::{
    Fingerprint, PeerKey,
    answer::EncodedRecord,
    store::{Ask, ClaimToken, Claimed, Completed, Completion, RedisStore, SharedStore},
};

use crate::{
    Size, node,
    report::{Bar, Report},
    server::Server,
    times::{Figures, Times},
};

const ANSWER: [u8; 1500] = [b'a'; 1500];
const LEASE: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(60);

const OURS: [&str; 4] = [
    "`PING`",
    "claim of a new offer",
    "completion with an answer",
    "duplicate, with the answer",
];
const THEIRS: [&str; 4] = [
    "`idempotent`: `PING`",
    "`idempotent`: claim of a new key",
    "`idempotent`: completion with an answer",
    "`idempotent`: duplicate, with the answer",
];

/// The times of the four kinds of calls in one round.
type Round = [Times; 4];

/// Returns the ratios of a claim to a `PING`.
pub(crate) async fn measure(server: &Server, size: Size, report: &mut Report) -> [(&'static str, f64); 2] {
    let ours = node(server).await;
    let theirs = ValkeyStore::with_url(server.url()).try_build();
    let theirs = theirs.await.expect("the server should be reached");
    let (mut our_rounds, mut their_rounds) = (Vec::new(), Vec::new());
    for round in 0..=size.rounds {
        server.flush();
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                our_rounds.push(play_ours(&ours, round, size.calls).await);
            } else {
                their_rounds.push(play_theirs(&theirs, round, size.calls).await);
            }
        }
    }
    // The first round warms up.
    our_rounds.remove(0);
    their_rounds.remove(0);

    let (mut rows, mut bars) = (Vec::new(), Vec::new());
    let mut claim = [0.0; 2];
    for (names, rounds) in [(OURS, &our_rounds), (THEIRS, &their_rounds)] {
        for (kind, name) in names.into_iter().enumerate() {
            let mut row = vec![name.to_owned()];
            for (which, share) in [0.5, 0.99].into_iter().enumerate() {
                let times = Figures::new(rounds.iter().map(|round| round[kind].at(share)));
                let ratio = Figures::new(rounds.iter().map(|round| round[kind].at(share) / round[0].at(share)));
                row.extend([times.text(0), ratio.text(2)]);
                if kind == 1 && names == OURS {
                    claim[which] = ratio.median();
                }
                if kind > 0 && which == 0 {
                    let limit = (kind == 1 && names == OURS).then_some(4.0);
                    bars.push(Bar::new(name.replace('`', ""), ratio.median(), limit));
                }
            }
            rows.push(row);
        }
    }
    let columns = ["call", "p50, µs", "p50 / `PING`", "p99, µs", "p99 / `PING`"];
    let title = format!(
        "One call at a time, {} of each kind in each of {} rounds",
        size.calls, size.rounds
    );
    report.table(&title, &columns, rows);
    report.plot("store-calls", "p50 of a call over p50 of a PING", "×", "linear", bars);
    [("p50", claim[0]), ("p99", claim[1])]
}

/// Makes the question about the offer of a peer.
pub(crate) fn ask(store: &RedisStore, peer: (&'static str, usize, usize), unique: u64) -> Ask {
    Ask {
        peer: PeerKey::from(peer),
        fingerprint: Fingerprint::exact(b"an offer"),
        token: ClaimToken::new(store.node(), unique),
        lease: LEASE,
        wants_record: true,
        supersede: None,
    }
}

pub(crate) fn completion() -> Completion {
    Completion {
        window: WINDOW,
        cooldown: Duration::ZERO,
        record: Some(EncodedRecord::new(1, ANSWER.to_vec())),
    }
}

async fn play_ours(store: &RedisStore, round: usize, calls: usize) -> Round {
    let mut times: [Vec<Duration>; 4] = Default::default();
    for call in 0..calls {
        let unique = (round * calls + call) as u64 * 2;
        let first = ask(store, ("alice", round, call), unique);
        let again = ask(store, ("alice", round, call), unique + 1);
        timed(&mut times[0], store.ping()).await.expect("a reply");
        let claimed = timed(&mut times[1], store.claim(first)).await;
        assert!(matches!(claimed, Ok(Claimed::Admitted { .. })), "{claimed:?}");
        let completed = timed(&mut times[2], store.complete(first.held(), completion())).await;
        assert_eq!(completed.ok(), Some(Completed::Done));
        let claimed = timed(&mut times[3], store.claim(again)).await;
        assert!(
            matches!(claimed, Ok(Claimed::Processed { record: Some(_), .. })),
            "{claimed:?}"
        );
    }
    times.map(Times::new)
}

async fn play_theirs(store: &ValkeyStore, round: usize, calls: usize) -> Round {
    let mut times: [Vec<Duration>; 4] = Default::default();
    for call in 0..calls {
        let key = IdempotencyKey::new(format!("alice-{round}-{call}")).expect("the key should be valid");
        let entry = || IdempotencyEntry::new(TheirFingerprint::new(7), LEASE);
        let answer = CachedResponse::new(201, Metadata::new(), Bytes::from_static(&ANSWER));
        timed(&mut times[0], store.ping()).await.expect("a reply");
        let claimed = timed(&mut times[1], store.try_insert(&key, entry())).await;
        let Ok(InsertResult::Claimed { fencing_token }) = claimed else {
            panic!("a new key should be claimed");
        };
        let completed = entry().complete(answer, WINDOW);
        let completed = timed(&mut times[2], store.complete(&key, completed, fencing_token)).await;
        completed.expect("the completion should succeed");
        let claimed = timed(&mut times[3], store.try_insert(&key, entry())).await;
        assert!(matches!(claimed, Ok(InsertResult::Exists(_))), "a completed key exists");
    }
    times.map(Times::new)
}

async fn timed<T>(times: &mut Vec<Duration>, call: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let reply = call.await;
    times.push(start.elapsed());
    reply
}

//! The time until a node that waits for another one learns of the completion.

use std::time::{Duration, Instant};

use tower_offer_dedup::store::{Claimed, Completed, Notice, SharedStore};

use crate::{
    Size,
    calls::{ask, completion},
    node,
    report::Report,
    server::Server,
    times::{Figures, Times},
};

pub(crate) async fn measure(server: &Server, size: Size, report: &mut Report) {
    let (first, second) = (node(server).await, node(server).await);
    let mut notices = second.listen();
    let (mut pings, mut wakes) = (Vec::new(), Vec::new());
    for round in 0..=size.rounds {
        server.flush();
        let mut times: [Vec<Duration>; 2] = Default::default();
        for call in 0..size.calls {
            let start = Instant::now();
            second.ping().await.expect("a reply");
            times[0].push(start.elapsed());
            let unique = (round * size.calls + call) as u64;
            let (mine, other) = (
                ask(&first, ("carol", round, call), unique),
                ask(&second, ("carol", round, call), unique),
            );
            let claimed = first.claim(mine).await;
            assert!(matches!(claimed, Ok(Claimed::Admitted { .. })), "{claimed:?}");
            let claimed = second.claim(other).await;
            assert!(matches!(claimed, Ok(Claimed::InFlight { .. })), "{claimed:?}");
            let start = Instant::now();
            let completing = tokio::spawn(first.complete(mine.held(), completion()));
            while notices.next().await.expect("the notices should go on") != Notice::Wake(mine.peer) {}
            times[1].push(start.elapsed());
            let completed = completing.await.expect("the call should not panic");
            assert_eq!(completed.ok(), Some(Completed::Done));
        }
        // The first round warms up.
        if round > 0 {
            let [ping, wake] = times.map(Times::new);
            pings.push(ping);
            wakes.push(wake);
        }
    }
    let figures = |times: &[Times], share: f64| Figures::new(times.iter().map(|times| times.at(share)));
    let ratio = |share: f64| {
        let pairs = pings.iter().zip(&wakes);
        Figures::new(pairs.map(|(ping, wake)| wake.at(share) / ping.at(share)))
    };
    let row = |name: &str, times: &[Times]| {
        vec![
            name.to_owned(),
            figures(times, 0.5).text(0),
            figures(times, 0.99).text(0),
        ]
    };
    let over = vec!["wake-up / `PING`".to_owned(), ratio(0.5).text(2), ratio(0.99).text(2)];
    report.table(
        "A node waits for another one: from the call that completes to the notice",
        &["what", "p50, µs", "p99, µs"],
        [row("`PING`", &pings), row("wake-up across nodes", &wakes), over],
    );
}

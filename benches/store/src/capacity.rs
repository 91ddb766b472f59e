//! Two nodes that send as much as one server takes.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Instant,
};

use tower_offer_dedup::store::{Claimed, SharedStore};

use crate::{Size, calls::ask, node, report::Report, server::Server, times::Figures};

const NODES: usize = 2;
/// Calls under way at a time, of each node.
const AT_ONCE: usize = 64;

pub(crate) fn measure(server: &Server, size: Size, report: &mut Report) {
    let (mut nodes, mut benchmark) = (Vec::new(), Vec::new());
    for round in 0..=size.rounds {
        server.flush();
        nodes.push(claims_by_nodes(server, round, size.requests));
        server.flush();
        benchmark.push(server.claims_by_benchmark(size.requests, NODES * AT_ONCE));
    }
    // The first round warms up.
    let ratios = Figures::new(
        nodes
            .iter()
            .zip(&benchmark)
            .skip(1)
            .map(|(nodes, benchmark)| nodes / benchmark),
    );
    let [nodes, benchmark] = [nodes, benchmark].map(|rates| Figures::new(rates.into_iter().skip(1)));
    let title = format!(
        "{} new claims in each of {} rounds, {} at once",
        size.requests,
        size.rounds,
        NODES * AT_ONCE
    );
    report.table(
        &title,
        &["client", "claims a second", "of redis-benchmark"],
        [
            vec!["two nodes".to_owned(), nodes.text(0), ratios.text(2)],
            vec![
                "`redis-benchmark` with the same script, 2 threads".to_owned(),
                benchmark.text(0),
                "1".to_owned(),
            ],
        ],
    );
}

/// Returns how many new claims a second two nodes get, each on a thread of its own.
fn claims_by_nodes(server: &Server, round: usize, requests: usize) -> f64 {
    let sent = AtomicUsize::new(0);
    let runtimes: Vec<_> = (0..NODES)
        .map(|_| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("the runtime should start");
            let store = runtime.block_on(node(server));
            (runtime, store)
        })
        .collect();
    let start = Instant::now();
    thread::scope(|scope| {
        for (runtime, store) in &runtimes {
            let sent = &sent;
            scope.spawn(move || {
                let work = async || loop {
                    let number = sent.fetch_add(1, Relaxed);
                    if number >= requests {
                        break;
                    }
                    let claimed = store.claim(ask(store, ("bob", round, number), number as u64)).await;
                    assert!(matches!(claimed, Ok(Claimed::Admitted { .. })), "{claimed:?}");
                };
                runtime.block_on(async {
                    // On the thread itself, so that no time goes to handing calls over.
                    let mut at_once: Vec<_> = (0..AT_ONCE).map(|_| Box::pin(work())).collect();
                    std::future::poll_fn(|cx| {
                        at_once.retain_mut(|work| work.as_mut().poll(cx).is_pending());
                        if at_once.is_empty() {
                            std::task::Poll::Ready(())
                        } else {
                            std::task::Poll::Pending
                        }
                    })
                    .await;
                });
            });
        }
    });
    requests as f64 / start.elapsed().as_secs_f64()
}

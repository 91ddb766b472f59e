//! Compares axum with the layer, without it, with the floor of such layers, and with hand-written layers, under WHIP
//! `POST`s over loopback.

#[path = "../report/mod.rs"]
mod report;
#[path = "../traffic/mod.rs"]
mod traffic;

mod hand_written;
mod handlers;
mod load;

use std::{process::ExitCode, time::Duration};

use axum::{Router, middleware::from_fn_with_state, routing::post};
use hand_written::{HandWritten, answer_once};
use handlers::Remembered;
use load::{CONNECTIONS, Load, Server, Traffic, Turn};
use report::{Bar, Budget, Report};
use tower_offer_dedup::OfferDedupLayer;

/// Requests per second before a handler that makes a peer connection, relative to the bare server.
const RATE_BUDGET: f64 = 0.95;

/// CPU that the layer adds to the bare server, relative to what the hand-written one adds.
const NEW_OFFER_BUDGET: f64 = 1.2;
const DUPLICATE_BUDGET: f64 = 1.1;

const BARE: &str = "bare";
const HAND_WRITTEN: &str = "hand-written";
const LAYER: &str = "layer";

/// The turns of each server, round by round.
struct Rounds(Vec<(&'static str, Vec<Turn>)>);

fn main() -> ExitCode {
    let is_quick = report::is_set("quick");
    let (rounds, turn) = if is_quick { (6, 300) } else { (40, 500) };
    let mut report = Report::new(
        "axum over loopback",
        "cargo bench -p benches --bench http",
        &format!(
            "WHIP `POST`s of a Chromium offer, each with its own path and ICE ufrag, over {CONNECTIONS} keep-alive \
             connections, to axum with `OfferDedupLayer::whip()`, without a layer, and with the floor: an axum \
             middleware that reads the body, takes the peer's digest and the offer's fingerprint, and makes one moka \
             `get` and one `insert`. The floor neither locks, nor records an answer, nor outlives its client. The \
             hand-written layer keeps answers by the same key in moka's `try_get_with`; with xxh3 it hashes the request as \
             it is. Neither knows sessions, queues or clients that are gone. A duplicate is the offer that its \
             connection has sent before, and only the bare server processes it again. The handler answers without a \
             body, with a ready answer, or with that of a peer connection that it makes by str0m, as the WHIP example \
             does. Each server and the load have their own thread. The servers take turns of \
             {turn} ms in {rounds} rounds, in alternating order. Ratios to the bare server are taken round by round. \
             CPU is the time of the server's thread and of the layer's upkeep, which other load on the machine \
             disturbs less.",
        ),
    );
    let [new_offers, duplicates] = [Traffic::NewOffers, Traffic::Duplicates].map(Load::new);
    let (mut rows, mut added, mut bars) = (Vec::new(), Vec::new(), Vec::new());
    for (what, handler, load, rate_budget, added_budget) in [
        ("201 without a body", post(handlers::accept), &new_offers, None, None),
        (
            "201 with a ready answer",
            post(handlers::publish),
            &new_offers,
            None,
            Some(NEW_OFFER_BUDGET),
        ),
        (
            "201 of a peer connection",
            post(handlers::negotiate),
            &new_offers,
            Some(RATE_BUDGET),
            None,
        ),
        (
            "duplicate of a ready answer",
            post(handlers::publish),
            &duplicates,
            None,
            Some(DUPLICATE_BUDGET),
        ),
    ] {
        let handler = Router::new().route("/whip/{stream}", handler);
        let measured = measure(load, &handler, rounds, Duration::from_millis(turn));
        let median = |turns: &[Turn], figure: fn(&Turn) -> f64| quantile(turns.iter().map(figure).collect(), 0.5);
        for (server, turns) in &measured.0 {
            let budget = rate_budget.filter(|_| *server == LAYER);
            let rates = measured.ratios(turns, |turn| turn.per_second);
            let cpu = measured.ratios(turns, |turn| turn.cpu);
            rows.push([
                format!("{what}, {server}"),
                format!("{:.0}", median(turns, |turn| turn.per_second)),
                spread(&rates),
                budget.map_or("–".to_owned(), |budget| format!("at least {budget}")),
                format!("{:.2}", median(turns, |turn| turn.cpu)),
                spread(&cpu),
            ]);
            let (label, ratio) = (format!("{what}, {server}"), quantile(rates, 0.5));
            match budget {
                Some(budget) => {
                    bars.push(Bar::at_least(label, ratio, budget));
                    report.check(&format!("requests per second, {what}"), ratio, Budget::AtLeast(budget));
                }
                None => bars.push(Bar::new(label, ratio, None)),
            }
            if *server != BARE && *server != LAYER {
                let ratios = measured.added(turns);
                let budget = added_budget.filter(|_| *server == HAND_WRITTEN);
                added.push([
                    format!("{what}, {server}"),
                    spread(&ratios),
                    budget.map_or("–".to_owned(), |budget| format!("at most {budget}")),
                ]);
                if let Some(budget) = budget {
                    let title = format!("CPU added, over the hand-written layer, {what}");
                    report.check(&title, quantile(ratios, 0.5), Budget::AtMost(budget));
                }
            }
        }
    }
    report.table(
        "Requests per second and CPU",
        &[
            "handler, server",
            "requests/s",
            "to bare: median (quartiles)",
            "budget",
            "µs CPU per request",
            "to bare: median (quartiles)",
        ],
        rows,
    );
    report.table(
        "CPU that the layer adds to the bare server, over what another adds",
        &["handler, other", "median (quartiles)", "budget"],
        added,
    );
    report.plot(
        "http",
        "Requests per second, relative to axum without a layer",
        "× bare axum",
        "linear",
        bars,
    );
    report.write("http")
}

fn measure(load: &Load, handler: &Router, rounds: usize, turn: Duration) -> Rounds {
    let layer = OfferDedupLayer::whip().build();
    let remembered: Remembered = traffic::cache(64 << 20, Duration::from_secs(10));
    let hand_written = |state| handler.clone().layer(from_fn_with_state(state, answer_once));
    let mut servers = vec![
        (BARE, Server::start(&["bare"], handler.clone())),
        (
            HAND_WRITTEN,
            Server::start(&["hand-written"], hand_written(HandWritten::new())),
        ),
        (
            "hand-written, xxh3",
            Server::start(&["of-bytes"], hand_written(HandWritten::of_bytes())),
        ),
        (
            LAYER,
            Server::start(&["layered", "offer-dedup"], handler.clone().layer(layer.clone())),
        ),
    ];
    // The floor records no answers, so it cannot replay duplicates.
    if load.traffic() == Traffic::NewOffers {
        let floor = handler.clone().layer(from_fn_with_state(remembered, handlers::floor));
        servers.insert(1, ("floor", Server::start(&["floor"], floor)));
    }
    let mut measured = Rounds(servers.iter().map(|(name, _)| (*name, Vec::new())).collect());
    let mut sent = 0;
    // The first round warms up.
    for round in 0..=rounds {
        for place in 0..servers.len() {
            let which = (round + place) % servers.len();
            let (name, server) = &servers[which];
            let (requests, result) = load.turn(server, turn);
            if *name == LAYER {
                sent += requests;
            }
            if round > 0 {
                measured.0[which].1.push(result);
            }
        }
    }
    let stats = layer.handle().stats();
    assert_eq!(stats.admitted + stats.replayed, sent, "an offer was refused: {stats:?}");
    assert_eq!(stats.replayed > 0, load.traffic() == Traffic::Duplicates);
    measured
}

impl Rounds {
    /// The ratios of a figure to the bare server's, round by round.
    fn ratios(&self, turns: &[Turn], figure: fn(&Turn) -> f64) -> Vec<f64> {
        let pairs = turns.iter().zip(self.turns(BARE));
        pairs.map(|(turn, bare)| figure(turn) / figure(bare)).collect()
    }

    /// The CPU that the layer adds to the bare server, over what another server adds, round by round.
    fn added(&self, turns: &[Turn]) -> Vec<f64> {
        let rounds = turns.iter().zip(self.turns(BARE)).zip(self.turns(LAYER));
        let ratios = rounds.map(|((other, bare), layer)| (layer.cpu - bare.cpu) / (other.cpu - bare.cpu));
        ratios.collect()
    }

    fn turns(&self, server: &str) -> &[Turn] {
        let mut all = self.0.iter();
        let found = all.find(|(name, _)| *name == server);
        &found.expect("every server has its turns").1
    }
}

fn spread(ratios: &[f64]) -> String {
    let [low, median, high] = [0.25, 0.5, 0.75].map(|share| quantile(ratios.to_vec(), share));
    format!("{median:.3} ({low:.3} to {high:.3})")
}

fn quantile(mut figures: Vec<f64>, share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[((figures.len() - 1) as f64 * share).round() as usize]
}

//! Compares axum with the layer, without it, and with the floor of such layers, under WHIP `POST`s over loopback.

#[path = "../report/mod.rs"]
mod report;
#[path = "../traffic/mod.rs"]
mod traffic;

mod handlers;
mod load;

use std::{process::ExitCode, time::Duration};

use axum::{Router, middleware::from_fn_with_state, routing::post};
use handlers::Remembered;
use load::{CONNECTIONS, Load, Server, Turn};
use report::{Bar, Budget, Report};
use tower_offer_dedup::{OfferDedupHandle, OfferDedupLayer};

const BUDGET: f64 = 0.95;

/// The turns of the three servers, round by round.
#[derive(Default)]
struct Rounds {
    bare: Vec<Turn>,
    floor: Vec<Turn>,
    layered: Vec<Turn>,
}

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
             `get` and one `insert`. The floor neither locks, nor records an answer, nor outlives its client. The handler \
             answers without a body, with a ready answer, or with that of a peer connection that it makes by str0m, as \
             the WHIP example does. Each server and the load have their own thread. The servers take turns of \
             {turn} ms in {rounds} rounds, in alternating order. Ratios to the bare server are taken round by round. \
             CPU is the time of the server's thread and of the layer's upkeep, which other load on the machine \
             disturbs less.",
        ),
    );
    let load = Load::new();
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for (what, handler) in [
        ("201 without a body", post(handlers::accept)),
        ("201 with a ready answer", post(handlers::publish)),
        ("201 of a peer connection", post(handlers::negotiate)),
    ] {
        let handler = Router::new().route("/whip/{stream}", handler);
        let measured = measure(&load, &handler, rounds, Duration::from_millis(turn));
        let median = |turns: &[Turn], figure: fn(&Turn) -> f64| quantile(turns.iter().map(figure).collect(), 0.5);
        for (server, turns, budget) in [
            ("bare", &measured.bare, None),
            ("floor", &measured.floor, None),
            ("layer", &measured.layered, Some(BUDGET)),
        ] {
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
    let servers = [
        Server::start(&["bare"], handler.clone()),
        Server::start(
            &["floor"],
            handler.clone().layer(from_fn_with_state(remembered, handlers::floor)),
        ),
        Server::start(&["layered", "offer-dedup"], handler.clone().layer(layer.clone())),
    ];
    let (mut sent, mut measured) = (0, Rounds::default());
    // The first round warms up.
    for round in 0..=rounds {
        for place in 0..servers.len() {
            let which = (round + place) % servers.len();
            let (requests, result) = load.turn(&servers[which], turn);
            let turns = match which {
                0 => &mut measured.bare,
                1 => &mut measured.floor,
                _ => {
                    sent += requests;
                    &mut measured.layered
                }
            };
            if round > 0 {
                turns.push(result);
            }
        }
    }
    assert_all_admitted(&layer.handle(), sent);
    measured
}

fn assert_all_admitted(handle: &OfferDedupHandle, sent: u64) {
    let stats = handle.stats();
    assert_eq!(
        (stats.admitted, stats.completed),
        (sent, sent),
        "an offer was not admitted: {stats:?}"
    );
}

impl Rounds {
    /// The ratios of a figure to the bare server's, round by round.
    fn ratios(&self, turns: &[Turn], figure: fn(&Turn) -> f64) -> Vec<f64> {
        let pairs = turns.iter().zip(&self.bare);
        pairs.map(|(turn, bare)| figure(turn) / figure(bare)).collect()
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

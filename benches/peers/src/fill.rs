//! Fills a contender with one offer from each of many peers in this process, to measure its memory.

use axum::{Router, body::Body, http::Request, http::header::SET_COOKIE};
use tower::ServiceExt;

use crate::{args::Fill, contenders::Kind, endpoint::Endpoint, offers::Offers, process, server::parent_gone};

/// Prints `start`, `base`, `offers`, `rss` and `known`, each with a number, as it reaches them.
pub(crate) async fn run(fill: Fill) -> Result<(), String> {
    let work = tokio::spawn(work(fill));
    tokio::select! {
        done = work => done.map_err(|error| error.to_string())?,
        () = parent_gone() => Ok(()),
    }
}

async fn work(fill: Fill) -> Result<(), String> {
    let Kind::App(app) = fill.contender.kind else {
        return Err(format!("this program cannot fill {}", fill.contender.name));
    };
    let endpoint = Endpoint::new(std::time::Duration::ZERO);
    let mut filled = Filled {
        app: app(endpoint.clone(), fill.settings),
        offers: Offers::load()?,
        cookies: Vec::new(),
    };
    println!("start {}", own_rss()?);
    if fill.contender.sessions {
        filled.log_in(fill.count).await?;
    }

    settle().await;
    println!("base {}", own_rss()?);
    for peer in 0..fill.count {
        if peer % 10_000 == 0 {
            println!("offers {peer}");
        }
        filled.send(peer).await?;
    }
    println!("offers {}", fill.count);
    settle().await;
    println!("rss {}", own_rss()?);

    let before = endpoint.calls();
    for probe in 0..fill.probes {
        filled.send(probe * fill.count / fill.probes).await?;
    }
    println!("known {}", fill.probes - (endpoint.calls() - before));
    Ok(())
}

struct Filled {
    app: Router,
    offers: Offers,
    /// One cookie per peer, if the contender identifies clients by session.
    cookies: Vec<Box<str>>,
}

impl Filled {
    async fn send(&self, peer: u64) -> Result<(), String> {
        let cookie = self.cookies.get(peer as usize).map(AsRef::as_ref);
        let request: Request<Body> = self.offers.request(peer, cookie);
        let response = self.app.clone().oneshot(request).await;
        let Ok(response) = response;
        // A duplicate whose answer is not kept is refused, which is an answer too.
        let status = response.status();
        if status.is_success() || status.as_u16() == 409 {
            Ok(())
        } else {
            Err(format!("the offer of peer {peer} was answered with {status}"))
        }
    }

    async fn log_in(&mut self, count: u64) -> Result<(), String> {
        for _ in 0..count {
            let request = Request::post("/session").body(Body::empty());
            let request = request.map_err(|error| error.to_string())?;
            let Ok(response) = self.app.clone().oneshot(request).await;
            let cookie = response
                .headers()
                .get(SET_COOKIE)
                .and_then(|cookie| cookie.to_str().ok());
            let cookie = cookie.and_then(|cookie| cookie.split(';').next());
            self.cookies.push(cookie.ok_or("no session")?.into());
        }
        Ok(())
    }
}

/// Gives background work, such as a cache's maintenance, time to finish.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}

fn own_rss() -> Result<u64, String> {
    process::rss(std::process::id())
}

//! The storm: every peer sends the same `POST` many times at once.

use std::time::Duration;

use tokio::{task::JoinSet, time::Instant};

use crate::{
    args::Size,
    contenders::{ALL, Contender},
    load::{self, ANSWER_TIMEOUT, Connection, Tally},
    offers::Offers,
    process::Server,
    rounds::Rounds,
};

pub(crate) const PEERS: u64 = 200;
pub(crate) const TIMES: u64 = 16;
/// All requests are open at once, each on its own connection.
pub(crate) const CONNECTIONS: u64 = PEERS * TIMES;
/// Processing time of the endpoint.
pub(crate) const TAKES: Duration = Duration::from_millis(20);

/// The result of one storm.
#[derive(Debug)]
pub(crate) struct Storm {
    pub(crate) calls: u64,
    pub(crate) answers: Tally,
    pub(crate) cpu: Duration,
    /// Time from the first completed request to the last answer.
    pub(crate) wall: Duration,
    /// Time to complete all requests.
    pub(crate) sending: Duration,
}

/// Each contender's storms.
pub(crate) type Storms = Vec<(Contender, Rounds<Storm>)>;

pub(crate) async fn run(size: &Size, offers: &Offers) -> Storms {
    let mut storms: Storms = ALL
        .into_iter()
        .map(|contender| (contender, Rounds::default()))
        .collect();
    // In turn, so that a bad moment of the machine hits all contenders.
    for round in 0..size.rounds {
        for (contender, rounds) in &mut storms {
            eprintln!("storm {}: {}", round + 1, contender.label);
            rounds.push(measured(contender, offers).await);
        }
    }
    storms
}

/// Runs a storm in a fresh server, after a first storm of other peers.
async fn measured(contender: &Contender, offers: &Offers) -> Result<Storm, String> {
    let server = Server::start(contender, TAKES).await?;
    let warm_up = storm(contender, &server, offers, 0).await;
    let measured = storm(contender, &server, offers, PEERS).await;
    server.process.end().await;
    warm_up.and(measured)
}

/// Runs a storm of the peers from `first` on.
async fn storm(contender: &Contender, server: &Server, offers: &Offers, first: u64) -> Result<Storm, String> {
    let cookies = match contender.sessions {
        true => load::log_in(server.address, PEERS).await?,
        false => Vec::new(),
    };
    let calls = load::calls(server.address).await?;
    let mut connections = open(server, CONNECTIONS).await?;
    settle().await;
    let cpu = server.process.cpu()?;

    // Sends all but the last byte of each request. The server has read these before the last bytes come.
    let mut last = Vec::new();
    for (connection, n) in connections.iter_mut().zip(0..) {
        let peer = n / TIMES;
        let cookie = cookies.get(peer as usize).map(String::as_str);
        let mut post = offers.post(first + peer, cookie);
        last.extend(post.pop());
        let sent = connection.send(&post).await;
        sent.map_err(|error| format!("a request was not sent: {error}"))?;
    }
    settle().await;

    let start = Instant::now();
    for (connection, last) in connections.iter_mut().zip(last) {
        // A request that is not sent gets no answer, and is counted as such.
        _ = connection.send(&[last]).await;
    }
    let sending = start.elapsed();
    let mut reads = JoinSet::new();
    for mut connection in connections {
        reads.spawn(async move { connection.answer(start + ANSWER_TIMEOUT).await });
    }
    let mut answers = Tally::default();
    while let Some(answer) = reads.join_next().await {
        answers.count(&answer.map_err(|error| error.to_string())?);
    }
    Ok(Storm {
        wall: start.elapsed(),
        cpu: server.process.cpu()?.saturating_sub(cpu),
        calls: load::calls(server.address).await? - calls,
        answers,
        sending,
    })
}

async fn open(server: &Server, count: u64) -> Result<Vec<Connection>, String> {
    let mut connections = Vec::new();
    for n in 0..count {
        let connection = Connection::open(server.address).await;
        connections.push(connection.map_err(|error| format!("a connection: {error}"))?);
        if n % 128 == 127 {
            // A full listen backlog costs a second.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(connections)
}

/// Lets the server come to rest.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

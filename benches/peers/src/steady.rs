//! The cost of a completed duplicate and of a new offer under steady load.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    args::Size,
    contenders::{ALL, Contender},
    load::{self, Answer, Connection, Tally},
    offers::Offers,
    process::Server,
    rounds::Rounds,
};

/// Number of requests in progress at once.
pub(crate) const CONNECTIONS: u64 = 32;
/// Number of peers whose offers are processed first. They warm up the server, and their offers are repeated.
pub(crate) const FIRST: u64 = 500;

/// Time limit, after which no more offers are sent.
const MOST_TIME: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Repeated offers of the first peers.
    Duplicates,
    /// One offer each of new peers.
    New,
}

/// The result of one run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) calls: u64,
    pub(crate) answers: Tally,
    /// CPU time of the server per offer.
    pub(crate) cpu: Duration,
    /// Time from one answer to the next.
    pub(crate) wall: Duration,
}

/// A contender's runs.
pub(crate) struct Runs {
    pub(crate) contender: Contender,
    duplicates: Rounds<Run>,
    new_offers: Rounds<Run>,
}

pub(crate) async fn run(size: &Size, offers: &Offers) -> Vec<Runs> {
    let mut all: Vec<_> = ALL.into_iter().map(Runs::none).collect();
    for round in 0..size.rounds {
        for runs in &mut all {
            let contender = runs.contender;
            eprintln!("steady load {}: {}", round + 1, contender.label);
            let duplicates = steady(&contender, Work::Duplicates, size.duplicates, offers).await;
            runs.duplicates.push(duplicates);
            let new_offers = steady(&contender, Work::New, size.new_offers, offers).await;
            runs.new_offers.push(new_offers);
        }
    }
    all
}

impl Runs {
    fn none(contender: Contender) -> Self {
        Self {
            contender,
            duplicates: Rounds::default(),
            new_offers: Rounds::default(),
        }
    }

    pub(crate) fn of(&self, work: Work) -> &Rounds<Run> {
        match work {
            Work::Duplicates => &self.duplicates,
            Work::New => &self.new_offers,
        }
    }
}

/// Runs in a fresh server.
async fn steady(contender: &Contender, work: Work, count: u64, offers: &Offers) -> Result<Run, String> {
    let server = Server::start(contender, Duration::ZERO).await?;
    let run = measured(contender, &server, work, count, offers).await;
    server.process.end().await;
    run
}

async fn measured(
    contender: &Contender,
    server: &Server,
    work: Work,
    count: u64,
    offers: &Offers,
) -> Result<Run, String> {
    let clients = match work {
        Work::Duplicates => FIRST,
        Work::New => FIRST + count,
    };
    let cookies = match contender.sessions {
        true => load::log_in(server.address, clients).await?,
        false => Vec::new(),
    };
    let load = Arc::new(Load {
        address: server.address,
        offers: offers.clone(),
        cookies,
    });

    Load::send(&load, FIRST, |n| n).await?;
    let (calls, cpu, start) = (
        load::calls(server.address).await?,
        server.process.cpu()?,
        Instant::now(),
    );
    let answers = match work {
        Work::Duplicates => Load::send(&load, count, |n| n % FIRST).await?,
        Work::New => Load::send(&load, count, |n| FIRST + n).await?,
    };
    let share = |whole: Duration| whole / u32::try_from(count).unwrap_or(u32::MAX);
    Ok(Run {
        wall: share(start.elapsed()),
        cpu: share(server.process.cpu()?.saturating_sub(cpu)),
        calls: load::calls(server.address).await? - calls,
        answers,
    })
}

struct Load {
    address: SocketAddr,
    offers: Offers,
    cookies: Vec<String>,
}

impl Load {
    /// Sends `count` offers over all connections. The n-th is of peer `peer(n)`.
    async fn send(load: &Arc<Self>, count: u64, peer: fn(u64) -> u64) -> Result<Tally, String> {
        let next = Arc::new(AtomicU64::new(0));
        let until = Instant::now() + MOST_TIME;
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (load, next) = (Arc::clone(load), Arc::clone(&next));
            connections.spawn(async move {
                let mut answers = Tally::default();
                let mut connection = None;
                loop {
                    let n = next.fetch_add(1, Relaxed);
                    if n >= count {
                        return answers;
                    }
                    if Instant::now() > until {
                        answers.count_many("not sent in time", 1);
                        continue;
                    }
                    answers.count(&load.ask(&mut connection, peer(n)).await);
                }
            });
        }
        let mut answers = Tally::default();
        while let Some(some) = connections.join_next().await {
            answers.add(&some.map_err(|error| error.to_string())?);
        }
        Ok(answers)
    }

    /// Sends one offer. After an error, the next offer uses a new connection.
    async fn ask(&self, connection: &mut Option<Connection>, peer: u64) -> io::Result<Answer> {
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::open(self.address).await?,
        };
        let cookie = self.cookies.get(peer as usize).map(String::as_str);
        let answer = open.ask(&self.offers.post(peer, cookie)).await?;
        *connection = Some(open);
        Ok(answer)
    }
}

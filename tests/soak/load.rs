//! The clients: they repeat themselves, give up, leave and come back.

use std::{
    collections::VecDeque,
    fs,
    panic::AssertUnwindSafe,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::join_all};
use tokio::time::sleep;
use tower_offer_dedup::Fingerprint;

use crate::sites::{Call, Site};

/// Peers that return again and again. Every other peer comes once.
const REGULARS: u64 = 60;

pub(crate) struct Load {
    sites: Arc<[Site]>,
    /// Real offers, split around the id in their `o=` line.
    offers: Vec<(String, String)>,
    next: AtomicU64,
}

impl Load {
    pub(crate) fn new(sites: Arc<[Site]>) -> Self {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/corpus/offers");
        let mut files: Vec<_> = fs::read_dir(corpus)
            .expect("the corpus should exist")
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        // Every tenth offer, so that every client is included.
        let texts = files
            .iter()
            .step_by(10)
            .filter_map(|file| fs::read_to_string(file).ok());
        let offers: Vec<_> = texts.filter_map(|text| around_id(&text)).collect();
        assert!(offers.len() > 20, "{} offers", offers.len());
        Self {
            sites,
            offers,
            next: AtomicU64::new(REGULARS),
        }
    }

    pub(crate) async fn client(self: Arc<Self>, seed: u64, end: Instant) {
        let mut chance = Chance(seed * 7919);
        // Offers that the client may send again.
        let mut lately: VecDeque<(u64, Arc<str>)> = VecDeque::with_capacity(8);
        while Instant::now() < end {
            let site = &self.sites[chance.below(self.sites.len() as u64) as usize];
            let (peer, sdp) = match chance.below(3) {
                0 if !lately.is_empty() => lately[chance.below(lately.len() as u64) as usize].clone(),
                _ => self.offer(&mut chance),
            };
            lately.truncate(7);
            lately.push_front((peer, Arc::clone(&sdp)));
            let copies = [1, 1, 1, 2, 2, 4, 8][chance.below(7) as usize];
            let sent = (0..copies).map(|_| {
                let (call, max_wait) = (Call::new(peer, &sdp, chance.next()), chance.below(12));
                async move {
                    let answer = AssertUnwindSafe(site.send(call)).catch_unwind();
                    tokio::select! {
                        biased;
                        _ = answer => {}
                        () = sleep(Duration::from_millis(max_wait)), if max_wait < 6 => {}
                    }
                }
            });
            join_all(sent).await;
            if chance.below(100) == 0 {
                site.handle.forget(site.key(peer));
            }
            if chance.below(100) == 0 {
                site.handle.forget_offer(site.key(peer), Fingerprint::sdp(&sdp));
            }
            if chance.below(20_000) == 0 {
                site.handle.clear();
            }
            sleep(Duration::from_millis(1 + chance.below(6))).await;
        }
    }

    /// A new offer, of a new or a returning peer.
    fn offer(&self, chance: &mut Chance) -> (u64, Arc<str>) {
        let id = self.next.fetch_add(1, Relaxed);
        let (before, after) = &self.offers[chance.below(self.offers.len() as u64) as usize];
        let peer = if chance.below(2) == 0 {
            id
        } else {
            chance.below(REGULARS)
        };
        (peer, format!("{before}{id}{after}").into())
    }
}

fn around_id(sdp: &str) -> Option<(String, String)> {
    let (before, line) = sdp.split_once("o=")?;
    let (user, rest) = line.split_once(' ')?;
    let (_, after) = rest.split_once(' ')?;
    Some((format!("{before}o={user} "), format!(" {after}")))
}

/// Marsaglia's xorshift.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 20
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

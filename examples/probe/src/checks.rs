//! Runs the checks. Each makes offers of its own, and ends its sessions.

use std::{sync::Arc, time::Duration};

use str0m::media::Direction;
use tokio::time::sleep;

use crate::{
    args::Protocol,
    check::{Check, Ruling},
    offer,
    reply::{Reply, sessions},
    target::{Send, Target},
    verdict,
};

/// The time after which a browser repeats a request whose connection was cut.
const RETRY: Duration = Duration::from_millis(25);

/// A limit for offers that some servers have.
const LONG: usize = 64 * 1024;

/// Sends what the checks need.
pub(crate) struct Probe {
    pub(crate) target: Arc<Target>,
    pub(crate) direction: Direction,
    pub(crate) peers: u16,
    pub(crate) copies: u16,
}

/// Everything about one check.
pub(crate) struct Finding {
    pub(crate) check: Check,
    pub(crate) ruling: Ruling,
    pub(crate) replies: Vec<Reply>,
}

impl Probe {
    pub(crate) async fn run(&self, check: Check) -> Finding {
        let mut replies = Vec::new();
        let ruling = self.check(check, &mut replies).await;
        self.target.end_all().await;
        if sessions(&replies) == 0 {
            self.target.end_hidden().await;
        }
        Finding { check, ruling, replies }
    }

    /// Collects all replies, for the report.
    async fn check(&self, check: Check, all: &mut Vec<Reply>) -> Ruling {
        let protocol = self.target.protocol;
        let peer = check.name();
        let offer = self.offer();
        let copy = || Send::new(0, &offer, &peer);
        match check {
            Check::One => {
                *all = self.send(vec![copy()]).await;
                all.first().map_or_else(nothing, |reply| verdict::one(protocol, reply))
            }
            Check::AtOnce => {
                *all = self.send(vec![copy(); 8]).await;
                verdict::same_offer(all)
            }
            Check::Later => {
                if protocol == Protocol::Ws {
                    let times = [0, 300, 1300].map(Duration::from_millis);
                    *all = self.send(times.map(|time| copy().after(time)).to_vec()).await;
                } else {
                    *all = self.send(vec![copy()]).await;
                    for pause in [300, 1000] {
                        sleep(Duration::from_millis(pause)).await;
                        all.extend(self.send(vec![copy()]).await);
                    }
                }
                verdict::same_offer(all)
            }
            Check::Cut if protocol == Protocol::Ws => {
                Ruling::not_applicable("the answer to a cut WebSocket cannot be seen")
            }
            Check::Cut => {
                let sends = vec![copy().cut(), copy().cut().after(RETRY), copy().after(2 * RETRY)];
                *all = self.send(sends).await;
                verdict::cut(all)
            }
            Check::Gathered => self.copied(all, &offer, offer::gathered(&offer), &peer).await,
            Check::LineFeeds => self.copied(all, &offer, offer::with_line_feeds(&offer), &peer).await,
            Check::Newer => {
                let newer = Send::new(1, self.offer(), &peer).after(Duration::from_millis(2));
                *all = self.send(vec![copy(), newer]).await;
                match &all[..] {
                    [first, newer] => verdict::newer(protocol, first, newer),
                    _ => nothing(),
                }
            }
            Check::Ended => self.ended(all, copy()).await,
            Check::Principal => {
                *all = self.send(vec![copy()]).await;
                let others = self.target.other_users().iter().map(|user| copy().from(*user));
                all.extend(self.send(others.collect()).await);
                all.split_first()
                    .map_or_else(nothing, |(first, others)| verdict::principal(first, others))
            }
            Check::Storm => {
                *all = self.send(self.storm()).await;
                verdict::storm(all)
            }
            Check::Bodies => self.bodies(all, &offer, &peer).await,
        }
    }

    /// Sends an offer, and a copy once it is answered.
    async fn copied(&self, all: &mut Vec<Reply>, offer: &str, copy: String, peer: &str) -> Ruling {
        let sends = [offer, &copy].map(|text| Send::new(0, text, peer));
        if self.target.protocol == Protocol::Ws {
            let [first, copy] = sends;
            *all = self.send(vec![first, copy.after(Duration::from_millis(300))]).await;
        } else {
            for send in sends {
                all.extend(self.send(vec![send]).await);
            }
        }
        verdict::same_offer(all)
    }

    async fn ended(&self, all: &mut Vec<Reply>, copy: Send) -> Ruling {
        *all = self.send(vec![copy.clone()]).await;
        let Some(first) = all.first().and_then(Reply::answer).cloned() else {
            return Ruling::fail("the offer was not answered");
        };
        let Some(location) = &first.location else {
            return Ruling::not_applicable("the answer has no Location to DELETE");
        };
        let deleted = self.target.end(location).await;
        all.extend(self.send(vec![copy]).await);
        all.last()
            .map_or_else(nothing, |again| verdict::ended(&first, &deleted, again))
    }

    fn storm(&self) -> Vec<Send> {
        let mut sends = Vec::new();
        for peer in 0..self.peers {
            let offer = Send::new(peer.into(), self.offer(), format!("{}-{peer}", Check::Storm.name()));
            sends.extend(std::iter::repeat_n(offer, self.copies.into()));
        }
        sends
    }

    async fn bodies(&self, all: &mut Vec<Reply>, offer: &str, peer: &str) -> Ruling {
        let broken: [&[u8]; 5] = [
            b"",
            b"hello",
            b"v=0\r\n",
            b"\xff\xfe\x00",
            offer::without_media(offer).as_bytes(),
        ];
        for (number, body) in (2..).zip(broken) {
            all.extend(self.send(vec![Send::new(number, body, peer)]).await);
        }
        let long = Send::new(0, offer::padded(offer, LONG), peer);
        all.extend(self.send(vec![long]).await);
        self.target.end_all().await;
        all.extend(self.send(vec![Send::new(1, self.offer(), peer)]).await);
        match &all[..] {
            [broken @ .., long, after] => verdict::bodies(broken, long, after),
            _ => nothing(),
        }
    }

    async fn send(&self, sends: Vec<Send>) -> Vec<Reply> {
        self.target.send(sends).await
    }

    fn offer(&self) -> String {
        offer::new(self.direction)
    }
}

/// Every send has a reply.
fn nothing() -> Ruling {
    Ruling::fail("nothing was sent")
}

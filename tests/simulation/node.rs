//! [`Node`]: a layer around a handler, with the model looking on.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::Arc,
};

use tokio::{task::JoinHandle, time::sleep};
use tower::{Layer, util::BoxCloneService};
use tower_offer_dedup::{
    Fingerprint, Offer, OfferDedupHandle, OfferDedupLayer, OfferSession, PeerKey, Reason, Refusal,
    answer::{Answer, Duplicates, EncodedRecord, Settled},
    extract::{Admission, ExtractOffer, Found},
    store::Fence,
};

use crate::{
    link::Link,
    plan::{self, End, Settings},
    store::SimStore,
    world::World,
};

/// A layer around a handler.
pub(crate) struct Node {
    pub(crate) link: Arc<Link>,
    pub(crate) service: BoxCloneService<Message, Reply, Broken>,
    pub(crate) handle: OfferDedupHandle,
    pub(crate) requests: Vec<(usize, JoinHandle<()>)>,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The number of the request.
    pub(crate) request: usize,
    pub(crate) offer: plan::Offer,
    pub(crate) session: Option<OfferSession>,
    pub(crate) fence: Option<Fence>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Answer { record: Record, is_replay: bool },
    Refused(Reason),
}

/// The answer of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) run: usize,
    pub(crate) is_success: bool,
}

/// The handler's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

pub(crate) fn peer(peer: u8) -> PeerKey {
    PeerKey::from(peer)
}

pub(crate) fn fingerprint(text: u8) -> Fingerprint {
    Fingerprint::exact(&[text])
}

fn encode(record: &Record) -> EncodedRecord {
    EncodedRecord::new(record.is_success.into(), record.run.to_be_bytes().to_vec())
}

pub(crate) fn decode(record: &EncodedRecord) -> Record {
    let run = record.bytes().try_into().expect("8 bytes");
    Record {
        run: usize::from_be_bytes(run),
        is_success: record.tag() == 1,
    }
}

struct Offers;

impl ExtractOffer<Message> for Offers {
    type Request = Message;
    type Read = Ready<Found<Message, Infallible>>;

    fn extract(&self, message: Message) -> Found<Message, Self::Read> {
        let offer = Offer::new(peer(message.offer.peer), fingerprint(message.offer.text));
        Found::Offer(message, offer)
    }

    fn prepare(&self, message: &mut Message, admission: &Admission) {
        message.session = Some(admission.session().clone());
        message.fence = admission.fence();
    }
}

struct Answers(Duplicates);

impl Answer<Record, Broken> for Answers {
    type Response = Reply;
    type Record = Record;
    type Settle = Ready<Settled<Reply, Record>>;

    fn duplicates(&self) -> Duplicates {
        self.0
    }

    fn pass(&self, record: Record) -> Reply {
        Reply::Answer {
            record,
            is_replay: false,
        }
    }

    fn settle(&self, record: Record, _: &Offer) -> Self::Settle {
        let reply = self.pass(record);
        let settled = if record.is_success {
            Settled::success(reply)
        } else {
            Settled::failure(reply)
        };
        ready(settled.recorded(record, size_of::<Record>()))
    }

    fn replay(&self, record: &Record) -> Reply {
        Reply::Answer {
            record: *record,
            is_replay: true,
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Result<Reply, Broken> {
        Ok(Reply::Refused(refusal.reason()))
    }

    fn encode(&self, record: &Record) -> Option<EncodedRecord> {
        Some(encode(record))
    }

    fn decode(&self, record: &EncodedRecord) -> Option<Record> {
        Some(decode(record))
    }
}

impl Node {
    pub(crate) fn new(world: &Arc<World>, settings: &Settings, node: usize) -> Self {
        let link = Arc::new(Link::new(node));
        let store = SimStore::new(world, &link, world.store.node());
        let duplicates = if settings.replays {
            Duplicates::Wait {
                max_waiters: 64,
                wait_timeout: settings.wait_timeout,
            }
        } else {
            Duplicates::Refuse
        };
        let builder = OfferDedupLayer::builder()
            .offers(Offers)
            .answer(Answers(duplicates))
            .when_busy(settings.when_busy)
            .window(settings.window)
            .cooldown(settings.cooldown)
            .lease(settings.lease)
            .store(store)
            .on_store_error(settings.on_store_error);
        let handler = {
            let (world, link) = (Arc::clone(world), Arc::clone(&link));
            tower::service_fn(move |message: Message| {
                let run = Run::start(&world, &link, &message);
                let link = Arc::clone(&link);
                async move { link.run(run.work(message.offer)).await }
            })
        };
        let (service, handle) = if settings.is_detached {
            let layer = builder.finish_abandoned().build();
            (BoxCloneService::new(layer.layer(handler)), layer.handle())
        } else {
            let layer = builder.build();
            (BoxCloneService::new(layer.layer(handler)), layer.handle())
        };
        Self {
            link,
            service,
            handle,
            requests: Vec::new(),
        }
    }
}

/// An inner call. Dropped, it has ended.
struct Run {
    world: Arc<World>,
    number: usize,
    end: Option<End>,
}

impl Run {
    fn start(world: &Arc<World>, link: &Arc<Link>, message: &Message) -> Self {
        let number = world.model().run_started(link, message);
        Self {
            world: Arc::clone(world),
            number,
            end: None,
        }
    }

    async fn work(mut self, offer: plan::Offer) -> Result<Record, Broken> {
        sleep(offer.work).await;
        self.end = Some(offer.end);
        let (run, is_success) = (self.number, offer.end == End::Success);
        if offer.end == End::Broken {
            Err(Broken)
        } else {
            Ok(Record { run, is_success })
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.world.model().run_ended(self.number, self.end);
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

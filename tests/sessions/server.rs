//! A server with sessions, whose answers the test decides on.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::{sync::Semaphore, task::JoinHandle};
use tower::{BoxError, Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_offer_dedup::{
    OfferDedupBuilder, OfferDedupHandle, OfferDedupLayer, OfferSession,
    answer::Answer,
    builder::Detached,
    http::{BufferedBody, HttpOffers},
};

type Body = Full<Bytes>;
type Service = BoxCloneSyncService<Request<Body>, Response<BufferedBody<Body>>, BoxError>;

pub(crate) const HOST: &str = "example.com";

/// The text of an offer.
pub(crate) fn sdp(id: u32) -> String {
    format!("v=0\r\no=- {id} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n")
}

/// The sender and the target of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) host: &'static str,
    pub(crate) token: &'static str,
}

pub(crate) const ALICE: Client = Client {
    host: HOST,
    token: "alice",
};

pub(crate) const BOB: Client = Client {
    host: HOST,
    token: "bob",
};

/// A response, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) is_replayed: bool,
}

/// A server behind the layer. It numbers its sessions.
#[derive(Clone)]
pub(crate) struct Server {
    service: Service,
    pub(crate) handle: OfferDedupHandle,
    pub(crate) state: Arc<State>,
}

pub(crate) struct State {
    locate: Box<dyn Fn(usize) -> String + Send + Sync>,
    posts: AtomicUsize,
    post_status: AtomicU16,
    /// The status of every answer to another method.
    delete_status: AtomicU16,
    sessions: Mutex<Vec<OfferSession>>,
    /// Each `POST` takes a permit before it is answered.
    permits: Semaphore,
}

impl Server {
    /// A server under `whip()` whose sessions are at `/session/{n}`.
    pub(crate) fn whip() -> Self {
        Self::located(|n| format!("/session/{n}"))
    }

    pub(crate) fn located(locate: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        Self::built(OfferDedupLayer::whip(), locate)
    }

    pub(crate) fn built<A>(
        builder: OfferDedupBuilder<HttpOffers, A, Detached>,
        locate: impl Fn(usize) -> String + Send + Sync + 'static,
    ) -> Self
    where
        A: Answer<Response<Body>, BoxError, Response = Response<BufferedBody<Body>>> + Send + Sync + 'static,
        A::Settle: Send,
    {
        let state = Arc::new(State {
            locate: Box::new(locate),
            posts: AtomicUsize::new(0),
            post_status: AtomicU16::new(201),
            delete_status: AtomicU16::new(204),
            sessions: Mutex::default(),
            permits: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let layer = builder.build();
        let handle = layer.handle();
        let inner = {
            let state = Arc::clone(&state);
            service_fn(move |request: Request<BufferedBody<Body>>| {
                let state = Arc::clone(&state);
                async move { Ok::<_, BoxError>(state.answer(&request).await) }
            })
        };
        Self {
            service: BoxCloneSyncService::new(layer.layer(inner)),
            handle,
            state,
        }
    }

    pub(crate) async fn send(&self, client: Client, method: Method, path: &str, body: String) -> Answered {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, client.host)
            .header(header::CONTENT_TYPE, "application/sdp")
            .header(header::AUTHORIZATION, format!("Bearer {}", client.token))
            .body(Full::from(body))
            .unwrap();
        let (head, body) = self.service.clone().oneshot(request).await.unwrap().into_parts();
        body.collect().await.unwrap();
        let field = |name| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        Answered {
            status: head.status.as_u16(),
            location: field("location"),
            is_replayed: field("offer-replayed").is_some(),
        }
    }

    /// Posts the offer `id` to `/whip/stage`.
    pub(crate) async fn post(&self, client: Client, id: u32) -> Answered {
        self.send(client, Method::POST, "/whip/stage", sdp(id)).await
    }

    /// Posts an offer that is not answered at once.
    pub(crate) fn spawn_post(&self, client: Client, id: u32) -> JoinHandle<Answered> {
        let server = self.clone();
        tokio::spawn(async move { server.post(client, id).await })
    }

    /// Deletes `path`, and has the server answer with `status`.
    pub(crate) async fn delete(&self, client: Client, path: &str, status: u16) {
        self.state.delete_status.store(status, SeqCst);
        assert_eq!(
            self.send(client, Method::DELETE, path, String::new()).await.status,
            status
        );
    }

    /// Returns how often a `POST` has reached the server.
    pub(crate) fn posts(&self) -> usize {
        self.state.posts.load(SeqCst)
    }

    /// Takes the n-th session that the server was given.
    pub(crate) fn session(&self, n: usize) -> OfferSession {
        self.state.sessions.lock().unwrap()[n].clone()
    }

    /// Answers further `POST`s with `status`.
    pub(crate) fn answer_posts_with(&self, status: u16) {
        self.state.post_status.store(status, SeqCst);
    }

    /// Holds the answers to further `POST`s back.
    pub(crate) fn hold(&self) {
        self.state.permits.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Releases the answers to `POST`s.
    pub(crate) fn release(&self) {
        self.state.permits.add_permits(1000);
    }
}

impl State {
    async fn answer(&self, request: &Request<BufferedBody<Body>>) -> Response<Body> {
        let mut response = Response::new(Full::from("an answer"));
        let status = if request.method() != Method::POST {
            self.delete_status.load(SeqCst)
        } else {
            let n = self.posts.fetch_add(1, SeqCst);
            let session = request.extensions().get::<OfferSession>();
            self.sessions
                .lock()
                .unwrap()
                .push(session.expect("the offer is admitted").clone());
            self.permits.acquire().await.unwrap().forget();
            let location = (self.locate)(n);
            response
                .headers_mut()
                .insert(header::LOCATION, location.parse().unwrap());
            self.post_status.load(SeqCst)
        };
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }
}

//! A proxy between a publisher and the endpoint, for what goes wrong on the way.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::http::Message;

/// What happens to a `POST`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The answer to the first is lost: its sender's connection is closed before the first byte.
    LosesFirstAnswer,
    /// The answer to the first is lost on the way to the proxy, which asks again, as proxies do.
    AsksAgain,
    /// Each goes out twice, at once; its sender gets one of the answers.
    SendsTwice,
}

/// A running proxy; stopped when dropped.
pub(crate) struct Proxy {
    pub(crate) address: String,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    _tasks: JoinSet<()>,
}

/// What the endpoint was asked, and said.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Message,
    pub(crate) response: Message,
}

#[derive(Clone)]
struct Relay {
    endpoint: String,
    fault: Fault,
    had_fault: Arc<AtomicBool>,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Proxy {
    pub(crate) async fn start(endpoint: &str, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let exchanges = Arc::default();
        let relay = Relay {
            endpoint: endpoint.to_owned(),
            fault,
            had_fault: Arc::default(),
            exchanges: Arc::clone(&exchanges),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let relay = relay.clone();
                connections.spawn(async move {
                    // Publishers go when they like.
                    let _ = relay.serve(stream).await;
                });
            }
        });
        Self {
            address,
            exchanges,
            _tasks: tasks,
        }
    }

    /// What went to the endpoint with this method.
    pub(crate) fn exchanges(&self, method: &str) -> Vec<Exchange> {
        let exchanges = self.exchanges.lock().expect("no panic");
        exchanges
            .iter()
            .filter(|exchange| exchange.request.is(method))
            .cloned()
            .collect()
    }
}

impl Relay {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        while let Some(request) = Message::read(&mut stream).await? {
            let Some(response) = self.ask(&request).await? else {
                return Ok(());
            };
            stream.write_all(&response.bytes()).await?;
            if request
                .field("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("close"))
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What to answer, if anything.
    async fn ask(&self, request: &Message) -> io::Result<Option<Message>> {
        if !request.is("POST") {
            return self.exchange(request).await.map(Some);
        }
        if self.fault == Fault::SendsTwice {
            let (answer, _) = tokio::try_join!(self.exchange(request), self.exchange(request))?;
            return Ok(Some(answer));
        }
        let answer = self.exchange(request).await?;
        if self.had_fault.swap(true, Ordering::Relaxed) {
            return Ok(Some(answer));
        }
        match self.fault {
            Fault::AsksAgain => self.exchange(request).await.map(Some),
            Fault::LosesFirstAnswer | Fault::SendsTwice => Ok(None),
        }
    }

    async fn exchange(&self, request: &Message) -> io::Result<Message> {
        let response = request.exchange(&self.endpoint).await?;
        self.exchanges.lock().expect("no panic").push(Exchange {
            request: request.clone(),
            response: response.clone(),
        });
        Ok(response)
    }
}

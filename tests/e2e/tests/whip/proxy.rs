//! A proxy between publisher and endpoint that injects faults.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use e2e::http::{Message, listen};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
};

/// The fault that a `POST` meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Loses the first answer: closes the publisher's connection before the first byte.
    LosesFirstAnswer,
    /// Loses the first answer on the way to the proxy, which retries, as proxies do.
    Retries,
    /// Sends every `POST` twice at once. The publisher gets one of the answers.
    SendsTwice,
}

/// A running proxy. Stopped on drop.
pub(crate) struct Proxy {
    pub(crate) address: String,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
    _tasks: JoinSet<()>,
}

/// A request to the endpoint, and its response.
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
        let exchanges = Arc::default();
        let relay = Relay {
            endpoint: endpoint.to_owned(),
            fault,
            had_fault: Arc::default(),
            exchanges: Arc::clone(&exchanges),
        };
        let (address, tasks) = listen(move |stream| relay.clone().serve(stream)).await;
        Self {
            address,
            exchanges,
            _tasks: tasks,
        }
    }

    /// The exchanges with this method.
    pub(crate) fn exchanges(&self, method: &str) -> Vec<Exchange> {
        let exchanges = self.exchanges.lock().expect("the lock should not be poisoned");
        exchanges
            .iter()
            .filter(|exchange| exchange.request.is(method))
            .cloned()
            .collect()
    }
}

impl Relay {
    async fn serve(self, stream: TcpStream) -> io::Result<()> {
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

    /// Returns the answer for the publisher, or `None` to close its connection.
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
            Fault::Retries => self.exchange(request).await.map(Some),
            Fault::LosesFirstAnswer | Fault::SendsTwice => Ok(None),
        }
    }

    async fn exchange(&self, request: &Message) -> io::Result<Message> {
        let response = request.exchange(&self.endpoint).await?;
        self.exchanges
            .lock()
            .expect("the lock should not be poisoned")
            .push(Exchange {
                request: request.clone(),
                response: response.clone(),
            });
        Ok(response)
    }
}

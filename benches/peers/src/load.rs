//! The load: keep-alive connections that send prepared requests and read the answers.

use std::{collections::BTreeMap, fmt, io, net::SocketAddr, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use crate::offers::LOGIN;

/// Time limit for one answer, far longer than any working contender needs.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Raises the limit of open files for this process, and so for its servers, to what the storm needs.
pub(crate) fn allow_connections(count: u64) -> Result<(), String> {
    let wanted = count + 100;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit >= wanted => Ok(()),
        Ok(limit) => Err(format!(
            "{wanted} open files are needed, but {limit} are allowed; raise `ulimit -n`"
        )),
        Err(error) => Err(format!("{wanted} open files are needed: {error}")),
    }
}

/// A keep-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    read: BytesMut,
}

/// The relevant parts of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    cookie: Option<String>,
    body: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = timeout(ANSWER_TIMEOUT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: BytesMut::with_capacity(1024),
        })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send(request).await?;
        self.answer(Instant::now() + ANSWER_TIMEOUT).await
    }

    /// Returns the next answer.
    pub(crate) async fn answer(&mut self, until: Instant) -> io::Result<Answer> {
        loop {
            if let Some(answer) = self.parse()? {
                return Ok(answer);
            }
            if timeout_at(until, self.stream.read_buf(&mut self.read)).await?? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Returns an answer once all of it has been read.
    fn parse(&mut self) -> io::Result<Option<Answer>> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let head = match response.parse(&self.read) {
            Ok(httparse::Status::Complete(head)) => head,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        let status = response.code.unwrap_or_default();
        let field = |name: &str| {
            let field = response
                .headers
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(field.value).ok()
        };
        let cookie = field("set-cookie").and_then(|cookie| cookie.split(';').next());
        let cookie = cookie.map(ToOwned::to_owned);
        let length = match (field("content-length").map(str::parse), status) {
            (Some(Ok(length)), _) => length,
            (None, 204) => 0,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "an answer of unknown length",
                ));
            }
        };
        if self.read.len() < head + length {
            return Ok(None);
        }
        self.read.advance(head);
        let body = self.read.split_to(length).to_vec();
        Ok(Some(Answer { status, cookie, body }))
    }
}

/// Returns the number of offers that have reached the endpoint.
pub(crate) async fn calls(address: SocketAddr) -> Result<u64, String> {
    let answer = async {
        Connection::open(address)
            .await?
            .ask(b"GET /calls HTTP/1.1\r\nhost: h\r\n\r\n")
            .await
    };
    let answer = answer.await.map_err(|error| format!("the count of calls: {error}"))?;
    let text = String::from_utf8_lossy(&answer.body);
    text.parse().map_err(|_| format!("the count of calls is {text:?}"))
}

/// Creates sessions for this many clients.
pub(crate) async fn log_in(address: SocketAddr, count: u64) -> Result<Vec<String>, String> {
    let failed = |error: io::Error| format!("a session: {error}");
    let mut connection = Connection::open(address).await.map_err(failed)?;
    let mut cookies = Vec::new();
    for _ in 0..count {
        let answer = connection.ask(LOGIN.as_bytes()).await.map_err(failed)?;
        cookies.push(answer.cookie.ok_or("a log-in without a session")?);
    }
    Ok(cookies)
}

/// Counts answers by status, and failures by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(crate) fn count(&mut self, answer: &io::Result<Answer>) {
        let what = match answer {
            Ok(answer) => answer.status.to_string(),
            Err(error) => match error.kind() {
                io::ErrorKind::TimedOut => "timed out".to_owned(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    "closed".to_owned()
                }
                _ => error.to_string(),
            },
        };
        self.count_many(&what, 1);
    }

    pub(crate) fn count_many(&mut self, what: &str, count: u64) {
        *self.0.entry(what.to_owned()).or_default() += count;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            self.count_many(what, *count);
        }
    }

    /// The number of answers of a kind, such as `"201"`.
    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(what, count)| format!("{count} × {what}")).collect();
        f.write_str(&parts.join(", "))
    }
}

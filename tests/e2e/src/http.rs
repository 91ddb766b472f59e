//! HTTP/1.1 messages as sent on the wire, for simple clients and proxies.

use std::io;

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A request or a response.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The start line and the fields, including the empty line at the end.
    pub head: String,
    /// As many bytes as `Content-Length` says.
    pub body: Vec<u8>,
}

impl Message {
    /// Makes a request with a `Host`, a `Content-Length`, and these fields.
    pub fn request(method: &str, path: &str, fields: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Self { head, body }
    }

    /// Reads one message. Returns `None` at the end of the stream.
    pub async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Self>> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await? == 0 {
                return if head.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
        let mut message = Self { head, body: Vec::new() };
        assert_eq!(message.field("transfer-encoding"), None, "{}", message.head);
        let length = message
            .field("content-length")
            .map_or(0, |length| length.parse().expect("content-length should be a number"));
        message.body.resize(length, 0);
        stream.read_exact(&mut message.body).await?;
        Ok(Some(message))
    }

    /// Returns whether it is a request with this method.
    pub fn is(&self, method: &str) -> bool {
        self.head.split(' ').next() == Some(method)
    }

    /// Returns the status of a response.
    pub fn status(&self) -> u16 {
        let status = self.head.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("not a response: {}", self.head))
    }

    /// Returns the first field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .into_iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Returns the body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body should be UTF-8")
    }

    /// Returns the message as it is sent.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), &self.body].concat()
    }

    /// Sends a request, and reads its response.
    pub async fn exchange(&self, address: &str) -> io::Result<Self> {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.write_all(&self.bytes()).await?;
        Self::read(&mut stream)
            .await?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// Serves every connection to a port of this machine. Returns its address, and the tasks, which stop on drop.
pub async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> (String, JoinSet<()>)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port should be free");
    let address = listener.local_addr().expect("the listener should be bound").to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let connection = serve(stream);
            connections.spawn(async move {
                // A client may close its connection at any time.
                let _ = connection.await;
            });
        }
    });
    (address, tasks)
}

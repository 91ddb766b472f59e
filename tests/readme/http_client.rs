//! Sends one HTTP request on a connection of its own.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

/// Returns the response as text. `request` is a method and a path.
pub(crate) fn send(
    server: SocketAddr,
    request: &str,
    content_type: &str,
    body: &str,
) -> io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    Ok(response)
}

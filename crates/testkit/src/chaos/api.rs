//! Calls of the HTTP API, each by a connection of its own.

use serde_json::Value;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Key of the API of every node.
pub(super) const KEY: &str = "chaos-key";

/// A call without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The server answered with this error.
    Code(u64),
    /// Nobody knows what became of it.
    Unknown(String),
}

/// The `result` of a method of the node at this port.
pub(super) async fn call(port: u16, method: &str, body: &Value, patience: Duration) -> Result<Value, Failed> {
    let body = body.to_string();
    let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n");
    let path = format!("/api/{method}");
    let exchange = request(port, "POST", &path, &headers, body.as_bytes());
    let unknown = |error: String| Failed::Unknown(error);
    let answer = timeout(patience, exchange).await.map_err(|_| unknown("no answer in time".to_owned()))?;
    let (status, answer) = answer.map_err(|error| unknown(error.to_string()))?;
    let mut answer: Value =
        serde_json::from_slice(&answer).map_err(|error| unknown(format!("{status}: {error}")))?;
    match answer.get("error").and_then(|error| error.get("code")).and_then(Value::as_u64) {
        Some(code) => Err(Failed::Code(code)),
        None => Ok(answer.get_mut("result").map(Value::take).unwrap_or_default()),
    }
}

/// Status and body of a page.
pub(super) async fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, answer.split_off(end + 4)))
}

//! The answer of a WebSocket endpoint on this machine: a browser tells its pages only that connecting failed.

use http::{HeaderValue, Uri};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Time for the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of an answer in which its status must be.
const READ: usize = 256;

/// Asks for an upgrade at `url` as a page of `origin` would, and returns what came of it: `status`, or `failure`, a
/// reason for which there is none. `None` for what is not a WebSocket on this machine.
pub(super) async fn probe(url: &str, origin: Option<&HeaderValue>) -> Option<Value> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host().filter(|host| super::names_this_machine(host))?;
    if uri.scheme_str() != Some("ws") {
        return None;
    }
    let address = (host.trim_matches(['[', ']']).to_owned(), uri.port_u16().unwrap_or(80));
    let told = match timeout(PATIENCE, status(&uri, address, origin)).await {
        Ok(Ok(Some(status))) => json!({ "status": status }),
        Ok(Ok(None)) => json!({ "failure": "the answer is not HTTP" }),
        Ok(Err(error)) => json!({ "failure": reason(&error) }),
        Err(_) => json!({ "failure": format!("no answer within {} s", PATIENCE.as_secs()) }),
    };
    Some(told)
}

async fn status(
    uri: &Uri,
    address: (String, u16),
    origin: Option<&HeaderValue>,
) -> std::io::Result<Option<u16>> {
    let mut stream = TcpStream::connect(address).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    .into_bytes();
    if let Some(origin) = origin {
        request.extend([b"Origin: ", origin.as_bytes(), b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    stream.write_all(&request).await?;
    let mut answer = Vec::new();
    while answer.len() < READ && !answer.contains(&b'\n') {
        let mut part = [0; READ];
        match stream.read(&mut part).await? {
            0 => break,
            length => answer.extend_from_slice(&part[..length]),
        }
    }
    Ok(status_in(&answer))
}

/// The status in the first line of a response.
fn status_in(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.split(|byte| *byte == b'\n').next()?).ok()?;
    line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

/// The cause, without the number of the system.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        std::io::ErrorKind::ConnectionReset => "the connection was closed without an answer".to_owned(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_websockets_of_this_machine_are_asked() {
        for url in [
            "",
            "x",
            "http://127.0.0.1:1/",
            "ws://example.com/",
            "ws://127.0.0.1.example.com/",
            "wss://localhost/",
        ] {
            assert_eq!(probe(url, None).await, None, "{url}");
        }
    }

    #[tokio::test]
    async fn the_answer_is_its_status_or_why_there_is_none() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/path?x=1", listener.local_addr().unwrap());
        let serve = tokio::spawn(async move {
            let mut seen = Vec::new();
            for answer in ["HTTP/1.1 403 Forbidden\r\n\r\n", "SSH-2.0-x\r\n", ""] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let length = stream.read(&mut request).await.unwrap();
                seen.push(String::from_utf8_lossy(&request[..length]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            seen
        });
        let origin = HeaderValue::from_static("http://page");
        assert_eq!(probe(&url, Some(&origin)).await.unwrap(), json!({ "status": 403 }));
        assert_eq!(probe(&url, None).await.unwrap(), json!({ "failure": "the answer is not HTTP" }));
        assert_eq!(probe(&url, None).await.unwrap(), json!({ "failure": "the answer is not HTTP" }));
        let seen = serve.await.unwrap();
        assert!(
            seen[0].starts_with("GET /path?x=1 HTTP/1.1\r\n")
                && seen[0].contains("\r\nOrigin: http://page\r\n")
        );
        assert!(!seen[1].contains("Origin"));
        assert_eq!(probe(&url, None).await.unwrap(), json!({ "failure": "nothing listens there" }));
    }
}

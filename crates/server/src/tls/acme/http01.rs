//! The listener for HTTP-01 challenges. It answers those, and redirects everything else to HTTPS.

use super::Acme;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::watch::Receiver;

/// Connections at a time. Further ones wait.
const MAX_CONNECTIONS: usize = 256;
/// Time that one may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of the head of a request.
const MAX_HEAD: usize = 8 << 10;
/// Pause in accepting when the system has no resources for a further connection.
const PAUSE: Duration = Duration::from_millis(100);

const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Listens on `http_addr`, and serves from then on by a task of its own.
pub(super) async fn listen(acme: Arc<Acme>, mut stop: Receiver<bool>) -> io::Result<()> {
    let address = &acme.options.http_addr;
    // A port alone means every address, as in Go.
    let listener = match address.strip_prefix(':') {
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind(format!("0.0.0.0:{port}")).await?
            }
            bound => bound?,
        },
        None => TcpListener::bind(address).await?,
    };
    let address = listener.local_addr()?.to_string();
    tracing::info!(address, "serving ACME HTTP-01 challenges");
    tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, acme) => {}
            _ = stop.changed() => {}
        }
    });
    Ok(())
}

async fn accept(listener: TcpListener, acme: Arc<Acme>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let acme = Arc::clone(&acme);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(TIMEOUT, serve(stream, &acme)).await;
            drop(place);
        });
    }
}

/// Answers one request.
async fn serve(mut stream: TcpStream, acme: &Acme) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let answer = answer(&String::from_utf8_lossy(&head), acme);
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // What the client still sends would reset the connection before it has read the answer.
    let mut rest = [0; 512];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

fn answer(head: &str, acme: &Acme) -> String {
    let mut lines = head.lines();
    let mut request = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (request.next().unwrap_or_default(), request.next().unwrap_or_default());
    if let Some(token) = target.strip_prefix(CHALLENGES) {
        return match acme.answers.lock().get(token) {
            Some(answer) if method == "GET" => response("200 OK", "application/octet-stream", "", answer),
            _ => response("404 Not Found", "text/plain; charset=utf-8", "", "404 page not found\n"),
        };
    }
    let host = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    let host = host.map_or("", |host| host.rsplit_once(':').map_or(host, |(host, _)| host));
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !matches!(method, "GET" | "HEAD") || host.is_empty() || !target.starts_with('/') || !is_plain(host) {
        return response("400 Bad Request", "text/plain; charset=utf-8", "", "Use HTTPS\n");
    }
    let location = format!("Location: https://{host}{target}\r\n");
    response("302 Found", "text/plain; charset=utf-8", &location, "Use HTTPS\n")
}

fn response(status: &str, kind: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

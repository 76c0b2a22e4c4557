//! Sessions of SockJS whose client gives up a request in the middle, by HTTP/2 and by HTTP/1.1.

use crate::server::{Server, open};
use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Below the time after which a session ends by itself for want of a request.
const AT_ONCE: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_secs(30);

enum Http {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Http {
    async fn connect(server: &Server, version: Version) -> Self {
        let stream = TokioIo::new(TcpStream::connect(server.address).await.unwrap());
        if version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            Self::Two(sender)
        } else {
            let (sender, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            Self::One(sender)
        }
    }

    async fn ask(&mut self, method: Method, path: &str, body: String) -> Response<Incoming> {
        let uri = format!("http://localhost/connection/sockjs/000/{path}");
        let request = Request::builder().method(method).uri(uri).header("host", "localhost");
        let request = request.body(Full::from(body)).unwrap();
        match self {
            Self::One(sender) => sender.send_request(request).await.unwrap(),
            Self::Two(sender) => sender.send_request(request).await.unwrap(),
        }
    }
}

/// Reads a response until it has this.
async fn until(response: &mut Response<Incoming>, end: &str) {
    let mut text = String::new();
    while !text.contains(end) {
        let frame = tokio::time::timeout(PATIENCE, response.frame()).await.unwrap();
        let frame = frame.unwrap_or_else(|| panic!("no {end:?} in {text}")).unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_the_request_that_is_given_up() {
    let mut config = open();
    let internal = spinward_testkit::servers::free_port().to_string();
    config["http_server"] = json!({"h2c_external": true, "internal_port": internal});
    let server = Server::start(&config);
    let connect = json!([json!({"id": 1, "connect": {}}).to_string()]).to_string();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for kind in ["xhr", "xhr_streaming", "eventsource"] {
            let name = format!("{kind}{version:?}").replace(['/', '.'], "");
            let method = if kind == "eventsource" { Method::GET } else { Method::POST };
            let (path, sender) = (format!("{name}/{kind}"), format!("{name}/xhr_send"));
            // Messages of the client go by another connection, which stays.
            let mut other = Http::connect(&server, version).await;
            let mut http = Http::connect(&server, version).await;
            let mut output = http.ask(method.clone(), &path, String::new()).await;
            until(&mut output, if kind == "eventsource" { "data: o" } else { "o\n" }).await;
            let sent = other.ask(Method::POST, &sender, connect.clone()).await;
            assert_eq!(sent.status(), 204, "{path}");
            if kind == "xhr" {
                output = http.ask(method.clone(), &path, String::new()).await;
            }
            until(&mut output, "connect").await;
            if kind == "xhr" {
                let poll = http.ask(method, &path, String::new());
                assert!(tokio::time::timeout(Duration::from_millis(300), poll).await.is_err(), "{path}");
            }
            let begun = Instant::now();
            // By HTTP/2 the stream is reset, and its connection goes on; by HTTP/1.1 the connection is closed.
            drop(output);
            if version == Version::HTTP_11 {
                drop(http);
            }
            while other.ask(Method::POST, &sender, "[]".to_owned()).await.status() != 404 {
                assert!(begun.elapsed() < AT_ONCE, "{path} by {version:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

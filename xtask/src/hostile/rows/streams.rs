//! Clients whose output is the response to a request.

use super::super::Target;
use super::super::arena::{Arena, Bound, Outcome};
use super::outgoing::SMALL_WINDOW;
use crate::shell::Failure;
use serde_json::{Value, json};

/// A connection that is open and says nothing: session, slot, subscription, and what the system's allocator adds.
pub(super) const SILENT: f64 = 6e3;
/// Buffers of a connection whose request is still coming.
pub(super) const REQUEST: f64 = 96e3;

/// A request for a stream of server-sent events, subscribed to a channel.
fn events(channel: &str) -> String {
    let body = format!("%7B%22token%22%3A%22<token>%22%2C%22subs%22%3A%7B%22{channel}%22%3A%7B%7D%7D%7D");
    format!("GET /connection/uni_sse?cf_connect={body} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Publications of 5 MB/s into the channel `feed0`.
pub(super) fn feed() -> Value {
    json!({
        "opening": "tcp", "first": 5_000, "pace": 500.0, "outstanding": 50,
        "unit": {"kind": "api", "method": "publish", "before": "{\"channel\":\"feed0\",\"data\":\"", "line": "<pad 10000>", "after": "\"}"},
    })
}

/// Subscribers over SSE that never read, of 5 MB/s.
pub(super) fn deaf(target: &Target) -> Result<Outcome, Failure> {
    let mut arena = Arena::new(target, &json!({}))?;
    arena.bystanders(50, "feed")?;
    let count = 50;
    let deaf = json!({
        "opening": "tcp", "count": count, "deaf": true, "receive_buffer": SMALL_WINDOW,
        "first_lines": [events("feed0")],
    });
    arena.measure(&[deaf, feed()], Bound::queues(count, 10_000.0).and(50.0 * 2e6).and_back())
}

/// Streams that are opened and then say nothing and are told nothing.
pub(super) fn silent(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(10_000, 300);
    let attack = json!({
        "opening": "tcp", "count": count, "seconds": arena.pick(20.0, 0.8), "first_lines": [events("quiet<c>")],
    });
    arena.measure(&[attack], Bound::each(count, SILENT).and_back())
}

/// Bodies of requests for streams that come a byte at a time.
pub(super) fn slow_bodies(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let count = arena.pick(2_000, 100);
    let paths =
        ["/connection/uni_sse", "/connection/http_stream", "/emulation", "/connection/sockjs/0/a/xhr_send"];
    let attacks = paths.iter().enumerate().map(|(number, path)| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n");
        json!({
            "opening": "tcp", "count": count / paths.len(), "first": number * count, "first_lines": [head], "pace": 10.0,
            "seconds": arena.pick(15.0, 0.8), "gone": true, "unit": {"kind": "raw", "line": " "},
        })
    });
    let attacks: Vec<Value> = attacks.collect();
    arena.measure(&attacks, Bound::each(count, REQUEST).and_back())
}

/// Messages to sessions that are not the sender's.
pub(super) fn sessions(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let node = arena.api("info", &json!({}))?;
    let node = node.pointer("/result/nodes/0/uid").and_then(Value::as_str).unwrap_or_default().to_owned();
    let session = format!("{:016x}{:032x}", 1_u64 << 32, 7);
    let body = format!(
        "{{\"session\":\"{session}\",\"node\":\"{node}\",\"data\":\"{{\\\"id\\\":2,\\\"rpc\\\":{{}}}}\"}}"
    );
    let request =
        format!("POST /emulation HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let attack = json!({
        "opening": "tcp", "count": 20, "outstanding": 4, "unit": {"kind": "raw", "line": request},
    });
    arena.measure(&[attack], Bound::each(20, REQUEST).and_back())
}

/// Requests that two servers may read in two ways, each with another behind it that must not be answered.
pub(super) fn shapes(target: &Target) -> Result<Outcome, Failure> {
    let arena = Arena::new(target, &json!({}))?;
    let shapes = [
        "Content-Length: 2\r\nContent-Length: 30\r\n",
        "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nTransfer-Encoding : chunked\r\n",
        "Content-Length: +2\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ];
    let attacks = shapes.iter().enumerate().map(|(number, lines)| {
        let head = format!("POST /connection/uni_http_stream HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        json!({
            "opening": "tcp", "count": 20, "first": number * 100, "again": true, "most": 2_000, "units": 1, "leave": true,
            "outstanding": 1, "answers": 1,
            "unit": {"kind": "raw", "line": format!("{head}2\r\n{{}}\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n")},
        })
    });
    let attacks: Vec<Value> = attacks.collect();
    arena.measure(&attacks, Bound::each(100, REQUEST).and_back())
}

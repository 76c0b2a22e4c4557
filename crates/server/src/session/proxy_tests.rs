//! Decisions of a proxy that answers late: what it is told, and what comes of its replies.

use super::*;
use crate::auth::revoke_store::MemoryStore;
use crate::config::{Vars, from_tree};
use crate::session::common::{Client as Peer, connect, subscribe};
use crate::session::{RefusalLog, Revocations, ServerHooks, Shared};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use spinward::Node;
use spinward::clock::Clock;
use spinward::hooks::Handshake;
use spinward::wire::Protocol;
use spinward::wire::code::{DisconnectCode, ErrorCode};
use spinward::wire::message::{Command, PublishRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::DuplexStream;

/// A back end that takes its time, and writes down what it is asked.
#[derive(Default)]
struct Late {
    headers: Vec<HeaderName>,
    asked: Mutex<Vec<String>>,
}

impl Late {
    fn note(&self, ask: &Ask, from: &Sender<'_>, text: String) {
        let headers: Vec<String> =
            from.headers.into_iter().flatten().map(|(n, v)| format!(" {n}={v:?}")).collect();
        let user = from.client.user();
        self.asked.lock().push(format!("{} {user:?} {text}{}", ask.name(), headers.concat()));
    }
}

fn late<T: Send + 'static>(reply: T) -> Answer<T> {
    Answer::later(async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        reply
    })
}

impl Proxies for Arc<Late> {
    fn headers(&self) -> &[HeaderName] {
        &self.headers
    }

    fn has(&self, _: &Ask) -> bool {
        true
    }

    fn subscribe(
        &self,
        ask: &Ask,
        from: &Sender<'_>,
        request: &SubscribeEvent,
    ) -> Answer<Reply<SubscribeResult>> {
        self.note(ask, from, format!("subscribe {}", request.channel));
        late(match request.channel.as_str() {
            "closed" => Reply::Error(ErrorCode::PERMISSION_DENIED),
            "end" => Reply::Disconnect(DisconnectCode::FORCE_DISCONNECT),
            _ => Reply::Result(SubscribeResult {
                data: Some(Bytes::from_static(b"{\"by\":1}")),
                ..Default::default()
            }),
        })
    }

    fn publish(&self, ask: &Ask, from: &Sender<'_>, request: &PublishEvent) -> Answer<Reply<PublishResult>> {
        self.note(ask, from, format!("publish {}", String::from_utf8_lossy(&request.data)));
        let data = (&*request.data == b"2").then(|| Bytes::from_static(b"\"other\""));
        late(Reply::Result(PublishResult { data, ..PublishResult::default() }))
    }
}

/// A node whose channels are all decided by `proxies`.
fn node(proxies: impl Proxies) -> Node {
    let client = json!({ "client": { "allow_anonymous_connect_without_token": true } });
    let loaded = from_tree(client.as_object().unwrap().clone(), &Vars::default(), &[]).unwrap();
    let mut config = loaded.config;
    config.channel.without_namespace.subscribe_proxy_enabled = true;
    config.channel.without_namespace.publish_proxy_enabled = true;
    for proxy in [&mut config.channel.proxy.subscribe, &mut config.channel.proxy.publish] {
        // Never called: another is put in its place.
        proxy.endpoint = "http://127.0.0.1:1".to_owned();
    }
    let mut active = crate::app::active_config(&config, &crate::auth::jwks::Jwks::offline()).unwrap();
    active.proxies = Arc::new(proxies);
    let clock = Clock::system();
    let revocations = Revocations::new(Arc::new(MemoryStore::new(10)), clock.clone());
    let refusals = Arc::new(RefusalLog::new(clock.clone()));
    let hooks = ServerHooks::new(Shared::new(active), clock, refusals, revocations);
    let limits = spinward::Config { shards: 1, ..spinward::Config::default() };
    Node::builder(hooks).config(limits).build().unwrap()
}

async fn login(node: &Node) -> Peer<DuplexStream> {
    let (far, near) = tokio::io::duplex(1 << 16);
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-kept", "a"), ("x-kept", "b"), ("cookie", "secret=1")] {
        headers.append(name, value.parse().unwrap());
    }
    node.serve_stream(near, Protocol::Json, Handshake { headers, ..Handshake::default() });
    let mut peer = Peer::new(far, Protocol::Json);
    peer.send(&[connect(1)]).await;
    assert_eq!(peer.reply(1).await.error, None);
    peer
}

fn publish(id: u32, data: &'static [u8]) -> Command {
    let data = Bytes::from_static(data);
    let request = PublishRequest { channel: "open".into(), data, ..PublishRequest::default() };
    Command { id, publish: Some(request), ..Command::default() }
}

#[tokio::test]
async fn a_proxy_may_answer_late() {
    let late = Arc::new(Late { headers: vec![HeaderName::from_static("x-kept")], ..Late::default() });
    let node = node(Arc::clone(&late));
    let mut peer = login(&node).await;
    peer.send(&[subscribe(2, "closed"), subscribe(3, "open")]).await;
    assert_eq!(peer.reply(2).await.error.map(|error| error.code), Some(103));
    let reply = peer.reply(3).await;
    assert_eq!(reply.subscribe.map(|result| result.data), Some(Bytes::from_static(b"{\"by\":1}")));
    for (id, data, published) in [(4, b"1", &b"1"[..]), (5, b"2", b"\"other\"")] {
        peer.send(&[publish(id, data)]).await;
        let push = peer.push().await.publication.unwrap();
        assert_eq!(&push.data[..], published);
        assert_eq!(peer.reply(id).await.error, None);
    }
    peer.send(&[subscribe(6, "end")]).await;
    assert_eq!(peer.next().await, None);
    assert_eq!(peer.closed, Some(Some(3503)));
    let told = |text: &str| format!(r#"default "" {text} x-kept="a" x-kept="b""#);
    let expected = ["subscribe closed", "subscribe open", "publish 1", "publish 2", "subscribe end"];
    assert_eq!(*late.asked.lock(), expected.map(told));
}

#[tokio::test]
async fn headers_that_no_proxy_passes_on_are_not_kept() {
    let late = Arc::new(Late::default());
    let node = node(Arc::clone(&late));
    let mut peer = login(&node).await;
    peer.send(&[subscribe(2, "open")]).await;
    assert_eq!(peer.reply(2).await.error, None);
    assert_eq!(*late.asked.lock(), [r#"default "" subscribe open"#]);
}

#[tokio::test]
async fn without_a_proxy_what_it_would_decide_is_refused() {
    let node = node(NoProxies);
    let mut peer = login(&node).await;
    peer.send(&[subscribe(2, "open"), publish(3, b"1")]).await;
    for id in [2, 3] {
        assert_eq!(peer.reply(id).await.error.map(|error| error.code), Some(108));
    }
}

//! Decisions while something is being revoked, in every order that matters.

use super::*;
use crate::auth::revoke_store::MemoryStore;
use crate::auth::sign::hs256;
use crate::auth::testing::signers;
use crate::config::{Vars, from_tree};
use crate::session::common::Client as Peer;
use crate::session::{RefusalLog, ServerHooks, Shared};
use parking_lot::Mutex;
use serde_json::{Value, json};
use spinward::hooks::Handshake;
use spinward::wire::Protocol;
use spinward::wire::message::{Command, ConnectRequest, RefreshRequest, SubRefreshRequest, SubscribeRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;

const KEY: &str = "a-long-secret-of-the-tests-4f1c97ab02de";
const KID: &str = "k";

/// Does something right after a check has passed, before anybody knows of it.
struct Meddling {
    store: MemoryStore,
    after_check: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl RevocationStore for Meddling {
    fn check(&self, subject: &Subject<'_>, now: i64) -> Result<(), Refusal> {
        let verdict = self.store.check(subject, now);
        let meddle = self.after_check.lock().take();
        if let Some(meddle) = meddle {
            assert_eq!(verdict, Ok(()), "the check comes before");
            meddle();
        }
        verdict
    }

    fn revoke(&self, revocation: Revocation, now: i64) -> Result<(), StoreError> {
        self.store.revoke(revocation, now)
    }

    fn unblock_user(&self, user: &str, now: i64) -> Result<(), StoreError> {
        self.store.unblock_user(user, now)
    }
}

/// A node of the server's hooks, beside a key set that is told only when the gate opens.
struct Rig {
    node: Node,
    store: Arc<Meddling>,
    revocations: Revocations,
    gate: watch::Sender<bool>,
    asked: watch::Receiver<bool>,
}

impl Rig {
    async fn start() -> Self {
        let (gate, mut open) = watch::channel(false);
        let (ask, asked) = watch::channel(false);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            assert!(socket.read(&mut [0; 4096]).await.unwrap() > 0);
            ask.send(true).unwrap();
            open.wait_for(|open| *open).await.unwrap();
            let set = format!(r#"{{"keys":[{}]}}"#, signers()[5].jwk(KID, ""));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", set.len());
            socket.write_all((head + &set).as_bytes()).await.unwrap();
        });
        let tree = json!({
            "client": { "token": {
                "hmac_secret_key": KEY, "jwks_public_endpoint": url, "jwks_timeout": "60s",
            } },
            "channel": { "without_namespace": { "allow_subscribe_for_client": true } },
        });
        let config = from_tree(tree.as_object().unwrap().clone(), &Vars::default(), &[]).unwrap().config;
        let active = crate::app::active_config(&config, &crate::auth::Jwks::current()).unwrap();
        let clock = Clock::system();
        let store = Arc::new(Meddling { store: MemoryStore::new(100), after_check: Mutex::default() });
        let revocations = Revocations::new(Arc::clone(&store) as Arc<dyn RevocationStore>, clock.clone());
        let refusals = Arc::new(RefusalLog::new(clock.clone()));
        let hooks = ServerHooks::new(Shared::new(active), clock, refusals, revocations.clone());
        let limits = spinward::Config { shards: 1, ..spinward::Config::default() };
        let node = Node::builder(hooks).config(limits).build().unwrap();
        Self { node, store, revocations, gate, asked }
    }

    fn peer(&self) -> Peer<DuplexStream> {
        let (far, near) = tokio::io::duplex(1 << 16);
        let handshake = Handshake::default();
        self.node.serve_stream(near, Protocol::Json, handshake);
        Peer::new(far, Protocol::Json)
    }

    /// The next check passes, and before its answer is on the way this is taken back.
    fn revoke_after_next_check(&self, revocation: Revocation) {
        let (revocations, node) = (self.revocations.clone(), self.node.clone());
        *self.store.after_check.lock() =
            Some(Box::new(move || drop(revocations.revoke(&node, revocation).unwrap())));
    }

    async fn connected(&self) -> Peer<DuplexStream> {
        let mut peer = self.peer();
        peer.send(&[connect(hs256(KEY, &claims("first")))]).await;
        assert_eq!(peer.reply(1).await.error, None);
        peer
    }
}

fn claims(jti: &str) -> Value {
    json!({ "sub": "u", "jti": jti, "iat": 1_000 })
}

/// A token whose key comes from the set: its verification waits, and is answered apart from the shard.
fn of_set(jti: &str) -> String {
    signers()[5].token_kid(KID, &claims(jti).to_string())
}

fn connect(token: String) -> Command {
    let connect = Some(ConnectRequest { token, ..ConnectRequest::default() });
    Command { id: 1, connect, ..Command::default() }
}

fn refresh(token: String) -> Command {
    Command { id: 2, refresh: Some(RefreshRequest { token }), ..Command::default() }
}

fn ways() -> [(Revocation, u16); 3] {
    [
        (Revocation::Token { uid: "second".into(), expire_at: 0 }, 3500),
        (
            Revocation::UserTokens {
                user: "u".into(),
                issued_before: 2_000,
                channel: String::new(),
                expire_at: 0,
            },
            3500,
        ),
        (Revocation::User { user: "u".into(), expire_at: 0 }, 3507),
    ]
}

/// The code of the close, whatever came before it.
async fn closed(peer: &mut Peer<DuplexStream>) -> Option<u16> {
    while peer.next().await.is_some() {}
    peer.closed.flatten()
}

#[tokio::test]
async fn a_refresh_decided_before_a_revocation_and_applied_after_it_does_not_survive() {
    for (revocation, code) in ways() {
        let rig = Rig::start().await;
        let mut peer = rig.connected().await;
        rig.gate.send(true).unwrap();
        rig.revoke_after_next_check(revocation.clone());
        peer.send(&[refresh(of_set("second"))]).await;
        assert_eq!(closed(&mut peer).await, Some(code), "{revocation:?}");
        assert!(rig.store.after_check.lock().is_none(), "the refresh was checked");
    }
}

#[tokio::test]
async fn so_does_none_that_is_answered_at_once() {
    for (revocation, code) in ways() {
        let rig = Rig::start().await;
        let mut peer = rig.connected().await;
        rig.revoke_after_next_check(revocation.clone());
        peer.send(&[refresh(hs256(KEY, &claims("second")))]).await;
        assert_eq!(closed(&mut peer).await, Some(code), "{revocation:?}");
    }
}

#[tokio::test]
async fn a_login_decided_before_a_revocation_and_let_in_after_it_does_not_survive() {
    for (revocation, code) in ways() {
        for token in [of_set("second"), hs256(KEY, &claims("second"))] {
            let rig = Rig::start().await;
            rig.gate.send(true).unwrap();
            rig.revoke_after_next_check(revocation.clone());
            let mut peer = rig.peer();
            peer.send(&[connect(token)]).await;
            assert_eq!(closed(&mut peer).await, Some(code), "{revocation:?}");
        }
    }
}

#[tokio::test]
async fn a_login_that_waits_for_a_key_set_while_it_is_taken_back_is_refused() {
    for (revocation, code) in ways() {
        let mut rig = Rig::start().await;
        let mut peer = rig.peer();
        peer.send(&[connect(of_set("second"))]).await;
        rig.asked.wait_for(|asked| *asked).await.unwrap();
        rig.revocations.revoke(&rig.node, revocation.clone()).unwrap();
        rig.gate.send(true).unwrap();
        assert_eq!(peer.next().await, None, "no reply: {revocation:?}");
        assert_eq!(closed(&mut peer).await, Some(code), "{revocation:?}");
    }
}

#[tokio::test]
async fn a_refresh_that_waits_while_its_token_is_taken_back_is_refused_and_others_go_on() {
    let mut rig = Rig::start().await;
    let (mut peer, mut other) = (rig.connected().await, rig.connected().await);
    peer.send(&[refresh(of_set("second"))]).await;
    rig.asked.wait_for(|asked| *asked).await.unwrap();
    rig.revocations.revoke(&rig.node, Revocation::Token { uid: "second".into(), expire_at: 0 }).unwrap();
    rig.gate.send(true).unwrap();
    assert_eq!(closed(&mut peer).await, Some(3500));
    other.send(&[refresh(of_set("third"))]).await;
    assert_eq!(other.reply(2).await.error, None);
}

#[tokio::test]
async fn a_refresh_of_a_subscription_decided_before_a_revocation_does_not_bring_it_back() {
    let claims = json!({ "sub": "u", "channel": "news", "iat": 1_000, "exp": 4_102_444_800_i64 });
    for token in [signers()[5].token_kid(KID, &claims.to_string()), hs256(KEY, &claims)] {
        let rig = Rig::start().await;
        rig.gate.send(true).unwrap();
        let mut peer = rig.connected().await;
        let subscribe = SubscribeRequest {
            channel: "news".into(),
            token: hs256(KEY, &claims),
            ..SubscribeRequest::default()
        };
        peer.send(&[Command { id: 2, subscribe: Some(subscribe), ..Command::default() }]).await;
        assert_eq!(peer.reply(2).await.error, None);
        assert_eq!(rig.node.channels(|_| true), [("news".into(), 1)]);
        rig.revoke_after_next_check(Revocation::UserTokens {
            user: "u".into(),
            issued_before: 2_000,
            channel: "news".into(),
            expire_at: 0,
        });
        let refresh = SubRefreshRequest { channel: "news".into(), token, ..SubRefreshRequest::default() };
        peer.send(&[Command { id: 3, sub_refresh: Some(refresh), ..Command::default() }]).await;
        let mut ended = None;
        while ended.is_none() {
            let reply = peer.next().await.expect("the connection goes on");
            ended = reply.push.and_then(|push| push.unsubscribe).map(|end| end.code);
        }
        assert_eq!(ended, Some(2501));
        assert!(rig.node.channels(|_| true).is_empty(), "nobody is subscribed any longer");
    }
}

#[tokio::test]
async fn a_subscription_decided_before_a_revocation_and_made_after_it_ends() {
    for revocation in [
        Revocation::Token { uid: "second".into(), expire_at: 0 },
        Revocation::UserTokens {
            user: "u".into(),
            issued_before: 2_000,
            channel: "news".into(),
            expire_at: 0,
        },
    ] {
        let rig = Rig::start().await;
        rig.gate.send(true).unwrap();
        let mut peer = rig.connected().await;
        let claims = json!({ "sub": "u", "channel": "news", "iat": 1_000, "jti": "second" });
        let token = signers()[5].token_kid(KID, &claims.to_string());
        let subscribe = SubscribeRequest { channel: "news".into(), token, ..SubscribeRequest::default() };
        rig.revoke_after_next_check(revocation.clone());
        peer.send(&[Command { id: 2, subscribe: Some(subscribe), ..Command::default() }]).await;
        assert_eq!(peer.reply(2).await.error, None);
        let end = peer.push().await.unsubscribe.map(|end| end.code);
        assert_eq!(end, Some(2501), "{revocation:?}");
        assert!(rig.node.channels(|_| true).is_empty(), "nobody is subscribed any longer");
    }
}

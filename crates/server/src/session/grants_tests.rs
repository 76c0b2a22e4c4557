//! Permissions by tokens and capabilities, over grants that come to nothing, refreshes and replaced subscriptions;
//! and logins that explain themselves.

use super::*;
use crate::auth::revoke_store::MemoryStore;
use crate::auth::sign::hs256;
use crate::config::{Vars, from_tree};
use crate::session::common::{Client as Peer, connect};
use crate::session::explain::{Asked, Explainer, Question};
use serde_json::{Value, json};
use spinward::hooks::Handshake;
use spinward::wire::Protocol;
use spinward::wire::message::{
    Command, FilterNode, PublishRequest, RefreshRequest, SubRefreshRequest, SubscribeRequest,
    UnsubscribeRequest,
};
use spinward::{ClientFilter, Node, ServerSubscribe};
use tokio::io::DuplexStream;

const KEY: &str = "a-long-secret-of-the-tests-4f1c97ab02de";
const FAR: i64 = 4_102_444_800;

struct Rig {
    node: Node,
    revocations: Revocations,
    refusals: Arc<RefusalLog>,
    explainer: Explainer,
}

/// A server with these options in addition to its key.
fn server(options: Value) -> Rig {
    let mut tree = json!({ "client": { "token": { "hmac_secret_key": KEY } } });
    merge(&mut tree, options);
    let loaded = from_tree(tree.as_object().unwrap().clone(), &Vars::default(), &[]).unwrap();
    let active = crate::app::active_config(&loaded.config, &crate::auth::jwks::Jwks::offline()).unwrap();
    let clock = Clock::system();
    let revocations = Revocations::new(Arc::new(MemoryStore::new(10)), clock.clone());
    let refusals = Arc::new(RefusalLog::new(clock.clone()));
    let active = Shared::new(active);
    let hooks = ServerHooks::new(active.clone(), clock.clone(), Arc::clone(&refusals), revocations.clone());
    let limits = spinward::Config { shards: 1, ..spinward::Config::default() };
    let node = Node::builder(hooks).config(limits).build().unwrap();
    let explainer = Explainer { active, revocations: revocations.clone(), clock };
    Rig { node, revocations, refusals, explainer }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(name, value)| merge(into.entry(name).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

impl Rig {
    fn peer(&self) -> Peer<DuplexStream> {
        let (far, near) = tokio::io::duplex(1 << 16);
        let handshake = Handshake {
            headers: HeaderMap::new(),
            uri: http::Uri::from_static("/connection/websocket"),
            credentials: None,
            peer: None,
            extension: None,
        };
        self.node.serve_stream(near, Protocol::Json, handshake);
        Peer::new(far, Protocol::Json)
    }

    async fn login(&self, claims: Value) -> Peer<DuplexStream> {
        let mut peer = self.peer();
        peer.send(&[login(&claims)]).await;
        assert_eq!(peer.reply(1).await.error, None);
        peer
    }

    async fn explain(&self, claims: &Value) -> policy::Explanation {
        let question = Question {
            user: None,
            client: None,
            channel: String::new(),
            action: Asked::Connect,
            token: hs256(KEY, claims),
            headers: HeaderMap::new(),
            subscription_token: String::new(),
            subscribed: false,
            ask_proxy: false,
        };
        self.explainer.explain(&question).await
    }

    async fn api_subscribes(&self, channel: &str) {
        let subscribe = ServerSubscribe::default();
        self.node.subscribe("u", &ClientFilter::default(), channel, subscribe).await.unwrap();
    }

    /// Once the calls that follow a reply were made.
    async fn holds_nothing(&self) {
        for _ in 0..200 {
            if self.revocations.tokens().is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("a token is held that nothing rests on");
    }
}

fn login(claims: &Value) -> Command {
    let mut command = connect(1);
    command.connect.as_mut().unwrap().token = hs256(KEY, claims);
    command
}

fn allowing(channel: &str, exp: i64) -> String {
    hs256(KEY, &json!({ "sub": "u", "channel": channel, "exp": exp, "jti": "j", "allow": ["pub"] }))
}

fn subscribe(id: u32, channel: &str, token: String) -> Command {
    let request = SubscribeRequest { channel: channel.into(), token, ..SubscribeRequest::default() };
    Command { id, subscribe: Some(request), ..Command::default() }
}

fn with_bad_filter(mut command: Command) -> Command {
    let filter = FilterNode { op: "none of them".into(), ..FilterNode::default() };
    command.subscribe.as_mut().unwrap().tf = Some(filter);
    command
}

fn publish(id: u32, channel: &str) -> Command {
    let request = PublishRequest {
        channel: channel.into(),
        data: Bytes::from_static(b"1"),
        ..PublishRequest::default()
    };
    Command { id, publish: Some(request), ..Command::default() }
}

fn unsubscribe(id: u32, channel: &str) -> Command {
    let unsubscribe = Some(UnsubscribeRequest { channel: channel.into() });
    Command { id, unsubscribe, ..Command::default() }
}

fn refresh(id: u32, claims: &Value) -> Command {
    let refresh = Some(RefreshRequest { token: hs256(KEY, claims) });
    Command { id, refresh, ..Command::default() }
}

async fn code(peer: &mut Peer<DuplexStream>, command: Command) -> u32 {
    let id = command.id;
    peer.send(&[command]).await;
    peer.reply(id).await.error.map_or(0, |error| error.code)
}

fn open() -> Value {
    json!({ "channel": { "namespaces": [
        { "name": "open", "allow_subscribe_for_client": true, "allow_tags_filter": true },
        { "name": "shut" },
    ] } })
}

#[tokio::test]
async fn what_a_token_allows_does_not_outlive_a_grant_that_came_to_nothing() {
    let rig = server(open());
    let mut peer = rig.login(json!({ "sub": "u" })).await;
    let refused = with_bad_filter(subscribe(2, "open:a", allowing("open:a", FAR)));
    assert_eq!(code(&mut peer, refused).await, 107);
    assert_eq!(code(&mut peer, subscribe(3, "open:a", String::new())).await, 0);
    assert_eq!(code(&mut peer, publish(4, "open:a")).await, 103, "a plain subscription");
    rig.holds_nothing().await;

    // With the subscription that the token makes it ends as well.
    assert_eq!(code(&mut peer, subscribe(5, "shut:a", allowing("shut:a", FAR))).await, 0);
    assert_eq!(code(&mut peer, publish(6, "shut:a")).await, 0);
    assert_eq!(code(&mut peer, unsubscribe(7, "shut:a")).await, 0);
    assert_eq!(code(&mut peer, publish(8, "shut:a")).await, 103);
    rig.holds_nothing().await;
}

#[tokio::test]
async fn what_a_token_allows_ends_where_the_server_makes_the_subscription_again() {
    let rig = server(open());
    let mut peer = rig.login(json!({ "sub": "u" })).await;
    assert_eq!(code(&mut peer, subscribe(2, "shut:a", allowing("shut:a", FAR))).await, 0);
    assert_eq!(code(&mut peer, publish(3, "shut:a")).await, 0);
    rig.api_subscribes("shut:a").await;
    assert_eq!(code(&mut peer, publish(4, "shut:a")).await, 103);
    rig.holds_nothing().await;
}

#[tokio::test]
async fn a_refused_refresh_of_a_subscription_changes_nothing() {
    let rig = server(open());
    let mut peer = rig.login(json!({ "sub": "u" })).await;
    assert_eq!(code(&mut peer, subscribe(2, "open:a", String::new())).await, 0);
    let prolong = |id, token: String| {
        let request = SubRefreshRequest { channel: "open:a".into(), token, ..SubRefreshRequest::default() };
        Command { id, sub_refresh: Some(request), ..Command::default() }
    };
    let other = hs256(KEY, &json!({ "sub": "u", "channel": "open:a", "expire_at": 5, "allow": ["pub"] }));
    assert_eq!(code(&mut peer, prolong(3, other)).await, 110);
    assert_eq!(code(&mut peer, publish(4, "open:a")).await, 103);
    assert_eq!(code(&mut peer, prolong(5, allowing("open:a", FAR))).await, 0);
    assert_eq!(code(&mut peer, publish(6, "open:a")).await, 0);
    let without = hs256(KEY, &json!({ "sub": "u", "channel": "open:a", "exp": FAR }));
    assert_eq!(code(&mut peer, prolong(7, without)).await, 0);
    assert_eq!(code(&mut peer, publish(8, "open:a")).await, 103, "the new token does not allow it");
}

/// Channels that a peer was unsubscribed from with 2501 before the reply of this id.
async fn lapsed(peer: &mut Peer<DuplexStream>, id: u32) -> Vec<String> {
    let mut channels = Vec::new();
    loop {
        let reply = peer.next().await.expect("the connection goes on");
        if reply.id == id {
            assert_eq!(reply.error, None);
            channels.sort();
            return channels;
        }
        if let Some(push) = reply.push {
            assert_eq!(push.unsubscribe.map(|end| end.code), Some(2501));
            channels.push(push.channel);
        }
    }
}

#[tokio::test]
async fn subscriptions_end_with_the_capabilities_that_they_rest_on() {
    let rig = server(open());
    let caps = |channels: &[&str]| json!({ "sub": "u", "caps": [{ "channels": channels, "match": "wildcard", "allow": ["sub"] }] });
    let mut peer = rig.peer();
    let mut first = login(&caps(&["*"]));
    let named = first.connect.as_mut().unwrap();
    named.subs = [("shut:named".to_owned(), SubscribeRequest::default())].into();
    peer.send(&[first]).await;
    assert_eq!(
        peer.reply(1).await.connect.unwrap().subs.len(),
        1,
        "a channel that the connect command names"
    );
    for (id, channel) in (2..).zip(["shut:a", "shut:b", "shut:api", "open:a"]) {
        assert_eq!(code(&mut peer, subscribe(id, channel, String::new())).await, 0, "{channel}");
    }
    assert_eq!(code(&mut peer, subscribe(6, "shut:token", allowing("shut:token", FAR))).await, 0);
    rig.api_subscribes("shut:api").await;
    assert!(peer.push().await.subscribe.is_some());

    peer.send(&[refresh(7, &caps(&["shut:b", "shut:named"]))]).await;
    assert_eq!(lapsed(&mut peer, 7).await, ["shut:a"]);
    peer.send(&[refresh(8, &caps(&["shut:*"]))]).await;
    assert_eq!(lapsed(&mut peer, 8).await, [""; 0]);
    peer.send(&[refresh(9, &json!({ "sub": "u" }))]).await;
    assert_eq!(lapsed(&mut peer, 9).await, ["shut:b", "shut:named"]);
    let mut left: Vec<String> =
        rig.node.channels(|_| true).into_iter().map(|(name, _)| name.into()).collect();
    left.sort();
    assert_eq!(left, ["open:a", "shut:api", "shut:token"], "something else carries these");
    assert_eq!(code(&mut peer, subscribe(10, "shut:a", String::new())).await, 103);
}

#[tokio::test]
async fn a_channel_that_a_new_token_names_does_not_need_the_former_capabilities() {
    let rig = server(open());
    let mut peer =
        rig.login(json!({ "sub": "u", "caps": [{ "channels": ["shut:a"], "allow": ["sub"] }] })).await;
    assert_eq!(code(&mut peer, subscribe(2, "shut:a", String::new())).await, 0);
    peer.send(&[refresh(3, &json!({ "sub": "u", "channels": ["shut:a"] }))]).await;
    assert_eq!(lapsed(&mut peer, 3).await, [""; 0]);
}

#[tokio::test]
async fn capabilities_in_another_form_allow_nothing_and_refuse_nothing() {
    let rig = server(open());
    for caps in [json!({ "admin": true }), json!("all"), json!(["sub"]), json!([{ "channels": "*" }])] {
        let claims = json!({ "sub": "u", "caps": caps });
        let mut peer = rig.login(claims.clone()).await;
        assert_eq!(code(&mut peer, subscribe(2, "shut:a", String::new())).await, 103);
        peer.send(&[refresh(3, &claims)]).await;
        assert_eq!(lapsed(&mut peer, 3).await, [""; 0]);
    }
    let refused: u64 = rig
        .refusals
        .counts()
        .iter()
        .filter(|(_, reason, _)| reason != "nothing_allows")
        .map(|(.., count)| count)
        .sum();
    assert_eq!(refused, 0);
}

#[tokio::test]
async fn capabilities_in_another_form_are_explained() {
    let rig = server(json!({}));
    let told = rig.explain(&json!({ "sub": "u", "caps": { "admin": true } })).await;
    assert_eq!(told.verdict, "allow");
    assert!(told.reason.contains("the claim caps is in another form"), "{told}");
    assert!(!rig.explain(&json!({ "sub": "u", "caps": [] })).await.reason.contains("caps"));
}

#[tokio::test]
async fn a_user_whose_personal_channel_others_may_read_is_refused() {
    let personal = |options: Value| {
        let mut all = json!({
            "client": { "subscribe_to_user_personal_channel": { "enabled": true } },
            "channel": { "without_namespace": { "allow_user_limited_channels": true } },
        });
        merge(&mut all, options);
        server(all)
    };
    let rig = personal(json!({}));
    for (user, expected) in [("bob#1234", Some(3507)), ("a,b", Some(3507)), ("bob", None)] {
        let mut peer = rig.peer();
        peer.send(&[login(&json!({ "sub": user }))]).await;
        let reply = peer.next().await;
        assert_eq!(peer.closed.flatten(), expected, "{user}");
        assert_eq!(reply.is_none(), expected.is_some(), "{user}");
    }
    let mut peer = rig.peer();
    assert_eq!(code(&mut peer, login(&json!({ "sub": "did:plc:abc" }))).await, 102);
    let mut counts: Vec<_> =
        rig.refusals.counts().into_iter().map(|(_, reason, count)| (reason, count)).collect();
    counts.sort();
    let expected = [("personal_channel_shared".to_owned(), 2), ("personal_channel_unknown".to_owned(), 1)];
    assert_eq!(counts, expected, "each is logged with what to change");

    // Where nobody can be listed, and where the namespace is named, such ids do no harm.
    let rig =
        personal(json!({ "channel": { "without_namespace": { "allow_user_limited_channels": false } } }));
    let reply = async |rig: &Rig, user: &str| {
        let mut peer = rig.peer();
        peer.send(&[login(&json!({ "sub": user }))]).await;
        peer.reply(1).await.connect.unwrap().subs.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(reply(&rig, "bob#1234").await, ["#bob#1234"]);
    let rig = personal(json!({
        "client": { "subscribe_to_user_personal_channel": { "personal_channel_namespace": "open" } },
        "channel": { "namespaces": [{ "name": "open", "allow_user_limited_channels": true }] },
    }));
    assert_eq!(reply(&rig, "did:plc:abc").await, ["open:#did:plc:abc"]);
}

#[tokio::test]
async fn a_login_without_a_personal_channel_is_explained() {
    let rig = server(json!({
        "client": { "subscribe_to_user_personal_channel": { "enabled": true } },
        "channel": { "without_namespace": { "allow_user_limited_channels": true } },
    }));
    for (user, rule, change) in [
        ("bob#1234", "personal_channel_shared", "allow_user_limited_channels"),
        ("did:plc:abc", "personal_channel_unknown", "personal_channel_namespace"),
    ] {
        let told = rig.explain(&json!({ "sub": user })).await;
        assert_eq!(told.rule, rule, "{told}");
        assert!(told.code.is_some() && told.change[0].contains(change), "{told}");
    }
    assert_eq!(rig.explain(&json!({ "sub": "bob" })).await.verdict, "allow");
}

#[tokio::test]
async fn a_reload_that_has_names_list_users_closes_those_whose_channel_is_shared_now() {
    let options = |listed: bool| {
        json!({
            "client": { "subscribe_to_user_personal_channel": { "enabled": true } },
            "channel": { "without_namespace": { "allow_user_limited_channels": listed } },
        })
    };
    let rig = server(options(false));
    assert!(personal_rule(rig.explainer.active.get(), Arc::clone(&rig.refusals)).is_none());
    let (mut shared, mut own) =
        (rig.login(json!({ "sub": "u#1" })).await, rig.login(json!({ "sub": "u" })).await);
    let reloaded = server(options(true)).explainer.active.get();
    let rule = personal_rule(reloaded, Arc::clone(&rig.refusals)).unwrap();
    rig.node.enforce(None, &rule).await;
    assert_eq!(shared.next().await, None);
    assert_eq!(shared.closed.flatten(), Some(3507));
    assert_eq!(code(&mut own, unsubscribe(2, "x")).await, 0);
    assert_eq!(rig.refusals.counts()[0].1, "personal_channel_shared");
}

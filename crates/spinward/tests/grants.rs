//! Each granted subscription ends in one call to the application, and what others see of it ends with it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::broker::Counting;
use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, FailureCause, Handshake, Hooks, RefreshEvent, RefreshReply,
    SubRefreshEvent, SubRefreshReply, SubscribeEvent, SubscribeFailure, SubscribeOptions,
};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use spinward::wire::message::{
    Command, FilterNode, RefreshRequest, SubRefreshRequest, SubscribeRequest, UnsubscribeRequest,
};
use spinward::{ClientFilter, Config, Node, ServerSubscribe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::watch;

const HISTORY: HistoryOptions =
    HistoryOptions { size: 10, ttl: Duration::from_secs(60), meta_ttl: Duration::ZERO };

/// Grants everything, and takes down what becomes of it.
#[derive(Clone)]
struct Granting {
    heard: Arc<Mutex<Vec<String>>>,
    /// Beginnings and ends of subscriptions, and of the connection.
    lives: Arc<Mutex<Vec<String>>>,
    options: Arc<Mutex<SubscribeOptions>>,
    connected: Arc<Mutex<Vec<(String, SubscribeOptions)>>>,
    /// Grants come once this is true.
    gate: watch::Receiver<bool>,
}

impl Granting {
    fn new() -> (Self, watch::Sender<bool>) {
        let (open, gate) = watch::channel(true);
        let (heard, lives) = (Arc::default(), Arc::default());
        let (options, connected) = (Arc::default(), Arc::default());
        (Self { heard, lives, options, connected, gate }, open)
    }

    fn note(&self, line: String) {
        self.heard.lock().unwrap().push(line);
    }

    fn set(&self, options: SubscribeOptions) {
        *self.options.lock().unwrap() = options;
    }

    /// Waits until this was reported; returns everything reported so far, and forgets it.
    async fn until(&self, line: &str) -> Vec<String> {
        for _ in 0..500 {
            {
                let mut heard = self.heard.lock().unwrap();
                if heard.iter().any(|one| one == line) {
                    return std::mem::take(&mut heard);
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}, where {line:?} was due", self.heard.lock().unwrap());
    }
}

impl Hooks for Granting {
    fn connect(&self, _: ConnectEvent) -> Decision<ConnectReply> {
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        let subscriptions = self.connected.lock().unwrap().clone();
        Answer::Now(Ok(ConnectReply { credentials, subscriptions, ..ConnectReply::default() }))
    }

    fn refresh(&self, _: &spinward::Client, request: RefreshEvent) -> Decision<RefreshReply> {
        self.note(format!("by login {:?}", request.by_login));
        Answer::Now(Ok(RefreshReply { lapsed: request.channels, ..RefreshReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        let options = self.options.lock().unwrap().clone();
        if *self.gate.borrow() {
            return Answer::Now(Ok(options));
        }
        let mut gate = self.gate.clone();
        Answer::later(async move {
            gate.wait_for(|open| *open).await.unwrap();
            Ok(options)
        })
    }

    fn sub_refresh(&self, _: &spinward::Client, request: SubRefreshEvent) -> Decision<SubRefreshReply> {
        Answer::Now(Ok(SubRefreshReply { expire_at: request.token.parse().unwrap(), info: None }))
    }

    fn subscribed(&self, _: &spinward::Client, channel: &str) {
        self.note(format!("subscribed {channel}"));
    }

    fn subscribe_failed(&self, _: &spinward::Client, channel: &str, failure: &SubscribeFailure) {
        let by = if failure.server_side { "server" } else { "client" };
        let cause = match &failure.cause {
            FailureCause::Error(code) => code.code.to_string(),
            FailureCause::Unsubscribed(code) => code.code.to_string(),
            FailureCause::Disconnected => "disconnected".to_owned(),
            other => panic!("{other:?}"),
        };
        self.note(format!("failed {channel} {by} {cause}"));
    }

    fn connected(&self, _: &spinward::Client) {
        self.lives.lock().unwrap().push("in".to_owned());
    }

    fn subscription_began(&self, _: &spinward::Client, channel: &str) {
        self.lives.lock().unwrap().push(format!("+{channel}"));
    }

    fn subscription_replaced(&self, _: &spinward::Client, channel: &str) {
        self.lives.lock().unwrap().push(format!("-{channel}"));
        self.note(format!("replaced {channel}"));
    }

    fn sub_refreshed(&self, _: &spinward::Client, channel: &str) {
        self.note(format!("refreshed {channel}"));
    }

    fn unsubscribed(&self, _: &spinward::Client, channel: &str, code: &UnsubscribeCode) {
        self.lives.lock().unwrap().push(format!("-{channel}"));
        self.note(format!("unsubscribed {channel} {}", code.code));
    }

    fn disconnected(&self, _: &spinward::Client, _: &DisconnectCode) {
        self.note("disconnected".to_owned());
    }
}

fn node(hooks: &Granting) -> Node {
    let config = Config { shards: 1, channel_limit: 3, ..Config::default() };
    Node::builder(hooks.clone()).config(config).build().unwrap()
}

async fn enter(node: &Node) -> Client<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let handshake = Handshake::default();
    node.serve_stream(theirs, Protocol::Json, handshake);
    let mut client = Client::new(ours, Protocol::Json);
    client.send(&[connect(1)]).await;
    client.reply(1).await;
    client
}

fn request(id: u32, request: SubscribeRequest) -> Command {
    Command { id, subscribe: Some(request), ..Command::default() }
}

fn leave(id: u32, channel: &str) -> Command {
    let unsubscribe = Some(UnsubscribeRequest { channel: channel.to_owned() });
    Command { id, unsubscribe, ..Command::default() }
}

async fn by_api(node: &Node, channel: &str, options: SubscribeOptions) {
    let subscribe = ServerSubscribe { options, since: None };
    let _ = node.subscribe("ann", &ClientFilter::default(), channel, subscribe).await;
}

async fn refused(client: &mut Client<DuplexStream>, id: u32) -> u32 {
    client.reply(id).await.error.expect("an error").code
}

#[tokio::test]
async fn a_refusal_after_the_grant_is_reported() {
    let (hooks, _open) = Granting::new();
    let node = node(&hooks);
    let mut client = enter(&node).await;
    let request =
        |id, asked: SubscribeRequest| request(id, SubscribeRequest { channel: "c".into(), ..asked });
    let filter = Some(FilterNode { op: "none of them".to_owned(), ..FilterNode::default() });

    let with_filter = SubscribeRequest { tf: filter, ..SubscribeRequest::default() };
    client.send(&[request(2, with_filter.clone())]).await;
    assert_eq!(refused(&mut client, 2).await, 107);
    assert_eq!(hooks.until("failed c client 107").await, ["failed c client 107"]);

    hooks.set(SubscribeOptions { tags_filter: true, ..SubscribeOptions::default() });
    client.send(&[request(3, with_filter)]).await;
    assert_eq!(refused(&mut client, 3).await, 107);
    assert_eq!(hooks.until("failed c client 107").await, ["failed c client 107"]);

    hooks.set(SubscribeOptions { expire_at: 1, ..SubscribeOptions::default() });
    client.send(&[request(4, SubscribeRequest::default())]).await;
    assert_eq!(refused(&mut client, 4).await, 110);
    assert_eq!(hooks.until("failed c client 110").await, ["failed c client 110"]);

    hooks.set(SubscribeOptions { recovery: true, history: HISTORY, ..SubscribeOptions::default() });
    let unrecoverable =
        SubscribeRequest { recover: true, flag: 2, epoch: "other".into(), ..SubscribeRequest::default() };
    client.send(&[request(5, unrecoverable)]).await;
    assert_eq!(refused(&mut client, 5).await, 112);
    assert_eq!(hooks.until("failed c client 112").await, ["failed c client 112"]);

    hooks.set(SubscribeOptions::default());
    client.send(&[request(6, SubscribeRequest::default()), leave(7, "c")]).await;
    assert_eq!(hooks.until("unsubscribed c 0").await, ["subscribed c", "unsubscribed c 0"]);
}

#[tokio::test]
async fn every_subscription_is_reported_from_its_beginning_to_its_end() {
    let (hooks, _open) = Granting::new();
    hooks.connected.lock().unwrap().push(("login".to_owned(), SubscribeOptions::default()));
    let node = node(&hooks);
    let mut client = enter(&node).await;
    // Of those that others see, too.
    hooks.set(SubscribeOptions { presence: true, join_leave: true, ..SubscribeOptions::default() });
    client.send(&[subscribe(2, "own")]).await;
    client.reply(2).await;
    client.send(&[leave(3, "own")]).await;
    client.reply(3).await;
    for _ in 0..2 {
        by_api(&node, "api", SubscribeOptions::default()).await;
        assert!(client.push().await.subscribe.is_some());
    }
    // One that does not come about has neither.
    hooks.set(SubscribeOptions { expire_at: 1, ..SubscribeOptions::default() });
    client.send(&[subscribe(4, "late")]).await;
    assert_eq!(refused(&mut client, 4).await, 110);
    drop(client);
    hooks.until("disconnected").await;
    let lives = hooks.lives.lock().unwrap().clone();
    let (lives, ends) = lives.split_at(7);
    assert_eq!(lives, ["+login", "in", "+own", "-own", "+api", "-api", "+api"]);
    let mut ends = ends.to_vec();
    ends.sort();
    assert_eq!(ends, ["-api", "-login"]);
}

#[tokio::test]
async fn a_grant_that_the_server_overtakes_is_reported() {
    let (hooks, open) = Granting::new();
    let node = node(&hooks);
    let mut client = enter(&node).await;
    open.send(false).unwrap();
    client.send(&[subscribe(2, "c")]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    by_api(&node, "c", SubscribeOptions::default()).await;
    open.send(true).unwrap();
    assert_eq!(refused(&mut client, 2).await, 105);
    assert_eq!(hooks.until("failed c client 105").await, ["failed c client 105"]);

    open.send(false).unwrap();
    client.send(&[subscribe(3, "d")]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    by_api(&node, "e", SubscribeOptions::default()).await;
    by_api(&node, "f", SubscribeOptions::default()).await;
    open.send(true).unwrap();
    assert_eq!(refused(&mut client, 3).await, 106);
    assert_eq!(hooks.until("failed d client 106").await, ["failed d client 106"]);
}

#[tokio::test]
async fn a_grant_to_a_connection_that_is_gone_is_reported() {
    let (hooks, open) = Granting::new();
    let node = node(&hooks);
    // Once while the socket still drains, and once after it is gone.
    for drains in [true, false] {
        let mut client = enter(&node).await;
        open.send(false).unwrap();
        client.send(&[subscribe(2, "c")]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_RECONNECT);
        assert_eq!(hooks.until("disconnected").await, ["disconnected"]);
        if !drains {
            drop(client);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        open.send(true).unwrap();
        assert_eq!(hooks.until("failed c client disconnected").await, ["failed c client disconnected"]);
    }
}

#[tokio::test]
async fn subscriptions_of_the_server_that_fail_are_reported() {
    let (hooks, _open) = Granting::new();
    let node = node(&hooks);
    *hooks.connected.lock().unwrap() =
        vec![("a".to_owned(), SubscribeOptions::default()), ("b".to_owned(), SubscribeOptions::default())];
    let mut client = enter(&node).await;
    by_api(&node, "c", SubscribeOptions { expire_at: 1, ..SubscribeOptions::default() }).await;
    assert_eq!(hooks.until("failed c server 110").await, ["failed c server 110"]);
    by_api(&node, "c", SubscribeOptions::default()).await;
    by_api(&node, "d", SubscribeOptions::default()).await;
    let mut heard = hooks.until("failed d server disconnected").await;
    heard.sort();
    let expected = [
        "disconnected",
        "failed d server disconnected",
        "unsubscribed a 1",
        "unsubscribed b 1",
        "unsubscribed c 1",
    ];
    assert_eq!(heard, expected);
    while client.next().await.is_some() {}
    assert_eq!(client.closed, Some(Some(3505)));
}

#[tokio::test]
async fn a_subscription_that_the_server_makes_again_ends_the_former_grant() {
    let (hooks, _open) = Granting::new();
    let node = node(&hooks);
    let mut client = enter(&node).await;
    client.send(&[subscribe(2, "c")]).await;
    client.reply(2).await;
    by_api(&node, "c", SubscribeOptions::default()).await;
    client.send(&[leave(3, "c")]).await;
    let heard = hooks.until("unsubscribed c 0").await;
    assert_eq!(heard, ["subscribed c", "replaced c", "unsubscribed c 0"]);
}

#[tokio::test]
async fn a_refresh_ends_what_rested_on_the_login_alone() {
    let (hooks, _open) = Granting::new();
    let node = node(&hooks);
    let mut client = enter(&node).await;
    let by_login = SubscribeOptions { by_login: true, ..SubscribeOptions::default() };
    hooks.set(by_login.clone());
    client.send(&[subscribe(2, "c"), subscribe(3, "d")]).await;
    client.reply(3).await;
    hooks.set(SubscribeOptions::default());
    client.send(&[subscribe(4, "e")]).await;
    client.reply(4).await;
    // Something else carries it from here on.
    let prolong = |id, token: &str| {
        let (channel, token) = ("d".to_owned(), token.to_owned());
        let request = SubRefreshRequest { channel, token, ..SubRefreshRequest::default() };
        Command { id, sub_refresh: Some(request), ..Command::default() }
    };
    client.send(&[prolong(5, "1"), prolong(6, "0")]).await;
    assert_eq!(refused(&mut client, 5).await, 110);
    client.reply(6).await;
    let heard = hooks.until("refreshed d").await;
    assert_eq!(heard, ["subscribed c", "subscribed d", "subscribed e", "refreshed d"]);
    let refresh = RefreshRequest { token: "anything".to_owned() };
    client.send(&[Command { id: 7, refresh: Some(refresh), ..Command::default() }]).await;
    let push = client.push().await;
    assert_eq!((push.channel.as_str(), push.unsubscribe.unwrap().code), ("c", 2501));
    assert_eq!(hooks.until("unsubscribed c 2501").await, ["by login [\"c\"]", "unsubscribed c 2501"]);
    assert_eq!(node.channels(|_| true).len(), 2);
}

/// Joins and leaves that a watcher of `c` is pushed, until a publication arrives.
async fn coming_and_going(node: &Node, watcher: &mut Client<DuplexStream>) -> (usize, usize) {
    let (mut joins, mut leaves) = (0, 0);
    node.publish("c", "1".into(), PublishOptions::default()).await.unwrap();
    loop {
        let push = watcher.push().await;
        joins += usize::from(push.join.is_some());
        leaves += usize::from(push.leave.is_some());
        if push.publication.is_some() {
            return (joins, leaves);
        }
    }
}

#[tokio::test]
async fn presence_and_joins_follow_the_options_of_the_latest_subscription() {
    let (hooks, _open) = Granting::new();
    let node = node(&hooks);
    let shown = SubscribeOptions { presence: true, join_leave: true, ..SubscribeOptions::default() };
    let hidden = SubscribeOptions::default();
    let mut watcher = enter(&node).await;
    hooks.set(SubscribeOptions { push_join_leave: true, ..SubscribeOptions::default() });
    watcher.send(&[subscribe(2, "c")]).await;
    watcher.reply(2).await;
    let members = async || node.presence_stats("c").await.unwrap().clients;
    let only = |client: &str| ClientFilter { client: Some(client.to_owned()), ..ClientFilter::default() };
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    node.serve_stream(theirs, Protocol::Json, Handshake::default());
    let mut client = Client::new(ours, Protocol::Json);
    client.send(&[connect(1)]).await;
    let id = client.reply(1).await.connect.unwrap().client;
    let again = async |options: &SubscribeOptions| {
        let subscribe = ServerSubscribe { options: options.clone(), since: None };
        node.subscribe("ann", &only(&id), "c", subscribe).await.unwrap();
    };

    again(&shown).await;
    assert_eq!(members().await, 1);
    assert_eq!(coming_and_going(&node, &mut watcher).await, (1, 0));
    again(&hidden).await;
    assert_eq!(members().await, 0, "a subscription without presence has no place in it");
    assert_eq!(coming_and_going(&node, &mut watcher).await, (0, 1));
    again(&hidden).await;
    again(&shown).await;
    assert_eq!(members().await, 1);
    assert_eq!(coming_and_going(&node, &mut watcher).await, (1, 0));
    // One of the two at a time.
    again(&SubscribeOptions { presence: false, ..shown.clone() }).await;
    assert_eq!(members().await, 0);
    assert_eq!(coming_and_going(&node, &mut watcher).await.1, 0);
    again(&SubscribeOptions { join_leave: false, ..shown.clone() }).await;
    assert_eq!(members().await, 1);
    assert_eq!(coming_and_going(&node, &mut watcher).await, (0, 1));
    again(&hidden).await;
    assert_eq!((members().await, coming_and_going(&node, &mut watcher).await), (0, (0, 0)));
    again(&shown).await;
    client.send(&[leave(2, "c")]).await;
    client.reply(2).await;
    assert_eq!(members().await, 0);
    assert_eq!(coming_and_going(&node, &mut watcher).await, (1, 1));
}

#[tokio::test]
async fn a_subscription_that_fails_takes_along_what_it_was_to_replace() {
    let (hooks, _open) = Granting::new();
    let broker = Arc::new(Counting::default());
    let node = Node::builder(hooks.clone())
        .config(Config { shards: 1, ..Config::default() })
        .broker(broker.clone())
        .build()
        .unwrap();
    let mut client = enter(&node).await;
    hooks.set(SubscribeOptions { presence: true, ..SubscribeOptions::default() });
    client.send(&[subscribe(2, "c")]).await;
    client.reply(2).await;
    assert_eq!(node.presence_stats("c").await.unwrap().clients, 1);
    broker.fails.store(true, Ordering::Relaxed);
    let positioned = SubscribeOptions { positioning: true, history: HISTORY, ..SubscribeOptions::default() };
    by_api(&node, "c", positioned.clone()).await;
    let heard = hooks.until("disconnected").await;
    assert_eq!(heard, ["subscribed c", "replaced c", "failed c server 100", "disconnected"]);
    assert_eq!(node.presence_stats("c").await.unwrap().clients, 0);
    assert!(node.channels(|_| true).is_empty());

    // A client's own, which was reported as subscribed while the broker still had to answer.
    let mut client = enter(&node).await;
    hooks.set(positioned);
    client.send(&[subscribe(2, "c")]).await;
    assert_eq!(refused(&mut client, 2).await, 100);
    assert_eq!(hooks.until("failed c client 100").await, ["subscribed c", "failed c client 100"]);
}

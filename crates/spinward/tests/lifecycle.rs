//! The end of a node, and of the questions to its application.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{Client, connect, subscribe};
use spinward::answer::Answer;
use spinward::enforce::{Judge, Verdict};
use spinward::engine::broker::{BrokerError, PublishOptions};
use spinward::engine::presence::{Member, Members, MemoryPresence, Presence, PresenceError, PresenceStats};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, Refusal, RpcEvent, SubscribeEvent,
    SubscribeOptions,
};
use spinward::identity::Credentials;
use spinward::wire::Protocol;
use spinward::wire::message::{Command, RPCRequest};
use spinward::{ClientFilter, ClientInfo, Config, Node, id::ClientId};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Lets everybody in as `ann`. A connection with `silent` in its data, and a channel and a method of that name, are
/// never answered.
#[derive(Clone, Default)]
struct Application(Arc<()>);

impl Hooks for Application {
    fn connect(&self, request: ConnectEvent) -> Decision<ConnectReply> {
        if request.name == "silent" {
            return Answer::later(std::future::pending());
        }
        let credentials = Credentials { user: "ann".to_owned(), ..Credentials::default() };
        Answer::Now(Ok(ConnectReply { credentials, ..ConnectReply::default() }))
    }

    fn subscribe(&self, _: &spinward::Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        match request.channel.as_str() {
            "silent" => Answer::later(std::future::pending()),
            _ => Answer::Now(Ok(SubscribeOptions { presence: true, ..SubscribeOptions::default() })),
        }
    }

    fn rpc(&self, _: &spinward::Client, call: RpcEvent) -> Decision<bytes::Bytes> {
        match call.method.as_str() {
            "silent" => Answer::later(std::future::pending()),
            "panic" => panic!("a secret of the application"),
            "panic later" => Answer::later(async { panic!("a secret of the application") }),
            _ => Answer::Now(Ok("1".into())),
        }
    }
}

fn builder(hooks: Application) -> spinward::NodeBuilder {
    let config = Config { shards: 1, hook_timeout: Duration::from_millis(200), ..Config::default() };
    Node::builder(hooks).config(config)
}

fn join(node: &Node) -> Client<tokio::io::DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let handshake = Handshake::default();
    node.serve_stream(theirs, Protocol::Json, handshake);
    Client::new(ours, Protocol::Json)
}

fn rpc(id: u32, method: &str) -> Command {
    let rpc = RPCRequest { method: method.to_owned(), data: "1".into() };
    Command { id, rpc: Some(rpc), ..Command::default() }
}

#[tokio::test]
async fn a_node_that_is_shut_down_takes_nothing_more() {
    let node = builder(Application::default()).build().unwrap();
    let app = axum::Router::new().route("/ws", axum::routing::any_service(node.websocket()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    node.publish("news", "1".into(), PublishOptions::default()).await.unwrap();
    node.shutdown(Duration::from_secs(10)).await;

    let published = node.publish("news", "2".into(), PublishOptions::default()).await;
    assert!(matches!(published, Err(BrokerError::Stopped)), "{published:?}");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
}

/// Waits until nothing of a node is left: its threads and tasks keep its application.
async fn nothing_is_left(application: &Application) {
    for _ in 0..500 {
        if Arc::strong_count(&application.0) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the application of the node is still kept");
}

#[tokio::test]
async fn the_last_handle_ends_a_node() {
    let application = Application::default();
    let node = builder(application.clone()).build().unwrap();
    let mut client = join(&node);
    client.send(&[connect(1)]).await;
    client.reply(1).await;
    // A mounted service is a handle too.
    let service = node.websocket();
    drop(node.clone());
    drop(node);
    client.send(&[rpc(2, "anything")]).await;
    assert!(client.reply(2).await.rpc.is_some(), "it goes on while there is a handle");
    drop(service);
    assert!(client.next().await.is_none());
    assert_eq!(client.closed, Some(Some(3001)));
    drop(client);
    nothing_is_left(&application).await;
}

#[tokio::test]
async fn a_hook_that_never_answers_costs_one_error() {
    let node = builder(Application::default()).build().unwrap();
    let mut client = join(&node);
    client.send(&[connect(1), subscribe(2, "silent"), rpc(3, "silent"), rpc(4, "anything")]).await;
    client.reply(1).await;
    for id in [2, 3] {
        let error = client.reply(id).await.error.expect("an error");
        assert_eq!((error.code, error.temporary), (100, true));
    }
    assert!(client.reply(4).await.rpc.is_some(), "the next command has its turn");
    assert_eq!(node.info().counters.hook_timeouts, 2);
    node.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_login_that_is_never_answered_ends_in_a_disconnect() {
    let node = builder(Application::default()).build().unwrap();
    let mut client = join(&node);
    let mut command = connect(1);
    command.connect.as_mut().unwrap().name = "silent".to_owned();
    client.send(&[command]).await;
    assert!(client.next().await.is_none());
    assert_eq!(client.closed, Some(Some(3004)), "the client is to come back");
    node.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn calls_without_an_answer_do_not_use_up_the_calls_in_flight() {
    let config = Config {
        shards: 1,
        hook_timeout: Duration::from_millis(200),
        max_calls_in_flight: 1,
        ..Config::default()
    };
    let node = Node::builder(Application::default()).config(config).build().unwrap();
    for _ in 0..3 {
        let mut client = join(&node);
        client.send(&[connect(1), rpc(2, "silent")]).await;
        assert!(client.reply(2).await.error.is_some());
    }
    node.shutdown(Duration::from_secs(10)).await;
}

/// A presence store that does what it is asked, and answers to additions never.
struct Deaf(MemoryPresence);

impl Presence for Deaf {
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>> {
        let _ = self.0.add(channel, client, info);
        Answer::later(std::future::pending())
    }

    fn remove(&self, channel: &str, client: ClientId, user: &str) -> Answer<Result<(), PresenceError>> {
        self.0.remove(channel, client, user)
    }

    fn members(&self, channel: &str) -> Answer<Result<Members, PresenceError>> {
        self.0.members(channel)
    }

    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        self.0.stats(channel)
    }

    fn refresh_interval(&self) -> Option<Duration> {
        None
    }

    fn refresh(&self, _: &[Member]) -> Answer<Result<(), PresenceError>> {
        Answer::Now(Ok(()))
    }
}

#[tokio::test]
async fn a_presence_entry_without_an_answer_is_taken_back() {
    let store = Arc::new(Deaf(MemoryPresence::new(1)));
    let node = builder(Application::default()).presence(store).build().unwrap();
    let mut client = join(&node);
    client.send(&[connect(1), subscribe(2, "room")]).await;
    assert_eq!(client.reply(2).await.error.map(|error| error.code), Some(100));
    assert_eq!(node.info().counters.subscriptions, 0);
    for _ in 0..100 {
        if node.presence("room").await.unwrap().is_empty() {
            return node.shutdown(Duration::from_secs(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a member who is not there");
}

#[tokio::test]
async fn hooks_that_panic_are_counted() {
    let node = builder(Application::default()).build().unwrap();
    for method in ["panic", "panic later"] {
        let mut client = join(&node);
        client.send(&[connect(1), rpc(2, method)]).await;
        client.reply(1).await;
        assert!(client.next().await.is_none());
        assert_eq!(client.closed, Some(Some(3004)));
    }
    assert_eq!(node.info().counters.hook_panics, 2);
    let mut witness = join(&node);
    witness.send(&[connect(1)]).await;
    witness.reply(1).await;
    let mut victim = join(&node);
    victim.send(&[connect(1)]).await;
    let victims = victim.reply(1).await.connect.unwrap().client;
    // A fault in a judge that is asked about every connection costs the one that it fails for.
    let judge = Judge::new(move |identity| {
        assert!(identity.id.to_string() != victims, "a judge with a fault");
        Verdict::Keep
    });
    node.enforce(None, &judge).await;
    assert!(victim.next().await.is_none());
    assert_eq!(victim.closed, Some(Some(3004)));
    assert_eq!(node.info().counters.hook_panics, 3);
    witness.send(&[rpc(2, "anything")]).await;
    assert!(witness.reply(2).await.rpc.is_some());
    node.disconnect("ann", &ClientFilter::default(), spinward::wire::code::DisconnectCode::FORCE_DISCONNECT);
    node.shutdown(Duration::from_secs(10)).await;
}

/// A refusal's type is part of what an application matches on.
#[test]
fn what_a_stopped_node_answers_is_an_error_for_a_client_too() {
    assert!(matches!(Refusal::from(BrokerError::Stopped), Refusal::Error(code) if code.code == 100));
}

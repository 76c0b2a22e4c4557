//! Connections whose bytes are in other forms than a WebSocket client's: lines and lengths over a byte stream, and
//! dialects in one direction.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod common;

use common::{connect, subscribe};
use spinward::answer::Answer;
use spinward::engine::broker::{HistoryOptions, PublishOptions};
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Handshake, Hooks, PublishEvent, PublishReply, SubscribeEvent,
    SubscribeOptions,
};
use spinward::identity::{Credentials, Transport};
use spinward::wire::code::{DisconnectCode, ErrorCode};
use spinward::wire::framing::DelimitedReader;
use spinward::wire::message::{Command, Disconnect, PublishRequest, Reply, SubscribeRequest};
use spinward::wire::ws::Limits;
use spinward::wire::{Dialect, Direction, Form, Protocol, Replies, append_command, decode_reply};
use spinward::{ClientFilter, Config, Node, ServerSubscribe};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const HISTORY: HistoryOptions =
    HistoryOptions { size: 100, ttl: Duration::from_secs(60), meta_ttl: Duration::ZERO };
const UNI_JSON: Dialect = Dialect::new(Protocol::Json, Direction::Unidirectional);

/// Lets everybody in as `ann`. A token is the channel that the server subscribes the connection to, or an error.
struct Open;

fn options() -> SubscribeOptions {
    SubscribeOptions {
        recovery: true,
        history: HISTORY,
        join_leave: true,
        push_join_leave: true,
        ..SubscribeOptions::default()
    }
}

impl Hooks for Open {
    fn connect(&self, asked: ConnectEvent) -> Decision<ConnectReply> {
        if let Some(code) = asked.token.strip_prefix("error ") {
            let all = [ErrorCode::TOKEN_EXPIRED, ErrorCode::UNKNOWN_CHANNEL];
            let code = all.into_iter().find(|known| known.code.to_string() == code).unwrap();
            return Answer::Now(Err(code.into()));
        }
        let channels = (!asked.token.is_empty()).then(|| (asked.token.clone(), options()));
        Answer::Now(Ok(ConnectReply {
            credentials: Credentials { user: "ann".to_owned(), ..Credentials::default() },
            subscriptions: channels.into_iter().collect(),
            ..ConnectReply::default()
        }))
    }

    fn subscribe(&self, _: &spinward::Client, _: SubscribeEvent) -> Decision<SubscribeOptions> {
        Answer::Now(Ok(options()))
    }

    fn publish(&self, _: &spinward::Client, event: PublishEvent) -> Decision<PublishReply> {
        let options = PublishOptions { history: HISTORY, ..PublishOptions::default() };
        Answer::Now(Ok(PublishReply { options, ..PublishReply::new(event.data) }))
    }
}

fn node(config: Config) -> Node {
    Node::builder(Open).config(Config { shards: 1, ..config }).build().unwrap()
}

fn pinging() -> Config {
    let (ping_interval, pong_timeout) = (Duration::from_millis(150), Duration::from_millis(100));
    Config { ping_interval, pong_timeout, ..Config::default() }
}

fn publish_options() -> PublishOptions {
    PublishOptions { history: HISTORY, ..PublishOptions::default() }
}

/// A client of messages one after the other.
struct Client {
    stream: DuplexStream,
    reader: DelimitedReader,
    protocol: Protocol,
    messages: VecDeque<Vec<u8>>,
    /// Bytes that the client sends at a time.
    at_once: usize,
}

impl Client {
    fn new(node: &Node, dialect: impl Into<Dialect>) -> Self {
        let dialect = dialect.into();
        let (stream, theirs) = tokio::io::duplex(1 << 16);
        node.serve_stream(theirs, Form::delimited(dialect), Handshake::default());
        let (reader, messages) = (DelimitedReader::new(), VecDeque::new());
        Self { stream, reader, protocol: dialect.encoding(), messages, at_once: usize::MAX }
    }

    async fn raw(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(self.at_once.min(bytes.len().max(1))) {
            self.stream.write_all(part).await.unwrap();
        }
    }

    async fn send(&mut self, commands: &[Command]) {
        let mut bytes = Vec::new();
        for (at, command) in commands.iter().enumerate() {
            append_command(self.protocol, command, &mut bytes, at == 0);
        }
        if self.protocol == Protocol::Json {
            bytes.push(b'\n');
        }
        self.raw(&bytes).await;
    }

    /// The next message; `None` once the stream has ended.
    async fn message(&mut self) -> Option<Vec<u8>> {
        tokio::time::timeout(Duration::from_secs(5), self.receive()).await.expect("nothing in five seconds")
    }

    async fn receive(&mut self) -> Option<Vec<u8>> {
        while self.messages.is_empty() {
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).await.unwrap();
            if count == 0 {
                assert_eq!(self.reader.spilled(), 0, "the stream ends within a message");
                return None;
            }
            let mut rest = &mut chunk[..count];
            while !rest.is_empty() {
                let (used, found) = self.reader.read(self.protocol, &Limits::of(1 << 24), rest);
                self.messages.extend(found.unwrap().map(|message| message.to_vec()));
                rest = &mut rest[used..];
            }
        }
        self.messages.pop_front()
    }

    async fn next(&mut self) -> Option<Reply> {
        let message = self.message().await?;
        Some(Replies::new(self.protocol, &message).next().unwrap().unwrap())
    }

    async fn reply(&mut self, id: u32) -> Reply {
        loop {
            let reply = self.next().await.expect("a reply");
            if reply.id == id {
                return reply;
            }
        }
    }

    /// The next push of a unidirectional connection.
    async fn text(&mut self) -> String {
        String::from_utf8(self.message().await.expect("a push")).unwrap()
    }

    async fn ends_with(&mut self, code: u32, reason: &str) {
        let disconnect = Disconnect { code, reason: reason.to_owned(), ..Disconnect::default() };
        let last = loop {
            let reply = self.next().await.expect("a goodbye");
            if let Some(last) = reply.push.and_then(|push| push.disconnect) {
                break last;
            }
        };
        assert_eq!(last, disconnect);
        assert_eq!(self.message().await, None, "nothing follows the goodbye");
    }
}

fn published(channel: &str, data: &'static str) -> Command {
    let publish =
        PublishRequest { channel: channel.to_owned(), data: data.into(), ..PublishRequest::default() };
    Command { id: 3, publish: Some(publish), ..Command::default() }
}

#[tokio::test]
async fn a_client_may_speak_in_lines_or_lengths() {
    for (protocol, at_once) in [
        (Protocol::Json, usize::MAX),
        (Protocol::Json, 1),
        (Protocol::Protobuf, usize::MAX),
        (Protocol::Protobuf, 1),
    ] {
        let node = node(Config::default());
        let mut client = Client::new(&node, protocol);
        client.at_once = at_once;
        client.send(&[connect(1), subscribe(2, "news"), published("news", "{\"a\":1}")]).await;
        let connected = client.reply(1).await.connect.expect("logged in");
        assert!(connected.session.is_empty() && connected.node.is_empty(), "nothing comes by requests");
        assert!(connected.pong);
        let start = client.reply(2).await.subscribe.expect("subscribed");
        let (mut data, mut answered) = (None, false);
        while data.is_none() || !answered {
            let reply = client.next().await.unwrap();
            answered |= reply.id == 3;
            data = data.or(reply.push.and_then(|push| push.publication).map(|publication| publication.data));
        }
        assert_eq!(data.unwrap(), "{\"a\":1}");

        // A connection that is cut off recovers.
        drop(client);
        node.publish("news", "2".into(), publish_options()).await.unwrap();
        let mut client = Client::new(&node, protocol);
        let request = SubscribeRequest {
            channel: "news".to_owned(),
            recover: true,
            epoch: start.epoch,
            offset: 1,
            ..SubscribeRequest::default()
        };
        client.send(&[connect(1), Command { id: 2, subscribe: Some(request), ..Command::default() }]).await;
        let result = client.reply(2).await.subscribe.expect("subscribed");
        assert!(result.recovered);
        assert_eq!(result.publications.iter().map(|one| one.offset).collect::<Vec<_>>(), [2]);

        node.disconnect("ann", &ClientFilter::default(), DisconnectCode::FORCE_DISCONNECT);
        client.ends_with(3503, "force disconnect").await;
        let counters = node.info().counters;
        let stream = counters.by_transport.iter().find(|one| one.transport == Transport::Stream).unwrap();
        assert_eq!(stream.messages_received, 5);
        assert_eq!(
            (stream.bytes_sent, stream.bytes_received),
            (counters.bytes_sent, counters.bytes_received)
        );
    }
}

#[tokio::test]
async fn faults_of_the_framing_end_with_a_disconnect_push() {
    let node = node(Config { stream_message_size_limit: 100, ..Config::default() });
    for (protocol, bytes) in [
        (Protocol::Json, [b' '; 101].to_vec()),
        (Protocol::Json, b"\n".to_vec()),
        (Protocol::Json, b"hello\n".to_vec()),
        (Protocol::Protobuf, vec![101]),
        (Protocol::Protobuf, vec![0x80; 10]),
        (Protocol::Protobuf, vec![1, 0xFF]),
    ] {
        let mut client = Client::new(&node, protocol);
        client.raw(&bytes).await;
        client.ends_with(3501, "bad request").await;
    }
}

#[tokio::test]
async fn a_client_in_one_direction_gets_bare_pushes() {
    let node = node(pinging());
    let mut client = Client::new(&node, UNI_JSON);
    client.raw(b"{\"token\":\"news\"}\n").await;
    let connected = client.text().await;
    assert!(connected.starts_with("{\"connect\":{\"client\":\""), "{connected}");
    assert!(connected.contains("\"subs\":{\"news\":{"), "{connected}");
    assert!(connected.contains("\"session\":\"") && !connected.contains("\"node\""), "{connected}");
    assert!(connected.contains("\"ping\":1") && !connected.contains("\"pong\""), "{connected}");
    let joined = client.text().await;
    assert!(joined.starts_with("{\"channel\":\"news\",\"join\":{\"info\":"), "{joined}");

    // Whatever it says now is ignored, and it need not answer pings.
    client.raw(b"{}\nhello\n{\"id\":2,\"rpc\":{}}\n").await;
    assert_eq!(client.text().await, "{}");
    assert_eq!(client.text().await, "{}");

    let mut next = async || loop {
        let text = client.text().await;
        if text != "{}" {
            break text;
        }
    };
    node.publish("news", "{\"n\":\n1}".into(), PublishOptions::default()).await.unwrap();
    assert_eq!(next().await, "{\"channel\":\"news\",\"pub\":{\"data\":{\"n\":1}}}");
    let (all, made) = (ClientFilter::default(), ServerSubscribe::default());
    node.subscribe("ann", &all, "more", made).await.unwrap();
    assert!(next().await.starts_with("{\"channel\":\"more\",\"subscribe\":{"));
    node.unsubscribe("ann", &all, Some("more"), spinward::wire::code::UnsubscribeCode::SERVER);
    assert_eq!(
        next().await,
        "{\"channel\":\"more\",\"unsubscribe\":{\"code\":2000,\"reason\":\"server unsubscribe\"}}"
    );
    node.disconnect("ann", &all, DisconnectCode::FORCE_DISCONNECT);
    assert_eq!(next().await, "{\"disconnect\":{\"code\":3503,\"reason\":\"force disconnect\"}}");
    assert_eq!(client.message().await, None);
}

/// In Protobuf the same, each push behind its length.
#[tokio::test]
async fn protobuf_pushes_are_bare_too() {
    let node = node(Config::default());
    let mut client = Client::new(&node, Dialect::new(Protocol::Protobuf, Direction::Unidirectional));
    client.raw(b"\x06\x0a\x04news").await;
    let mut push = async || {
        let message = client.message().await.unwrap();
        // As the push of a reply: its key, and then the length that it has here.
        decode_reply(Protocol::Protobuf, &[&[0x22][..], &message].concat()).unwrap().push.unwrap()
    };
    let connected = push().await.connect.expect("a connect push");
    assert!(connected.subs.contains_key("news") && !connected.session.is_empty());
    assert!(push().await.join.is_some());
    node.publish("news", "1".into(), publish_options()).await.unwrap();
    assert_eq!(push().await.publication.unwrap().offset, 1);
}

/// Nobody could answer with an error: the code is that of a disconnect.
#[tokio::test]
async fn a_login_in_one_direction_fails_with_a_disconnect() {
    for (token, code) in [
        ("error 109", "3005,\"reason\":\"connection expired\""),
        ("error 102", "3004,\"reason\":\"internal server error\""),
    ] {
        let node = node(Config::default());
        let mut client = Client::new(&node, UNI_JSON);
        client.raw(format!("{{\"token\":\"{token}\"}}\n").as_bytes()).await;
        assert_eq!(client.text().await, format!("{{\"disconnect\":{{\"code\":{code}}}}}"));
        assert_eq!(client.message().await, None);
    }
}

/// Each push has a frame of its own, pings come both ways, and the goodbye is push and close frame.
#[tokio::test]
async fn a_websocket_in_one_direction() {
    use spinward::wire::ws::{Event, Opcode, Reader, append_masked_frame};
    let node = node(pinging());
    let (mut stream, theirs) = tokio::io::duplex(1 << 16);
    node.serve_stream(theirs, Form::websocket(UNI_JSON), Handshake::default());
    let mut request = Vec::new();
    append_masked_frame(Opcode::Text, [1, 2, 3, 4], b"{\"token\":\"news\"}", &mut request);
    stream.write_all(&request).await.unwrap();
    let (mut reader, mut seen) = (Reader::client(), Vec::new());
    let mut chunk = [0; 4096];
    loop {
        let count =
            tokio::time::timeout(Duration::from_secs(5), stream.read(&mut chunk)).await.unwrap().unwrap();
        if count == 0 {
            break;
        }
        let mut rest = &mut chunk[..count];
        while !rest.is_empty() {
            let (used, event) = reader.read(&Limits::default(), rest);
            match event.unwrap() {
                Some(Event::Text(text)) => {
                    seen.push(String::from_utf8(text.to_vec()).unwrap());
                    if seen.len() == 3 {
                        node.disconnect("ann", &ClientFilter::default(), DisconnectCode::SHUTDOWN);
                    }
                }
                Some(Event::Ping(_)) => seen.push("ping".to_owned()),
                Some(Event::Close(code)) => {
                    seen.push(format!("close {code:?}"));
                    stream.shutdown().await.unwrap();
                }
                other => assert_eq!(other, None),
            }
            rest = &mut rest[used..];
        }
    }
    let kinds: Vec<_> = seen.iter().map(|one| one.get(..12).unwrap_or(one)).collect();
    assert_eq!(
        kinds,
        ["{\"connect\":{", "{\"channel\":\"", "{}", "ping", "{\"disconnect", "close Some(3"],
        "{seen:?}"
    );
    assert_eq!(seen.last().map(String::as_str), Some("close Some(3001)"));
}

/// The text of a push is the same for every reader and framing, and made once.
#[tokio::test]
async fn a_publication_reaches_every_form() {
    let node = node(Config::default());
    let (mut lines, mut down) = (Client::new(&node, Protocol::Json), Client::new(&node, UNI_JSON));
    let mut lengths = Client::new(&node, Protocol::Protobuf);
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    node.serve_stream(theirs, Protocol::Json, Handshake::default());
    let mut socket = common::Client::new(ours, Protocol::Json);
    for client in [&mut lines, &mut lengths] {
        client.send(&[connect(1), subscribe(2, "news")]).await;
        client.reply(2).await;
    }
    socket.send(&[connect(1), subscribe(2, "news")]).await;
    socket.reply(2).await;
    down.raw(b"{\"token\":\"news\"}\n").await;
    while !down.text().await.contains("connect") {}

    let before = node.info().counters.encodings;
    node.publish("news", "7".into(), publish_options()).await.unwrap();
    for client in [&mut lines, &mut lengths] {
        while client.next().await.unwrap().push.and_then(|push| push.publication).is_none() {}
    }
    while socket.push().await.publication.is_none() {}
    while !down.text().await.contains("\"pub\"") {}
    assert_eq!(node.info().counters.encodings - before, 3, "once for each dialect");
    node.shutdown(Duration::from_secs(5)).await;
    lines.ends_with(3001, "shutdown").await;
}

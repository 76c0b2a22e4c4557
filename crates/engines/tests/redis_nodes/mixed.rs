//! A node of Centrifugo and nodes of ours on one Redis. `CENTRIFUGO` names the program of a v6; without it, the test
//! says SKIPPED. What it covers is also tested with recorded bytes, always.

use crate::backend::{Backend, Kind, until};
use bytes::Bytes;
use spinward::answer::Answer;
use spinward::cluster::{Body, Envelope, Operation, Request};
use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    Broker as _, HistoryOptions, Interest, JoinLeave, Limit, PublishOptions, Read as Question, Receipt,
};
use spinward::engine::controller::{ControlSink, Controller as _, Receiver};
use spinward::engine::presence::Presence as _;
use spinward::hooks::Hooks;
use spinward::id::Entropy;
use spinward::{ClientFilter, ClientInfo, DisconnectCode, Node};
use spinward_engines::redis::{Broker, Config, Controller, Layout, PresenceConfig, PresenceStore};
use spinward_test::conformance::Recorder;
use spinward_testkit::servers::{Folder, Program, serve};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A server of Centrifugo.
struct Incumbent {
    port: u16,
    _program: Program,
    _folder: Folder,
}

impl Incumbent {
    fn start(program: &Path, config: &Config, lists: bool) -> Self {
        let folder = Folder::new("centrifugo");
        let path = folder.path().join("config.json");
        let (program, port) = serve(
            "centrifugo",
            |port| {
                let text = format!(
                    r#"{{"engine": {{"type": "redis", "redis": {{
                        "address": "{}", "prefix": "{}", "history_use_lists": {lists}}}}},
                    "http_server": {{"address": "127.0.0.1", "port": "{port}"}},
                    "client": {{"user_id_http_header": "X-User"}},
                    "http_api": {{"insecure": true}}, "uni_sse": {{"enabled": true}}, "health": {{"enabled": true}},
                    "channel": {{"without_namespace": {{
                        "presence": true, "join_leave": true, "force_push_join_leave": true,
                        "history_size": 5, "history_ttl": "300s", "force_recovery": true}}}}}}"#,
                    config.address[0], config.prefix,
                );
                std::fs::write(&path, text)?;
                Program::start(Command::new(program).arg("-c").arg(&path), &folder.path().join("log"))
            },
            |port| get(port, "/health").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")),
        );
        Self { port, _program: program, _folder: folder }
    }

    /// The answer of its API.
    fn api(&self, method: &str, body: &str) -> String {
        let request = format!(
            "POST /api/{method} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len(),
        );
        let answer = exchange(self.port, &request).unwrap();
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap()
    }

    /// Waits until its API answers with this text.
    async fn answers(&self, method: &str, body: &str, part: &str) {
        until(&format!("{part} from {method}"), SECOND * 10, async || self.api(method, body).contains(part))
            .await;
    }

    /// Connects a client, and returns what it receives.
    fn client(&self, user: &str) -> Received {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = format!("GET /connection/uni_sse HTTP/1.1\r\nHost: a\r\nX-User: {user}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let received = Received::default();
        let text = Arc::clone(&received.0);
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        received
    }
}

#[derive(Default)]
struct Received(Arc<Mutex<String>>);

impl Received {
    async fn has(&self, part: &str) {
        until(part, SECOND * 10, async || self.0.lock().unwrap().contains(part)).await;
    }
}

fn get(port: u16, path: &str) -> Option<String> {
    exchange(port, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
}

fn exchange(port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(SECOND * 15)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Operations that a node is asked for.
#[derive(Default)]
struct Operations(Mutex<Vec<Operation>>);

impl Receiver for Operations {
    fn receive(&self, message: Bytes) {
        if let Ok(Envelope { body: Body::Request { request: Request::Operation(operation), .. }, .. }) =
            Envelope::decode(message)
        {
            self.0.lock().unwrap().push(operation);
        }
    }

    fn interrupted(&self) {}

    fn ready(&self) -> Answer<()> {
        Answer::Now(())
    }
}

fn options(key: &str, delta: bool) -> PublishOptions {
    let history = HistoryOptions { size: 5, ttl: SECOND * 300, ..HistoryOptions::default() };
    PublishOptions { history, idempotency_key: key.into(), delta, ..PublishOptions::default() }
}

fn installed() -> Option<PathBuf> {
    let program = std::env::var_os("CENTRIFUGO").map(PathBuf::from);
    if program.is_none() {
        eprintln!("SKIPPED: CENTRIFUGO does not name the program of Centrifugo v6");
    }
    program
}

async fn everything_crosses(lists: bool) {
    let Some(program) = installed() else { return };
    let Some(backend) = Backend::start(Kind::Redis) else { return };
    let config = Config { layout: Layout::Centrifugo, history_use_lists: lists, ..backend.config() };
    let incumbent = Incumbent::start(&program, &config, lists);
    let recorders = [Recorder::new(), Recorder::new()];
    let brokers = recorders.each_ref().map(|recorder| {
        let broker = Broker::new(config.clone()).unwrap();
        broker.start(recorder.sink()).unwrap();
        recorder.set_wanted("a", true);
        broker.interest(&[("a".into(), Interest::Wanted)]);
        broker
    });
    let confirmed = |recorder: &Arc<Recorder>| recorder.answers("a").contains(&(Interest::Wanted, true));
    until("interest", SECOND * 10, async || recorders.iter().all(confirmed)).await;
    let presence = PresenceStore::new(config.clone(), PresenceConfig::default()).unwrap();

    // A client of Centrifugo joins: seen by brokers and in presence.
    let client = incumbent.client("ann");
    client.has("\"connect\"").await;
    incumbent.api("subscribe", r#"{"user": "ann", "channel": "a"}"#);
    let joined = |recorder: &Arc<Recorder>| {
        recorder
            .joins_and_leaves("a")
            .iter()
            .any(|one| matches!(one, JoinLeave::Join(info) if &*info.user == "ann"))
    };
    until("a join", SECOND * 10, async || recorders.iter().all(joined)).await;
    let members = presence.members("a").wait().await.unwrap();
    assert_eq!(members.iter().map(|info| &*info.user).collect::<Vec<_>>(), ["ann"]);

    // One of ours joins.
    let id = Entropy::system().client_id();
    let info = ClientInfo {
        user: "bob".into(),
        client: id.to_string().into(),
        conn_info: "{\"n\":1}".into(),
        ..ClientInfo::default()
    };
    let info = Arc::new(info);
    presence.add("a", id, Arc::clone(&info)).wait().await.unwrap();
    brokers[0].announce("a", JoinLeave::Join(Arc::clone(&info))).wait().await.unwrap();
    client.has(&format!("\"join\":{{\"info\":{{\"user\":\"bob\",\"client\":\"{id}\"")).await;
    incumbent.answers("presence", r#"{"channel": "a"}"#, &format!("\"client\":\"{id}\"")).await;
    incumbent.answers("presence_stats", r#"{"channel": "a"}"#, "\"num_clients\":2,\"num_users\":2").await;
    presence.remove("a", id, "bob").wait().await.unwrap();
    brokers[0].announce("a", JoinLeave::Leave(info)).wait().await.unwrap();
    client.has("\"leave\":{\"info\":{\"user\":\"bob\"").await;

    // Publications, in both directions, in one stream.
    let publish = async |data: &'static str, options| match brokers[0]
        .publish("a", Bytes::from_static(data.as_bytes()), options)
        .wait()
        .await
        .unwrap()
    {
        Receipt::Stored(place) | Receipt::Suppressed(Some(place)) => {
            (place.offset, place.stream.epoch.to_string())
        }
        other => panic!("{other:?}"),
    };
    let (first, epoch) = publish("{\"of\":\"ours\"}", options("", false)).await;
    assert_eq!(first, 1);
    client.has("\"pub\":{\"data\":{\"of\":\"ours\"},\"offset\":1").await;
    let answer =
        incumbent.api("publish", r#"{"channel": "a", "data": {"of":"theirs"}, "idempotency_key": "k"}"#);
    assert_eq!(answer, format!("{{\"result\":{{\"offset\":2,\"epoch\":\"{epoch}\"}}}}"));
    let offsets = |recorder: &Arc<Recorder>| {
        recorder.publications("a").iter().map(|(_, one)| one.offset).collect::<Vec<_>>()
    };
    until("a publication of Centrifugo", SECOND * 10, async || {
        recorders.iter().all(|one| offsets(one) == [1, 2])
    })
    .await;
    let (stream, theirs) = recorders[1].publications("a").pop().unwrap();
    assert_eq!((&*stream.unwrap().epoch, &theirs.data[..]), (&*epoch, &b"{\"of\":\"theirs\"}"[..]));
    assert_eq!(publish("{}", options("k", false)).await, (2, epoch.clone()), "the same key");
    assert_eq!(publish("{\"of\":\"a delta\"}", options("mine", true)).await, (3, epoch.clone()));
    client.has("{\"of\":\"a delta\"},\"offset\":3").await;
    let again = incumbent.api("publish", r#"{"channel": "a", "data": {}, "idempotency_key": "mine"}"#);
    assert_eq!(again, format!("{{\"result\":{{\"offset\":3,\"epoch\":\"{epoch}\"}}}}"), "the same key");
    incumbent.api("publish", r#"{"channel": "a", "data": {"of":"a delta of theirs"}, "delta": true}"#);
    until("a delta of Centrifugo", SECOND * 10, async || {
        recorders.iter().all(|one| offsets(one).contains(&4) || lists)
    })
    .await;

    // History, read by both.
    let read = Question::Oldest { limit: Limit::All };
    let slice = brokers[1].read("a", read, options("", false).history).wait().await.unwrap();
    let kept: Vec<_> =
        slice.publications.iter().map(|one| (one.offset, String::from_utf8_lossy(&one.data))).collect();
    assert_eq!(kept.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!((slice.top.offset, &*slice.top.stream.epoch), (4, &*epoch));
    let history = incumbent.api("history", r#"{"channel": "a", "limit": -1}"#);
    for (_, data) in &kept {
        assert!(history.replace(' ', "").contains(&*data.replace(' ', "")), "{data} in {history}");
    }
    brokers[1].forget("a").wait().await.unwrap();
    incumbent.answers("history", r#"{"channel": "a", "limit": -1}"#, "\"publications\":[]").await;
    incumbent.answers("history", r#"{"channel": "a"}"#, "\"offset\":4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_crosses_between_brokers_and_centrifugo() {
    everything_crosses(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_crosses_with_lists() {
    everything_crosses(true).await;
}

struct Nothing;

impl Hooks for Nothing {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_both_know_and_ask_each_other() {
    let Some(program) = installed() else { return };
    let Some(backend) = Backend::start(Kind::Redis) else { return };
    let config = Config { layout: Layout::Centrifugo, ..backend.config() };
    let incumbent = Incumbent::start(&program, &config, false);
    let node = || {
        let controller = Arc::new(Controller::new(config.clone()).unwrap());
        Node::builder(Nothing).name("ours").controller(controller).build().unwrap()
    };
    let (one, two) = (node(), node());
    until("nodes that know each other", SECOND * 15, async || {
        one.nodes().len() == 3 && two.nodes().len() == 3
    })
    .await;
    incumbent.answers("info", "{}", &format!("\"uid\":\"{}\",\"name\":\"ours\"", one.id())).await;

    // Operations of Centrifugo reach ours.
    let watcher = Controller::new(config.clone()).unwrap();
    let operations = Arc::<Operations>::default();
    let receiver: Arc<dyn Receiver> = Arc::<Operations>::clone(&operations);
    watcher.start(Entropy::system().node_id(), ControlSink::new(Arc::downgrade(&receiver))).unwrap();
    until("a connected controller", SECOND * 10, async || watcher.health() == EngineHealth::Up).await;
    incumbent.api("disconnect", r#"{"user": "joe"}"#);
    incumbent.api("unsubscribe", r#"{"user": "joe", "channel": "a"}"#);
    let received = async |name: &str| {
        until(name, SECOND * 10, async || operations.0.lock().unwrap().iter().any(|one| one.name() == name))
            .await
    };
    received("disconnect").await;
    received("unsubscribe").await;

    // Operations of ours reach Centrifugo, once each on own nodes, and all nodes count as asked.
    let client = incumbent.client("ann");
    client.has("\"connect\"").await;
    incumbent.api("subscribe", r#"{"user": "ann", "channel": "a"}"#);
    incumbent.answers("presence", r#"{"channel": "a"}"#, "\"user\":\"ann\"").await;
    let everyone = ClientFilter::default();
    let code = spinward::UnsubscribeCode { code: 2000, reason: "server unsubscribe".into() };
    assert!(one.unsubscribe("ann", &everyone, Some("a"), code).await.is_complete());
    client.has("\"unsubscribe\"").await;
    let before = operations.0.lock().unwrap().len();
    assert!(one.disconnect("ann", &everyone, DisconnectCode::FORCE_DISCONNECT).await.is_complete());
    client.has("\"disconnect\":{\"code\":3503").await;
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(operations.0.lock().unwrap().len(), before + 1, "taken once");

    // A survey of Centrifugo is declined at once, and not waited for.
    let start = tokio::time::Instant::now();
    incumbent.api("channels", "{}");
    assert!(start.elapsed() < SECOND * 5, "{:?}", start.elapsed());

    // Leaves are told in both directions.
    one.shutdown(SECOND * 5).await;
    until("a goodbye", SECOND * 5, async || !incumbent.api("info", "{}").contains(&one.id().to_string()))
        .await;
    drop(incumbent);
    until("the loss of a node", SECOND * 20, async || two.nodes().len() == 1).await;
    two.shutdown(SECOND * 5).await;
}

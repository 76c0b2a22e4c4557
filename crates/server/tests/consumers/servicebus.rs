//! Queues of Azure Service Bus, as a program of our own has them: its emulator has no REST API.

use crate::node::Node;
use crate::scenario::{Feed, Plan, engine, has, run};
use serde_json::{Value, json};
use spinward_testkit::servers::clouds::{Service, start_service_bus};
use spinward_testkit::servers::redis::Server;
use spinward_testkit::servers::within;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// Time in which a node has carried a few messages out.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time of a lock: the shortest that Service Bus has.
const LOCK: Duration = Duration::from_secs(5);

const TOKEN: &str = "Bearer token-of-the-application";

/// A queue.
struct Queue {
    service: Service,
    http: reqwest::Client,
}

const METHOD: &[(&str, &str)] = &[("centrifugo-method", "\"publish\"")];

fn publish(n: u64) -> String {
    json!({ "channel": "rows:0", "data": { "n": n } }).to_string()
}

impl Queue {
    fn start() -> Self {
        Self { service: start_service_bus(LOCK), http: reqwest::Client::new() }
    }

    fn login(&self, key: &str) -> String {
        let address = self.service.address();
        format!(
            "Endpoint=sb://{address};SharedAccessKeyName=reader;SharedAccessKey={key};UseDevelopmentEmulator=true"
        )
    }

    fn consumer(&self, further: &Value) -> Value {
        let mut options = json!({ "connection_string": self.login("secret"), "queues": ["app/numbers"] });
        options.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        json!({ "name": "numbered", "enabled": true, "type": "azure_service_bus", "azure_service_bus": options })
    }

    async fn send(&self, body: &str, properties: &[(&str, &str)]) {
        let url = format!("http://{}/app/numbers/messages", self.service.address());
        let mut request = self.http.post(url).header("authorization", TOKEN).body(body.to_owned());
        for (name, value) in properties {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.unwrap().status(), 201);
    }

    async fn left(&self) -> u64 {
        let url = format!("http://{}/left", self.service.address());
        let found: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        found["app/numbers"].as_u64().unwrap()
    }

    async fn is_empty(&self) -> bool {
        for _ in 0..100 {
            if self.left().await == 0 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }
}

impl Feed for Queue {
    async fn feed(&mut self, numbers: Range<u64>) {
        for n in numbers {
            if n % 100 == 0 {
                self.send("nothing", &[]).await;
            }
            // Half of them name the method in the payload.
            match n % 2 {
                0 => self.send(&publish(n), METHOD).await,
                _ => {
                    let body = format!("{{\"method\": \"publish\", \"payload\": {}}}", publish(n));
                    self.send(&body, &[]).await;
                }
            }
        }
    }

    async fn restart(&mut self) {
        // What it has is in its memory. So it is only away for longer than a lock.
        self.service.freeze(LOCK * 2);
    }
}

/// The one that had the lock of a node that was killed comes after those behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_carried_out() {
    let (true, Some(engine)) = (has(Path::new("python3")), engine()) else { return };
    let mut queue = Queue::start();
    let consumer = queue.consumer(&json!({}));
    let plan = Plan { ordered: false, busy: true, ..Plan::new(1_000, 2) };
    let nodes = run(plan, &engine, &consumer, &mut queue).await;
    assert!(queue.is_empty().await, "{} messages are left", queue.left().await);
    let skipped = nodes[0].metric("spinward_consumers_errors_total", Some("undecodable"));
    assert!(skipped.unwrap_or_default() > 0.0, "poison messages are counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_kills_the_order_is_that_of_the_queue() {
    let (true, Some(engine)) = (has(Path::new("python3")), engine()) else { return };
    let mut queue = Queue::start();
    queue.feed(0..300).await;
    let mut node = Node::new(&engine.url(), &json!([queue.consumer(&json!({ "max_receive_messages": 10 }))]));
    node.start();
    let all: Vec<u64> = (0..300).collect();
    let found = within(PATIENCE, || node.numbers("rows:0").is_some_and(|found| found == all));
    assert!(found, "{:?}: {}", node.numbers("rows:0"), node.log());
    node.terminate();
    assert!(queue.is_empty().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_messages() {
    let (true, Some(engine)) = (has(Path::new("python3")), engine()) else { return };
    let mut queue = Queue::start();
    let consumer = queue.consumer(&json!({ "max_concurrent_calls": 2, "max_receive_messages": 5 }));
    let plan = Plan { nodes: 2, ordered: false, busy: true, ..Plan::new(1_000, 2) };
    let _nodes = run(plan, &engine, &consumer, &mut queue).await;
    assert!(queue.is_empty().await, "{} messages are left", queue.left().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_are_described_by_properties() {
    let (true, Some(engine)) = (has(Path::new("python3")), engine()) else { return };
    let queue = Queue::start();
    let channels = ("centrifugo-channels", "\"rows:0,rows:1\"");
    let described = [
        channels,
        ("Centrifugo-Idempotency-Key", "\"k\""),
        ("centrifugo-tag-lang", "\"en\""),
        // A number and a boolean are without quotes.
        ("centrifugo-version", "7"),
        ("centrifugo-delta", "false"),
    ];
    queue.send(r#"{"n": 1}"#, &[channels, ("centrifugo-version", "\"x\"")]).await;
    queue.send(r#"{"n": 2}"#, &[channels, ("centrifugo-delta", "\"perhaps\"")]).await;
    queue.send(r#"{"n": 3}"#, &[]).await;
    queue.send(r#"{"n": 4}"#, &described).await;
    queue.send(r#"{"n": 5}"#, &described).await;
    queue.send(r#"{"n": 6}"#, &[("centrifugo-channels", "\"rows:1\"")]).await;
    let consumer = queue.consumer(&json!({ "publication_data_mode": { "enabled": true } }));
    let mut node = Node::new(&engine.url(), &json!([consumer]));
    node.start();
    let found = within(PATIENCE, || node.numbers("rows:1").is_some_and(|found| found == [4, 6]));
    assert!(found, "{:?}: {}", node.numbers("rows:1"), node.log());
    assert_eq!(node.numbers("rows:0").unwrap(), [4]);
    let history = node.call("history", &json!({ "channel": "rows:0", "limit": 1 })).unwrap();
    assert_eq!(history["publications"][0]["tags"], json!({ "lang": "en" }));
    assert_eq!(node.metric("spinward_consumers_errors_total", Some("undecodable")), Some(3.0));
    node.terminate();
    assert!(queue.is_empty().await);
}

/// A message that waits for the broker is kept past its lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waits_for_the_broker_is_kept() {
    let (true, Some(mut engine)) = (has(Path::new("python3")), engine()) else { return };
    let queue = Queue::start();
    let mut node = Node::new(&engine.url(), &json!([queue.consumer(&json!({}))]));
    node.start();
    engine.terminate();
    queue.send(&publish(1), METHOD).await;
    let failed = || node.metric("spinward_consumers_errors_total", Some("failed")).unwrap_or_default();
    assert!(within(PATIENCE, || failed() > 0.0), "{}", node.log());
    tokio::time::sleep(LOCK * 2).await;
    let url = format!("http://{}/app/numbers/messages/head?timeout=0", queue.service.address());
    let seen = queue.http.post(url).header("authorization", TOKEN).send().await.unwrap();
    assert_eq!(seen.status(), 204, "the message is delivered to others");
    engine.start_again();
    let found = within(PATIENCE, || node.numbers("rows:0").is_some_and(|found| found == [1]));
    assert!(found, "{:?}: {}", node.numbers("rows:0"), node.log());
    node.terminate();
    assert!(queue.is_empty().await);
}

/// A wrong key is told, is not shown, and is no reason to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_told() {
    let (true, Some(engine)) = (has(Path::new("python3")), engine()) else { return };
    let queue = Queue::start();
    let login = queue.login("canary");
    let mut node = Node::new(&engine.url(), &json!([queue.consumer(&json!({ "connection_string": login }))]));
    node.start();
    let told = within(PATIENCE, || node.log().contains("peek-lock was refused with status 401"));
    assert!(told && !node.log().contains("canary"), "{}", node.log());
    assert_eq!(node.metric("spinward_consumers_up", None), Some(0.0));
    node.terminate();
}

fn refused(engine: &Server, options: &Value, named: &str) {
    let consumer = json!({ "name": "numbered", "enabled": true, "type": "azure_service_bus", "azure_service_bus": options });
    let mut node = Node::new(&engine.url(), &json!([consumer]));
    node.launch();
    assert!(node.ends(), "it starts with {options}");
    let named = format!("consumers[numbered].azure_service_bus{named}");
    assert!(node.log().replace('\\', "").contains(&named), "{named}: {}", node.log());
    assert!(!node.log().contains("canary"), "{}", node.log());
}

/// Options that cannot be used are named at start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_service_bus_that_cannot_be_used_are_refused_at_start() {
    let Some(engine) = engine() else { return };
    let string = "Endpoint=sb://a.servicebus.windows.net/;SharedAccessKeyName=a;SharedAccessKey=canary";
    for (options, named) in [
        (json!({ "queues": ["q"] }), ".connection_string: must be set"),
        (json!({ "queues": ["q"], "connection_string": "canary" }), ": connection_string: each part"),
        (json!({ "connection_string": string }), ".queues: must be set"),
        (json!({ "queues": ["q"], "connection_string": string, "use_sessions": true }), ".use_sessions"),
        (
            json!({ "queues": ["q"], "use_azure_identity": true, "client_secret": "canary" }),
            ": fully_qualified_namespace must be set",
        ),
    ] {
        refused(&engine, &options, named);
    }
}

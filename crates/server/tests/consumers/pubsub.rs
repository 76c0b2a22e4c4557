//! Subscriptions of Google Pub/Sub, as the emulator of Google's tools has them, where it is installed.

use crate::node::Node;
use crate::scenario::{Feed, Plan, engine, has, run};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use spinward_testkit::servers::clouds::{Service, pubsub, start_pubsub};
use spinward_testkit::servers::redis::Server;
use spinward_testkit::servers::within;
use std::ops::Range;
use std::time::Duration;

/// Time in which a node has carried a few messages out.
const PATIENCE: Duration = Duration::from_secs(30);

const KEYS: u64 = 3;

/// A topic with a subscription.
struct Topic {
    service: Service,
    http: reqwest::Client,
    ordered: bool,
}

/// Data, ordering key and attributes.
type Entry<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

const METHOD: &[(&str, &str)] = &[("centrifugo-method", "publish")];

fn publish(channel: u64, n: u64) -> String {
    json!({ "channel": format!("rows:{channel}"), "data": { "n": n } }).to_string()
}

impl Topic {
    async fn start(ordered: bool) -> Self {
        let topic = Self { service: start_pubsub(), http: reqwest::Client::new(), ordered };
        topic.call(reqwest::Method::PUT, "topics/numbers", &json!({})).await;
        let subscription = json!({
            "topic": "projects/project/topics/numbers",
            "enableMessageOrdering": ordered,
            "ackDeadlineSeconds": 10,
        });
        topic.call(reqwest::Method::PUT, "subscriptions/numbers", &subscription).await;
        topic
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let url = format!("http://{}/v1/projects/project/{path}", self.service.address());
        let response = self.http.request(method, url).json(body).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    fn consumer(&self, further: &Value) -> Value {
        let mut options = json!({ "project_id": "project", "subscriptions": ["numbers"] });
        options.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        json!({ "name": "numbered", "enabled": true, "type": "google_pub_sub", "google_pub_sub": options })
    }

    fn node(&self, engine: &Server, consumer: Value) -> Node {
        let mut node = Node::new(&engine.url(), &json!([consumer]));
        node.set(&self.variables());
        node
    }

    async fn send(&self, entries: &[Entry<'_>]) {
        for entries in entries.chunks(100) {
            let message = |(data, key, attributes): &Entry<'_>| {
                let attributes: serde_json::Map<_, _> =
                    attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
                json!({ "data": STANDARD.encode(data), "orderingKey": key, "attributes": attributes })
            };
            let messages: Vec<_> = entries.iter().map(message).collect();
            let body = json!({ "messages": messages });
            self.call(reqwest::Method::POST, "topics/numbers:publish", &body).await;
        }
    }

    /// Returns true if nothing is left once the deadline of what was pulled has passed.
    async fn is_empty(&self) -> bool {
        tokio::time::sleep(Duration::from_secs(12)).await;
        let body = json!({ "maxMessages": 10, "returnImmediately": true });
        let pulled = self.call(reqwest::Method::POST, "subscriptions/numbers:pull", &body).await;
        pulled["receivedMessages"].as_array().is_none_or(Vec::is_empty)
    }
}

impl Feed for Topic {
    async fn feed(&mut self, numbers: Range<u64>) {
        let mut bodies = Vec::new();
        for n in numbers {
            let partition = if self.ordered { n % KEYS } else { 0 };
            if n % 100 == 0 {
                bodies.push((partition, "nothing".to_owned(), false));
            }
            // Half of them name the method in the payload.
            let (body, named) = match n % 2 {
                0 => (publish(partition, n), true),
                _ => (format!("{{\"method\": \"publish\", \"payload\": {}}}", publish(partition, n)), false),
            };
            bodies.push((partition, body, named));
        }
        let keys = ["a", "b", "c"].map(|key| if self.ordered { key } else { "" });
        let entries: Vec<_> = bodies
            .iter()
            .map(|(partition, body, named)| {
                let key = keys[usize::try_from(*partition).unwrap()];
                (body.as_str(), key, if *named { METHOD } else { &[] })
            })
            .collect();
        self.send(&entries).await;
    }

    async fn restart(&mut self) {
        // What it has is in its memory. So it is only away for longer than a deadline.
        self.service.freeze(Duration::from_secs(12));
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![("PUBSUB_EMULATOR_HOST", self.service.address())]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_a_key_is_carried_out_in_order() {
    let (true, Some(engine)) = (has(&pubsub()), engine()) else { return };
    let mut topic = Topic::start(true).await;
    let consumer = topic.consumer(&json!({}));
    let plan = Plan { partitions: KEYS, busy: true, ..Plan::new(2_000, 2) };
    let nodes = run(plan, &engine, &consumer, &mut topic).await;
    let skipped = nodes[0].metric("spinward_consumers_errors_total", Some("undecodable"));
    assert!(skipped.unwrap_or_default() > 0.0, "poison messages are counted");
    assert!(topic.is_empty().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_messages_without_keys() {
    let (true, Some(engine)) = (has(&pubsub()), engine()) else { return };
    let mut topic = Topic::start(false).await;
    let consumer = topic.consumer(&json!({ "max_outstanding_messages": 20 }));
    let plan = Plan { nodes: 2, ordered: false, busy: true, ..Plan::new(2_000, 2) };
    let _nodes = run(plan, &engine, &consumer, &mut topic).await;
    assert!(topic.is_empty().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_are_described_by_attributes() {
    let (true, Some(engine)) = (has(&pubsub()), engine()) else { return };
    let topic = Topic::start(true).await;
    let channels = ("centrifugo-channels", "rows:0,rows:1");
    let described = [
        channels,
        ("centrifugo-idempotency-key", "k"),
        ("centrifugo-tag-lang", "en"),
        ("centrifugo-version", "7"),
    ];
    let entries: [Entry<'_>; 6] = [
        (r#"{"n": 1}"#, "a", &[channels, ("centrifugo-version", "x")]),
        (r#"{"n": 2}"#, "a", &[channels, ("centrifugo-delta", "perhaps")]),
        (r#"{"n": 3}"#, "a", &[]),
        (r#"{"n": 4}"#, "a", &described),
        (r#"{"n": 5}"#, "a", &described),
        (r#"{"n": 6}"#, "a", &[("centrifugo-channels", "rows:1")]),
    ];
    topic.send(&entries).await;
    let mut node =
        topic.node(&engine, topic.consumer(&json!({ "publication_data_mode": { "enabled": true } })));
    node.start();
    let found = within(PATIENCE, || node.numbers("rows:1").is_some_and(|found| found == [4, 6]));
    assert!(found, "{:?}: {}", node.numbers("rows:1"), node.log());
    assert_eq!(node.numbers("rows:0").unwrap(), [4]);
    let history = node.call("history", &json!({ "channel": "rows:0", "limit": 1 })).unwrap();
    assert_eq!(history["publications"][0]["tags"], json!({ "lang": "en" }));
    assert_eq!(node.metric("spinward_consumers_errors_total", Some("undecodable")), Some(3.0));
    node.terminate();
    assert!(topic.is_empty().await, "a node that ends acknowledges what it did");
}

/// A message that waits for the broker is kept past its deadline, and those of its key behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waits_for_the_broker_is_kept() {
    let (true, Some(mut engine)) = (has(&pubsub()), engine()) else { return };
    let topic = Topic::start(true).await;
    let mut node = topic.node(&engine, topic.consumer(&json!({})));
    node.start();
    engine.terminate();
    let bodies = [publish(0, 1), publish(0, 2)];
    topic.send(&[(&bodies[0], "a", METHOD), (&bodies[1], "a", METHOD)]).await;
    let failed = || node.metric("spinward_consumers_errors_total", Some("failed")).unwrap_or_default();
    assert!(within(PATIENCE, || failed() > 0.0), "{}", node.log());
    assert!(topic.is_empty().await, "the messages are delivered to others");
    engine.start_again();
    let found = within(PATIENCE, || node.numbers("rows:0").is_some_and(|found| found == [1, 2]));
    assert!(found, "{:?}: {}", node.numbers("rows:0"), node.log());
    node.terminate();
}

/// Options that cannot be used are named at start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_pubsub_that_cannot_be_used_are_refused_at_start() {
    let Some(engine) = engine() else { return };
    let right = json!({ "project_id": "project", "subscriptions": ["numbers"] });
    for (further, named) in [
        (json!({ "project_id": "" }), ".project_id: must be set"),
        (json!({ "subscriptions": ["projects/p/subscriptions/s"] }), ": subscriptions: "),
        (json!({ "auth_mechanism": "service_account" }), ".credentials_file: must be set"),
        (json!({ "credentials_file": "/nowhere" }), ".credentials_file: /nowhere: "),
        (
            json!({ "credentials_file": "/etc/hostname" }),
            ": credentials_file: not the key of a service account",
        ),
        (json!({ "auth_mechanism": "password" }), ".auth_mechanism: "),
    ] {
        let mut options = right.clone();
        options.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let consumer = json!({ "name": "numbered", "enabled": true, "type": "google_pub_sub", "google_pub_sub": options });
        let mut node = Node::new(&engine.url(), &json!([consumer]));
        node.launch();
        assert!(node.ends(), "it starts with {options}");
        let named = format!("consumers[numbered].google_pub_sub{named}");
        assert!(node.log().replace('\\', "").contains(&named), "{named}: {}", node.log());
    }
}

//! Topics of Kafka. `cargo xtask test kafka` installs a broker and runs these tests.

use crate::node::Node;
use crate::scenario::{Feed, Plan, engine, run};
use serde_json::{Value, json};
use spinward_testkit::servers::kafka::{self, Kafka, Options};
use spinward_testkit::servers::redis::Server;
use spinward_testkit::servers::within;
use std::ops::Range;
use std::time::Duration;

/// Time in which a node has joined a group and carried a few records out. A member that was killed is missed after 10 s.
const PATIENCE: Duration = Duration::from_secs(60);

const PARTITIONS: u64 = 3;

/// A topic of a broker, with the program that feeds it.
struct Topic {
    feed: kafka::Feed,
    broker: Kafka,
}

impl Topic {
    fn start(options: &Options) -> Self {
        let broker = Kafka::start(options);
        let mut feed = broker.feed();
        feed.topic("rows", 3);
        Self { feed, broker }
    }

    fn consumer(&self, further: &Value) -> Value {
        let mut options = json!({
            "brokers": [self.broker.address()],
            "topics": ["rows"],
            "consumer_group": "numbered",
        });
        options.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        json!({ "name": "numbered", "enabled": true, "type": "kafka", "kafka": options })
    }

    /// Sends numbers to a partition.
    fn send(&mut self, partition: u64, numbers: Range<u64>) {
        for n in numbers {
            self.feed.send("rows", partition, &[METHOD], &publish(partition, n));
        }
        self.feed.flush();
    }
}

const METHOD: (&str, &str) = ("centrifugo-method", "publish");

fn publish(partition: u64, n: u64) -> String {
    json!({ "channel": format!("rows:{partition}"), "data": { "n": n } }).to_string()
}

/// A broker and a Redis. `None`, said so: one is not installed.
fn servers(options: &Options) -> Option<(Topic, Server)> {
    if !kafka::installed() {
        return None;
    }
    let engine = engine()?;
    Some((Topic::start(options), engine))
}

impl Feed for Topic {
    async fn feed(&mut self, numbers: Range<u64>) {
        for n in numbers {
            let partition = n % PARTITIONS;
            if n % 100 == 0 {
                self.feed.send("rows", partition, &[], "nothing");
            }
            // Half of them name the method in the payload.
            if n % 2 == 0 {
                self.feed.send("rows", partition, &[METHOD], &publish(partition, n));
            } else {
                let payload = format!("{{\"method\": \"publish\", \"payload\": {}}}", publish(partition, n));
                self.feed.send("rows", partition, &[], &payload);
            }
        }
        self.feed.flush();
    }

    async fn restart(&mut self) {
        self.broker.terminate();
        self.broker.restart();
    }
}

/// Waits until a channel has exactly these numbers.
fn expect(node: &Node, channel: &str, numbers: &[u64]) {
    let mut found = None;
    let there = within(PATIENCE, || {
        found = node.numbers(channel);
        found.as_ref().is_some_and(|found| found == numbers)
    });
    assert!(there, "{channel} has {found:?} and not {numbers:?}:\n{}", node.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_carried_out_in_order() {
    let Some((mut topic, engine)) = servers(&Options::default()) else { return };
    let consumer = topic.consumer(&json!({}));
    let plan = Plan { partitions: PARTITIONS, busy: true, ..Plan::new(5_000, 2) };
    let nodes = run(plan, &engine, &consumer, &mut topic).await;
    let skipped = nodes[0].metric("spinward_consumers_errors_total", Some("undecodable"));
    assert!(skipped.unwrap_or_default() > 0.0, "poison records are counted");
}

/// A partition moves from node to node, and keeps its order over both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_partitions() {
    let Some((mut topic, engine)) = servers(&Options::default()) else { return };
    let consumer = topic.consumer(&json!({ "partition_queue_max_size": 10 }));
    let plan = Plan { nodes: 2, partitions: PARTITIONS, busy: true, ..Plan::new(3_000, 2) };
    let mut nodes = run(plan, &engine, &consumer, &mut topic).await;
    // One that ends in order gives its partitions up at once: no session has to end.
    nodes.remove(1).terminate();
    let all = plan.rows + 30;
    topic.feed(plan.rows..all).await;
    let committed = |topic: &mut Topic| {
        (0..PARTITIONS).map(|one| topic.feed.committed("numbered", "rows", one)).collect::<Vec<_>>()
    };
    // All numbers, and a poison record before each hundredth.
    let of = |partition| (0..all).filter(move |n| n % PARTITIONS == partition);
    let count = |one| of(one).count() + of(one).filter(|n| n % 100 == 0).count();
    let wanted: Vec<_> = (0..PARTITIONS).map(|one| u64::try_from(count(one)).ok()).collect();
    let there = within(PATIENCE, || committed(&mut topic) == wanted);
    assert!(there, "{:?} and not {wanted:?}: {}", committed(&mut topic), nodes[0].log());
    let node = &nodes[0];
    for partition in 0..PARTITIONS {
        let last: Vec<u64> = of(partition).filter(|n| *n >= plan.rows).collect();
        assert!(node.numbers(&format!("rows:{partition}")).unwrap().ends_with(&last));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_are_described_by_headers() {
    let Some((mut topic, engine)) = servers(&Options::default()) else { return };
    let channels = ("centrifugo-channels", "rows:0,rows:1");
    let headers = [
        channels,
        ("centrifugo-idempotency-key", "k"),
        ("centrifugo-tag-lang", "en"),
        ("centrifugo-version", "7"),
    ];
    for (headers, payload) in [
        (&[channels, ("centrifugo-version", "x")][..], r#"{"n": 1}"#),
        (&[channels, ("centrifugo-delta", "perhaps")], r#"{"n": 2}"#),
        (&[], r#"{"n": 3}"#),
        (&headers, r#"{"n": 4}"#),
        (&headers, r#"{"n": 5}"#),
        (&[("centrifugo-channels", "rows:1")], r#"{"n": 6}"#),
    ] {
        topic.feed.send("rows", 0, headers, payload);
    }
    topic.feed.flush();
    let consumer = topic.consumer(&json!({ "publication_data_mode": { "enabled": true } }));
    let mut node = Node::new(&engine.url(), &json!([consumer]));
    node.start();
    expect(&node, "rows:1", &[4, 6]);
    assert_eq!(node.numbers("rows:0").unwrap(), [4]);
    let history = node.call("history", &json!({ "channel": "rows:0", "limit": 1 })).unwrap();
    assert_eq!(history["publications"][0]["tags"], json!({ "lang": "en" }));
    assert_eq!(node.metric("spinward_consumers_errors_total", Some("undecodable")), Some(3.0));
    node.terminate();
    assert_eq!(topic.feed.committed("numbered", "rows", 0), Some(6), "a node that ends commits what it did");
}

/// A node that waits for a topic has it without a restart, and a topic's new partitions too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_and_partitions_that_come_later_are_read() {
    let Some((mut topic, engine)) = servers(&Options::default()) else { return };
    let consumer = topic.consumer(&json!({ "topics": ["rows", "later"] }));
    let mut node = Node::new(&engine.url(), &json!([consumer]));
    node.start();
    topic.send(0, 0..3);
    expect(&node, "rows:0", &[0, 1, 2]);
    assert!(node.log().contains("topic of consumer does not exist"), "{}", node.log());
    assert_eq!(node.metric("spinward_consumers_up", None), Some(1.0));
    topic.feed.topic("later", 1);
    topic.feed.grow("rows", 4);
    topic.feed.send("later", 0, &[METHOD], &publish(8, 8));
    topic.send(3, 9..10);
    expect(&node, "rows:8", &[8]);
    expect(&node, "rows:3", &[9]);
    topic.send(0, 3..5);
    expect(&node, "rows:0", &[0, 1, 2, 3, 4]);
    node.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_aborted_transactions_are_not_carried_out() {
    let Some((mut topic, engine)) = servers(&Options::default()) else { return };
    topic.send(0, 0..1);
    topic.feed.aborted("rows", 0, &format!("{{\"method\": \"publish\", \"payload\": {}}}", publish(0, 1)));
    topic.send(0, 2..3);
    for (group, uncommitted, numbers) in [("a", false, &[0, 2][..]), ("b", true, &[0, 2, 0, 1, 2])] {
        let consumer =
            topic.consumer(&json!({ "consumer_group": group, "fetch_read_uncommitted": uncommitted }));
        let mut node = Node::new(&engine.url(), &json!([consumer]));
        node.start();
        expect(&node, "rows:0", numbers);
        node.terminate();
    }
}

/// Each mechanism is tried over TLS. A wrong password is told, is not shown, and is no reason to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_with_tls_and_logins_are_read() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let login = Some(("ann".to_owned(), "canary".to_owned()));
    let options = Options { login, tls: Some((certificate.clone(), key)) };
    let Some((mut topic, engine)) = servers(&options) else { return };
    let tls = json!({ "enabled": true, "server_ca_pem": certificate });
    for (at, mechanism) in (0..).zip(["plain", "scram-sha-256", "scram-sha-512"]) {
        topic.send(at, at..at + 1);
        let consumer = topic.consumer(&json!({
            "consumer_group": mechanism,
            "tls": tls,
            "sasl_mechanism": mechanism,
            "sasl_user": "ann",
            "sasl_password": "canary",
        }));
        let mut node = Node::new(&engine.url(), &json!([consumer]));
        node.start();
        let there =
            within(PATIENCE, || node.numbers(&format!("rows:{at}")).is_some_and(|found| !found.is_empty()));
        assert!(there, "{mechanism}:\n{}", node.log());
        node.terminate();
    }
    for further in [
        json!({ "tls": tls, "sasl_mechanism": "plain", "sasl_user": "ann", "sasl_password": "canary-2" }),
        // The certificate is not of an authority of this system.
        json!({ "tls": { "enabled": true } }),
    ] {
        let mut node = Node::new(&engine.url(), &json!([topic.consumer(&further)]));
        node.start();
        let told = within(PATIENCE, || node.log().contains("source of consumer failed"));
        assert!(told && !node.log().contains("canary"), "{}", node.log());
        assert_eq!(node.metric("spinward_consumers_up", None), Some(0.0));
        node.terminate();
    }
}

/// Options that cannot be used are named at start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_kafka_that_cannot_be_used_are_refused_at_start() {
    let Some(engine) = engine() else { return };
    let right = json!({ "brokers": ["127.0.0.1:9"], "topics": ["rows"], "consumer_group": "g" });
    for (further, named) in [
        (json!({ "brokers": ["kafka"] }), "kafka: brokers: \"kafka\" is not of the form host:port"),
        (json!({ "topics": [] }), "kafka.topics: must be set"),
        (
            json!({ "sasl_mechanism": "aws-msk-iam", "sasl_user": "ann", "sasl_password": "canary" }),
            "kafka: sasl_mechanism \"aws-msk-iam\" is not built",
        ),
        (json!({ "sasl_mechanism": "plain", "sasl_password": "canary" }), "kafka.sasl_user: must be set"),
        (json!({ "tls": { "enabled": true, "min_version": "1.3" } }), "kafka.tls: min_version"),
        (json!({ "fetch_max_wait": "1h" }), "kafka: fetch_max_wait must be"),
    ] {
        let mut options = right.clone();
        options.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let consumer = json!({ "name": "numbered", "enabled": true, "type": "kafka", "kafka": options });
        let mut node = Node::new(&engine.url(), &json!([consumer]));
        node.launch();
        assert!(node.ends(), "it starts with {further}");
        let named = format!("consumers[numbered].{named}");
        assert!(node.log().replace('\\', "").contains(&named), "{named}: {}", node.log());
        assert!(!node.log().contains("canary"), "{}", node.log());
    }
}

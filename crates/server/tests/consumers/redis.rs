//! Streams of Redis.

use crate::node::Node;
use crate::scenario::{Feed, Plan, engine, has, run};
use serde_json::{Value, json};
use spinward_testkit::servers::redis::{Options, Server, redis, valkey};
use spinward_testkit::servers::within;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

struct Stream(Server);

impl Stream {
    fn start(program: Option<PathBuf>) -> Self {
        let further = vec!["appendonly yes".to_owned(), "appendfsync everysec".to_owned()];
        Self(Server::start(Options { program, further, ..Options::default() }))
    }

    fn consumer(&self, further: &Value) -> Value {
        let mut options = json!({
            "address": [self.0.url()],
            "streams": ["numbers"],
            "consumer_group": "nodes",
            "visibility_timeout": "2s",
        });
        options.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        json!({ "name": "numbered", "enabled": true, "type": "redis_stream", "redis_stream": options })
    }

    /// Number of entries that are taken and not acknowledged.
    fn pending(&self) -> i64 {
        self.0.call(&["XPENDING", "numbers", "nodes"]).list().first().map_or(0, |count| count.number())
    }
}

/// Adds entries, and before each hundredth one that can never be carried out.
const ADD: &str = "for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do \
    if n % 100 == 0 then redis.call('XADD', KEYS[1], '*', 'payload', 'nothing') end \
    redis.call('XADD', KEYS[1], '*', 'method', 'publish', 'payload', \
        '{\"channel\":\"rows:0\",\"data\":{\"n\":' .. string.format('%d', n) .. '}}') end";

impl Feed for Stream {
    async fn feed(&mut self, numbers: Range<u64>) {
        let mut start = numbers.start;
        while start < numbers.end {
            let end = (start + 200).min(numbers.end);
            self.0.call(&["EVAL", ADD, "1", "numbers", &start.to_string(), &(end - 1).to_string()]);
            start = end;
        }
    }

    async fn restart(&mut self) {
        self.0.terminate();
        self.0.start_again();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_entry_is_carried_out_in_order() {
    let (true, Some(engine)) = (has(redis()), engine()) else { return };
    let mut stream = Stream::start(None);
    let consumer = stream.consumer(&json!({}));
    let nodes = run(Plan::new(5_000, 2), &engine, &consumer, &mut stream).await;
    assert!(within(Duration::from_secs(5), || stream.pending() == 0));
    let skipped = nodes[0].metric("spinward_consumers_errors_total", Some("undecodable"));
    assert!(skipped.unwrap_or_default() > 0.0, "poison entries are counted");
}

/// Nodes share the entries, in no order between them, and take over those of one that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_entries() {
    let (true, Some(engine)) = (has(&valkey()), engine()) else { return };
    let mut stream = Stream::start(Some(valkey()));
    let consumer = stream.consumer(&json!({ "num_workers": 2 }));
    let plan = Plan { nodes: 2, ordered: false, ..Plan::new(2_000, 2) };
    run(plan, &engine, &consumer, &mut stream).await;
    assert!(within(Duration::from_secs(10), || stream.pending() == 0));
}

/// An entry that a consumer has taken and then left alone is carried out by another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_the_dead_are_taken_over() {
    let (true, Some(engine)) = (has(redis()), engine()) else { return };
    let mut stream = Stream::start(None);
    stream.0.call(&["XGROUP", "CREATE", "numbers", "nodes", "0", "MKSTREAM"]);
    stream.feed(1..4).await;
    stream.0.call(&["XREADGROUP", "GROUP", "nodes", "dead", "COUNT", "2", "STREAMS", "numbers", ">"]);
    let mut node = Node::new(&engine.url(), &json!([stream.consumer(&json!({}))]));
    node.start();
    assert!(
        within(Duration::from_secs(15), || {
            let mut numbers = node.numbers("rows:0").unwrap_or_default();
            numbers.sort_unstable();
            numbers == [1, 2, 3]
        }),
        "{:?}: {}",
        node.numbers("rows:0"),
        node.log()
    );
    node.terminate();
    assert_eq!(stream.pending(), 0);
}

/// As in Centrifugo v6.9.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_fields_with_one_name_the_last_counts() {
    let (true, Some(engine)) = (has(redis()), engine()) else { return };
    let stream = Stream::start(None);
    let first = r#"{"channel":"rows:0","data":{"n":1}}"#;
    let last = r#"{"channel":"rows:0","data":{"n":2}}"#;
    let entry = ["method", "nope", "method", "publish", "payload", first, "payload", last];
    stream.0.call(&[&["XADD", "numbers", "*"], &entry[..]].concat());
    let mut node = Node::new(&engine.url(), &json!([stream.consumer(&json!({}))]));
    node.start();
    let found = within(Duration::from_secs(10), || node.numbers("rows:0").unwrap_or_default() == [2]);
    assert!(found, "{:?}: {}", node.numbers("rows:0"), node.log());
    node.terminate();
}

/// Options that a source cannot do without are named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_cannot_be_used_is_refused_at_start() {
    let Some(engine) = engine() else { return };
    let stream = Stream(engine);
    let two = json!({ "address": ["redis://:canary@127.0.0.1:1", "127.0.0.1:2"] });
    let mut consumers = vec![
        (stream.consumer(&two), "consumers[numbered].redis_stream: address names 2 servers"),
        (stream.consumer(&json!({ "streams": [] })), "consumers[numbered].redis_stream.streams: must be set"),
    ];
    let kinds = [
        ("kafka", cfg!(feature = "kafka")),
        ("aws_sqs", cfg!(feature = "sqs")),
        ("google_pub_sub", cfg!(feature = "pubsub")),
        ("azure_service_bus", cfg!(feature = "servicebus")),
    ];
    for (kind, _) in kinds.iter().filter(|(_, built)| !built) {
        let consumer = json!({ "name": "numbered", "enabled": true, "type": kind });
        consumers.push((consumer, "consumers[numbered].type: "));
    }
    for (consumer, named) in consumers {
        let mut node = Node::new(&stream.0.url(), &json!([consumer]));
        node.launch();
        assert!(node.ends(), "it starts with {consumer}");
        assert!(node.log().contains(named), "{named}: {}", node.log());
        assert!(!node.log().contains("canary"), "{}", node.log());
    }
}

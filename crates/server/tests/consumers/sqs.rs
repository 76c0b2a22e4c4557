//! Queues of AWS SQS, as moto has them. `cargo xtask test cloud` installs it and runs these tests.

use crate::node::Node;
use crate::scenario::{Feed, Plan, engine, has, run};
use serde_json::{Value, json};
use spinward_testkit::servers::clouds::{Service, moto, start_moto};
use spinward_testkit::servers::within;
use std::ops::Range;
use std::time::Duration;

/// Time in which a node has carried a few messages out.
const PATIENCE: Duration = Duration::from_secs(20);

const GROUPS: u64 = 3;

/// A queue.
struct Queue {
    service: Service,
    http: reqwest::Client,
    url: String,
    /// Each message has an id of its own, so that none is taken for another.
    sent: u64,
}

/// An entry of a batch: body, group and text attributes.
type Entry<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

const METHOD: &[(&str, &str)] = &[("centrifugo-method", "publish")];

fn publish(channel: u64, n: u64) -> String {
    json!({ "channel": format!("rows:{channel}"), "data": { "n": n } }).to_string()
}

impl Queue {
    async fn start(name: &str) -> Self {
        Self::of(start_moto(), name).await
    }

    async fn of(service: Service, name: &str) -> Self {
        let mut queue = Self { service, http: reqwest::Client::new(), url: String::new(), sent: 0 };
        let attributes = match name.ends_with(".fifo") {
            true => json!({ "FifoQueue": "true" }),
            false => json!({}),
        };
        let made = queue.call("CreateQueue", &json!({ "QueueName": name, "Attributes": attributes })).await;
        queue.url = made["QueueUrl"].as_str().unwrap().to_owned();
        queue
    }

    async fn call(&self, action: &str, body: &Value) -> Value {
        let request = self
            .http
            .post(format!("http://{}/", self.service.address()))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("AmazonSQS.{action}"))
            .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0")
            .body(body.to_string());
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{action}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn consumer(&self, further: &Value) -> Value {
        let mut options = json!({
            "queues": [self.url],
            "localstack_endpoint": format!("http://{}", self.service.address()),
            "visibility_timeout": "3s",
        });
        options.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        json!({ "name": "numbered", "enabled": true, "type": "aws_sqs", "aws_sqs": options })
    }

    async fn send(&mut self, entries: &[Entry<'_>]) {
        for entries in entries.chunks(10) {
            let mut list = Vec::new();
            for (body, group, attributes) in entries {
                self.sent += 1;
                let texts = attributes.iter().map(|(name, value)| {
                    ((*name).to_owned(), json!({ "DataType": "String", "StringValue": value }))
                });
                let texts: serde_json::Map<_, _> = texts.collect();
                let mut entry =
                    json!({ "Id": self.sent.to_string(), "MessageBody": body, "MessageAttributes": texts });
                if !group.is_empty() {
                    entry["MessageGroupId"] = (*group).into();
                    entry["MessageDeduplicationId"] = self.sent.to_string().into();
                }
                list.push(entry);
            }
            let sent = self.call("SendMessageBatch", &json!({ "QueueUrl": self.url, "Entries": list })).await;
            assert!(sent["Failed"].as_array().is_none_or(Vec::is_empty), "{sent}");
        }
    }

    /// Number of messages that are not deleted.
    async fn left(&self) -> u64 {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let body = json!({ "QueueUrl": self.url, "AttributeNames": names });
        let found = self.call("GetQueueAttributes", &body).await;
        names.iter().map(|name| found["Attributes"][name].as_str().unwrap().parse::<u64>().unwrap()).sum()
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
        let fifo = self.url.ends_with(".fifo");
        let mut bodies = Vec::new();
        for n in numbers {
            let partition = if fifo { n % GROUPS } else { 0 };
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
        let groups = ["a", "b", "c"].map(|group| if fifo { group } else { "" });
        let entries: Vec<_> = bodies
            .iter()
            .map(|(partition, body, named)| {
                let group = groups[usize::try_from(*partition).unwrap()];
                (body.as_str(), group, if *named { METHOD } else { &[] })
            })
            .collect();
        self.send(&entries).await;
    }

    async fn restart(&mut self) {
        // What it has is in its memory. So it is only away for longer than a visibility timeout.
        self.service.freeze(Duration::from_secs(5));
    }
}

/// One message at a time: of several of a group whose timeouts have ended, moto 5.2 delivers the last first, which SQS
/// does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_a_group_is_carried_out_in_order() {
    let (true, Some(engine)) = (has(&moto()), engine()) else { return };
    let mut queue = Queue::start("numbers.fifo").await;
    let consumer = queue.consumer(&json!({ "max_number_of_messages": 1 }));
    let plan = Plan { partitions: GROUPS, busy: true, ..Plan::new(600, 2) };
    let nodes = run(plan, &engine, &consumer, &mut queue).await;
    assert!(queue.is_empty().await, "{} messages are left", queue.left().await);
    let skipped = nodes[0].metric("spinward_consumers_errors_total", Some("undecodable"));
    assert!(skipped.unwrap_or_default() > 0.0, "poison messages are counted");
    assert_eq!(nodes[0].metric("spinward_consumers_up", None), Some(1.0));
}

/// Ten at a time, in order as long as no timeout ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_carried_out_in_order() {
    let (true, Some(engine)) = (has(&moto()), engine()) else { return };
    let mut queue = Queue::start("numbers.fifo").await;
    queue.feed(0..300).await;
    let mut node =
        Node::new(&engine.url(), &json!([queue.consumer(&json!({ "visibility_timeout": "30s" }))]));
    node.start();
    for group in 0..GROUPS {
        let all: Vec<u64> = (0..300).filter(|n| n % GROUPS == group).collect();
        let channel = format!("rows:{group}");
        let found = within(PATIENCE * 2, || node.numbers(&channel).is_some_and(|found| found == all));
        assert!(found, "{:?}: {}", node.numbers(&channel), node.log());
    }
    node.terminate();
    assert!(queue.is_empty().await, "{} messages are left", queue.left().await);
}

/// Two nodes with two readers each keep the order of each group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_groups() {
    let (true, Some(engine)) = (has(&moto()), engine()) else { return };
    let mut queue = Queue::start("numbers.fifo").await;
    let consumer = queue.consumer(&json!({ "max_concurrency": 2, "max_number_of_messages": 1 }));
    let plan = Plan { nodes: 2, partitions: GROUPS, busy: true, ..Plan::new(1_000, 2) };
    let _nodes = run(plan, &engine, &consumer, &mut queue).await;
    assert!(queue.is_empty().await, "{} messages are left", queue.left().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_of_a_standard_queue_is_carried_out() {
    let (true, Some(engine)) = (has(&moto()), engine()) else { return };
    let mut queue = Queue::start("numbers").await;
    let consumer = queue.consumer(&json!({ "max_concurrency": 3 }));
    let plan = Plan { ordered: false, busy: true, ..Plan::new(1_000, 2) };
    let _nodes = run(plan, &engine, &consumer, &mut queue).await;
    assert!(queue.is_empty().await, "{} messages are left", queue.left().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_are_described_by_attributes() {
    let (true, Some(engine)) = (has(&moto()), engine()) else { return };
    let mut queue = Queue::start("numbers.fifo").await;
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
    queue.send(&entries).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envelopes_of_sns_are_unwrapped() {
    let (true, Some(engine)) = (has(&moto()), engine()) else { return };
    let mut queue = Queue::start("numbers.fifo").await;
    let envelope = |message: &str| {
        let attributes = json!({ "centrifugo-method": { "Type": "String", "Value": "publish" } });
        json!({ "Type": "Notification", "Message": message, "MessageAttributes": attributes }).to_string()
    };
    let (first, last) = (envelope(&publish(0, 1)), envelope(&publish(0, 3)));
    // One that was sent without the topic is not guessed at.
    queue.send(&[(&first, "a", &[]), (&publish(0, 2), "a", METHOD), (&last, "a", &[])]).await;
    let consumer = queue.consumer(&json!({ "sns_envelope": true }));
    let mut node = Node::new(&engine.url(), &json!([consumer]));
    node.start();
    let found = within(PATIENCE, || node.numbers("rows:0").is_some_and(|found| found == [1, 3]));
    assert!(found, "{:?}: {}", node.numbers("rows:0"), node.log());
    assert!(node.log().contains("is no envelope of SNS"), "{}", node.log());
    node.terminate();
}

/// A call that fails while the broker is away holds up its group alone. Its message stays hidden from others for
/// longer than a visibility timeout, and is carried out in its turn when the broker is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waits_for_the_broker_is_kept() {
    let (true, Some(mut engine)) = (has(&moto()), engine()) else { return };
    let mut queue = Queue::start("numbers.fifo").await;
    let mut node = Node::new(&engine.url(), &json!([queue.consumer(&json!({}))]));
    node.start();
    engine.terminate();
    let bodies = [publish(0, 1), publish(0, 2)];
    queue.send(&[(&bodies[0], "a", METHOD), (&bodies[1], "a", METHOD)]).await;
    let failed = || node.metric("spinward_consumers_errors_total", Some("failed")).unwrap_or_default();
    assert!(within(PATIENCE, || failed() > 0.0), "{}", node.log());
    // Longer than two timeouts: without being prolonged, the messages would be visible.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let body = json!({ "QueueUrl": queue.url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0 });
    let seen = queue.call("ReceiveMessage", &body).await;
    assert!(seen["Messages"].as_array().is_none_or(Vec::is_empty), "{seen}");
    engine.start_again();
    let found = within(PATIENCE, || node.numbers("rows:0").is_some_and(|found| found == [1, 2]));
    assert!(found, "{:?}: {}", node.numbers("rows:0"), node.log());
    node.terminate();
    assert!(queue.is_empty().await);
}

/// Options that cannot be used are named at start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_of_sqs_that_cannot_be_used_are_refused_at_start() {
    let Some(engine) = engine() else { return };
    for (options, named) in [
        (json!({ "queues": [] }), ".queues: must be set"),
        (json!({ "queues": ["events"] }), ": queues: \"events\" is not a URL"),
        (json!({ "queues": ["https://a:canary@b/c"] }), ": queues: "),
        (
            json!({ "queues": ["https://b/c"], "region": "r", "wait_time_time": "1m" }),
            ": wait_time_time must be",
        ),
        (
            json!({ "queues": ["https://b/c"], "region": "r", "max_number_of_messages": 11 }),
            ": max_number_of_messages must be",
        ),
    ] {
        let consumer = json!({ "name": "numbered", "enabled": true, "type": "aws_sqs", "aws_sqs": options });
        let mut node = Node::new(&engine.url(), &json!([consumer]));
        node.launch();
        assert!(node.ends(), "it starts with {options}");
        let named = format!("consumers[numbered].aws_sqs{named}");
        assert!(node.log().replace('\\', "").contains(&named), "{named}: {}", node.log());
        assert!(!node.log().contains("canary"), "{}", node.log());
    }
}

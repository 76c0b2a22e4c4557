//! Subjects of NATS JetStream.

use crate::node::Node;
use crate::scenario::{Feed, Plan, engine, has, run};
use async_nats::jetstream::{self, Context, stream};
use async_nats::{Client, HeaderMap};
use serde_json::{Value, json};
use spinward_testkit::servers::nats::{Accounts, Nats, Options, program};
use spinward_testkit::servers::within;
use std::ops::Range;
use std::time::Duration;

struct Subject {
    server: Nats,
    context: Context,
}

impl Subject {
    async fn start() -> Self {
        let options = Options { jetstream: true, ..Options::default() };
        Self::start_with(&options, async_nats::ConnectOptions::new()).await
    }

    async fn start_with(options: &Options, login: async_nats::ConnectOptions) -> Self {
        let server = Nats::start(options);
        let context = jetstream::new(login.connect(server.url()).await.unwrap());
        let config = stream::Config {
            name: "ROWS".to_owned(),
            subjects: vec!["rows.>".to_owned()],
            ..stream::Config::default()
        };
        context.create_stream(config).await.unwrap();
        Self { server, context }
    }

    fn consumer(&self, further: &Value) -> Value {
        let mut options = json!({
            "url": self.server.url(),
            "stream_name": "ROWS",
            "subjects": ["rows.>"],
            "durable_consumer_name": "numbered",
            "deliver_policy": "all",
        });
        options.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        json!({ "name": "numbered", "enabled": true, "type": "nats_jetstream", "nats_jetstream": options })
    }

    async fn send(&self, headers: &[(&str, &str)], payload: &str) {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| map.insert(*name, *value));
        let sent = self.context.publish_with_headers("rows.a", map, payload.to_owned().into()).await.unwrap();
        sent.await.unwrap();
    }
}

async fn connect(server: &Nats) -> Client {
    async_nats::connect(server.url()).await.unwrap()
}

impl Feed for Subject {
    async fn feed(&mut self, numbers: Range<u64>) {
        let mut acknowledged = Vec::new();
        for n in numbers {
            let mut headers = HeaderMap::new();
            if n % 100 == 0 {
                let sent = self.context.publish("rows.a", "nothing".into()).await.unwrap();
                acknowledged.push(sent);
            }
            headers.insert("centrifugo-method", "publish");
            let payload = json!({ "channel": "rows:0", "data": { "n": n } }).to_string();
            acknowledged
                .push(self.context.publish_with_headers("rows.a", headers, payload.into()).await.unwrap());
            if acknowledged.len() >= 100 {
                for sent in acknowledged.drain(..) {
                    sent.await.unwrap();
                }
            }
        }
        for sent in acknowledged {
            sent.await.unwrap();
        }
    }

    async fn restart(&mut self) {
        self.server.terminate();
        self.server.restart();
        self.context = jetstream::new(connect(&self.server).await);
        for _ in 0..200 {
            if self.context.get_stream("ROWS").await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the stream is not back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_carried_out_in_order() {
    let (true, Some(engine)) = (has(&program()), engine()) else { return };
    let mut subject = Subject::start().await;
    let consumer = subject.consumer(&json!({}));
    let nodes = run(Plan::new(5_000, 2), &engine, &consumer, &mut subject).await;
    let skipped = nodes[0].metric("spinward_consumers_errors_total", Some("undecodable"));
    assert!(skipped.unwrap_or_default() > 0.0, "poison messages are counted");
}

/// Nodes share the messages, in no order between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_share_messages() {
    let (true, Some(engine)) = (has(&program()), engine()) else { return };
    let mut subject = Subject::start().await;
    let consumer = subject.consumer(&json!({}));
    let plan = Plan { nodes: 2, ordered: false, ..Plan::new(2_000, 2) };
    run(plan, &engine, &consumer, &mut subject).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_are_described_by_headers() {
    let (true, Some(engine)) = (has(&program()), engine()) else { return };
    let subject = Subject::start().await;
    let channels = ("centrifugo-channels", "rows:0,rows:1");
    subject.send(&[channels, ("centrifugo-version", "x")], r#"{"n": 1}"#).await;
    subject.send(&[channels, ("centrifugo-delta", "perhaps")], r#"{"n": 2}"#).await;
    subject.send(&[], r#"{"n": 3}"#).await;
    let headers = [
        channels,
        ("centrifugo-idempotency-key", "k"),
        ("centrifugo-tag-lang", "en"),
        ("centrifugo-version", "7"),
    ];
    subject.send(&headers, r#"{"n": 4}"#).await;
    subject.send(&headers, r#"{"n": 5}"#).await;
    subject.send(&[("centrifugo-channels", "rows:1")], r#"{"n": 6}"#).await;
    let consumer = subject.consumer(&json!({ "publication_data_mode": { "enabled": true } }));
    let mut node = Node::new(&engine.url(), &json!([consumer]));
    node.start();
    assert!(
        within(Duration::from_secs(20), || node.numbers("rows:1").is_some_and(|numbers| numbers == [4, 6])),
        "{}",
        node.log()
    );
    assert_eq!(node.numbers("rows:0").unwrap(), [4]);
    let history = node.call("history", &json!({ "channel": "rows:0", "limit": 1 })).unwrap();
    assert_eq!(history["publications"][0]["tags"], json!({ "lang": "en" }));
    assert_eq!(node.metric("spinward_consumers_errors_total", Some("undecodable")), Some(3.0));
    node.terminate();
}

/// Servers with accounts of an operator let users in by the token and the seed of a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_file_logs_in() {
    let (true, Some(engine)) = (has(&program()), engine()) else { return };
    let accounts = Accounts::new();
    let options = Options { jetstream: true, more: accounts.lines.clone(), ..Options::default() };
    let credentials = async_nats::ConnectOptions::with_credentials(&accounts.user()).unwrap();
    let subject = Subject::start_with(&options, credentials).await;
    let file = std::env::temp_dir().join(format!("spinward-consumer-{}.creds", std::process::id()));
    let consumer = subject.consumer(&json!({ "credentials_file": file }));
    let mut node = Node::new(&engine.url(), &json!([consumer]));
    node.launch();
    assert!(node.ends(), "it starts without the file");
    let named = "consumers[numbered].nats_jetstream: `credentials_file`: ";
    assert!(node.log().contains(named), "{}", node.log());

    std::fs::write(&file, accounts.user()).unwrap();
    node.start();
    subject.send(&[("centrifugo-method", "publish")], r#"{"channel": "rows:0", "data": {"n": 1}}"#).await;
    let found = within(Duration::from_secs(20), || node.numbers("rows:0").is_some_and(|found| found == [1]));
    assert!(found, "{}", node.log());
    node.terminate();
    std::fs::remove_file(file).unwrap();
}

/// Messages that a node had taken and not acknowledged go to the next one at once when it ends in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_exists_is_used_as_it_is() {
    let (true, Some(engine)) = (has(&program()), engine()) else { return };
    let mut subject = Subject::start().await;
    let consumer = subject.consumer(&json!({ "use_existing_consumer": true, "max_ack_pending": 5 }));
    let mut node = Node::new(&engine.url(), &json!([consumer]));
    node.start();
    subject.feed(0..10).await;
    assert!(
        within(Duration::from_secs(20), || node.log().contains("source of consumer failed")),
        "{}",
        node.log()
    );
    let stream = subject.context.get_stream("ROWS").await.unwrap();
    let config =
        jetstream::consumer::pull::Config { durable_name: Some("numbered".to_owned()), ..Default::default() };
    stream.create_consumer(config).await.unwrap();
    let all: Vec<u64> = (0..10).collect();
    assert!(
        within(Duration::from_secs(20), || node.numbers("rows:0").is_some_and(|numbers| numbers == all)),
        "{}",
        node.log()
    );
    let info = stream.consumer_info("numbered").await.unwrap();
    assert_ne!(info.config.max_ack_pending, 5, "it was not changed");
    node.terminate();
}

//! Wildcards, raw mode, and channels that try to be more than a subject.

use crate::harness::{Servers, core, prefix};
use futures_util::StreamExt;
use spinward::engine::broker::{Broker, BrokerError, HistoryOptions, Interest, PublishOptions};
use spinward::engine::broker::{JoinLeave, Receipt};
use spinward_engines::nats::{Config, RawMode};
use spinward_testkit::servers::nats::installed;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

fn with_wildcards(config: &Config) -> Config {
    Config { allow_wildcards: true, ..config.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_is_delivered_the_channels_that_match() {
    if !installed() {
        return;
    }
    let servers = Servers::one(false);
    let config = servers.lock().config(&prefix(), 0);
    let node = core(with_wildcards(&config)).await;
    for pattern in ["a.*", "a.>", "*", "a.*.c d"] {
        node.want(pattern).await;
    }
    for channel in ["a.b", "a.b.c d", "a", "a.b c", "a..b", "a.\u{e4}"] {
        node.publish(channel, &format!("\"{channel}\"")).await.unwrap();
    }
    sleep(Duration::from_millis(200)).await;
    let told = |pattern: &str| -> Vec<String> {
        let publications = node.publications(pattern);
        publications.iter().map(|one| one.channel.as_deref().unwrap().to_owned()).collect()
    };
    assert_eq!(told("a.*"), ["a.b", "a.b c", "a.\u{e4}"]);
    assert_eq!(told("a.>"), ["a.b", "a.b.c d", "a.b c", "a.\u{e4}"]);
    assert_eq!(told("a.*.c d"), ["a.b.c d"]);
    assert_eq!(told("*"), ["a", "a..b"], "two dots separate nothing");
    let sent = node.publish("a.*", "1").await;
    assert!(matches!(sent, Err(BrokerError::Failed(_))), "published to a pattern: {sent:?}");
    // Nobody joins a pattern's channels by subscribing to the pattern.
    let join = JoinLeave::Join(Arc::default());
    node.broker.announce("a.*", join.clone()).wait().await.unwrap();
    node.broker.announce("a.b", join).wait().await.unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(node.recorder.joins_and_leaves("a.*"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_mode_talks_to_other_programs() {
    if !installed() {
        return;
    }
    let servers = Servers::one(false);
    let config = servers.lock().config("unused", 0);
    let other = async_nats::connect(&config.urls[0]).await.unwrap();
    let mut subscriber = other.subscribe("x.>").await.unwrap();
    other.flush().await.unwrap();
    let channel_replacements = [(":".to_owned(), ".".to_owned())].into();
    let raw = Some(RawMode { prefix: "x.".to_owned(), channel_replacements });
    let node = core(Config { raw, ..with_wildcards(&config) }).await;
    node.want("chat:index").await;
    node.want("chat:*").await;
    other.publish("x.chat.index", "{\"a\":1}".into()).await.unwrap();
    let publication = Arc::clone(&node.delivered("chat:index", 1).await[0]);
    assert_eq!(publication.data, "{\"a\":1}");
    assert_eq!((publication.channel.as_deref(), publication.offset), (None, 0));
    let publication = Arc::clone(&node.delivered("chat:*", 1).await[0]);
    assert_eq!(publication.channel.as_deref(), Some("chat:index"));
    assert_eq!(node.publish("chat:b", "{\"b\":2}").await.unwrap(), Receipt::Sent);
    let first = subscriber.next().await.unwrap();
    let second = subscriber.next().await.unwrap();
    assert_eq!((&*first.subject, &first.payload[..]), ("x.chat.index", &b"{\"a\":1}"[..]));
    assert_eq!((&*second.subject, &second.payload[..]), ("x.chat.b", &b"{\"b\":2}"[..]));
    for wrong in ["a b", "a\r\nPUB x.y 1\r\n1\r\n", "a..b", "", "a\tb"] {
        assert!(node.publish(wrong, "1").await.is_err(), "{wrong:?}");
        node.broker.interest(&[(wrong.into(), Interest::Wanted)]);
    }
    sleep(Duration::from_millis(200)).await;
    for wrong in ["a b", "a..b", ""] {
        assert_eq!(node.recorder.answers(wrong), [(Interest::Wanted, false)], "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_cannot_reach_other_subjects() {
    if !installed() {
        return;
    }
    let servers = Servers::one(false);
    let config = servers.lock().config(&prefix(), 0);
    let node = core(config.clone()).await;
    let spy = async_nats::connect(&config.urls[0]).await.unwrap();
    let mut injected = spy.subscribe("injected").await.unwrap();
    spy.flush().await.unwrap();
    let channels = [
        "a\r\nPUB injected 1\r\nx\r\n",
        "a",
        "a ",
        " a",
        "a.",
        ".a",
        "a.*",
        "a.>",
        ">",
        "*",
        "",
        ".",
        "..",
        "%",
        "%2E",
        "\0",
        "a\tb",
        "\u{2028}",
        "$SYS.REQ",
        "a 1\r\n",
        "_INBOX.x",
    ];
    for channel in channels {
        node.want(channel).await;
    }
    for channel in channels {
        node.publish(channel, channel).await.unwrap();
    }
    sleep(Duration::from_millis(300)).await;
    for channel in channels {
        assert_eq!(node.payloads(channel), [channel]);
    }
    assert!(tokio::time::timeout(Duration::from_millis(100), injected.next()).await.is_err());
    let long = "a".repeat(5_000);
    assert!(node.publish(&long, "1").await.is_err());
    assert!(node.publish("a", &"x".repeat(2_000_000)).await.is_err(), "longer than the server takes");
    node.publish("a", "still connected").await.unwrap();
    assert_eq!(node.broker.counts().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_core_nats_cannot_keep_is_refused() {
    if !installed() {
        return;
    }
    let servers = Servers::one(false);
    let config = servers.lock().config(&prefix(), 0);
    let node = core(config).await;
    let history = HistoryOptions { size: 1, ttl: Duration::from_secs(1), meta_ttl: Duration::ZERO };
    let options = PublishOptions { history, ..PublishOptions::default() };
    let stored = node.broker.publish("c", "1".into(), options).wait().await;
    assert!(matches!(stored, Err(BrokerError::NotSupported)), "{stored:?}");
    // A key is known to the node that it was published through.
    let keyed = || PublishOptions { idempotency_key: "k".to_owned(), ..PublishOptions::default() };
    let publish = || node.broker.publish("c", "1".into(), keyed()).wait();
    assert_eq!(publish().await.unwrap(), Receipt::Sent);
    assert_eq!(publish().await.unwrap(), Receipt::Suppressed(None));
}

//! Nothing is lost and order is kept, however transactions overlap.

use crate::harness::{Node, Postgres, eventually};
use crate::on_both;
use spinward::engine::broker::Read;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

on_both!(
    published_in_a_transaction,
    a_long_transaction_beside_short_ones,
    ten_publishers_of_one_channel,
    interest_begins_with_its_confirmation,
    a_busy_subscriber_holds_back_its_shard_alone,
);

const PUBLISH: &str = "SELECT out_channel_offset FROM cf_stream_publish($1, jsonb_build_object('n', $2::bigint), \
                       p_history_size => 100000, p_history_ttl => '1 hour')";

async fn published_in_a_transaction(server: Postgres) {
    let node = server.node().await;
    node.want("c").await;
    let mut client = server.client().await;
    client.batch_execute("CREATE TABLE orders (id bigint)").await.unwrap();

    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO orders VALUES (1)", &[]).await.unwrap();
    transaction.query(PUBLISH, &[&"c", &1_i64]).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    assert!(node.offsets("c").is_empty(), "delivered before the commit");
    transaction.commit().await.unwrap();
    node.complete("c", 1).await;
    assert_eq!(node.delivered("c")[0].data, "{\"n\": 1}");

    let transaction = client.transaction().await.unwrap();
    let offset: i64 = transaction.query_one(PUBLISH, &[&"c", &2_i64]).await.unwrap().get(0);
    assert_eq!(offset, 2);
    transaction.rollback().await.unwrap();
    let offset: i64 = client.query_one(PUBLISH, &[&"c", &3_i64]).await.unwrap().get(0);
    assert_eq!(offset, 2, "the offset of what was rolled back is given again");
    node.complete("c", 2).await;
    assert_eq!(node.delivered("c")[1].data, "{\"n\": 3}");
}

async fn a_long_transaction_beside_short_ones(server: Postgres) {
    let node = server.node().await;
    for channel in ["long", "short"] {
        node.want(channel).await;
    }
    let mut client = server.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.query(PUBLISH, &[&"long", &1_i64]).await.unwrap();
    // Ids of these rows are above that of the first, and they are read before it.
    for number in 1..=200_u64 {
        assert_eq!(node.store("short", &number.to_string()).await.offset, number);
    }
    node.complete("short", 200).await;
    assert!(node.offsets("long").is_empty());

    // Nobody else publishes to its channel in the meantime; an attempt is refused with the reason.
    let start = Instant::now();
    let refused = node.publish("long", "2").await.unwrap_err().to_string();
    assert!(refused.contains("another transaction"), "{refused}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(node.broker.counts().blocked, 1);

    transaction.query(PUBLISH, &[&"long", &2_i64]).await.unwrap();
    transaction.commit().await.unwrap();
    node.complete("long", 2).await;
    assert_eq!(node.store("long", "3").await.offset, 3);
    node.complete("long", 3).await;
}

async fn ten_publishers_of_one_channel(server: Postgres) {
    const EACH: u64 = 100;
    let nodes = [server.node().await, server.node().await];
    for node in &nodes {
        node.want("c").await;
    }
    let mut publishers = JoinSet::new();
    for publisher in 0..10_u64 {
        let mut client = server.client().await;
        publishers.spawn(async move {
            for number in 1..=EACH {
                let transaction = client.transaction().await.unwrap();
                // Transaction ids are drawn in another order than offsets.
                if publisher % 2 == 0 {
                    transaction.query("SELECT pg_current_xact_id()", &[]).await.unwrap();
                }
                let number = i64::try_from(publisher * 1_000 + number).unwrap();
                transaction.query(PUBLISH, &[&"c", &number]).await.unwrap();
                if number % 10 == 0 {
                    transaction.rollback().await.unwrap();
                    continue;
                }
                transaction.commit().await.unwrap();
            }
        });
    }
    while let Some(publisher) = publishers.join_next().await {
        publisher.unwrap();
    }
    let committed = 10 * EACH * 9 / 10;
    let history = nodes[0].history("c").await;
    assert_eq!(history.top.offset, committed);
    for node in &nodes {
        node.complete("c", committed).await;
        assert_eq!(node.delivered("c"), history.publications, "as it is stored");
        // Each publisher's messages in its order.
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for one in node.delivered("c") {
            let text = String::from_utf8(one.data.to_vec()).unwrap();
            let number: u64 = text.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
            let last = last.entry(number / 1_000).or_default();
            assert!(number % 1_000 > *last, "{number} after {last}");
            *last = number % 1_000;
        }
    }
}

async fn interest_begins_with_its_confirmation(server: Postgres) {
    let (node, publisher) = (Arc::new(server.node().await), server.node().await);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let publishing = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            let mut last = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                last = publisher.store("c", "{}").await.offset;
            }
            last
        })
    };
    sleep(Duration::from_millis(100)).await;
    for round in 0..20 {
        node.want("c").await;
        // Whatever is published from here on is delivered.
        let top = node.read("c", Read::Top).await.unwrap().top.offset;
        eventually("delivery goes on", || node.offsets("c").last().is_some_and(|last| *last > top + 5)).await;
        node.broker_gives_back("c").await;
        let offsets = node.offsets("c");
        let round_starts = offsets.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert!(round_starts <= round, "gaps within a round: {offsets:?}");
        let first_of_round = offsets.iter().rev().zip(offsets.iter().rev().skip(1));
        let begin = first_of_round.take_while(|(later, earlier)| **later == **earlier + 1).last();
        assert!(begin.is_none_or(|(_, begin)| *begin <= top + 1), "{begin:?} begins after {top}");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    publishing.await.unwrap();
}

impl Node {
    async fn broker_gives_back(&self, channel: &str) {
        use spinward::engine::broker::{Broker as _, Interest};
        self.recorder.set_wanted(channel, false);
        self.broker.interest(&[(channel.into(), Interest::Unwanted)]);
        // Answered at once; what is on its way may still arrive.
        assert_eq!(self.recorder.answers(channel).last(), Some(&(Interest::Unwanted, true)));
        sleep(Duration::from_millis(50)).await;
    }
}

async fn a_busy_subscriber_holds_back_its_shard_alone(server: Postgres) {
    let node = server.node().await;
    node.want("c").await;
    node.recorder.set_full(true);
    node.store("c", "1").await;
    sleep(Duration::from_millis(200)).await;
    // Another shard is read, and waits as well since the recorder is full for all; calls and interest go on.
    node.want("d").await;
    assert_eq!(node.store("d", "1").await.offset, 1);
    assert_eq!(node.history("c").await.publications.len(), 1);
    node.recorder.set_full(false);
    node.complete("c", 1).await;
    node.complete("d", 1).await;
}

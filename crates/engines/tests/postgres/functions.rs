//! Functions that applications call.

use crate::harness::{Postgres, eventually};
use crate::on_both;
use spinward::engine::broker::{JoinLeave, Limit, Read, Since};
use tokio_postgres::Client;

on_both!(idempotency_and_versions, fields, joins, names, positions, expiry, crash_safe_commits);

/// Result id, offset, suppressed, reason.
async fn publish(
    client: &Client,
    channel: &str,
    more: &str,
) -> (Option<i64>, Option<i64>, bool, Option<String>) {
    let text = format!(
        "SELECT out_result_id, out_channel_offset, out_suppressed, out_suppress_reason \
         FROM cf_stream_publish($1, '{{\"a\":1}}'{more})"
    );
    let row = client.query_one(&text, &[&channel]).await.unwrap();
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

async fn idempotency_and_versions(server: Postgres) {
    let node = server.node().await;
    node.want("c").await;
    let client = server.client().await;
    let reason = |text: &str| Some(text.to_owned());
    assert_eq!(publish(&client, "c", "").await.1, Some(1));
    let keyed = ", p_idempotency_key => 'k'";
    assert_eq!(publish(&client, "c", keyed).await.1, Some(2));
    assert_eq!(publish(&client, "c", keyed).await, (None, Some(2), true, reason("idempotency")));
    assert_eq!(publish(&client, "d", keyed).await.1, Some(1), "keys are of a channel");
    let short = ", p_idempotency_key => 's', p_idempotency_ttl => '50 milliseconds'";
    assert_eq!(publish(&client, "c", short).await.1, Some(3));
    tokio::time::sleep(std::time::Duration::from_millis(80)).await;
    assert_eq!(publish(&client, "c", short).await.1, Some(4), "the key has expired");
    let version = |number: u32| format!(", p_version => {number}, p_version_epoch => 'e'");
    assert_eq!(publish(&client, "c", &version(5)).await.1, Some(5));
    assert_eq!(publish(&client, "c", &version(5)).await, (None, Some(5), true, reason("version")));
    assert_eq!(publish(&client, "c", &version(6)).await.1, Some(6));
    let strict = format!("SELECT * FROM cf_stream_publish_strict('c', '1'{})", version(6));
    let refused = client.query(&strict, &[]).await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("p_version"), "{refused:?}");
    let strict = "SELECT out_channel_offset FROM cf_stream_publish_strict('c', '1')";
    assert_eq!(client.query_one(strict, &[]).await.unwrap().get::<_, i64>(0), 7);
    node.complete("c", 7).await;
    // Racing publishes with one key: one of them has an effect.
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let client = server.client().await;
        racing.spawn(async move { publish(&client, "race", ", p_idempotency_key => 'k'").await });
    }
    let results = racing.join_all().await;
    assert_eq!(results.iter().filter(|result| !result.2).count(), 1, "{results:?}");
    assert!(results.iter().all(|result| result.1 == Some(1)), "{results:?}");
}

async fn fields(server: Postgres) {
    let node = server.node().await;
    node.want("c").await;
    let client = server.client().await;
    let json = "SELECT cf_stream_publish('c', '{\"ä\":1}', p_tags => '{\"k\":\"v\",\"n\":1}', p_version => 3, \
                p_use_delta => true, p_client_id => 'cl', p_user_id => 'ann', p_conn_info => '{\"i\":1}')";
    client.query(json, &[]).await.unwrap();
    let bytes = "SELECT cf_binary_stream_publish('c', $1)";
    client.query(bytes, &[&&b"\x00\xff"[..]]).await.unwrap();
    node.complete("c", 2).await;
    let [one, other] = <[_; 2]>::try_from(node.delivered("c")).unwrap();
    assert_eq!(one.data, "{\"ä\": 1}");
    let tags: Vec<_> =
        one.tags.iter().flat_map(|tags| tags.iter()).map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(tags, ["k=v", "n=1"]);
    assert_eq!((one.version, one.delta), (3, true));
    let info = one.info.as_deref().unwrap();
    assert_eq!((&*info.user, &*info.client, &*info.conn_info), ("ann", "cl", &b"{\"i\": 1}"[..]));
    assert!(info.chan_info.is_empty());
    assert_eq!(other.data, &b"\x00\xff"[..]);
    assert!(other.info.is_none() && other.tags.is_none() && !other.delta);
    assert_eq!(node.history("c").await.publications, node.delivered("c"));
    let refused = client.query("SELECT cf_stream_publish('c', NULL)", &[]).await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("p_data"));
}

async fn joins(server: Postgres) {
    let node = server.node().await;
    node.want("c").await;
    let client = server.client().await;
    client.query("SELECT cf_stream_publish_join('c', 'cl', 'ann', '{}')", &[]).await.unwrap();
    client.query("SELECT cf_binary_stream_publish_leave('c', 'cl', 'ann')", &[]).await.unwrap();
    eventually("join and leave", || node.recorder.joins_and_leaves("c").len() == 2).await;
    let told = node.recorder.joins_and_leaves("c");
    assert!(
        matches!(&told[..], [JoinLeave::Join(one), JoinLeave::Leave(_)] if &*one.user == "ann"),
        "{told:?}"
    );
}

async fn names(server: Postgres) {
    let node = server.node().await;
    let long = "x".repeat(255);
    let names =
        ["'", "'; DROP TABLE cf_stream_log; --", "%", "%s$1", "\"", "\\", "a\0b", "ä€😀", &long, " ", "a.b"];
    for name in names {
        node.want(name).await;
    }
    for name in names {
        let options = spinward::engine::broker::PublishOptions {
            idempotency_key: name.to_owned(),
            version: 1,
            version_epoch: name.to_owned(),
            tags: Some(std::sync::Arc::new([(name.to_owned(), name.to_owned())].into())),
            info: Some(std::sync::Arc::new(spinward::ClientInfo {
                user: name.into(),
                client: name.into(),
                ..spinward::ClientInfo::default()
            })),
            ..crate::harness::kept()
        };
        use spinward::engine::broker::Broker as _;
        node.broker.publish(name, name.to_owned().into(), options).wait().await.unwrap();
    }
    for name in names {
        node.complete(name, 1).await;
        let one = &node.delivered(name)[0];
        assert_eq!(one.data, name);
        assert_eq!(one.info.as_ref().map(|info| &*info.user), Some(name));
        assert_eq!(one.tags.as_ref().and_then(|tags| tags.get(name)).map(String::as_str), Some(name));
        assert_eq!(node.history(name).await.publications, node.delivered(name));
    }
    let client = server.client().await;
    for name in names.iter().filter(|name| !name.contains('\0')) {
        assert_eq!(publish(&client, name, "").await.1, Some(2), "{name}");
    }
}

async fn positions(server: Postgres) {
    let node = server.node().await;
    let client = server.client().await;
    let top = "SELECT out_top_offset, out_epoch FROM cf_stream_top_position('c')";
    let row = client.query_one(top, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (0, ""));
    publish(&client, "c", "").await;
    let place = node.read("c", Read::Top).await.unwrap().top;
    let row = client.query_one(top, &[]).await.unwrap();
    // As clients see it.
    let epoch = format!("{}.{}", place.stream.incarnation, place.stream.epoch);
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (1, &*epoch));
    client.query("SELECT cf_stream_remove_history('c')", &[]).await.unwrap();
    assert!(node.history("c").await.publications.is_empty());
    assert_eq!(publish(&client, "c", "").await.1, Some(2));
    let since = Since { offset: 1, epoch: Some(place.stream.epoch) };
    let slice = node.read("c", Read::After { since, limit: Limit::All }).await.unwrap();
    assert_eq!(slice.publications.len(), 1);
}

async fn expiry(server: Postgres) {
    let node = server.node().await;
    let client = server.client().await;
    let short = ", p_history_ttl => '100 milliseconds', p_meta_ttl => '200 milliseconds'";
    publish(&client, "c", short).await;
    let first = node.read("c", Read::Top).await.unwrap().top;
    publish(&client, "d", short).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    // The stream of d is over: it begins again under another name.
    assert_eq!(publish(&client, "d", "").await.1, Some(1));
    assert_eq!(node.history("d").await.publications.len(), 1, "nothing of the former stream");
    // A read has prolonged that of c.
    assert_eq!(node.read("c", Read::Top).await.unwrap().top, first);
    assert!(node.history("c").await.publications.is_empty());
    // What has expired is removed.
    publish(&client, "e", short).await;
    let mut config = server.config();
    config.cleanup_interval = std::time::Duration::from_secs(1);
    let cleaner = crate::harness::Node::start(config);
    cleaner.up().await;
    let left = "SELECT count(*) FROM cf_stream_top WHERE channel = 'e'";
    for _ in 0..100 {
        if client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("an expired stream is not removed");
}

/// Deliveries must not be lost, so the function does not leave it to the application.
async fn crash_safe_commits(server: Postgres) {
    let node = server.node().await;
    drop(node);
    let mut client = server.client().await;
    client.batch_execute("SET synchronous_commit = off").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.query("SELECT cf_stream_publish('c', '1')", &[]).await.unwrap();
    let setting: String = transaction.query_one("SHOW synchronous_commit", &[]).await.unwrap().get(0);
    assert_eq!(setting, "local");
    transaction.commit().await.unwrap();
    let setting: String = client.query_one("SHOW synchronous_commit", &[]).await.unwrap().get(0);
    assert_eq!(setting, "off", "of the transaction alone");
}

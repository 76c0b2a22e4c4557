//! Presence when nodes, servers and connections fail, and in numbers.

use crate::backend::{Backend, Kind, until};
use crate::presence::store;
use spinward::ClientInfo;
use spinward::engine::EngineHealth;
use spinward::engine::presence::{Member, Presence, PresenceStats};
use spinward::id::ClientId;
use spinward_engines::redis::{Config, PresenceConfig, PresenceSetupError, PresenceStore};
use spinward_testkit::servers::redis::Reply;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

fn client(number: u32) -> ClientId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    ClientId::from_random(bytes)
}

fn member(channel: &str, number: u32, user: &str) -> Member {
    let info = ClientInfo {
        user: user.into(),
        client: client(number).to_string().into(),
        conn_info: format!("{{\"n\":{number}}}").into(),
        ..ClientInfo::default()
    };
    Member { channel: channel.into(), client: client(number), info: Arc::new(info) }
}

async fn add(store: &PresenceStore, member: Member) {
    store.add(&member.channel, member.client, member.info).wait().await.unwrap();
}

async fn refresh(store: &PresenceStore, members: &[Member]) {
    store.refresh(members).wait().await.unwrap();
}

async fn listed(store: &PresenceStore, channel: &str) -> BTreeSet<String> {
    let members = store.members(channel).wait().await.unwrap();
    members.iter().map(|info| info.client.to_string()).collect()
}

async fn stats(store: &PresenceStore, channel: &str) -> (u32, u32) {
    let PresenceStats { clients, users } = store.stats(channel).wait().await.unwrap();
    (clients, users)
}

fn clients(numbers: &[u32]) -> BTreeSet<String> {
    numbers.iter().map(|number| client(*number).to_string()).collect()
}

/// Both ways to end entries, each with and without users, on the server that has both.
async fn every_way(test: impl AsyncFn(&Backend, &Config, bool, bool)) {
    let Some(backend) = Backend::start(Kind::Valkey) else { return };
    for (fields, users) in [(false, false), (false, true), (true, false), (true, true)] {
        test(&backend, &backend.config(), fields, users).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_a_killed_node_expire_and_those_of_others_stay() {
    every_way(async |_, config, fields, users| {
        let (killed, living) = (store(config.clone(), fields, users), store(config.clone(), fields, users));
        add(&killed, member("c", 1, "ann")).await;
        add(&killed, member("c", 2, "bob")).await;
        add(&living, member("c", 3, "bob")).await;
        assert_eq!(stats(&living, "c").await, (3, 2));
        drop(killed);
        let own = [member("c", 3, "bob")];
        for _ in 0..5 {
            sleep(SECOND / 2).await;
            refresh(&living, &own).await;
        }
        assert_eq!(listed(&living, "c").await, clients(&[3]));
        assert_eq!(stats(&living, "c").await, (1, 1), "fields {fields}, users {users}");
        sleep(SECOND * 9 / 4).await;
        // The numbers first: nothing has looked through the channel before.
        assert_eq!(stats(&living, "c").await, (0, 0), "fields {fields}, users {users}");
        assert!(listed(&living, "c").await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_a_channel_that_everyone_has_left() {
    every_way(async |backend, config, fields, users| {
        let store = store(config.clone(), fields, users);
        for number in 0..20 {
            add(&store, member("c", number, &format!("u{}", number % 3))).await;
        }
        assert_eq!(stats(&store, "c").await, (20, 3));
        for number in 0..20 {
            let user = format!("u{}", number % 3);
            store.remove("c", client(number), &user).wait().await.unwrap();
        }
        let keys = backend.servers()[0].call(&["KEYS", &format!("{}.*", config.prefix)]);
        assert_eq!(keys, Reply::List(Vec::new()), "fields {fields}, users {users}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_changes_its_user_is_counted_once() {
    every_way(async |_, config, fields, users| {
        let store = store(config.clone(), fields, users);
        add(&store, member("c", 1, "ann")).await;
        add(&store, member("c", 1, "bob")).await;
        add(&store, member("c", 2, "bob")).await;
        assert_eq!(stats(&store, "c").await, (2, 1), "fields {fields}, users {users}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_right_beside_nodes_that_keep_no_users() {
    every_way(async |_, config, fields, _| {
        let (with, without) = (store(config.clone(), fields, true), store(config.clone(), fields, false));
        add(&with, member("c", 1, "ann")).await;
        add(&without, member("c", 2, "bob")).await;
        assert_eq!(stats(&with, "c").await, (2, 2));
        without.remove("c", client(1), "ann").wait().await.unwrap();
        assert_eq!(stats(&with, "c").await, (1, 1));
        refresh(&with, &[member("c", 2, "bob")]).await;
        assert_eq!(stats(&with, "c").await, (1, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_brings_back_what_the_server_has_lost() {
    every_way(async |backend, config, fields, users| {
        let store = store(config.clone(), fields, users);
        let members: Vec<_> =
            (0..300).map(|number| member(&format!("c{}", number % 2), number, "ann")).collect();
        refresh(&store, &members).await;
        backend.servers()[0].call(&["FLUSHALL"]);
        backend.servers()[0].call(&["SCRIPT", "FLUSH"]);
        refresh(&store, &members).await;
        assert_eq!(stats(&store, "c0").await, (150, 1));
        assert_eq!(listed(&store, "c1").await.len(), 150);
        // One of the keys of a channel, as an eviction takes them.
        let keys = backend.servers()[0].call(&["KEYS", &format!("{}.*c0", config.prefix)]);
        for key in keys.list() {
            backend.servers()[0].call(&["DEL", &key.text()]);
            let there = listed(&store, "c0").await.len() as u32;
            let (clients, _) = stats(&store, "c0").await;
            assert_eq!(clients, there, "without {}", key.text());
            refresh(&store, &members).await;
            assert_eq!(stats(&store, "c0").await, (150, 1), "after {} was lost", key.text());
            assert_eq!(listed(&store, "c0").await.len(), 150);
        }
    })
    .await;
}

/// A call that reaches the server late begins a life at the server's time: the node's would be over by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_live_by_the_clock_of_the_server() {
    let Some(backend) = Backend::start(Kind::Redis) else { return };
    let store = store(Config { io_timeout: SECOND * 10, ..backend.config() }, false, true);
    add(&store, member("c", 1, "ann")).await;
    let server = &backend.servers()[0];
    server.pause();
    // Below the time at which a silent connection is given up.
    let late = tokio::spawn({
        let store = Arc::clone(&store);
        async move { add(&store, member("c", 2, "bob")).await }
    });
    sleep(SECOND * 5 / 2).await;
    server.resume();
    late.await.unwrap();
    assert_eq!(listed(&store, "c").await, clients(&[2]));
    sleep(SECOND * 3 / 2).await;
    assert_eq!(stats(&store, "c").await, (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_members_are_kept_listed_and_counted() {
    const COUNT: u32 = 10_000;
    every_way(async |_, config, fields, users| {
        let presence =
            PresenceConfig { time_to_live: SECOND * 30, hash_field_ttl: fields, user_mapping: users };
        let store = PresenceStore::new(config.clone(), presence).unwrap();
        let members: Vec<_> =
            (0..COUNT).map(|number| member("crowd", number, &format!("u{}", number / 2))).collect();
        let start = Instant::now();
        refresh(&store, &members).await;
        let added = start.elapsed();
        refresh(&store, &members).await;
        let refreshed = start.elapsed() - added;
        assert_eq!(stats(&store, "crowd").await, (COUNT, COUNT / 2));
        let counted = start.elapsed() - added - refreshed;
        assert_eq!(listed(&store, "crowd").await.len(), COUNT as usize);
        let all = start.elapsed();
        eprintln!(
            "fields {fields}, users {users}: {added:?} added, {refreshed:?} refreshed, {counted:?} counted"
        );
        assert!(all < SECOND * 20, "{all:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_channels_are_refreshed_in_a_batch() {
    for kind in [Kind::Redis, Kind::Cluster, Kind::Shards] {
        let Some(backend) = Backend::start(kind) else { return };
        let presence = PresenceConfig { time_to_live: SECOND * 30, ..PresenceConfig::default() };
        let store = PresenceStore::new(backend.config(), presence).unwrap();
        let members: Vec<_> = (0..5_000).map(|number| member(&format!("c{number}"), number, "ann")).collect();
        refresh(&store, &members).await;
        let start = Instant::now();
        refresh(&store, &members).await;
        eprintln!("{kind:?}: 5,000 channels refreshed in {:?}", start.elapsed());
        assert!(start.elapsed() < SECOND * 10);
        for number in [0, 777, 4_999] {
            assert_eq!(listed(&store, &format!("c{number}")).await, clients(&[number]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_expiry_of_fields_is_named_at_the_start() {
    let Some(backend) = Backend::start(Kind::Redis) else { return };
    let store = store(backend.config(), true, false);
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, PresenceSetupError::NoFieldTtl(1)), "{error}");
    assert!(error.to_string().contains("presence_hash_field_ttl"), "{error}");
    // Without the check, too, and nothing is left that never expires.
    let member = member("c", 1, "ann");
    let error = store.add("c", member.client, member.info).wait().await.unwrap_err().to_string();
    assert!(error.contains("presence_hash_field_ttl"), "{error}");
    assert_eq!(backend.servers()[0].call(&["DBSIZE"]).number(), 0);
    let Some(backend) = Backend::start(Kind::Valkey) else { return };
    crate::presence::store(backend.config(), true, false).check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_costs_calls_their_time_and_no_more() {
    let Some(backend) = Backend::start(Kind::Redis) else { return };
    let store = store(Config { io_timeout: SECOND, ..backend.config() }, false, false);
    add(&store, member("c", 1, "ann")).await;
    let server = &backend.servers()[0];
    server.pause();
    let start = Instant::now();
    assert!(store.members("c").wait().await.is_err());
    assert!(start.elapsed() < SECOND * 3, "{:?}", start.elapsed());
    let noticed =
        until("the loss of a server", SECOND * 5, async || store.health() != EngineHealth::Up).await;
    eprintln!("a paused server is noticed after {noticed:?}");
    sleep((SECOND * 5).saturating_sub(start.elapsed())).await;
    server.resume();
    until("health", SECOND * 5, async || store.health() == EngineHealth::Up).await;
    // It has expired in the meantime, and is brought back.
    refresh(&store, &[member("c", 1, "ann")]).await;
    assert_eq!(listed(&store, "c").await, clients(&[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_are_made_again() {
    for kind in [Kind::Redis, Kind::Cluster] {
        let Some(backend) = Backend::start(kind) else { return };
        let store = store(backend.config(), false, true);
        add(&store, member("c", 1, "ann")).await;
        for _ in 0..3 {
            backend.cut_clients();
            until("a call after its connection was killed", SECOND * 5, async || {
                store.refresh(&[member("c", 1, "ann")]).wait().await.is_ok()
            })
            .await;
        }
        assert_eq!(listed(&store, "c").await, clients(&[1]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_goes_on_after_failovers_of_sentinels() {
    let Some(Backend::Sentinels(sentinels)) = Backend::start(Kind::Sentinel) else { return };
    let backend = Backend::Sentinels(sentinels);
    let Backend::Sentinels(sentinels) = &backend else { return };
    let store = store(backend.config(), false, true);
    let own = [member("c", 1, "ann"), member("c", 2, "bob")];
    refresh(&store, &own).await;
    let back =
        || until("presence after a failover", SECOND * 10, async || store.refresh(&own).wait().await.is_ok());
    sentinels.fail_over();
    back().await;
    assert_eq!(stats(&store, "c").await, (2, 2));
    sentinels.wait_for_replicas();
    let former = sentinels.primary();
    sentinels.servers[former].pause();
    sentinels.wait_for_other(former);
    let time = back().await;
    eprintln!("presence is back {time:?} after an election");
    assert_eq!(stats(&store, "c").await, (2, 2));
    sentinels.servers[former].resume();
    // The former primary takes calls of nobody, though it believes to be one for a moment.
    for _ in 0..10 {
        back().await;
        assert_eq!(listed(&store, "c").await, clients(&[1, 2]));
        sleep(SECOND / 5).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_goes_on_while_slots_move_and_primaries_die() {
    let Some(Backend::Cluster(cluster)) = Backend::start(Kind::Cluster) else { return };
    let mut backend = Backend::Cluster(cluster);
    let config = backend.config();
    let store = store(config.clone(), false, true);
    let own = [member("c", 1, "ann"), member("c", 2, "bob")];
    refresh(&store, &own).await;
    let Backend::Cluster(cluster) = &mut backend else { return };
    let pattern = format!("{}.*", config.prefix);
    let keys = |server: usize, cluster: &spinward_testkit::servers::redis::Cluster| {
        cluster.servers[server].call(&["KEYS", &pattern]).list().to_vec()
    };
    let from = (0..3).find(|server| !keys(*server, cluster).is_empty()).unwrap();
    let slot = cluster.slot(&keys(from, cluster)[0].text());
    assert!(keys(from, cluster).iter().all(|key| cluster.slot(&key.text()) == slot), "one slot");
    let to = (from + 1) % 3;
    cluster.begin(slot, to);
    refresh(&store, &own).await;
    assert_eq!(stats(&store, "c").await, (2, 2));
    cluster.finish(slot, to);
    refresh(&store, &own).await;
    assert_eq!(stats(&store, "c").await, (2, 2));
    assert!(keys(from, cluster).is_empty() && !keys(to, cluster).is_empty(), "the keys have moved");
    cluster.servers[to].kill();
    cluster.wait_for_primary(to + 3);
    let time =
        until("presence after an election", SECOND * 10, async || store.refresh(&own).wait().await.is_ok())
            .await;
    eprintln!("presence is back {time:?} after an election");
    assert_eq!(stats(&store, "c").await, (2, 2));
}

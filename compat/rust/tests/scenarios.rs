//! Application scenarios, run through the official Rust SDK, in both encodings of the protocol.

use centrifuge::{
    Client, ClientBuilder, DeltaType, Error, Filter, HistoryOptions, Protocol, StreamPosition, Subscription,
};
use serde_json::{Value, json};
use spinward_compat::{Log, Relay, SECRET, Server, Watchdog, in_seconds, jwt, unique};
use std::time::Duration;

/// Each scenario becomes two tests, one for each encoding.
macro_rules! scenarios {
    ($($name:ident)*) => {
        mod json {
            use super::Watchdog;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let _watchdog = Watchdog::over(concat!("json::", stringify!($name)));
                super::$name(centrifuge::Protocol::Json).await;
            })*
        }
        mod protobuf {
            use super::Watchdog;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let _watchdog = Watchdog::over(concat!("protobuf::", stringify!($name)));
                super::$name(centrifuge::Protocol::Protobuf).await;
            })*
        }
    };
}

scenarios! {
    connects_subscribes_publishes
    publishes_by_the_server_api
    tells_who_is_there
    tells_who_comes_and_goes
    pages_through_history
    recovers_after_a_cut_socket
    tells_what_cannot_be_recovered
    follows_server_side_subscriptions
    refuses_bad_tokens
    renews_an_expired_token
    renews_before_the_end
    ends_with_the_code_of_the_server_api
    refuses_closed_channels
    applies_deltas
    filters_by_tags
    delivers_each_once_and_in_order
}

fn builder(url: &str, protocol: Protocol, claims: &Value) -> ClientBuilder {
    Client::builder(url)
        .protocol(protocol)
        .min_reconnect_delay(Duration::from_millis(50))
        .max_reconnect_delay(Duration::from_millis(200))
        .token(jwt(claims, SECRET))
}

async fn connected(url: &str, protocol: Protocol, claims: Value) -> Client {
    let client = builder(url, protocol, &claims).build().unwrap();
    client.connect().unwrap();
    spinward_compat::connected(&client).await;
    client
}

/// A subscription whose publications are recorded as (offset, payload).
async fn subscribed(client: &Client, channel: &str) -> (Subscription, Log<(u64, Value)>) {
    let log = Log::default();
    let seen = log.clone();
    let sub = client
        .new_subscription(channel)
        .on_publication(move |_, event| seen.push((event.offset, event.json().unwrap())))
        .build()
        .unwrap();
    sub.subscribe();
    spinward_compat::subscribed(&sub).await;
    (sub, log)
}

fn numbers(log: &[(u64, Value)]) -> Vec<u64> {
    log.iter().map(|(_, data)| data["n"].as_u64().unwrap()).collect()
}

async fn connects_subscribes_publishes(protocol: Protocol) {
    let server = Server::start();
    let channel = unique("room:");
    let client = connected(&server.url(), protocol, json!({ "sub": "42", "info": { "name": "Ada" } })).await;
    let other = connected(&server.url(), protocol, json!({ "sub": "43" })).await;
    let log = Log::default();
    let seen = log.clone();
    let sub = other
        .new_subscription(channel.clone())
        .on_publication(move |_, event| seen.push((event.json::<Value>().unwrap(), event.info.clone())))
        .build()
        .unwrap();
    sub.subscribe();
    spinward_compat::subscribed(&sub).await;
    client.publish(&channel, json!({ "text": "h\u{e9}llo \u{1f600}" }).to_string()).await.unwrap();
    let [(data, info)] = log.wait(1).try_into().unwrap();
    assert_eq!(data, json!({ "text": "h\u{e9}llo \u{1f600}" }));
    let info = info.expect("a client's publication tells whose it is");
    assert_eq!(info.user, "42");
    let shown: Value = serde_json::from_slice(&info.conn_info.unwrap()).unwrap();
    assert_eq!(shown, json!({ "name": "Ada" }));
    client.close().await;
    other.close().await;
}

async fn publishes_by_the_server_api(protocol: Protocol) {
    let server = Server::start();
    let channel = unique("recov:");
    let client = connected(&server.url(), protocol, json!({ "sub": "42" })).await;
    let (_sub, log) = subscribed(&client, &channel).await;
    for n in 1..=20 {
        server.api("publish", json!({ "channel": channel, "data": { "n": n } }));
    }
    let got = log.wait(20);
    assert_eq!(numbers(&got), (1..=20).collect::<Vec<_>>());
    assert_eq!(got.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    client.close().await;
}

async fn tells_who_is_there(protocol: Protocol) {
    let server = Server::start();
    let channel = unique("room:");
    let client = connected(&server.url(), protocol, json!({ "sub": "42" })).await;
    let other = connected(&server.url(), protocol, json!({ "sub": "43", "info": { "name": "Ben" } })).await;
    let (sub, _) = subscribed(&client, &channel).await;
    let (_theirs, _) = subscribed(&other, &channel).await;
    let stats = sub.presence_stats().await.unwrap();
    assert_eq!((stats.num_clients, stats.num_users), (2, 2));
    let people = sub.presence().await.unwrap().clients;
    let mut users: Vec<&str> = people.values().map(|info| info.user.as_str()).collect();
    users.sort_unstable();
    assert_eq!(users, ["42", "43"]);
    other.close().await;
    for _ in 0..100 {
        if sub.presence_stats().await.unwrap().num_clients == 1 {
            client.close().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("who has left is still there");
}

async fn tells_who_comes_and_goes(protocol: Protocol) {
    let server = Server::start();
    let channel = unique("room:");
    let client = connected(&server.url(), protocol, json!({ "sub": "42" })).await;
    let log = Log::default();
    let (joins, leaves) = (log.clone(), log.clone());
    let sub = client
        .new_subscription(channel.clone())
        .on_join(move |_, event| joins.push(format!("join {}", event.user)))
        .on_leave(move |_, event| leaves.push(format!("leave {}", event.user)))
        .build()
        .unwrap();
    sub.subscribe();
    spinward_compat::subscribed(&sub).await;
    let other = connected(&server.url(), protocol, json!({ "sub": "43" })).await;
    let (theirs, _) = subscribed(&other, &channel).await;
    theirs.unsubscribe();
    assert_eq!(log.wait(3), ["join 42", "join 43", "leave 43"]);
    client.close().await;
    other.close().await;
}

async fn pages_through_history(protocol: Protocol) {
    let server = Server::start();
    let channel = unique("recov:");
    let client = connected(&server.url(), protocol, json!({ "sub": "42" })).await;
    for n in 1..=5 {
        server.api("publish", json!({ "channel": channel, "data": { "n": n } }));
    }
    let top = client.history(&channel, HistoryOptions::new()).await.unwrap();
    assert_eq!((top.offset, top.publications.len()), (5, 0));
    let mut offsets = Vec::new();
    let mut at = StreamPosition::new(0, top.epoch.clone());
    loop {
        let page = client.history(&channel, HistoryOptions::new().limit(2).since(at.clone())).await.unwrap();
        let Some(last) = page.publications.last() else { break };
        at.offset = last.offset;
        offsets.push(page.publications.iter().map(|publication| publication.offset).collect::<Vec<_>>());
    }
    assert_eq!(offsets, [vec![1, 2], vec![3, 4], vec![5]]);
    let newest = client.history(&channel, HistoryOptions::new().limit(2).reverse(true)).await.unwrap();
    assert_eq!(newest.publications.iter().map(|publication| publication.offset).collect::<Vec<_>>(), [5, 4]);
    let elsewhere = HistoryOptions::new().all().since(StreamPosition::new(2, "another-epoch"));
    match client.history(&channel, elsewhere).await {
        Err(Error::Server(error)) => assert_eq!(error.code, 112),
        other => panic!("{other:?}"),
    }
    client.close().await;
}

async fn recovers_after_a_cut_socket(protocol: Protocol) {
    let server = Server::start();
    let relay = Relay::start(server.address()).await;
    let channel = unique("recov:");
    let connects = Log::default();
    let seen = connects.clone();
    let client = builder(&relay.url(), protocol, &json!({ "sub": "42" }))
        .on_connected(move |_, event| seen.push(event.client_id))
        .build()
        .unwrap();
    client.connect().unwrap();
    spinward_compat::connected(&client).await;
    let publications = Log::default();
    let entries = Log::default();
    let (seen, entered) = (publications.clone(), entries.clone());
    let sub = client
        .new_subscription(channel.clone())
        .on_publication(move |_, event| seen.push((event.offset, event.json::<Value>().unwrap())))
        .on_subscribed(move |_, event| entered.push((event.was_recovering, event.recovered)))
        .build()
        .unwrap();
    sub.subscribe();
    spinward_compat::subscribed(&sub).await;
    let mut n = 0;
    for round in 1..=3 {
        server.api("publish", json!({ "channel": channel, "data": { "n": n + 1 } }));
        publications.wait(n + 1);
        relay.refuse(true);
        relay.cut();
        for missed in 2..=4 {
            server.api("publish", json!({ "channel": channel, "data": { "n": n + missed } }));
        }
        relay.refuse(false);
        n += 4;
        publications.wait(n);
        assert_eq!(entries.wait(round + 1)[round], (true, true));
    }
    server.api("publish", json!({ "channel": channel, "data": { "n": n + 1 } }));
    assert_eq!(
        numbers(&publications.wait(n + 1)),
        (1..=13).collect::<Vec<_>>(),
        "every one once and in order"
    );
    assert_eq!(connects.all().len(), 4);
    client.close().await;
}

async fn tells_what_cannot_be_recovered(protocol: Protocol) {
    let server = Server::start();
    let relay = Relay::start(server.address()).await;
    let channel = unique("short:");
    let client = connected(&relay.url(), protocol, json!({ "sub": "42" })).await;
    let entries = Log::default();
    let entered = entries.clone();
    let sub = client
        .new_subscription(channel.clone())
        .on_subscribed(move |_, event| entered.push((event.was_recovering, event.recovered)))
        .build()
        .unwrap();
    sub.subscribe();
    spinward_compat::subscribed(&sub).await;
    relay.refuse(true);
    relay.cut();
    for n in 1..=10 {
        server.api("publish", json!({ "channel": channel, "data": { "n": n } }));
    }
    relay.refuse(false);
    assert_eq!(entries.wait(2), [(false, false), (true, false)]);
    client.close().await;
}

async fn follows_server_side_subscriptions(protocol: Protocol) {
    let server = Server::start();
    let relay = Relay::start(server.address()).await;
    let (mine, later, plain) = (unique("recov:"), unique("room:"), unique("room:"));
    let user = unique("user-");
    let log = Log::default();
    let (subscribed, unsubscribed, published) = (log.clone(), log.clone(), log.clone());
    let claims =
        json!({ "sub": user, "subs": { mine.as_str(): { "data": { "hello": 1 } }, plain.as_str(): {} } });
    let client = builder(&relay.url(), protocol, &claims)
        .on_subscribed(move |_, event| {
            subscribed.push(format!("in {} {}", event.channel, event.info.recovered))
        })
        .on_unsubscribed(move |_, event| unsubscribed.push(format!("out {}", event.channel)))
        .on_publication(move |_, event| published.push(format!("{} {}", event.channel, event.offset)))
        .build()
        .unwrap();
    client.connect().unwrap();
    spinward_compat::connected(&client).await;
    let mut first = log.wait(2);
    first.sort();
    assert_eq!(first, [format!("in {mine} false"), format!("in {plain} false")]);
    server.api("publish", json!({ "channel": mine, "data": { "n": 1 } }));
    server.api("subscribe", json!({ "user": user, "channel": later }));
    server.api("publish", json!({ "channel": later, "data": { "n": 1 } }));
    server.api("unsubscribe", json!({ "user": user, "channel": later }));
    let wanted =
        [format!("{mine} 1"), format!("in {later} false"), format!("{later} 0"), format!("out {later}")];
    assert_eq!(log.wait(6)[2..], wanted);
    relay.refuse(true);
    relay.cut();
    server.api("publish", json!({ "channel": mine, "data": { "n": 2 } }));
    relay.refuse(false);
    let after = log.wait(9);
    assert!(after.contains(&format!("in {mine} true")) && after.contains(&format!("{mine} 2")), "{after:?}");
    client.close().await;
}

/// Connects where a refusal is expected, and gives its code and reason.
fn refused(url: &str, protocol: Protocol, token: String) -> (u32, String) {
    let log = Log::default();
    let ended = log.clone();
    let client = Client::builder(url)
        .protocol(protocol)
        .token(token)
        .on_disconnected(move |_, event| ended.push((event.code, event.reason)))
        .build()
        .unwrap();
    client.connect().unwrap();
    log.wait(1).remove(0)
}

async fn refuses_bad_tokens(protocol: Protocol) {
    let server = Server::start();
    let invalid = (3500, "invalid token".to_owned());
    for token in [
        jwt(&json!({ "sub": "42" }), "another secret"),
        jwt(&json!({ "sub": 42 }), SECRET),
        jwt(&json!({ "sub": "42", "channel": "x" }), SECRET),
        "no token".to_owned(),
    ] {
        assert_eq!(refused(&server.url(), protocol, token), invalid);
    }
    assert_eq!(refused(&server.url(), protocol, String::new()), (3501, "bad request".to_owned()));
}

async fn renews_an_expired_token(protocol: Protocol) {
    let server = Server::start();
    let asked = Log::default();
    let asking = asked.clone();
    let client = builder(&server.url(), protocol, &json!({ "sub": "42", "exp": in_seconds(-10) }))
        .get_token(move |_| {
            asking.push(());
            async { Ok(Some(jwt(&json!({ "sub": "42", "exp": in_seconds(60) }), SECRET))) }
        })
        .build()
        .unwrap();
    client.connect().unwrap();
    spinward_compat::connected(&client).await;
    assert_eq!(asked.all().len(), 1, "109 makes the SDK ask for a token");
    client.close().await;
}

async fn renews_before_the_end(protocol: Protocol) {
    let server = Server::start();
    let (asked, ended) = (Log::default(), Log::default());
    let (asking, ending) = (asked.clone(), ended.clone());
    let client = builder(&server.url(), protocol, &json!({ "sub": "42", "exp": in_seconds(2) }))
        .get_token(move |_| {
            asking.push(());
            async { Ok(Some(jwt(&json!({ "sub": "42", "exp": in_seconds(60) }), SECRET))) }
        })
        .on_connecting(move |_, event| ending.push(event.code))
        .build()
        .unwrap();
    client.connect().unwrap();
    spinward_compat::connected(&client).await;
    asked.wait(1);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(client.state(), centrifuge::State::Connected);
    assert_eq!(ended.all(), [0], "one and the same connection, past the end of its first token");
    client.close().await;
}

async fn ends_with_the_code_of_the_server_api(protocol: Protocol) {
    let server = Server::start();
    let user = unique("user-");
    let (ended, again) = (Log::default(), Log::default());
    let (ending, connecting) = (ended.clone(), again.clone());
    let client = builder(&server.url(), protocol, &json!({ "sub": user }))
        .on_disconnected(move |_, event| ending.push((event.code, event.reason)))
        .on_connecting(move |_, event| connecting.push(event.code))
        .build()
        .unwrap();
    client.connect().unwrap();
    spinward_compat::connected(&client).await;
    server.api("disconnect", json!({ "user": user, "disconnect": { "code": 3200, "reason": "move over" } }));
    assert_eq!(again.wait(2), [0, 3200], "codes below 3500 let the client come back");
    spinward_compat::connected(&client).await;
    server.api("disconnect", json!({ "user": user }));
    assert_eq!(ended.wait(1), [(3503, "force disconnect".to_owned())]);
    client.close().await;
}

async fn refuses_closed_channels(protocol: Protocol) {
    let server = Server::start();
    let client = connected(&server.url(), protocol, json!({ "sub": "42" })).await;
    for (channel, code) in [("closed:x", 103), ("nowhere:x", 102)] {
        let ended = Log::default();
        let ending = ended.clone();
        let sub = client
            .new_subscription(channel)
            .on_unsubscribed(move |_, event| ending.push(event.code))
            .build()
            .unwrap();
        sub.subscribe();
        assert_eq!(ended.wait(1), [code]);
    }
    match client.publish("closed:x", "{}").await {
        Err(Error::Server(error)) => assert_eq!(error.code, 103),
        other => panic!("{other:?}"),
    }
    match client.rpc("nothing", "{}").await {
        Err(Error::Server(error)) => assert_eq!(error.code, 108),
        other => panic!("{other:?}"),
    }
    client.close().await;
}

async fn applies_deltas(protocol: Protocol) {
    let server = Server::start();
    let channel = unique("delta:");
    let payload = |n: u32| json!({ "n": n, "padding": "the same words over and over again ".repeat(60) });
    let mut received = Vec::new();
    for delta in [true, false] {
        let client = connected(&server.url(), protocol, json!({ "sub": "42" })).await;
        let log = Log::default();
        let seen = log.clone();
        let mut builder = client
            .new_subscription(channel.clone())
            .on_publication(move |_, event| seen.push(event.json::<Value>().unwrap()));
        if delta {
            builder = builder.delta(DeltaType::Fossil);
        }
        let sub = builder.build().unwrap();
        sub.subscribe();
        spinward_compat::subscribed(&sub).await;
        for n in 0..10 {
            server.api("publish", json!({ "channel": channel, "data": payload(n) }));
        }
        assert_eq!(log.wait(10), (0..10).map(payload).collect::<Vec<_>>());
        received.push(client.statistics().bytes_in);
        client.close().await;
    }
    assert!(received[0] * 3 < received[1], "bytes with and without deltas: {received:?}");
}

async fn filters_by_tags(protocol: Protocol) {
    let server = Server::start();
    let channel = unique("tags:");
    let client = connected(&server.url(), protocol, json!({ "sub": "42" })).await;
    let log = Log::default();
    let seen = log.clone();
    let sub = client
        .new_subscription(channel.clone())
        .tags_filter(Filter::and([Filter::eq("kind", "goal"), Filter::gte("minute", "10")]))
        .on_publication(move |_, event| seen.push((event.offset, event.json::<Value>().unwrap())))
        .build()
        .unwrap();
    sub.subscribe();
    spinward_compat::subscribed(&sub).await;
    for (n, kind, minute) in
        [(1, "goal", "9"), (2, "goal", "10"), (3, "foul", "50"), (4, "goal", "90.5"), (5, "", "")]
    {
        let tags = if kind.is_empty() { json!({}) } else { json!({ "kind": kind, "minute": minute }) };
        server.api("publish", json!({ "channel": channel, "data": { "n": n }, "tags": tags }));
    }
    server.api(
        "publish",
        json!({ "channel": channel, "data": { "n": 6 }, "tags": { "kind": "goal", "minute": "91" } }),
    );
    assert_eq!(numbers(&log.wait(3)), [2, 4, 6]);
    client.close().await;
}

async fn delivers_each_once_and_in_order(protocol: Protocol) {
    let server = Server::start();
    let channel = unique("room:");
    let client = connected(&server.url(), protocol, json!({ "sub": "42" })).await;
    let (_sub, log) = subscribed(&client, &channel).await;
    let other = connected(&server.url(), protocol, json!({ "sub": "43" })).await;
    let mut sent = Vec::new();
    for n in 1..=500 {
        sent.push(other.publish(&channel, json!({ "n": n }).to_string()));
    }
    for publish in sent {
        publish.await.unwrap();
    }
    assert_eq!(numbers(&log.wait(500)), (1..=500).collect::<Vec<_>>());
    client.close().await;
    other.close().await;
}

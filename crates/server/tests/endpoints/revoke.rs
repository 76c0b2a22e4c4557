//! A revoked token is gone within a second, stays out, and survives a restart.

use crate::common::{Client, subscribe};
use crate::{Place, Server, answer, closed, now, signed};
use serde_json::{Value, json};
use spinward::wire::message::{Command, RefreshRequest, SubRefreshRequest, SubscribeRequest};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

fn config(place: &Place) -> Value {
    json!({
        "client": {
            "token": { "hmac_secret_key": crate::KEY },
            "revocation": { "file": place.0.join("revocations.jsonl") },
        },
        "channel": { "without_namespace": { "allow_subscribe_for_client": true } },
    })
}

fn token(user: &str, jti: &str, iat: i64) -> String {
    signed(&json!({ "sub": user, "jti": jti, "iat": iat, "exp": now() + 600 }))
}

/// A second is promised; a machine that runs all the tests at once gets some more.
const SOON: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_blocked_user_is_thrown_out_and_kept_out_until_unblocked() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    let (mut first, None) = server.connect(&signed(&json!({ "sub": "u" }))).await else { panic!("refused") };
    let (mut second, None) = server.connect(&token("u", "a", now())).await else { panic!("refused") };
    let (mut other, None) = server.connect(&token("v", "b", now())).await else { panic!("refused") };
    let begun = Instant::now();
    assert_eq!(server.api("block_user", json!({ "user": "u" })).await, json!({ "result": {} }));
    assert_eq!((closed(&mut first).await, closed(&mut second).await), (3507, 3507));
    assert!(begun.elapsed() < SOON);
    assert_eq!(server.connect(&token("u", "new", now() + 5)).await.1, Some(3507));
    other.send(&[subscribe(2, "news")]).await;
    assert_eq!(answer(&mut other, 2).await, None, "others stay");
    drop(server);

    let server = Server::start(&place.0, config(&place)).await;
    assert_eq!(server.connect(&token("u", "a", now())).await.1, Some(3507), "a block survives a restart");
    server.api("unblock_user", json!({ "user": "u" })).await;
    assert_eq!(server.connect(&token("u", "a", now())).await.1, None);
}

#[tokio::test]
async fn a_revoked_token_neither_stays_nor_connects_nor_refreshes_nor_subscribes() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    let (mut taken, None) = server.connect(&token("u", "taken", now())).await else { panic!("refused") };
    let (mut kept, None) = server.connect(&token("u", "kept", now())).await else { panic!("refused") };
    let begun = Instant::now();
    server.api("revoke_token", json!({ "uid": "taken", "expire_at": now() + 600 })).await;
    assert_eq!(closed(&mut taken).await, 3500);
    assert!(begun.elapsed() < SOON);
    assert_eq!(server.connect(&token("u", "taken", now())).await.1, Some(3500));
    server.api("revoke_token", json!({ "uid": "sub" })).await;
    let sub = signed(&json!({ "sub": "u", "channel": "news", "jti": "sub" }));
    let request = SubscribeRequest { channel: "news".into(), token: sub, ..SubscribeRequest::default() };
    kept.send(&[Command { id: 2, subscribe: Some(request), ..Command::default() }]).await;
    assert_eq!(answer(&mut kept, 2).await, Some(103));
    let request = RefreshRequest { token: token("u", "taken", now()) };
    kept.send(&[Command { id: 3, refresh: Some(request), ..Command::default() }]).await;
    assert_eq!(answer(&mut kept, 3).await, Some(3500));
}

fn sub_token(jti: &str, iat: i64) -> String {
    signed(&json!({ "sub": "u", "channel": "news", "jti": jti, "iat": iat }))
}

/// Subscribes connection after connection to one channel, each by a token of its own.
async fn subscribed(server: &Server, tokens: &[String]) -> Vec<Client<TcpStream>> {
    let mut peers = Vec::new();
    for token in tokens {
        let (mut peer, None) = server.connect(&signed(&json!({ "sub": "u", "iat": now() }))).await else {
            panic!("refused")
        };
        let (channel, token) = ("news".to_owned(), token.clone());
        let request = SubscribeRequest { channel, token, ..SubscribeRequest::default() };
        peer.send(&[Command { id: 2, subscribe: Some(request), ..Command::default() }]).await;
        assert_eq!(answer(&mut peer, 2).await, None);
        peers.push(peer);
    }
    peers
}

#[tokio::test]
async fn a_subscription_ends_with_its_token_and_the_others_of_the_channel_stay() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    let at = now() - 100;
    let mut peers =
        subscribed(&server, &[sub_token("taken", at), sub_token("kept", at), sub_token("old", at - 100)])
            .await;
    let begun = Instant::now();
    server.api("revoke_token", json!({ "uid": "taken", "expire_at": now() + 600 })).await;
    assert_eq!(peers[0].push().await.unsubscribe.map(|end| end.code), Some(2501));
    assert!(begun.elapsed() < SOON);
    // A refresh makes the subscription rest on the new token.
    let request =
        SubRefreshRequest { channel: "news".into(), token: sub_token("fresh", now()), ..Default::default() };
    peers[1].send(&[Command { id: 3, sub_refresh: Some(request), ..Command::default() }]).await;
    assert_eq!(answer(&mut peers[1], 3).await, None);
    server.api("revoke_token", json!({ "uid": "kept", "expire_at": now() + 600 })).await;
    server
        .api("invalidate_user_tokens", json!({ "user": "u", "issued_before": at, "channel": "news" }))
        .await;
    assert_eq!(peers[2].push().await.unsubscribe.map(|end| end.code), Some(2501));
    server.api("publish", json!({ "channel": "news", "data": {} })).await;
    assert!(peers[1].push().await.publication.is_some(), "it stays");
    server.api("revoke_token", json!({ "uid": "fresh", "expire_at": now() + 600 })).await;
    assert_eq!(peers[1].push().await.unsubscribe.map(|end| end.code), Some(2501));
}

#[tokio::test]
async fn what_was_taken_back_survives_a_restart() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    let at = now();
    let (mut by_id, None) = server.connect(&token("u", "taken", at)).await else { panic!("refused") };
    let (mut by_time, None) = server.connect(&token("v", "a", at - 10)).await else { panic!("refused") };
    server.api("revoke_token", json!({ "uid": "taken", "expire_at": at + 600 })).await;
    server.api("invalidate_user_tokens", json!({ "user": "v", "issued_before": at })).await;
    server.api("block_user", json!({ "user": "w" })).await;
    server.api("block_user", json!({ "user": "x" })).await;
    server.api("unblock_user", json!({ "user": "x" })).await;
    assert_eq!((closed(&mut by_id).await, closed(&mut by_time).await), (3500, 3500));
    // It is killed, not stopped: what was answered is on disk.
    drop(server);

    let server = Server::start(&place.0, config(&place)).await;
    for (user, jti, iat, code) in [
        ("u", "taken", at, Some(3500)),
        ("u", "kept", at, None),
        ("v", "a", at - 10, Some(3500)),
        ("v", "a", at, None),
        ("w", "a", at, Some(3507)),
        ("x", "a", at, None),
    ] {
        assert_eq!(server.connect(&token(user, jti, iat)).await.1, code, "{user} {jti} {iat}");
    }
}

#[tokio::test]
async fn a_refresh_puts_a_connection_under_its_new_token() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    let (mut client, None) = server.connect(&token("u", "old", now())).await else { panic!("refused") };
    let request = RefreshRequest { token: token("u", "new", now()) };
    client.send(&[Command { id: 2, refresh: Some(request), ..Command::default() }]).await;
    assert_eq!(answer(&mut client, 2).await, None);
    server.api("revoke_token", json!({ "uid": "old" })).await;
    client.send(&[subscribe(3, "news")]).await;
    assert_eq!(answer(&mut client, 3).await, None, "the old token is not its own any longer");
    server.api("revoke_token", json!({ "uid": "new" })).await;
    assert_eq!(closed(&mut client).await, 3500);
}

#[tokio::test]
async fn tokens_issued_before_a_time_are_taken_back() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    let at = now();
    let (mut old, None) = server.connect(&token("u", "a", at - 10)).await else { panic!("refused") };
    let (mut unknown, None) = server.connect(&signed(&json!({ "sub": "u" }))).await else {
        panic!("refused")
    };
    let (mut young, None) = server.connect(&token("u", "b", at)).await else { panic!("refused") };
    let (mut other, None) = server.connect(&token("v", "c", at - 10)).await else { panic!("refused") };
    let bad = server.api("invalidate_user_tokens", json!({ "user": "u" })).await;
    assert_eq!(bad["error"]["code"], 107, "a time is needed");
    server.api("invalidate_user_tokens", json!({ "user": "u", "issued_before": at })).await;
    assert_eq!((closed(&mut old).await, closed(&mut unknown).await), (3500, 3500));
    for client in [&mut young, &mut other] {
        client.send(&[subscribe(2, "news")]).await;
        assert_eq!(answer(client, 2).await, None);
    }
    assert_eq!(server.connect(&token("u", "d", at - 1)).await.1, Some(3500));
    assert_eq!(server.connect(&token("u", "e", at)).await.1, None);
}

#[tokio::test]
async fn of_one_channel_the_subscriptions_end_and_old_tokens_are_refused() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    let at = now();
    let (mut client, None) = server.connect(&token("u", "a", at - 10)).await else { panic!("refused") };
    let with = |id, iat: i64| {
        let token = signed(&json!({ "sub": "u", "channel": "news", "iat": iat }));
        let request = SubscribeRequest { channel: "news".into(), token, ..SubscribeRequest::default() };
        Command { id, subscribe: Some(request), ..Command::default() }
    };
    client.send(&[with(2, at - 10)]).await;
    assert_eq!(answer(&mut client, 2).await, None);
    server
        .api("invalidate_user_tokens", json!({ "user": "u", "issued_before": at, "channel": "news" }))
        .await;
    let push = client.push().await;
    assert_eq!(push.unsubscribe.map(|gone| gone.code), Some(2501));
    client.send(&[with(3, at - 10)]).await;
    assert_eq!(answer(&mut client, 3).await, Some(103));
    client.send(&[with(4, at)]).await;
    assert_eq!(answer(&mut client, 4).await, None, "a new token is as good as ever");
}

#[tokio::test]
async fn nobody_revokes_without_the_key_or_a_name() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    for method in ["block_user", "unblock_user", "revoke_token", "invalidate_user_tokens", "explain"] {
        assert_eq!(
            server.call(method, "another", &json!({ "user": "u", "uid": "u" })).await.0,
            401,
            "{method}"
        );
    }
    for method in ["block_user", "revoke_token"] {
        assert_eq!(server.api(method, json!({})).await["error"]["code"], 107, "{method}");
    }
}

#[tokio::test]
async fn requests_for_key_sets_are_counted() {
    let place = Place::new();
    let nobody = "http://127.0.0.1:1/keys";
    let mut config = json!({ "client": { "token": { "jwks_public_endpoint": nobody } } });
    config["prometheus"] = json!({ "enabled": true });
    let server = Server::start(&place.0, config).await;
    let (_, code) = server.connect("eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.e30.AAAA").await;
    assert_eq!(code, Some(100), "keys that cannot be had now are no fault of the token");
    let page = server.page("/metrics").await;
    for name in ["spinward_jwks_fetches_total", "spinward_jwks_fetch_failures_total"] {
        assert!(page.contains(&format!("\n{name} 1\n")), "{name}");
    }
}

#[tokio::test]
async fn a_batch_of_revocations_has_taken_effect_before_its_next_command() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    let mut peers = Vec::new();
    for n in 0..10 {
        let (mut peer, None) = server.connect(&token("u", &format!("j{n}"), now())).await else {
            panic!("refused")
        };
        peer.send(&[subscribe(2, "news")]).await;
        assert_eq!(answer(&mut peer, 2).await, None);
        peers.push(peer);
    }
    let (mut kept, None) = server.connect(&token("v", "kept", now())).await else { panic!("refused") };
    kept.send(&[subscribe(2, "news")]).await;
    assert_eq!(answer(&mut kept, 2).await, None);
    // Those that concern somebody are among many that concern nobody.
    let mut commands: Vec<Value> =
        (0..1_000).map(|n| json!({ "revoke_token": { "uid": format!("j{n}") } })).collect();
    commands.push(json!({ "publish": { "channel": "news", "data": {} } }));
    let answered = server.api("batch", json!({ "commands": commands })).await;
    assert_eq!(answered["replies"].as_array().map(Vec::len), Some(1_001));
    for peer in &mut peers {
        while let Some(reply) = peer.next().await {
            assert!(reply.push.is_none_or(|push| push.publication.is_none()), "revoked before the publish");
        }
        assert_eq!(peer.closed.flatten(), Some(3500));
    }
    assert!(kept.push().await.publication.is_some());
}

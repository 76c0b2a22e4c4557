//! A reloaded configuration is active at once, costs nobody the connection, and is refused as a whole.

use crate::common::{Client, subscribe};
use crate::{Place, Server, answer, closed, now, signed};
use serde_json::{Value, json};
use spinward::wire::message::{Command, RefreshRequest};
use spinward_server::auth::sign::hs256;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;

const NEW: &str = "another-long-secret-of-the-tests-90d2e3";

fn config() -> Value {
    json!({
        "client": { "token": { "hmac_secret_key": crate::KEY }, "allowed_origins": ["https://old.example"] },
        "channel": { "without_namespace": { "allow_subscribe_for_client": true } },
        "prometheus": { "enabled": true },
    })
}

fn token(key: &str) -> String {
    hs256(key, &json!({ "sub": "u", "exp": now() + 600 }))
}

async fn publish(server: &Server, channel: &str) -> Value {
    server.api("publish", json!({ "channel": channel, "data": { "to": channel } })).await
}

async fn receives(client: &mut Client<TcpStream>, server: &Server, channel: &str) {
    assert_eq!(publish(server, channel).await, json!({ "result": {} }));
    let push = client.push().await;
    assert_eq!(push.channel, channel);
    assert_eq!(push.publication.unwrap().data, json!({ "to": channel }).to_string());
}

/// The status of an upgrade request of a page.
async fn upgrade_from(server: &Server, origin: &str) -> String {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    let mut client = Client::new(stream, spinward::wire::Protocol::Json);
    let head = client.upgrade("/connection/websocket", &format!("Origin: {origin}\r\n")).await;
    head.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_reload_takes_effect_and_disconnects_nobody() {
    let place = Place::new();
    let server = Server::start(&place.0, config()).await;
    let (mut client, None) = server.connect(&token(crate::KEY)).await else { panic!("refused") };
    client.send(&[subscribe(2, "news"), subscribe(3, "chat:1")]).await;
    assert_eq!(answer(&mut client, 2).await, None);
    assert_eq!(answer(&mut client, 3).await, Some(102), "there is no such namespace yet");
    assert_eq!(server.connect(&token(NEW)).await.1, Some(3500));
    assert_eq!(upgrade_from(&server, "https://old.example").await, "101");
    assert_eq!(upgrade_from(&server, "https://new.example").await, "403");

    let mut new = config();
    new["client"]["token"] = json!({ "hmac_secret_key": NEW });
    new["client"]["allowed_origins"] = json!(["https://new.example"]);
    new["client"]["allow_anonymous_connect_without_token"] = json!(true);
    new["channel"]["namespaces"] = json!([{ "name": "chat", "allow_subscribe_for_client": true }]);
    assert!(server.reload(new.clone()).await);

    receives(&mut client, &server, "news").await;
    client.send(&[subscribe(4, "chat:1")]).await;
    assert_eq!(answer(&mut client, 4).await, None);
    receives(&mut client, &server, "chat:1").await;
    assert_eq!(server.connect(&token(NEW)).await.1, None);
    assert_eq!(server.connect("").await.1, None, "anonymous ones may come in now");
    assert_eq!(server.connect(&token(crate::KEY)).await.1, Some(3500), "the old key is no key any longer");
    assert_eq!(upgrade_from(&server, "https://new.example").await, "101");
    assert_eq!(upgrade_from(&server, "https://old.example").await, "403");

    new["http_api"] = json!({ "key": NEW });
    assert!(server.reload(new).await);
    assert_eq!(server.call("info", crate::KEY, &json!({})).await.0, 401);
    assert_eq!(server.call("info", NEW, &json!({})).await.0, 200);
    let request = RefreshRequest { token: token(crate::KEY) };
    client.send(&[Command { id: 5, refresh: Some(request), ..Command::default() }]).await;
    assert_eq!(
        answer(&mut client, 5).await,
        Some(3500),
        "a login made with the old key does not go on with it"
    );
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_changes_nothing() {
    let place = Place::new();
    let log = place.0.join("log");
    let mut started = config();
    started["log"] = json!({ "level": "info", "file": log });
    let server = Server::start(&place.0, started.clone()).await;
    let (mut client, None) = server.connect(&token(crate::KEY)).await else { panic!("refused") };
    client.send(&[subscribe(2, "news")]).await;
    assert_eq!(answer(&mut client, 2).await, None);

    let with = |path: &str, value: Value| {
        let mut bad = started.clone();
        bad["client"]["token"] = json!({ "hmac_secret_key": NEW });
        *bad.pointer_mut(path).expect("a section") = value;
        bad
    };
    let cases = [
        (with("/prometheus", json!({ "enabled": "perhaps" })), "prometheus.enabled"),
        (with("/client/allowed_origins", json!(["https://[a"])), "client.allowed_origins[0]"),
        (with("/client/token", json!({ "rsa_public_key": "none" })), "client.token.rsa_public_key"),
    ];
    for (bad, option) in cases {
        assert!(!server.reload(bad).await, "{option}");
        let last = logged(&log, option).await;
        assert!(last.contains("\"level\":\"error\"") && last.contains("keeping the current one"), "{last}");
        let told = std::fs::read_to_string(&log).unwrap();
        assert!(!told.contains(NEW) && !told.contains(crate::KEY), "secrets are not told");
    }
    std::fs::write(&server.config, "{").unwrap();
    assert!(!server.hang_up().await, "half a file");
    std::fs::remove_file(&server.config).unwrap();
    assert!(!server.hang_up().await, "no file");

    assert_eq!(server.connect(&token(crate::KEY)).await.1, None, "what was in force is");
    assert_eq!(server.connect(&token(NEW)).await.1, Some(3500));
    receives(&mut client, &server, "news").await;
    assert!(server.reload(started).await, "and the next good one is taken");
    assert_eq!(server.reloads().await, (1, 5));
}

/// As logrotate does it: the file is moved away, and the signal makes room for another; with a configuration that
/// cannot be used just so.
#[tokio::test]
async fn the_log_goes_on_in_a_new_file() {
    let place = Place::new();
    let (log, moved) = (place.0.join("log"), place.0.join("log.1"));
    let mut config = config();
    config["log"] = json!({ "level": "info", "file": log });
    let server = Server::start(&place.0, config.clone()).await;
    assert_eq!(server.connect(&token(NEW)).await.1, Some(3500));
    logged(&log, "client refused").await;
    for good in [true, false] {
        std::fs::rename(&log, &moved).unwrap();
        let before = std::fs::read(&moved).unwrap();
        if !good {
            config["prometheus"] = json!({ "enabled": "perhaps" });
        }
        assert_eq!(server.reload(config.clone()).await, good);
        let line = if good { "configuration reloaded" } else { "configuration reload failed" };
        logged(&log, line).await;
        assert_eq!(std::fs::read(&moved).unwrap(), before, "nothing goes to the old file");
    }
}

/// Waits for a line of the log with this in it, the last if there are several: lines are written in their own time.
async fn logged(log: &PathBuf, part: &str) -> String {
    for _ in 0..500 {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if let Some((whole, _)) = text.rsplit_once('\n')
            && let Some(line) = whole.lines().rfind(|line| line.contains(part))
        {
            return line.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{part} is not in the log");
}

fn lines(log: &PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for so many lines that name an option. All lines that there are then.
async fn naming(log: &PathBuf, count: usize) -> Vec<Value> {
    for _ in 0..500 {
        let lines = lines(log);
        if lines.iter().filter(|line| line["option"].is_string()).count() >= count {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:#?}", lines(log));
}

#[tokio::test]
async fn what_takes_a_restart_is_named_and_the_log_level_changes() {
    let place = Place::new();
    let log = place.0.join("log");
    let mut new = config();
    new["log"] = json!({ "level": "warn", "file": log });
    let server = Server::start(&place.0, new.clone()).await;
    new["log"]["level"] = json!("info");
    new["http_server"] = json!({ "address": "127.0.0.1", "port": 1 });
    new["client"]["ping_interval"] = json!("40s");
    new["client"]["revocation"] = json!({ "max_entries": 5 });
    new["shards"] = json!(1);
    new["channel"]["history_meta_ttl"] = json!("1h");
    new["channel"]["namespaces"] = json!([{ "name": "chat" }]);
    assert!(server.reload(new.clone()).await);
    let told = naming(&log, 5).await;
    let mut named: Vec<&str> = told.iter().filter_map(|line| line["option"].as_str()).collect();
    named.sort_unstable();
    let expected = [
        "channel.history_meta_ttl",
        "client.ping_interval",
        "client.revocation.max_entries",
        "http_server.port",
        "shards",
    ];
    assert_eq!(named, expected);
    let done = told.iter().find(|line| line["level"] == "info").expect("the level is info now");
    assert_eq!(done["changed"], "channel.namespaces log.level");

    // Still, and not for the second time changed: what runs has not changed.
    new["log"]["level"] = json!("warn");
    assert!(server.reload(new.clone()).await);
    assert_eq!(naming(&log, 10).await.len(), told.len() + 5, "{:#?}", lines(&log));
    let mut back = config();
    back["log"] = json!({ "level": "warn", "file": log });
    assert!(server.reload(back).await);
    assert_eq!(lines(&log).len(), told.len() + 5, "all is as it was at the start");
    let (mut client, None) = server.connect(&signed(&json!({ "sub": "u" }))).await else { panic!("refused") };
    server.api("disconnect", json!({ "user": "u" })).await;
    assert_eq!(closed(&mut client).await, 3503);
}

//! Every rule that can refuse: over the wire, in log and metrics, and at every endpoint.

use crate::faults::{counted, lines, logged};
use crate::{Place, Server, answer, now, signed};
use serde_json::{Value, json};
use spinward_server::policy::Rule;

/// Rule, action, channel, and the code that the client gets.
const TABLE: [(&str, &str, &str, u32); 15] = [
    ("channel_length", "subscribe", "open:a-name-that-is-longer-than-forty-bytes", 107),
    ("namespace", "subscribe", "nowhere:x", 102),
    ("namespace", "publish", "nowhere:x", 102),
    ("namespace", "presence", "nowhere:x", 102),
    ("namespace", "presence_stats", "nowhere:x", 102),
    ("namespace", "history", "nowhere:x", 102),
    ("namespace", "subscribe", "/nobody/x", 102),
    ("channel_name", "subscribe", "open:UPPER", 107),
    ("private_channel", "subscribe", "$open:x", 103),
    ("presence", "presence", "open:x", 108),
    ("history", "history", "open:x", 108),
    ("nothing_allows", "subscribe", "closed:x", 103),
    ("nothing_allows", "publish", "closed:x", 103),
    ("nothing_allows", "presence", "closed:x", 103),
    ("nothing_allows", "history", "closed:x", 103),
];

/// Rules that refuse, and not in this table.
const ELSEWHERE: [(&str, &str); 18] = [
    ("channel_required", "the library ends the connection of a client that names no channel"),
    ("known_subscription_type", "only a command can have a type, no question"),
    ("subscription_type", "only a command can have a type, no question"),
    ("delta_type", "the library ends the connection"),
    ("already_subscribed", "the library answers"),
    ("channel_limit", "the library answers"),
    ("publication_data_format", "a question has no payload"),
    ("allow_tags_filter", "a question has no filter"),
    ("subscription_token", "in the table of faults"),
    ("subscription_token_channel", "in the table of faults, as channel_mismatch"),
    ("subscription_token_user", "in the table of faults, as user_mismatch"),
    ("subscription_token_client", "in the table of faults, as client_mismatch"),
    ("subscription_token_expire_at", "in the table of faults, as credentials_expired"),
    ("refresh_token_required", "in the table of faults, as token_missing"),
    ("subscribed", "the library answers"),
    ("subscribe_proxy", "a server does not start with it"),
    ("subscribe_stream_proxy", "a server does not start with it"),
    ("publish_proxy", "a server does not start with it"),
];

/// Rules that allow something, or leave it to the next one.
const ALLOWING: [&str; 16] = [
    "user_limited_channel",
    "subscription_token_allow",
    "connection_capability",
    "expression",
    "allow_subscribe_for_client",
    "allow_publish_for_client",
    "allow_publish_for_subscriber",
    "allow_presence_for_client",
    "allow_presence_for_subscriber",
    "allow_history_for_client",
    "allow_history_for_subscriber",
    "client_insecure",
    "wish_positioned",
    "wish_recoverable",
    "wish_join_leave",
    "wish_delta",
];

#[test]
fn no_rule_is_forgotten() {
    for rule in Rule::ALL {
        let id = rule.id();
        let known = TABLE.iter().any(|row| row.0 == id)
            || ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == id)
            || ALLOWING.contains(&id);
        assert!(known, "{id} has no row, and nothing says why");
    }
}

fn config(place: &Place) -> Value {
    let open = json!({
        "name": "open",
        "allow_subscribe_for_client": true,
        "allow_publish_for_client": true,
        "allow_presence_for_client": true,
        "allow_history_for_client": true,
        "channel_regex": "^[a-z-]*$",
    });
    let closed = json!({ "name": "closed", "presence": true, "history_size": 10, "history_ttl": "60s" });
    json!({
        "client": { "token": { "hmac_secret_key": crate::KEY } },
        "channel": { "max_length": 40, "patterns": true, "namespaces": [open, closed] },
        "log": { "level": "info", "file": place.0.join("log.jsonl") },
        "prometheus": { "enabled": true },
    })
}

#[tokio::test]
async fn every_rule_refuses_alike_at_every_endpoint() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    let console = server.console().await;
    let token = signed(&json!({ "sub": "42", "exp": now() + 600 }));
    for (rule, action, channel, code) in TABLE {
        let what = format!("{rule}: {action} in {channel}");
        let (count, from) = (counted(&server, action, rule).await, lines(&place));
        let (mut client, None) = server.connect(&token).await else { panic!("refused") };
        client.send(&[crate::alike::command(action, channel, "")]).await;
        assert_eq!(answer(&mut client, 3).await, Some(code), "session: {what}");
        let line = logged(&place, from, action, rule).await;
        assert_eq!((&line["code"], &line["channel"]), (&json!(code), &json!(channel)), "log: {what}");
        assert!(line["change"].as_str().is_some_and(|text| text.len() > 5), "log says no remedy: {what}");
        assert_eq!(counted(&server, action, rule).await, count + 1, "metric: {what}");
        let question = json!({ "action": action, "channel": channel, "token": token });
        let api = server.api("explain", question.clone()).await["result"].clone();
        assert_eq!((&api["code"], &api["rule"]), (&json!(code), &json!(rule)), "API: {what}\n{api}");
        assert!(!api["change"][0].as_str().unwrap_or_default().is_empty(), "API: {what}\n{api}");
        for (endpoint, told) in [
            ("command line", server.told_by_shell(&question)),
            ("console", console.explained(&question).await),
        ] {
            assert_eq!(told, api, "{endpoint}: {what}");
        }
        tokio::time::sleep(std::time::Duration::from_millis(55)).await;
    }
}

/// A token's fault is reported where it is the answer, and not where something before it has refused.
#[tokio::test]
async fn one_refusal_is_told_of_once() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place)).await;
    let (mut client, None) = server.connect(&signed(&json!({ "sub": "42" }))).await else {
        panic!("refused")
    };
    for (channel, code, counts) in [("nowhere:x", 102, (1, 0)), ("open:x", 110, (1, 1))] {
        let ended = json!({ "sub": "42", "channel": channel, "exp": now() + 600, "expire_at": now() - 60 });
        client.send(&[crate::alike::command("subscribe", channel, &signed(&ended))]).await;
        assert_eq!(answer(&mut client, 3).await, Some(code), "{channel}");
        let (rule, fault) = ("namespace", "credentials_expired");
        let told = (counted(&server, "subscribe", rule).await, counted(&server, "subscribe", fault).await);
        assert_eq!(told, counts, "{channel}");
    }
}

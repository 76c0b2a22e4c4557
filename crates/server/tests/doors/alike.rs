//! A session on a real socket, the API and the command line are asked the same, and must say the same.

use crate::{Place, Server, answer, now, signed};
use serde_json::{Value, json};
use spinward::wire::message::{Command, HistoryRequest, PresenceRequest, PublishRequest, SubscribeRequest};
use std::process::Command as Process;

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())].clone()
    }

    fn coin(&mut self) -> bool {
        self.roll(2) == 0
    }
}

const FLAGS: [&str; 10] = [
    "allow_subscribe_for_client",
    "allow_subscribe_for_anonymous",
    "allow_publish_for_client",
    "allow_publish_for_anonymous",
    "allow_publish_for_subscriber",
    "allow_presence_for_client",
    "allow_presence_for_subscriber",
    "allow_history_for_client",
    "allow_history_for_anonymous",
    "presence",
];
const CHANNELS: [&str; 8] = ["a", "ns:a", "none:a", "#1", "ns:b#2,1", "ns:b#", "$ns:p", "ns:long-name"];
const USERS: [&str; 3] = ["", "1", "2"];

fn options(dice: &mut Dice) -> Value {
    let mut options: Value = FLAGS.iter().map(|flag| ((*flag).to_owned(), json!(dice.coin()))).collect();
    if dice.coin() {
        options["history_size"] = json!(10);
        options["history_ttl"] = json!("60s");
    }
    options
}

fn config(dice: &mut Dice) -> Value {
    let mut namespace = options(dice);
    namespace["name"] = json!("ns");
    json!({
        "client": {
            "token": { "hmac_secret_key": crate::KEY, "require_exp": dice.roll(4) == 0 },
            "disallow_anonymous_connection_tokens": dice.roll(4) == 0,
            "allow_anonymous_connect_without_token": true,
            "connect_token_cookie": "session",
            "connect_token_http_header": "X-Token",
            "allowed_origins": ["https://app.example"],
        },
        "channel": { "without_namespace": options(dice), "namespaces": [namespace] },
    })
}

/// A connection token with or without a fault.
fn connection_token(dice: &mut Dice, user: &str) -> String {
    let mut claims = json!({ "sub": user, "jti": dice.one(&["x", "revoked"]), "exp": now() + 600 });
    if dice.coin() {
        claims["jti"] = json!("x");
    }
    match dice.roll(14) {
        0 => claims["exp"] = json!(now() - 60),
        1 => claims["sub"] = json!(7),
        2 => claims["channel"] = json!("a"),
        3 => drop(claims.as_object_mut().unwrap().remove("exp")),
        4 => claims["nbf"] = json!(now() + 600),
        5 => claims["expire_at"] = json!(now() - 60),
        6 => claims["caps"] = json!([{ "channels": ["ns:a", "a"], "allow": ["sub", "pub", "prs", "hst"] }]),
        7 => return spinward_server::auth::sign::hs256("another key", &claims),
        _ => {}
    }
    signed(&claims)
}

fn subscription_token(dice: &mut Dice, user: &str, channel: &str) -> String {
    if dice.coin() {
        return String::new();
    }
    let mut claims = json!({ "sub": user, "channel": channel, "exp": now() + 600 });
    match dice.roll(12) {
        0 => claims["exp"] = json!(now() - 60),
        1 => claims["sub"] = json!("9"),
        2 => claims["channel"] = json!("other"),
        3 => drop(claims.as_object_mut().unwrap().remove("channel")),
        4 => claims["jti"] = json!("revoked"),
        5 => return "garbage".to_owned(),
        6 => return spinward_server::auth::sign::hs256("another key", &claims),
        _ => {}
    }
    signed(&claims)
}

/// Puts a token into the connect command, or into a cookie or header of the upgrade request.
fn placed(dice: &mut Dice, token: String) -> (String, Vec<(&'static str, String)>) {
    let origin = ("Origin", "https://app.example".to_owned());
    let cookie = ("Cookie", format!("a=b; session={token}"));
    match dice.roll(24) {
        0 => (String::new(), vec![origin, cookie]),
        1 => (String::new(), vec![cookie]),
        2 => (String::new(), vec![("X-Token", format!("Bearer {token}"))]),
        3 => (String::new(), vec![origin, ("X-Token", token)]),
        4 => (token, vec![origin, ("Cookie", "session=of-no-use".to_owned())]),
        5 => (String::new(), vec![origin, ("Cookie", "session=".to_owned())]),
        _ => (token, Vec::new()),
    }
}

fn command(action: &str, channel: &str, token: &str) -> Command {
    let channel = channel.to_owned();
    let mut command = Command { id: 2, ..Command::default() };
    match action {
        "subscribe" => {
            let token = token.to_owned();
            command.subscribe = Some(SubscribeRequest { channel, token, ..SubscribeRequest::default() });
        }
        "publish" => {
            let data = bytes::Bytes::from_static(b"{}");
            command.publish = Some(PublishRequest { channel, data, ..PublishRequest::default() });
        }
        "presence" => command.presence = Some(PresenceRequest { channel }),
        "history" => command.history = Some(HistoryRequest { channel, ..HistoryRequest::default() }),
        other => panic!("{other}"),
    }
    command
}

/// 30 configurations, 20 questions each.
#[tokio::test]
async fn session_api_and_command_line_say_the_same() {
    let mut dice = Dice(0x5_1ee7_c0de);
    let (mut granted, mut refused) = (0, 0);
    for round in 0..30 {
        let place = Place::new();
        let mut config = config(&mut dice);
        config["client"]["revocation"] = json!({ "file": place.0.join("revocations.jsonl") });
        let server = Server::start(&place.0, config.clone()).await;
        server.api("revoke_token", json!({ "uid": "revoked" })).await;
        if round % 5 == 4 {
            server.api("block_user", json!({ "user": "2" })).await;
        }
        for _ in 0..20 {
            let user = dice.one(&USERS);
            let channel = dice.one(&CHANNELS);
            let action = dice.one(&["subscribe", "subscribe", "publish", "presence", "history"]);
            let token = connection_token(&mut dice, user);
            let sub = if action == "subscribe" {
                subscription_token(&mut dice, user, channel)
            } else {
                String::new()
            };
            let (token, headers) = placed(&mut dice, token);
            let named: Value =
                headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            let question = json!({
                "channel": channel, "action": action, "token": token, "headers": named,
                "subscription_token": sub,
            });

            let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let (mut client, mut session) = server.connect_with(&token, &lines).await;
            if session.is_none() {
                client.send(&[command(action, channel, &sub)]).await;
                session = answer(&mut client, 2).await;
            }
            let api = server.api("explain", question.clone()).await["result"].clone();
            let shell = Process::new(env!("CARGO_BIN_EXE_spinward"))
                .arg("--config")
                .arg(&server.config)
                .args(["explain", "--json", "--channel", channel, "--action", action])
                .args(["--token", &token, "--subscription-token", &sub])
                .args(
                    headers
                        .iter()
                        .flat_map(|(name, value)| ["--header".to_owned(), format!("{name}: {value}")]),
                )
                .output()
                .unwrap();
            let told: Value = serde_json::from_slice(&shell.stdout).unwrap_or_default();

            let whole = format!("{config}\n{question}\nAPI: {api}\nshell: {told}");
            assert_eq!(api["code"].as_u64(), session.map(u64::from), "API and session\n{whole}");
            assert_eq!(shell.status.success(), session.is_none(), "exit code and session\n{whole}");
            for part in ["verdict", "code", "rule", "trail", "change"] {
                assert_eq!(told[part], api[part], "{part}\n{whole}");
            }
            if session.is_none() { granted += 1 } else { refused += 1 }
        }
    }
    assert!(granted > 50 && refused > 50, "{granted} granted, {refused} refused: the dice say too little");
}

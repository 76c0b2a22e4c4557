//! A session on a real socket, the API, the command line and the console are asked the same, and must say the same.

use crate::{Place, Server, answer, now};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use spinward::wire::message::{
    Command, HistoryRequest, PresenceRequest, PresenceStatsRequest, PublishRequest, RefreshRequest,
    SubRefreshRequest, SubscribeRequest,
};
use spinward_server::auth::jws::{Alg, Curve, Sha};
use spinward_server::auth::sign::Signer;
use std::collections::BTreeMap;

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

const FLAGS: [&str; 14] = [
    "allow_subscribe_for_client",
    "allow_subscribe_for_anonymous",
    "allow_publish_for_client",
    "allow_publish_for_anonymous",
    "allow_publish_for_subscriber",
    "allow_presence_for_client",
    "allow_presence_for_anonymous",
    "allow_presence_for_subscriber",
    "allow_history_for_client",
    "allow_history_for_anonymous",
    "allow_history_for_subscriber",
    "allow_user_limited_channels",
    "presence",
    "join_leave",
];
const CHANNELS: [&str; 17] = [
    "a",
    "a",
    "ns:a",
    "ns:a",
    "ns:a",
    "/users/jo",
    "none:a",
    "#1",
    "ns:b#2,1",
    "ns:b#",
    "$ns:p",
    "!ns:p",
    "/users/jo",
    "/users/jo/x",
    "ns:long-name",
    "ns:ä",
    "ns:a-name-that-is-longer-than-some-of-the-configurations-allow",
];
const USERS: [&str; 4] = ["", "1", "1", "2"];
const ACTIONS: [&str; 11] = [
    "connect",
    "refresh",
    "refresh",
    "subscribe",
    "subscribe",
    "sub_refresh",
    "sub_refresh",
    "publish",
    "presence",
    "presence_stats",
    "history",
];

/// One who issues tokens: the claim `iss`, the option that its public key goes into, and the key.
struct Issuer {
    iss: &'static str,
    option: &'static str,
    public: String,
    alg: Alg,
    signer: Signer,
}

impl Issuer {
    fn hmac(iss: &'static str, secret: &str, sha: Sha) -> Self {
        let public = secret.to_owned();
        Self { iss, option: "hmac_secret_key", public, alg: Alg::Hs(sha), signer: Signer::hmac(secret) }
    }

    /// One of each kind.
    fn all() -> Vec<Self> {
        let pem = |der: PublicKeyX509Der<'_>| {
            let text = STANDARD.encode(der.as_ref());
            format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
        };
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ed = Ed25519KeyPair::generate().unwrap();
        let public = |option, public| (option, public);
        let (of_rsa, of_ec, of_ed) = (
            public("rsa_public_key", pem(rsa.public_key().as_der().unwrap())),
            public("ecdsa_public_key", pem(ec.public_key().as_der().unwrap())),
            public("ed25519_public_key", pem(ed.public_key().as_der().unwrap())),
        );
        let made = |iss, (option, public), alg, signer| Self { iss, option, public, alg, signer };
        vec![
            Self::hmac("https://hs256.example", crate::KEY, Sha::S256),
            Self::hmac("https://hs512.example", "another-long-secret-of-the-tests-77d1", Sha::S512),
            made("https://rsa.example", of_rsa, Alg::Rs(Sha::S384), Signer::Rsa(Box::new(rsa))),
            made("https://ec.example", of_ec, Alg::Es(Curve::P256), Signer::Ec(Curve::P256, Box::new(ec))),
            made("https://ed.example", of_ed, Alg::EdDsa, Signer::Ed(Box::new(ed))),
        ]
    }

    fn options(&self) -> Value {
        json!({ "name": self.iss[8..].replace('.', "_"), "issuer": self.iss, self.option: self.public })
    }

    fn sign(&self, claims: &Value) -> String {
        self.signer.claims(self.alg, None, claims).unwrap()
    }
}

/// A configuration, and who issues its tokens.
struct Setup<'a> {
    config: Value,
    /// Of connection tokens, and of subscription tokens.
    issuers: [Vec<&'a Issuer>; 2],
    anonymous: bool,
}

fn options(dice: &mut Dice) -> Value {
    let mut options: Value = FLAGS.iter().map(|flag| ((*flag).to_owned(), json!(dice.roll(4) > 0))).collect();
    if dice.roll(4) > 0 {
        options["history_size"] = json!(10);
        options["history_ttl"] = json!("60s");
    }
    if dice.roll(6) == 0 {
        options["channel_regex"] = json!("^[a-z/:$!-]*$");
    }
    options
}

fn setup<'a>(dice: &mut Dice, all: &'a [Issuer]) -> Setup<'a> {
    let drawn = |dice: &mut Dice| -> Vec<&'a Issuer> {
        let few: Vec<&Issuer> = all.iter().filter(|_| dice.coin()).collect();
        if few.is_empty() { vec![&all[0]] } else { few }
    };
    let keys = |dice: &mut Dice, issuers: &[&Issuer]| {
        let named: Vec<Value> = issuers.iter().map(|issuer| issuer.options()).collect();
        json!({ "issuers": named, "require_exp": dice.roll(4) == 0 })
    };
    let connection = drawn(dice);
    let mut client = json!({
        "token": keys(dice, &connection),
        "disallow_anonymous_connection_tokens": dice.roll(4) == 0,
        "allow_anonymous_connect_without_token": dice.coin(),
        "connect_token_cookie": "session",
        "connect_token_http_header": "X-Token",
        "allowed_origins": ["https://app.example"],
    });
    let mut subscription = connection.clone();
    if dice.roll(3) == 0 {
        subscription = drawn(dice);
        client["subscription_token"] = keys(dice, &subscription);
        client["subscription_token"]["enabled"] = json!(true);
    }
    let anonymous = client["allow_anonymous_connect_without_token"] == true;
    let (mut namespace, mut pattern) = (options(dice), options(dice));
    namespace["name"] = json!("ns");
    pattern["name"] = json!("people");
    pattern["pattern"] = json!("/users/:name");
    let config = json!({
        "client": client,
        "channel": {
            "patterns": true,
            "private_prefix": dice.one(&["$", "!"]),
            "max_length": dice.one(&[20, 255]),
            "without_namespace": options(dice),
            "namespaces": [namespace, pattern],
        },
    });
    Setup { config, issuers: [connection, subscription], anonymous }
}

impl Setup<'_> {
    /// Signed by one of these issuers, or by one that says to be another.
    fn sign(&self, dice: &mut Dice, kind: usize, all: &[Issuer], mut claims: Value) -> String {
        let issuer = self.issuers[kind][dice.roll(self.issuers[kind].len())];
        claims["iss"] = json!(issuer.iss);
        match dice.roll(30) {
            0 => claims["iss"] = json!("https://nobody.example"),
            1 => drop(claims.as_object_mut().unwrap().remove("iss")),
            2 => return all[dice.roll(all.len())].sign(&claims),
            _ => {}
        }
        issuer.sign(&claims)
    }

    /// Nothing is wrong with it.
    fn good(&self, kind: usize, mut claims: Value) -> String {
        let issuer = self.issuers[kind][0];
        claims["iss"] = json!(issuer.iss);
        claims["exp"] = json!(now() + 600);
        issuer.sign(&claims)
    }

    /// A connection token with or without a fault.
    fn connection_token(&self, dice: &mut Dice, all: &[Issuer], user: &str) -> String {
        let mut claims = json!({ "sub": user, "jti": dice.one(&["x", "x", "x", "x", "x", "x", "x", "revoked"]), "exp": now() + 600 });
        match dice.roll(30) {
            0 => claims["exp"] = json!(now() - 60),
            1 => claims["sub"] = json!(7),
            2 => claims["channel"] = json!("a"),
            3 => drop(claims.as_object_mut().unwrap().remove("exp")),
            4 => claims["nbf"] = json!(now() + 600),
            5 => claims["expire_at"] = json!(now() - 60),
            6 => claims["b64info"] = json!("%"),
            7 => claims["caps"] = json!([{ "channels": [".*"], "match": "regex", "allow": ["sub", "pub"] }]),
            8 => {
                claims["caps"] =
                    json!([{ "channels": ["*a*"], "match": "wildcard", "allow": ["pub", "prs"] }])
            }
            9..14 => {
                claims["caps"] =
                    json!([{ "channels": ["ns:a", "a"], "allow": ["sub", "pub", "prs", "hst"] }]);
            }
            _ => {}
        }
        self.sign(dice, 0, all, claims)
    }

    /// A subscription token with or without a fault, or none.
    fn subscription_token(&self, dice: &mut Dice, all: &[Issuer], user: &str, channel: &str) -> String {
        let mut claims = json!({ "sub": user, "channel": channel, "exp": now() + 600 });
        match dice.roll(18) {
            0 => claims["exp"] = json!(now() - 60),
            1 => claims["sub"] = json!("9"),
            2 => claims["channel"] = json!("other"),
            3 => drop(claims.as_object_mut().unwrap().remove("channel")),
            4 => claims["jti"] = json!("revoked"),
            5 => return "garbage".to_owned(),
            6 => claims["client"] = json!("another"),
            7 => claims["expire_at"] = json!(now() - 60),
            8 => claims["allow"] = json!(["pub", "hst"]),
            _ => {}
        }
        self.sign(dice, 1, all, claims)
    }
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

pub(crate) fn command(action: &str, channel: &str, token: &str) -> Command {
    let (channel, token) = (channel.to_owned(), token.to_owned());
    let mut command = Command { id: 3, ..Command::default() };
    match action {
        "refresh" => command.refresh = Some(RefreshRequest { token }),
        "subscribe" => {
            command.subscribe = Some(SubscribeRequest { channel, token, ..SubscribeRequest::default() });
        }
        "sub_refresh" => {
            command.sub_refresh = Some(SubRefreshRequest { channel, token, ..SubRefreshRequest::default() });
        }
        "publish" => {
            let data = bytes::Bytes::from_static(b"{}");
            command.publish = Some(PublishRequest { channel, data, ..PublishRequest::default() });
        }
        "presence" => command.presence = Some(PresenceRequest { channel }),
        "presence_stats" => command.presence_stats = Some(PresenceStatsRequest { channel }),
        "history" => command.history = Some(HistoryRequest { channel, ..HistoryRequest::default() }),
        other => panic!("{other}"),
    }
    command
}

/// Returns a session's answer, and the same as a question; `None` where it does not come that far.
async fn drawn(
    dice: &mut Dice,
    setup: &Setup<'_>,
    all: &[Issuer],
    server: &Server,
) -> Option<(Value, Option<u32>)> {
    let (user, action) = (dice.one(&USERS), dice.one(&ACTIONS));
    let channel = dice.one(&CHANNELS);
    let token = setup.connection_token(dice, all, user);
    if action == "refresh" {
        let (mut client, refused) = server.connect(&setup.good(0, json!({ "sub": user }))).await;
        if refused.is_some() {
            return None;
        }
        let question = json!({ "action": action, "token": token, "user": user });
        client.send(&[command(action, "", &token)]).await;
        return Some((question, answer(&mut client, 3).await));
    }
    if action == "sub_refresh" {
        let mine = setup.good(0, json!({ "sub": user }));
        let (mut client, refused) = server.connect(&mine).await;
        let sub = setup.good(1, json!({ "sub": user, "channel": channel }));
        if refused.is_some() {
            return None;
        }
        client.send(&[Command { id: 2, ..command("subscribe", channel, &sub) }]).await;
        if answer(&mut client, 2).await.is_some() {
            return None;
        }
        let new = setup.subscription_token(dice, all, user, channel);
        let question = json!({
            "action": action, "token": mine, "subscription_token": new, "channel": channel, "client": "this",
        });
        client.send(&[command(action, channel, &new)]).await;
        return Some((question, answer(&mut client, 3).await));
    }
    let sub = if action == "subscribe" && dice.coin() {
        setup.subscription_token(dice, all, user, channel)
    } else {
        String::new()
    };
    let (token, headers) = placed(dice, token);
    let named: BTreeMap<&str, &String> = headers.iter().map(|(name, value)| (*name, value)).collect();
    let mut question = json!({ "action": action, "token": token, "headers": named });
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let (mut client, mut session) = server.connect_with(&token, &lines).await;
    if action == "connect" {
        return Some((question, session));
    }
    if session == Some(3501) && !setup.anonymous {
        // Without any token these are asked of a connection that there might be.
        return None;
    }
    if !sub.is_empty() {
        question["subscription_token"] = json!(sub);
        question["client"] = json!("this");
    }
    question["channel"] = json!(channel);
    if session.is_none() {
        client.send(&[command(action, channel, &sub)]).await;
        session = answer(&mut client, 3).await;
    }
    Some((question, session))
}

/// 26 configurations, 20 questions each.
#[tokio::test]
async fn session_api_command_line_and_console_say_the_same() {
    let mut dice = Dice(0x5_1ee7_c0de);
    let all = Issuer::all();
    // By action: granted, and refused.
    let mut counts: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    for round in 0..26 {
        let place = Place::new();
        let mut setup = setup(&mut dice, &all);
        setup.config["client"]["revocation"] = json!({ "file": place.0.join("revocations.jsonl") });
        let server = Server::start(&place.0, setup.config.clone()).await;
        server.api("revoke_token", json!({ "uid": "revoked" })).await;
        if round % 5 == 4 {
            server.api("block_user", json!({ "user": "2" })).await;
        }
        let console = server.console().await;
        let mut asked = 0;
        while asked < 20 {
            let Some((question, session)) = drawn(&mut dice, &setup, &all, &server).await else { continue };
            asked += 1;
            let api = server.api("explain", question.clone()).await["result"].clone();
            let whole = format!("{}\n{question}\nAPI: {api}", setup.config);
            assert_eq!(api["code"].as_u64(), session.map(u64::from), "API and session\n{whole}");
            for (endpoint, told) in [
                ("command line", server.told_by_shell(&question)),
                ("console", console.explained(&question).await),
            ] {
                for part in ["verdict", "code", "rule", "fault", "trail", "change", "granted"] {
                    assert_eq!(told[part], api[part], "{endpoint}: {part}\n{whole}\n{told}");
                }
            }
            let action = question["action"].as_str().unwrap().to_owned();
            counts.entry(action).or_default()[usize::from(session.is_some())] += 1;
        }
    }
    println!("granted and refused by action: {counts:?}");
    let total: u32 = counts.values().flatten().sum();
    assert!(total >= 500 && counts.len() == 8, "{counts:?}");
    assert!(counts.values().flatten().all(|count| *count > 5), "the dice say too little: {counts:?}");
}

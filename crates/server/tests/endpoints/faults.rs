//! Every fault of a token, wherever it can be used: what goes over the wire, what is logged and counted, and what
//! the API, the command line and the console say. One table drives them all.

use crate::common::Client;
use crate::{Place, Server, answer, now};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use spinward::wire::Protocol;
use spinward::wire::message::{Command, ConnectRequest, RefreshRequest, SubRefreshRequest, SubscribeRequest};
use spinward_server::auth::reason::{Reason, Use};
use spinward_server::auth::sign::hs256;
use spinward_testkit::idp::{Behave, Idp};
use std::collections::BTreeMap;
use std::process::Command as Process;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const USER: &str = "42";
const CHANNEL: &str = "$news:x";

/// Marks a use that does not apply to the token in question.
const NO: u32 = 0;

/// Construction of a token.
enum Make {
    /// Signed with the right key; the claims are changed.
    Claims(fn(&mut Value)),
    /// The whole text, from a good token.
    Text(fn(&str) -> String),
    /// In headers of the upgrade request, from a good token.
    Headers(fn(&str) -> Vec<(&'static str, String)>),
}

struct Fault {
    reason: &'static str,
    /// The configuration that it shows under.
    under: &'static str,
    make: Make,
    /// Of connect, refresh, subscribe, sub_refresh; the library answers by itself where `quiet`.
    codes: [u32; 4],
    quiet: bool,
}

const fn fault(reason: &'static str, under: &'static str, codes: [u32; 4], make: Make) -> Fault {
    Fault { reason, under, make, codes, quiet: false }
}

const INVALID: [u32; 4] = [3500, 3500, 103, 3500];
const EXPIRED: [u32; 4] = [109, 3005, 109, 3006];

/// A token whose header, claims and signature are these.
fn parts(header: &str, claims: &str, signature: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{signature}", encode(header), encode(claims))
}

fn with_header(header: &str, good: &str) -> String {
    let rest = good.split_once('.').unwrap().1;
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

/// Signed with the right secret, whatever the claims are.
fn signed_text(claims: &str) -> String {
    use aws_lc_rs::hmac;
    let text = parts(r#"{"alg":"HS256"}"#, claims, "");
    let text = text.trim_end_matches('.');
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, crate::KEY.as_bytes()), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn table() -> Vec<Fault> {
    use Make::{Claims, Headers, Text};
    let empty = || Text(|_| String::new());
    vec![
        fault("token_missing", "plain", [3501, NO, NO, NO], empty()),
        Fault { quiet: true, ..fault("token_missing", "plain", [NO, 3501, NO, 107], empty()) },
        fault(
            "origin_not_named",
            "plain",
            [3507, NO, NO, NO],
            Headers(|good| vec![("Cookie", format!("session={good}"))]),
        ),
        fault(
            "token_ambiguous",
            "plain",
            [3500, NO, NO, NO],
            Headers(|good| {
                let origin = ("Origin", "https://app.example".to_owned());
                vec![origin, ("Cookie", format!("session={good}; session=another"))]
            }),
        ),
        fault("malformed:token", "plain", INVALID, Text(|_| "a.b".to_owned())),
        fault("malformed:header", "plain", INVALID, Text(|good| with_header("no json", good))),
        fault("malformed:payload", "plain", INVALID, Text(|_| signed_text("[]"))),
        fault("malformed:signature", "plain", INVALID, Text(|good| format!("{good}!"))),
        fault("malformed:b64info", "plain", [100, 100, 103, 3500], Claims(|c| c["b64info"] = json!("%"))),
        fault("malformed:b64data", "plain", [NO, NO, 103, 3500], Claims(|c| c["b64data"] = json!("%"))),
        fault(
            "malformed:subs",
            "plain",
            [3500, 3500, NO, NO],
            Claims(|c| c["subs"] = json!({ "news:s": { "b64info": "%" } })),
        ),
        fault("alg_not_allowed", "plain", INVALID, Text(|good| with_header(r#"{"alg":"none"}"#, good))),
        fault("no_key_for_alg", "plain", INVALID, Text(|good| with_header(r#"{"alg":"ES256"}"#, good))),
        fault("kid_missing", "set", INVALID, Text(|good| with_header(r#"{"alg":"EdDSA"}"#, good))),
        fault(
            "unknown_kid",
            "set",
            INVALID,
            Text(|good| with_header(r#"{"alg":"EdDSA","kid":"unknown"}"#, good)),
        ),
        fault(
            "alg_not_allowed",
            "set",
            INVALID,
            Text(|good| with_header(r#"{"alg":"RS256","kid":"known"}"#, good)),
        ),
        fault(
            "keys_unavailable",
            "down",
            [100; 4],
            Text(|good| with_header(r#"{"alg":"EdDSA","kid":"known"}"#, good)),
        ),
        fault(
            "signature_mismatch",
            "plain",
            INVALID,
            Text(|good| {
                let (text, _) = good.rsplit_once('.').unwrap();
                format!("{text}.{}", URL_SAFE_NO_PAD.encode([7; 32]))
            }),
        ),
        fault("issuer_mismatch", "strict", INVALID, Claims(|c| c["iss"] = json!("another"))),
        fault("audience_mismatch", "strict", INVALID, Claims(|c| c["aud"] = json!(["mail"]))),
        fault("not_yet_valid", "plain", EXPIRED, Claims(|c| c["nbf"] = json!(now() + 600))),
        fault("expired", "plain", EXPIRED, Claims(|c| c["exp"] = json!(now() - 5))),
        fault("credentials_expired", "plain", [110; 4], Claims(|c| c["expire_at"] = json!(now() - 5))),
        fault(
            "subscription_token_used_to_connect",
            "plain",
            [3500, 3500, NO, NO],
            Claims(|c| c["channel"] = json!(CHANNEL)),
        ),
        fault(
            "connection_token_used_to_subscribe",
            "plain",
            [NO, NO, 103, 3500],
            Claims(|c| drop(c.as_object_mut().unwrap().remove("channel"))),
        ),
        fault("user_mismatch", "plain", [NO, 3500, 3500, 3500], Claims(|c| c["sub"] = json!("43"))),
        fault("channel_mismatch", "plain", [NO, NO, 3500, 3500], Claims(|c| c["channel"] = json!("$news:y"))),
        fault("client_mismatch", "plain", [NO, NO, 3500, 3500], Claims(|c| c["client"] = json!("another"))),
        fault(
            "claim_missing:exp",
            "strict",
            INVALID,
            Claims(|c| drop(c.as_object_mut().unwrap().remove("exp"))),
        ),
        fault("claim_missing:who.id", "mapped", INVALID, Claims(|c| c["who"] = json!({}))),
        fault("claim_type:exp", "plain", INVALID, Claims(|c| c["exp"] = json!("soon"))),
        fault("claim_type:sub", "plain", INVALID, Claims(|c| c["sub"] = json!(42))),
        fault("claim_type:subs", "plain", [3500, 3500, NO, NO], Claims(|c| c["subs"] = json!([]))),
        fault(
            "claim_type:caps",
            "plain",
            [3500, 3500, NO, NO],
            Claims(|c| c["caps"] = json!([{ "channels": ["a"], "allow": ["all"] }])),
        ),
        fault("anonymous_not_allowed", "plain", [3507, NO, NO, NO], Claims(|c| c["sub"] = json!(""))),
        fault("revoked", "plain", INVALID, Claims(|c| c["jti"] = json!("revoked"))),
        fault("invalidated", "plain", INVALID, Claims(|c| c["iat"] = json!(now() - 5000))),
        fault("user_blocked", "plain", [3507, NO, NO, NO], Claims(|c| c["sub"] = json!("blocked"))),
        fault(
            "personal_channel_shared",
            "plain",
            [3507, NO, NO, NO],
            Claims(|c| c["sub"] = json!("bob#1234")),
        ),
        fault(
            "personal_channel_unknown",
            "plain",
            [102, NO, NO, NO],
            Claims(|c| c["sub"] = json!("did:plc:abc")),
        ),
    ]
}

/// The configurations of the table, and the other contents of a good token of each.
async fn configurations() -> Vec<(&'static str, Value, Value)> {
    let key = Ed25519KeyPair::generate().unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"known","x":"{x}"}}"#);
    let idp = Idp::start(Behave::keys(&[jwk])).await.unwrap();
    let with = |more: Value| {
        let mut token = json!({ "hmac_secret_key": crate::KEY });
        token.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        token
    };
    vec![
        ("plain", with(json!({})), json!({})),
        (
            "strict",
            with(json!({ "issuer": "backend", "audience": "chat", "require_exp": true })),
            json!({ "iss": "backend", "aud": "chat" }),
        ),
        ("mapped", with(json!({ "user_id_claim": "who.id" })), json!({ "who": { "id": USER } })),
        ("set", with(json!({ "jwks_public_endpoint": format!("{}/keys", idp.url) })), json!({})),
        ("down", with(json!({ "jwks_public_endpoint": "http://127.0.0.1:1/keys" })), json!({})),
    ]
}

fn config(place: &Place, token: &Value) -> Value {
    json!({
        "client": {
            "token": token,
            "disallow_anonymous_connection_tokens": true,
            "connect_token_cookie": "session",
            "allowed_origins": ["https://app.example"],
            "subscribe_to_user_personal_channel": { "enabled": true },
            "revocation": { "file": place.0.join("revocations.jsonl") },
        },
        "channel": {
            "namespaces": [{ "name": "news" }],
            "without_namespace": { "allow_user_limited_channels": true },
        },
        "log": { "level": "info", "file": place.0.join("log.jsonl") },
        "prometheus": { "enabled": true },
    })
}

fn good(used: Use, more: &Value) -> Value {
    let mut claims = json!({ "sub": USER, "iat": now(), "exp": now() + 600 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    if matches!(used, Use::Subscribe | Use::SubRefresh) {
        claims["channel"] = json!(CHANNEL);
    }
    claims
}

struct Case<'a> {
    server: &'a Server,
    used: Use,
    token: String,
    headers: Vec<(&'static str, String)>,
    /// Good tokens to come as far as it takes.
    connects: String,
    subscribes: String,
}

impl Case<'_> {
    /// A real connection, as far as the use of the token: the id of the connection, and the code of the answer.
    async fn on_a_socket(&self) -> (String, Option<u32>) {
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        if self.used == Use::Connect {
            let (_, code) = self.server.connect_with(&self.token, &lines).await;
            return (String::new(), code);
        }
        let stream = TcpStream::connect(("127.0.0.1", self.server.port)).await.unwrap();
        let mut client = Client::new(stream, Protocol::Json);
        client.upgrade("/connection/websocket", "").await;
        let connect = Some(ConnectRequest { token: self.connects.clone(), ..ConnectRequest::default() });
        client.send(&[Command { id: 1, connect, ..Command::default() }]).await;
        let id = client.reply(1).await.connect.expect("a good token connects").client;
        let token = self.token.clone();
        let channel = CHANNEL.to_owned();
        let mut command = Command { id: 3, ..Command::default() };
        match self.used {
            Use::Connect => {}
            Use::Refresh => command.refresh = Some(RefreshRequest { token }),
            Use::Subscribe => {
                command.subscribe = Some(SubscribeRequest { channel, token, ..SubscribeRequest::default() });
            }
            Use::SubRefresh => {
                let token_before = self.subscribes.clone();
                let request = SubscribeRequest {
                    channel: channel.clone(),
                    token: token_before,
                    ..SubscribeRequest::default()
                };
                client.send(&[Command { id: 2, subscribe: Some(request), ..Command::default() }]).await;
                assert_eq!(answer(&mut client, 2).await, None, "a good token subscribes");
                command.sub_refresh =
                    Some(SubRefreshRequest { channel, token, ..SubRefreshRequest::default() });
            }
        }
        client.send(&[command]).await;
        (id, answer(&mut client, 3).await)
    }

    /// The same, as it is asked of what explains.
    fn question(&self, client: &str) -> Value {
        let mut question = json!({ "action": self.used.name() });
        match self.used {
            Use::Connect => question["token"] = json!(self.token),
            Use::Refresh => {
                question["token"] = json!(self.token);
                question["user"] = json!(USER);
            }
            Use::Subscribe | Use::SubRefresh => {
                question["token"] = json!(self.connects);
                question["subscription_token"] = json!(self.token);
                question["channel"] = json!(CHANNEL);
                question["client"] = json!(client);
            }
        }
        if !self.headers.is_empty() {
            let headers: BTreeMap<_, _> = self.headers.iter().cloned().collect();
            question["headers"] = json!(headers);
        }
        question
    }

    /// Returns the output of `checktoken` and `checksubtoken`, where the fault is one of the token alone.
    fn checked(&self) -> String {
        let mut shell = Process::new(env!("CARGO_BIN_EXE_spinward"));
        shell.arg("--config").arg(&self.server.config);
        match self.used {
            Use::Connect => shell.args(["checktoken", &self.token]),
            Use::Refresh => shell.args(["checktoken", "--user", USER, &self.token]),
            Use::Subscribe | Use::SubRefresh => shell.args([
                "checksubtoken",
                "--user",
                USER,
                "--channel",
                CHANNEL,
                "--client",
                "this",
                &self.token,
            ]),
        };
        let output = shell.output().unwrap();
        let keys_unavailable = output.status.code() == Some(1);
        assert!(
            keys_unavailable || output.status.code() == Some(3),
            "a bad token has an exit code of its own"
        );
        // A decision is what was asked for; that there is none is an error.
        String::from_utf8(if keys_unavailable { output.stderr } else { output.stdout }).unwrap()
    }
}

/// Returns the number of refusals of an action for a reason, as the metrics have it.
pub(crate) async fn counted(server: &Server, action: &str, reason: &str) -> u64 {
    let page = server.page("/metrics").await;
    let name = format!("spinward_refusals_total{{action=\"{action}\",reason=\"{reason}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.trim().parse().unwrap())
}

/// Waits for the line of the log about a refusal.
pub(crate) async fn logged(place: &Place, from: usize, action: &str, reason: &str) -> Value {
    for _ in 0..500 {
        let log = std::fs::read_to_string(place.0.join("log.jsonl")).unwrap_or_default();
        let line =
            log.lines().skip(from).filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| {
                line["message"] == "client refused" && line["action"] == action && line["reason"] == reason
            });
        if let Some(line) = line {
            return line;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{action} was refused for {reason}, and the log does not say so");
}

pub(crate) fn lines(place: &Place) -> usize {
    std::fs::read_to_string(place.0.join("log.jsonl")).unwrap_or_default().lines().count()
}

#[test]
fn the_table_has_every_reason() {
    let table = table();
    for reason in Reason::examples() {
        let code = reason.code().into_owned();
        // Of reasons that end in the name of a claim, any will do.
        let kind = code.split_once(':').filter(|(kind, _)| kind.starts_with("claim")).map(|(kind, _)| kind);
        let of_it = |fault: &&Fault| match kind {
            Some(kind) => fault.reason.starts_with(kind),
            None => fault.reason == code,
        };
        let rows: Vec<&Fault> = table.iter().filter(of_it).collect();
        assert!(!rows.is_empty(), "no row for {code}");
        for row in rows {
            for (used, expected) in Use::ALL.into_iter().zip(row.codes).filter(|(_, code)| *code != NO) {
                assert_eq!(reason.outcome(used).code(), expected, "{code} on {}", used.name());
            }
        }
    }
}

// The issuer answers while the test waits for processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_refused_logged_counted_and_explained_alike() {
    let mut proved = 0;
    for (name, settings, more) in configurations().await {
        let place = Place::new();
        let server = Server::start(&place.0, config(&place, &settings)).await;
        if name == "plain" {
            server.api("revoke_token", json!({ "uid": "revoked" })).await;
            let before = json!({ "user": USER, "issued_before": now() - 1000 });
            server.api("invalidate_user_tokens", before).await;
            server.api("block_user", json!({ "user": "blocked" })).await;
        }
        let console = server.console().await;
        for fault in table().iter().filter(|fault| fault.under == name) {
            for (used, code) in Use::ALL.into_iter().zip(fault.codes).filter(|(_, code)| *code != NO) {
                let mut claims = good(used, &more);
                let whole = hs256(crate::KEY, &claims);
                let (token, headers) = match fault.make {
                    Make::Claims(change) => {
                        change(&mut claims);
                        (hs256(crate::KEY, &claims), Vec::new())
                    }
                    Make::Text(change) => (change(&whole), Vec::new()),
                    Make::Headers(place) => (String::new(), place(&whole)),
                };
                let case = Case {
                    server: &server,
                    used,
                    token,
                    headers,
                    connects: hs256(crate::KEY, &good(Use::Connect, &more)),
                    subscribes: hs256(crate::KEY, &good(Use::Subscribe, &more)),
                };
                prove(&case, fault, code, &place, &console).await;
                proved += 1;
                // So many a second are logged, and here none may be left out.
                tokio::time::sleep(Duration::from_millis(55)).await;
            }
        }
    }
    assert!(proved > 90, "{proved}");
}

async fn prove(case: &Case<'_>, fault: &Fault, code: u32, place: &Place, console: &Server) {
    let (action, reason, server) = (case.used.name(), fault.reason, case.server);
    let what = format!("{reason} on {action}");
    let (count, from) = (counted(server, action, reason).await, lines(place));
    let (client, session) = case.on_a_socket().await;
    assert_eq!(session, Some(code), "session: {what}");
    if !fault.quiet {
        let line = logged(place, from, action, reason).await;
        assert_eq!(line["code"], code, "log: {what}");
        for told in ["change", "detail"] {
            assert!(line[told].as_str().is_some_and(|text| text.len() > 5), "log has no {told}: {what}");
        }
        assert_eq!(counted(server, action, reason).await, count + 1, "metric: {what}");
    }
    let question = case.question(&client);
    let api = server.api("explain", question.clone()).await["result"].clone();
    assert_eq!((&api["code"], &api["fault"]), (&json!(code), &json!(reason)), "API: {what}\n{api}");
    assert!(!api["change"][0].as_str().unwrap_or_default().is_empty(), "API: {what}\n{api}");
    for (endpoint, told) in
        [("command line", server.told_by_shell(&question)), ("console", console.explained(&question).await)]
    {
        for part in ["verdict", "code", "message", "rule", "fault", "trail", "change"] {
            assert_eq!(told[part], api[part], "{endpoint}: {part} of {what}");
        }
    }
    if case.headers.is_empty() && !(case.token.is_empty() && fault.quiet) && reason != "token_missing" {
        let text = case.checked();
        let outcome = if code < 3000 { format!("error {code} ") } else { format!("disconnect {code} ") };
        for part in [format!("{reason}: "), format!("on {action} a client gets: {outcome}")] {
            assert!(text.contains(&part), "checktoken says nothing of {part:?}\n{text}");
        }
    }
}

/// A flood of refusals costs few lines, and is counted whole.
#[tokio::test]
async fn what_is_logged_of_refusals_is_bounded() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place, &json!({ "hmac_secret_key": crate::KEY }))).await;
    let token = hs256("another key", &json!({ "sub": USER }));
    let begun = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(server.connect(&token).await.1, Some(3500));
    }
    let seconds = begun.elapsed().as_secs() as usize + 2;
    assert_eq!(counted(&server, "connect", "signature_mismatch").await, 200);
    let log = std::fs::read_to_string(place.0.join("log.jsonl")).unwrap();
    let told = log.lines().filter(|line| line.contains("signature_mismatch")).count();
    assert!((1..=20 * seconds).contains(&told), "{told} lines in {seconds} s");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let from = lines(&place);
    assert_eq!(server.connect(&token).await.1, Some(3500));
    let line = logged(&place, from, "connect", "signature_mismatch").await;
    let silent = line["silent"].as_u64().unwrap();
    assert!(told == 200 || silent > 0, "nothing tells of those that were left out: {line}");
}

/// In development, and nowhere else, a client is told why it is refused.
#[tokio::test]
async fn a_client_is_told_why_in_development_alone() {
    let place = Place::new();
    let server = Server::start(&place.0, config(&place, &json!({ "hmac_secret_key": crate::KEY }))).await;
    let console = server.console().await;
    for (server, says) in [(&server, false), (&console, true)] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let request = "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let token = hs256("another key", &json!({ "sub": USER }));
        let mut frame = Vec::new();
        let payload = json!({ "id": 1, "connect": { "token": token } }).to_string();
        let opcode = spinward::wire::ws::Opcode::Text;
        spinward::wire::ws::append_masked_frame(opcode, [1, 2, 3, 4], payload.as_bytes(), &mut frame);
        stream.write_all(&frame).await.unwrap();
        let mut came = Vec::new();
        let read = async {
            let mut chunk = [0; 1024];
            while !came.windows(13).any(|part| part == b"invalid token") {
                let count = stream.read(&mut chunk).await.unwrap();
                assert!(count > 0, "the server hung up");
                came.extend_from_slice(&chunk[..count]);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("a close");
        let text = String::from_utf8_lossy(&came);
        assert_eq!(text.contains("signature_mismatch"), says, "{text}");
    }
}

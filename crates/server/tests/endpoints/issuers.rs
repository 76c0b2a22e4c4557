//! Key sets as a running server has them: from a provider that rotates, is flooded and fails.

use crate::common::Client;
use crate::{Place, Server, answer, now};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use spinward::wire::Protocol;
use spinward::wire::message::{Command, ConnectRequest};
use spinward_server::auth::jws::Alg;
use spinward_server::auth::sign::Signer;
use spinward_testkit::idp::{Behave, Idp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Fetches that are made at once, and the seconds after which one more may be.
const BURST: usize = 3;
const INTERVAL: usize = 10;
/// A fetch that fails is tried once more.
const ATTEMPTS: usize = 2;

/// A key and its name in the set.
struct Key {
    kid: &'static str,
    signer: Signer,
    jwk: String,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#);
        Self { kid, signer: Signer::Ed(Box::new(key)), jwk }
    }

    fn token(&self, more: &Value) -> String {
        self.named(self.kid, more)
    }

    /// Under the name of another key.
    fn named(&self, kid: &str, more: &Value) -> String {
        let mut claims = json!({ "sub": "u", "exp": now() + 600 });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.signer.claims(Alg::EdDsa, Some(kid), &claims).unwrap()
    }
}

fn set(keys: &[&Key]) -> Behave {
    Behave::keys(&keys.iter().map(|key| key.jwk.clone()).collect::<Vec<_>>())
}

fn config(idp: &Idp, more: Value) -> Value {
    // A machine that is busy must not look like a provider that is away.
    let mut token = json!({ "jwks_public_endpoint": format!("{}/keys", idp.url), "jwks_timeout": "10s" });
    token.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "client": { "token": token }, "prometheus": { "enabled": true } })
}

/// Fetches that the bucket allows for since then.
fn most(begun: Instant) -> usize {
    BURST + begun.elapsed().as_secs() as usize / INTERVAL + 1
}

async fn verdict(server: &Server, token: &str) -> Value {
    server.api("explain", json!({ "action": "connect", "token": token })).await["result"].clone()
}

/// 10,000 forged names cost a handful of fetches, refuse nobody who is known, and keep a new key from nobody for
/// longer than the next fetch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_names_fetch_little_and_lock_nobody_out() {
    let (old, new, forger) = (Key::new("old"), Key::new("new"), Key::new("forger"));
    let idp = Idp::start(set(&[&old])).await.unwrap();
    let place = Place::new();
    let server = Server::start(&place.0, config(&idp, json!({}))).await;
    let begun = Instant::now();
    assert_eq!(server.connect(&old.token(&json!({}))).await.1, None);
    // In batches, as the API takes them; every hundredth over a socket.
    for batch in 0..100 {
        let commands: Vec<Value> = (0..100)
            .map(|n| {
                let token = forger.named(&format!("forged-{batch}-{n}"), &json!({}));
                json!({ "explain": { "action": "connect", "token": token } })
            })
            .collect();
        let (_, told) = server.call("batch", crate::KEY, &json!({ "commands": commands })).await;
        for reply in told["replies"].as_array().unwrap() {
            let fault = &reply["explain"]["fault"];
            assert!(fault == "unknown_kid" || fault == "keys_unavailable", "{reply}");
        }
        let forged = forger.named(&format!("forged-{batch}"), &json!({}));
        let code = server.connect(&forged).await.1;
        assert!(code == Some(3500) || code == Some(100), "{code:?}");
        assert_eq!(server.connect(&old.token(&json!({}))).await.1, None, "a known key serves on");
    }
    assert!(idp.requests() <= most(begun), "{} in {:?}", idp.requests(), begun.elapsed());
    // Nothing may be fetched now. A client with the new key is not told that it is bad, but to come again.
    idp.behave(set(&[&old, &new]));
    let asked = Instant::now();
    loop {
        match server.connect(&new.token(&json!({}))).await.1 {
            None => break,
            Some(code) => assert_eq!(code, 100, "a temporary error, after which an SDK tries again"),
        }
        assert!(asked.elapsed() < Duration::from_secs(60), "the new key is not looked for");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(idp.requests() <= most(begun), "{} in {:?}", idp.requests(), begun.elapsed());
}

/// While clients connect without a pause, the provider changes its key twice; nobody is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_under_a_stream_of_connects_refuses_nobody() {
    let keys = [Key::new("1"), Key::new("2"), Key::new("3")];
    let idp = Idp::start(set(&[&keys[0]])).await.unwrap();
    let place = Place::new();
    let server = Arc::new(Server::start(&place.0, config(&idp, json!({}))).await);
    let begun = Instant::now();
    let tokens: Vec<String> = keys.iter().map(|key| key.token(&json!({}))).collect();
    let (tokens, newest) = (Arc::new(tokens), Arc::new(AtomicUsize::new(0)));
    let (stop, connects) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let streams: Vec<_> = (0..4)
        .map(|_| {
            let (server, tokens, newest) = (Arc::clone(&server), Arc::clone(&tokens), Arc::clone(&newest));
            let (stop, connects) = (Arc::clone(&stop), Arc::clone(&connects));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let key = newest.load(Ordering::SeqCst);
                    let code = server.connect(&tokens[key]).await.1;
                    assert_eq!(code, None, "a token of key {} is refused", key + 1);
                    connects.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let more = async |count: usize| {
        let goal = connects.load(Ordering::SeqCst) + count;
        while connects.load(Ordering::SeqCst) < goal {
            assert!(streams.iter().all(|stream| !stream.is_finished()), "someone was refused");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    more(50).await;
    for next in 1..3 {
        // Published first, used next, and the one before goes.
        idp.behave(set(&[&keys[next - 1], &keys[next]]));
        newest.store(next, Ordering::SeqCst);
        more(50).await;
        idp.behave(set(&[&keys[next]]));
        more(50).await;
    }
    stop.store(true, Ordering::SeqCst);
    for stream in streams {
        stream.await.unwrap();
    }
    assert!(idp.requests() <= most(begun), "{} in {:?}", idp.requests(), begun.elapsed());
}

/// Whatever the provider does, known keys serve until the stale time is over, and unknown ones are never said to
/// be bad; and it is not asked more often for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_keys_outlive_an_outage() {
    let (known, other) = (Key::new("known"), Key::new("other"));
    let idp = Idp::start(set(&[&known])).await.unwrap();
    let place = Place::new();
    let times = json!({ "jwks_ttl": "1s", "jwks_stale": "600s", "jwks_timeout": "2s" });
    let server = Server::start(&place.0, config(&idp, times)).await;
    let (good, unknown) = (known.token(&json!({})), other.token(&json!({})));
    let begun = Instant::now();
    assert_eq!(server.connect(&good).await.1, None);
    let twice = Behave::keys(&[known.jwk.clone(), known.jwk.clone()]);
    for bad in [
        Behave::Status(500, ""),
        Behave::Hang,
        Behave::Truncate,
        Behave::Large,
        Behave::Set("no json".to_owned()),
        twice,
    ] {
        idp.behave(bad.clone());
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(server.connect(&good).await.1, None, "{bad:?}");
        let told = verdict(&server, &unknown).await;
        assert_eq!((&told["fault"], &told["code"]), (&json!("keys_unavailable"), &json!(100)), "{bad:?}");
    }
    assert!(idp.requests() <= ATTEMPTS * most(begun), "{} in {:?}", idp.requests(), begun.elapsed());
}

/// Two issuers whose keys have the same name: each only ever verifies its own tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuers_that_share_a_name_of_a_key_stay_apart() {
    let (one, two) = (Key::new("same"), Key::new("same"));
    let (idp_one, idp_two) =
        (Idp::start(set(&[&one])).await.unwrap(), Idp::start(set(&[&two])).await.unwrap());
    let place = Place::new();
    let issuer = |name: &str, idp: &Idp| {
        json!({
            "name": name,
            "issuer": format!("https://{name}.example"),
            "jwks_public_endpoint": format!("{}/keys", idp.url),
            "jwks_timeout": "10s",
        })
    };
    let issuers = json!([issuer("one", &idp_one), issuer("two", &idp_two)]);
    let server = Server::start(&place.0, json!({ "client": { "token": { "issuers": issuers } } })).await;
    for (key, own, other) in [(&one, "one", "two"), (&two, "two", "one")] {
        let of = |name: &str| json!({ "iss": format!("https://{name}.example") });
        assert_eq!(server.connect(&key.token(&of(own))).await.1, None, "{own}");
        assert_eq!(server.connect(&key.token(&of(other))).await.1, Some(3500), "{own} as {other}");
        assert_eq!(verdict(&server, &key.token(&of(other))).await["fault"], "signature_mismatch");
    }
}

/// Logins that wait for a key set wait for one fetch, all of them together, and each gets an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_thousand_logins_behind_a_slow_key_set_are_all_answered() {
    const LOGINS: usize = 3_000;
    raise_file_limit();
    let key = Key::new("key");
    let idp = Idp::start(Behave::Hang).await.unwrap();
    let place = Place::new();
    let server = Server::start(&place.0, config(&idp, json!({ "jwks_timeout": "500ms" }))).await;
    let token = key.token(&json!({}));
    let connect = ConnectRequest { token: token.clone(), ..ConnectRequest::default() };
    let mut clients = Vec::new();
    for _ in 0..LOGINS {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let mut client = Client::new(stream, Protocol::Json);
        client.upgrade("/connection/websocket", "").await;
        clients.push(client);
    }
    let waiting: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let command = Command { id: 1, connect: Some(connect.clone()), ..Command::default() };
            tokio::spawn(async move {
                client.send(&[command]).await;
                // It waits for five seconds at most: one fetch takes one, with the second try.
                answer(&mut client, 1).await
            })
        })
        .collect();
    for login in waiting {
        assert_eq!(login.await.unwrap(), Some(100), "to be tried again");
    }
    assert!(idp.requests() <= ATTEMPTS * BURST, "{} requests", idp.requests());
    idp.behave(set(&[&key]));
    let mut code = Some(100);
    for _ in 0..INTERVAL + 2 {
        code = server.connect(&token).await.1;
        if code.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(code, None, "the next fetch brings the key");
}

fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

//! Costs of one check of a token and of one decision about permissions: `cost verify` and `cost decide` print a line
//! of JSON, which `cargo xtask bench` reads. Tokens are checked as at a connect, claims included, and beside the crate
//! `jsonwebtoken`, by turns.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for people, with a clock of its own"
)]

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use spinward::Answer;
use spinward_server::auth::jws::Alg;
use spinward_server::auth::sign::Signer;
use spinward_server::auth::{
    ConnectToken, IssuerSettings, Jwks, KeySettings, Timed, TokenSettings, Verifier,
};
use spinward_server::channel::Registry;
use spinward_server::policy::{Capabilities, Request, Rules, SubscribeFacts, Verdict, decide};
use spinward_server::secret::Secret;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The present, before the tokens end.
const NOW: i64 = 2_000_000_000;
const SECRET: &str = "a secret that is long enough for each of the three digests: 64 bytes";
/// One turn of one side.
const TURN: Duration = Duration::from_millis(40);
const TURNS: usize = 5;

fn main() {
    let found = match std::env::args().nth(1).as_deref() {
        Some("verify") => verify(),
        Some("decide") => decisions(),
        _ => panic!("usage: cost verify|decide"),
    };
    println!("{found}");
}

/// Nanoseconds that each of several things takes: they take turns, and the median turn counts.
fn measure(sides: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let mut taken = vec![Vec::new(); sides.len()];
    for _ in 0..TURNS {
        for (side, taken) in sides.iter_mut().zip(&mut taken) {
            let (begin, mut count) = (Instant::now(), 0_u32);
            while begin.elapsed() < TURN {
                // Looking at the clock costs as much as a decision does.
                for _ in 0..16 {
                    side();
                }
                count += 16;
            }
            taken.push(begin.elapsed().as_nanos() as f64 / f64::from(count));
        }
    }
    taken.iter_mut().for_each(|turns| turns.sort_by(f64::total_cmp));
    taken.iter().map(|turns| turns[TURNS / 2]).collect()
}

/// A key in the forms of the two sides.
struct Key {
    signer: Signer,
    settings: KeySettings,
    other: DecodingKey,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn timed(key: impl Into<String>) -> Vec<Timed> {
    vec![Timed::always("key", Secret::new(key))]
}

fn public(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<Timed> {
    timed(pem("PUBLIC KEY", key.as_der().unwrap().as_ref()))
}

fn keys() -> Vec<Key> {
    let mut keys = vec![Key {
        signer: Signer::hmac(SECRET),
        settings: KeySettings { hmac: timed(SECRET), ..KeySettings::default() },
        other: DecodingKey::from_secret(SECRET.as_bytes()),
    }];
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    keys.push(Key {
        signer: Signer::pem(&pem("PRIVATE KEY", AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref()))
            .unwrap(),
        settings: KeySettings { rsa: public(pair.public_key()), ..KeySettings::default() },
        other: DecodingKey::from_rsa_der(pair.public_key().as_ref()),
    });
    for curve in [
        &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
    ] {
        let pair = EcdsaKeyPair::generate(curve).unwrap();
        keys.push(Key {
            signer: Signer::pem(&pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref())).unwrap(),
            settings: KeySettings { ecdsa: public(pair.public_key()), ..KeySettings::default() },
            other: DecodingKey::from_ec_der(pair.public_key().as_ref()),
        });
    }
    let pair = Ed25519KeyPair::generate().unwrap();
    keys.push(Key {
        signer: Signer::pem(&pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref())).unwrap(),
        settings: KeySettings { ed25519: public(pair.public_key()), ..KeySettings::default() },
        other: DecodingKey::from_ed_der(pair.public_key().as_ref()),
    });
    keys
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
}

fn connect(verifier: &Verifier, token: &str) -> ConnectToken {
    match verifier.verify_connection(token, NOW) {
        Answer::Now(result) => result.unwrap(),
        Answer::Later(_) => panic!("static keys need no waiting"),
    }
}

fn verify() -> Value {
    let mut found = Map::new();
    for key in keys() {
        let issuer =
            IssuerSettings { path: "client.token".into(), keys: key.settings, ..IssuerSettings::default() };
        let settings = TokenSettings { issuers: vec![issuer], ..TokenSettings::default() };
        let verifier = Verifier::new(&settings, &Jwks::offline()).unwrap();
        for alg in key.signer.algs() {
            let token =
                key.signer.claims(*alg, None, &json!({ "sub": "42", "exp": 4_102_444_800_i64 })).unwrap();
            let mut ours = || {
                black_box(connect(&verifier, black_box(&token)));
            };
            found.insert(alg.name().to_owned(), beside(&token, *alg, &key.other, &mut ours));
        }
        if found.len() == 3 {
            let token =
                key.signer.claims(key.signer.alg(), None, &json!({ "sub": "42", "exp": 4_102_444_800_i64 }));
            found.insert("cache".to_owned(), remembered(&verifier, &token.unwrap()));
        }
    }
    Value::Object(found)
}

/// Microseconds of ours and of the other, where it has the algorithm.
fn beside(token: &str, alg: Alg, key: &DecodingKey, ours: &mut dyn FnMut()) -> Value {
    let Ok(named) = alg.name().parse::<Algorithm>() else {
        return json!({ "us": measure(&mut [ours])[0] / 1e3 });
    };
    let validation = Validation::new(named);
    let mut other = || {
        let data = decode::<Claims>(black_box(token), key, &validation).unwrap();
        assert!(data.claims.sub == "42" && data.claims.exp > NOW);
        black_box(data.claims);
    };
    let taken = measure(&mut [ours, &mut other]);
    json!({ "us": taken[0] / 1e3, "other": taken[1] / 1e3 })
}

/// Cost of remembering tokens that were verified instead: a hash, a look under a lock, a copy of the claims.
fn remembered(verifier: &Verifier, token: &str) -> Value {
    let hash = |token: &str| {
        <[u8; 32]>::try_from(digest::digest(&digest::SHA256, token.as_bytes()).as_ref()).unwrap()
    };
    // As full as it would be, so that the look goes to memory.
    let mut known: HashMap<[u8; 32], Arc<ConnectToken>> =
        (0..100_000).map(|n| (hash(&n.to_string()), Arc::new(connect(verifier, token)))).collect();
    known.insert(hash(token), Arc::new(connect(verifier, token)));
    let known = Mutex::new(known);
    let mut hit = || {
        let found = known.lock().get(&hash(black_box(token))).cloned();
        black_box(found.unwrap().as_ref().clone());
    };
    json!({ "us": measure(&mut [&mut hit])[0] / 1e3 })
}

fn decisions() -> Value {
    let rules = Rules::new(
        Registry::new(
            &serde_json::from_value(json!({
                "patterns": true,
                "namespaces": [
                    { "name": "open", "allow_subscribe_for_client": true },
                    { "name": "closed" },
                    { "name": "user", "pattern": "/users/:name", "allow_subscribe_for_client": true },
                    { "name": "event", "pattern": "/rooms/room-:id/events", "allow_subscribe_for_client": true },
                ],
            }))
            .unwrap(),
        )
        .unwrap(),
    );
    let caps = Capabilities::parse(
        r#"[{"channels":["closed:a","closed:b"],"allow":["sub"]},{"channels":["closed:room-*"],"match":"wildcard","allow":["sub","pub"]}]"#,
    )
    .unwrap();
    let regex =
        Capabilities::parse(r#"[{"channels":["^closed:room-[0-9]+$"],"match":"regex","allow":["sub"]}]"#)
            .unwrap();
    let cases = [
        ("flag", "open:news", None, true),
        ("refusal", "closed:news", None, false),
        ("caps", "closed:room-17", Some(&caps), true),
        ("caps_regex", "closed:room-17", Some(&regex), true),
        ("pattern", "/rooms/room-17/events", None, true),
    ];
    let mut found = Map::new();
    for (name, channel, capabilities, allowed) in cases {
        let mut request = Request::new(SubscribeFacts::default(), channel, "42", NOW);
        request.capabilities = capabilities;
        assert_eq!(matches!(decide(&rules, &request).verdict, Verdict::Allow(_)), allowed, "{name}");
        let taken = measure(&mut [&mut || {
            black_box(decide(black_box(&rules), black_box(&request)));
        }]);
        found.insert(name.to_owned(), json!(taken[0]));
    }
    Value::Object(found)
}

//! Both ways with the crate `jsonwebtoken`, for each algorithm that it has (not ES512): what it signs is valid for
//! `spinward checktoken`, what `spinward gentoken` signs it verifies, and what is not right is refused.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests with processes and clocks of their own"
)]

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};
use spinward_server::auth::sign::Signer;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "a secret of the tests that is long enough for each of the three digests";

/// A key in the forms that the two sides and their options take.
struct Key {
    algs: &'static [Algorithm],
    /// Kind of a configured key, and the key.
    kind: &'static str,
    configured: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// Key that `gentoken` signs with, unless it is the configured secret.
    private: Option<String>,
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn public_pem(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    pem("PUBLIC KEY", key.as_der().unwrap().as_ref())
}

fn hmac(secret: &str) -> Key {
    Key {
        algs: &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
        kind: "hmac",
        configured: secret.to_owned(),
        encoding: EncodingKey::from_secret(secret.as_bytes()),
        decoding: DecodingKey::from_secret(secret.as_bytes()),
        private: None,
    }
}

fn rsa() -> Key {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    // The form without PKCS #8 around it, which is what this crate reads: it begins behind 26 bytes.
    let pkcs1 = &pkcs8.as_ref()[26..];
    Key {
        algs: &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512],
        kind: "rsa",
        configured: public_pem(pair.public_key()),
        encoding: EncodingKey::from_rsa_der(pkcs1),
        decoding: DecodingKey::from_rsa_der(pair.public_key().as_ref()),
        private: Some(pem("PRIVATE KEY", pkcs8.as_ref())),
    }
}

fn ec(algs: &'static [Algorithm]) -> Key {
    let kind = match algs {
        [Algorithm::ES256] => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        _ => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
    };
    let pair = EcdsaKeyPair::generate(kind).unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    Key {
        algs,
        kind: "ecdsa",
        configured: public_pem(pair.public_key()),
        encoding: EncodingKey::from_ec_der(pkcs8.as_ref()),
        decoding: DecodingKey::from_ec_der(pair.public_key().as_ref()),
        private: Some(pem("PRIVATE KEY", pkcs8.as_ref())),
    }
}

fn ed() -> Key {
    let pair = Ed25519KeyPair::generate().unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    Key {
        algs: &[Algorithm::EdDSA],
        kind: "ed25519",
        configured: public_pem(pair.public_key()),
        encoding: EncodingKey::from_ed_der(pkcs8.as_ref()),
        decoding: DecodingKey::from_ed_der(pair.public_key().as_ref()),
        private: Some(pem("PRIVATE KEY", pkcs8.as_ref())),
    }
}

fn one_of_each() -> Vec<Key> {
    vec![hmac(SECRET), rsa(), ec(&[Algorithm::ES256]), ec(&[Algorithm::ES384]), ed()]
}

/// A folder with a configuration, removed in the end.
struct Place(PathBuf);

impl Place {
    /// All keys are configured; the secret as the one to sign with.
    fn new(name: &str, keys: &[Key]) -> Self {
        let path = std::env::temp_dir().join(format!("spinward-jsonwebtoken-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let public: Vec<Value> = keys
            .iter()
            .filter(|key| key.private.is_some())
            .map(|key| json!({ "type": key.kind, "key": key.configured }))
            .collect();
        let config = json!({ "client": { "token": { "hmac_secret_key": SECRET, "keys": public } } });
        std::fs::write(path.join("config.json"), config.to_string()).unwrap();
        Self(path)
    }

    fn spinward(&self, arguments: &[&str]) -> (bool, String) {
        let config = self.0.join("config.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_spinward"));
        let output = command.arg("--config").arg(config).args(arguments).output().unwrap();
        // A refusal is an answer, and on standard output; a command that fails says so on the other.
        let mut text = output.stdout;
        if !output.status.success() {
            text.extend(output.stderr);
        }
        (output.status.success(), String::from_utf8(text).unwrap().trim().to_owned())
    }

    fn accepts(&self, token: &str) {
        let (good, text) = self.spinward(&["checktoken", token]);
        assert!(good && text.starts_with("valid token for user \"42\""), "{text}");
    }

    fn refuses(&self, token: &str, reason: &str) {
        let (good, text) = self.spinward(&["checktoken", token]);
        assert!(!good && text.contains(reason), "{reason} was due: {text}");
        assert!(text.contains("disconnect 3500"), "{text}");
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: &Path = &self.0.join(name);
        std::fs::write(path, text).unwrap();
        path.to_string_lossy().into_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn claims() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({ "sub": "42", "exp": now + 600 })
}

fn flipped(token: &str, at: usize) -> String {
    let (text, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[at] ^= 0x10;
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn renamed(token: &str, alg: &str) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "typ": "JWT" }).to_string()))
}

#[test]
fn what_it_signs_is_valid_and_nothing_near_it_is() {
    let keys = one_of_each();
    let place = Place::new("accepts", &keys);
    for key in &keys {
        let stranger = match key.kind {
            "hmac" => hmac("another secret that nobody has configured"),
            "rsa" => rsa(),
            "ecdsa" => ec(key.algs),
            _ => ed(),
        };
        for alg in key.algs {
            let token = encode(&Header::new(*alg), &claims(), &key.encoding).unwrap();
            place.accepts(&token);
            for at in [0, 7, 31] {
                place.refuses(&flipped(&token, at), "signature_mismatch");
            }
            let other = encode(&Header::new(*alg), &claims(), &stranger.encoding).unwrap();
            place.refuses(&other, "signature_mismatch");
            // The ring has keys of every family: a token is measured by the key of the family that it names.
            let swapped = if *alg == Algorithm::RS256 { "RS384" } else { "RS256" };
            place.refuses(&renamed(&token, swapped), "signature_mismatch");
            place.refuses(&renamed(&token, "none"), "alg_not_allowed");
        }
    }
}

#[test]
fn the_text_of_a_public_key_is_no_secret() {
    let keys = one_of_each();
    let place = Place::new("confusion", &keys);
    for key in keys.iter().filter(|key| key.private.is_some()) {
        let confused = EncodingKey::from_secret(key.configured.as_bytes());
        for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            place.refuses(&encode(&Header::new(alg), &claims(), &confused).unwrap(), "signature_mismatch");
        }
    }
    // Where no secret is configured at all, there is not even a key to measure it by.
    let path = place.file("config.json", "{}");
    let public = json!([{ "type": "rsa", "key": keys[1].configured }]);
    std::fs::write(path, json!({ "client": { "token": { "keys": public } } }).to_string()).unwrap();
    let confused = EncodingKey::from_secret(keys[1].configured.as_bytes());
    place.refuses(&encode(&Header::new(Algorithm::HS256), &claims(), &confused).unwrap(), "no_key_for_alg");
}

#[test]
fn what_spinward_signs_it_verifies() {
    let keys = one_of_each();
    let place = Place::new("signs", &keys);
    for key in &keys {
        for alg in key.algs {
            let name = format!("{alg:?}");
            let mut command = vec!["gentoken", "--quiet", "--user", "42", "--alg", &name];
            let file = key.private.as_ref().map(|pem| place.file("key.pem", pem));
            if let Some(file) = &file {
                command.extend(["--private-key", file]);
            }
            let (good, token) = place.spinward(&command);
            assert!(good, "{token}");
            let verify = |token: &str| decode::<Value>(token, &key.decoding, &Validation::new(*alg));
            assert_eq!(verify(&token).unwrap().claims["sub"], "42");
            assert!(verify(&flipped(&token, 3)).is_err());

            command[0] = "gensubtoken";
            command.extend(["--channel", "news"]);
            let (good, token) = place.spinward(&command);
            assert!(good, "{token}");
            assert_eq!(verify(&token).unwrap().claims["channel"], "news");
            let (good, text) = place.spinward(&["checksubtoken", &token]);
            // The channel is of the default namespace, which a token opens.
            assert!(good, "{text}");
        }
    }
}

/// The library that applications embed signs as the command does.
#[test]
fn a_signer_of_the_library_is_one_too() {
    let key = rsa();
    let signer = Signer::pem(key.private.as_ref().unwrap()).unwrap();
    let token = signer.claims(signer.alg(), Some("k"), &claims()).unwrap();
    let read = decode::<Value>(&token, &key.decoding, &Validation::new(Algorithm::RS256)).unwrap();
    assert_eq!((read.claims["sub"].as_str(), read.header.kid.as_deref()), (Some("42"), Some("k")));
}

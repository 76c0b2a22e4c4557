//! Accounts of an operator, as `nsc` makes them: tokens that vouch for each other.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An operator with one account for users, and one of the system.
#[derive(Debug)]
pub struct Accounts {
    account: KeyPair,
    /// Lines of a server's configuration: see [`Options::more`](super::Options::more).
    pub lines: String,
}

impl Accounts {
    /// Makes new ones.
    #[must_use]
    pub fn new() -> Self {
        let (operator, system, account) =
            (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
        let unlimited = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let none = json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1 });
        let of_account = |key: &KeyPair, limits: Value| {
            let nats = json!({ "type": "account", "version": 2, "limits": limits });
            token(&operator, &key.public_key(), &nats)
        };
        let own = json!({ "type": "operator", "version": 2, "system_account": system.public_key() });
        let lines = format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}\n",
            token(&operator, &operator.public_key(), &own),
            system.public_key(),
            account.public_key(),
            of_account(&account, unlimited),
            system.public_key(),
            of_account(&system, none),
        );
        Self { account, lines }
    }

    /// The credentials file of a new user.
    ///
    /// # Panics
    /// Never: a new key has a seed.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a new key has a seed")]
    pub fn user(&self) -> String {
        let user = KeyPair::new_user();
        let nats = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(&self.account, &user.public_key(), &nats),
            user.seed().expect("seed of a new key"),
        )
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self::new()
    }
}

/// A token about a key, by the key of the one who vouches for it.
#[allow(clippy::expect_used, reason = "a new key signs")]
fn token(issuer: &KeyPair, subject: &str, nats: &Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": subject, "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject, "name": "test", "nats": nats,
    });
    let text = format!("{}.{}", part(json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(claims));
    let signature = issuer.sign(text.as_bytes()).expect("signature of a new key");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

use super::*;
use crate::auth::jwks::Jwks;
use crate::auth::reason::Reason;
use crate::auth::sign::hs256;
use crate::auth::verify::Verifier;
use crate::config::{Vars, from_tree};
use serde_json::{Value, json};
use spinward::Answer;

const NOW: i64 = 1_700_000_000;
const OLD: &str = "the-old-secret-of-the-test-0123456789";
const NEW: &str = "the-new-secret-of-the-test-0123456789";

fn settings(token: Value) -> TokenSettings {
    let tree = json!({ "client": { "token": token } });
    let config = from_tree(tree.as_object().unwrap().clone(), &Vars::default(), &[]).unwrap().config;
    token_settings(&config.client.token, "client.token", false).unwrap()
}

fn verify(token: Value, key: &str, claims: Value) -> Result<String, Reason> {
    let verifier = Verifier::new(&settings(token), &Jwks::offline()).unwrap();
    match verifier.verify_connection(&hs256(key, &claims), NOW) {
        Answer::Now(verified) => verified.map(|token| token.user).map_err(|refusal| refusal.reason),
        Answer::Later(_) => panic!("nothing is fetched here"),
    }
}

#[test]
fn listed_keys_hold_from_a_time_to_a_time() {
    let list = json!({ "keys": [
        { "type": "hmac", "key": OLD, "valid_until": NOW - 1 },
        { "type": "hmac", "key": NEW, "valid_from": NOW },
    ] });
    assert_eq!(verify(list.clone(), NEW, json!({ "sub": "1" })), Ok("1".to_owned()));
    assert_eq!(verify(list, OLD, json!({ "sub": "1" })), Err(Reason::SignatureMismatch));
    let both = json!({ "hmac_secret_key": OLD, "keys": [{ "type": "hmac", "key": NEW }] });
    for key in [OLD, NEW] {
        assert_eq!(verify(both.clone(), key, json!({ "sub": "1" })), Ok("1".to_owned()));
    }
}

#[test]
fn keys_of_a_list_go_to_their_own_kind() {
    let kinds = ["hmac", "rsa", "ecdsa", "ed25519"];
    let list: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind, "key": kind })).collect();
    let settings = settings(json!({ "keys": list, "ed25519_public_key": "plain" }));
    let keys = &settings.issuers[0].keys;
    let of = |list: &[Timed]| -> Vec<String> { list.iter().map(|key| key.key.expose().to_owned()).collect() };
    assert_eq!(of(&keys.hmac), ["hmac"]);
    assert_eq!(of(&keys.rsa), ["rsa"]);
    assert_eq!(of(&keys.ecdsa), ["ecdsa"]);
    assert_eq!(of(&keys.ed25519), ["plain", "ed25519"]);
    assert_eq!(keys.rsa[0].option, "client.token.keys[1].key");
}

#[test]
fn no_token_is_good_under_the_key_of_another_issuer() {
    let two = json!({ "issuers": [
        { "name": "one", "issuer": "https://one", "hmac_secret_key": OLD },
        { "issuer": "https://two", "hmac_secret_key": NEW, "user_id_claim": "who.id" },
    ] });
    let from =
        |iss: &str, key| verify(two.clone(), key, json!({ "sub": "1", "who": { "id": "2" }, "iss": iss }));
    assert_eq!(from("https://one", OLD), Ok("1".to_owned()));
    assert_eq!(from("https://two", NEW), Ok("2".to_owned()));
    assert_eq!(from("https://one", NEW), Err(Reason::SignatureMismatch));
    assert_eq!(from("https://two", OLD), Err(Reason::SignatureMismatch));
    assert_eq!(from("https://three", OLD), Err(Reason::IssuerMismatch));
    let paths: Vec<String> = settings(two.clone()).issuers.into_iter().map(|issuer| issuer.path).collect();
    assert_eq!(paths, ["client.token.issuers[one]", "client.token.issuers[1]"]);
}

#[test]
fn a_token_without_an_end_is_refused_where_it_must_have_one() {
    let strict = json!({ "hmac_secret_key": OLD, "require_exp": true });
    assert_eq!(verify(strict.clone(), OLD, json!({ "sub": "1" })), Err(Reason::ClaimMissing("exp".into())));
    assert!(verify(strict, OLD, json!({ "sub": "1", "exp": NOW + 60 })).is_ok());
}

#[test]
fn claims_are_where_they_are_said_to_be() {
    let mapped = json!({
        "hmac_secret_key": OLD, "info_claim": "a.info", "meta_claim": "a.meta", "channels_claim": "a.in",
        "caps_claim": "a.caps",
    });
    let claims = json!({ "sub": "1", "a": {
        "info": { "n": 1 }, "meta": { "m": 2 }, "in": ["news"],
        "caps": [{ "channels": ["x"], "allow": ["sub"] }],
    } });
    let verifier = Verifier::new(&settings(mapped.clone()), &Jwks::offline()).unwrap();
    let Answer::Now(Ok(token)) = verifier.verify_connection(&hs256(OLD, &claims), NOW) else {
        panic!("refused")
    };
    assert_eq!(token.info.as_deref(), Some(br#"{"n":1}"#.as_slice()));
    assert_eq!(token.meta.as_deref(), Some(br#"{"m":2}"#.as_slice()));
    assert!(token.subs.contains_key("news") && token.caps.is_some());
    assert!(matches!(verify(mapped, OLD, json!({ "sub": "1" })), Err(Reason::ClaimMissing(_))));
}

#[test]
fn a_key_set_is_fetched_as_it_is_said() {
    let token = json!({
        "jwks_public_endpoint": "https://issuer.example/keys", "jwks_timeout": "250ms", "jwks_ttl": "60s",
        "jwks_stale": "2h", "jwks_headers": { "Authorization": "Bearer x" },
    });
    let fetch = settings(token).issuers[0].keys.jwks.clone().unwrap().fetch;
    assert_eq!((fetch.timeout_ms, fetch.ttl, fetch.refresh_before, fetch.stale), (250, 60, 30, 7200));
    assert_eq!(fetch.headers.len(), 1);
    assert_eq!(fetch.headers[0].1.expose(), "Bearer x");
}

/// Public keys may be given as every PEM option is: the text, its base64, or a file.
#[test]
fn public_keys_are_read_in_each_form_of_pem() {
    use base64::Engine as _;
    let pem = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\n\
        q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\n\
        -----END PUBLIC KEY-----\n";
    let path = std::env::temp_dir().join(format!("spinward-public-key-{}.pem", std::process::id()));
    std::fs::write(&path, pem).unwrap();
    let encoded = base64::engine::general_purpose::STANDARD.encode(pem);
    for given in [pem, encoded.as_str(), path.to_str().unwrap()] {
        for token in
            [json!({ "ecdsa_public_key": given }), json!({ "keys": [{ "type": "ecdsa", "key": given }] })]
        {
            let settings = settings(token);
            assert_eq!(settings.issuers[0].keys.ecdsa[0].key.expose(), pem, "{given}");
            Verifier::new(&settings, &Jwks::offline()).unwrap();
        }
    }
    std::fs::remove_file(&path).unwrap();
    let missing = settings(json!({ "rsa_public_key": path.to_str().unwrap() }));
    let error = Verifier::new(&missing, &Jwks::offline()).err().unwrap();
    assert!(error.to_string().contains("client.token.rsa_public_key: not a PEM key"), "{error}");
}

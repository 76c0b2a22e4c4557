//! Tokens that are made and checked by the command line.

use super::*;
use crate::config::{Vars, from_tree};

const NOW: i64 = 1_700_000_000;

fn configured(more: &Value) -> Config {
    let mut tree = json!({
        "client": { "token": { "hmac_secret_key": "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=" } },
        "channel": { "namespaces": [
            { "name": "open", "allow_subscribe_for_client": true },
            { "name": "closed" }
        ] }
    });
    merge(&mut tree, more);
    from_tree(tree.as_object().unwrap().clone(), &Vars::default(), &[]).unwrap().config
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn plain() -> Config {
    configured(&json!({}))
}

fn generated(user: &str, ttl: i64) -> GenToken {
    GenToken { user: user.into(), ttl, quiet: true, with: With::default() }
}

fn connection_token(config: &Config, user: &str, ttl: i64) -> String {
    let command = generated(user, ttl);
    signed("client.token", &config.client.token.own, json!({}), &command, NOW).unwrap().1
}

fn subscription_token(config: &Config, user: &str, channel: &str) -> String {
    let command = generated(user, 60);
    signed("client.token", &config.client.token.own, json!({ "channel": channel }), &command, NOW).unwrap().1
}

fn text(checked: Result<String, Fault>) -> String {
    match checked {
        Ok(text) => text,
        Err(Fault::Refused(text)) => format!("REFUSED {text}"),
        Err(Fault::Failed(failure)) => format!("FAILED {failure}"),
    }
}

fn check_connection(config: &Config, token: &str, user: Option<&str>, channel: Option<&str>) -> String {
    let command = CheckToken {
        file: file::Deciding::default(),
        token: token.into(),
        user: user.map(Into::into),
        channel: channel.map(Into::into),
    };
    text(connection(config, &command, NOW))
}

fn check_subscription(
    config: &Config,
    token: &str,
    user: Option<&str>,
    channel: Option<&str>,
    client: Option<&str>,
) -> String {
    let command = CheckSubToken {
        file: file::Deciding::default(),
        token: token.into(),
        user: user.map(Into::into),
        channel: channel.map(Into::into),
        client: client.map(Into::into),
    };
    text(subscription(config, &command, NOW))
}

#[test]
fn a_login_that_the_token_alone_does_not_decide_is_explained() {
    let config = configured(&json!({
        "client": { "subscribe_to_user_personal_channel": { "enabled": true } },
        "channel": { "without_namespace": { "allow_user_limited_channels": true } },
    }));
    let check = |user: &str| check_connection(&config, &connection_token(&config, user, 60), None, None);
    assert!(check("bob").starts_with("valid"));
    for (user, told) in [
        ("bob#1234", ["personal_channel_shared", "allow_user_limited_channels", "disconnect 3507"]),
        ("did:plc:abc", ["personal_channel_unknown", "personal_channel_namespace", "error 102"]),
    ] {
        let text = check(user);
        assert!(text.starts_with("REFUSED") && told.iter().all(|part| text.contains(part)), "{text}");
    }
    let command = generated("bob", 60);
    let claims = json!({ "caps": { "admin": true } });
    let (_, token) = signed("client.token", &config.client.token.own, claims, &command, NOW).unwrap();
    let text = check_connection(&config, &token, None, None);
    assert!(text.starts_with("valid") && text.contains("note: the claim caps is in another form"), "{text}");
}

#[test]
fn what_is_made_here_is_valid_here() {
    let config = plain();
    let text = check_connection(&config, &connection_token(&config, "42", 60), None, None);
    assert!(text.starts_with("valid token for user \"42\"\n  expires: in "), "{text}");
    let text = check_connection(&config, &connection_token(&config, "", -1), None, None);
    assert!(text.starts_with("valid token for the anonymous user\n  expires: never"), "{text}");
    let token = subscription_token(&config, "42", "$closed:a");
    let text = check_subscription(&config, &token, Some("42"), Some("$closed:a"), Some("any"));
    assert!(text.starts_with("valid subscription token for user \"42\" and channel \"$closed:a\""), "{text}");
    let named = configured(&json!({ "client": { "token": { "user_id_claim": "uid" } } }));
    let text = check_connection(&named, &connection_token(&named, "7", 60), None, None);
    assert!(text.starts_with("valid token for user \"7\""), "{text}");
    let deep = configured(&json!({ "client": { "token": { "user_id_claim": "who.id" } } }));
    let text = check_connection(&deep, &connection_token(&deep, "8", 60), None, None);
    assert!(text.starts_with("valid token for user \"8\""), "{text}");
}

#[test]
fn refusals_name_reason_outcome_and_remedy() {
    let config = plain();
    let refused = |text: String, parts: &[&str]| {
        assert!(text.starts_with("REFUSED "), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
    };
    let other = configured(&json!({ "client": { "token": { "hmac_secret_key": "another" } } }));
    refused(
        check_connection(&config, &connection_token(&other, "42", 60), None, None),
        &["signature_mismatch", "client.token.hmac_secret_key", "disconnect 3500", "to change:"],
    );
    refused(
        check_connection(&config, &connection_token(&config, "42", 0), None, None),
        &["expired", "on connect a client gets: error 109", "on refresh a client gets: disconnect 3005"],
    );
    let good = connection_token(&config, "42", 60);
    refused(check_connection(&config, &good, Some("43"), None), &["user_mismatch", "disconnect 3500"]);
    refused(check_connection(&config, "garbage", None, None), &["malformed:token"]);
    refused(
        check_connection(&config, &subscription_token(&config, "42", "a"), None, None),
        &["subscription_token_used_to_connect"],
    );
    refused(
        check_subscription(&config, &good, None, None, None),
        &["connection_token_used_to_subscribe", "error 103"],
    );
    let token = subscription_token(&config, "42", "open:a");
    let check = |user, channel| check_subscription(&config, &token, user, channel, None);
    refused(check(Some("43"), None), &["user_mismatch", "on subscribe a client gets: disconnect 3500"]);
    refused(check(Some(""), None), &["user_mismatch", "anonymous"]);
    refused(check(None, Some("open:b")), &["channel_mismatch"]);
    let unknown = subscription_token(&config, "42", "nowhere:a");
    refused(check_subscription(&config, &unknown, None, None, None), &["102"]);
    let strict = configured(&json!({ "client": { "disallow_anonymous_connection_tokens": true } }));
    refused(
        check_connection(&strict, &connection_token(&strict, "", 60), None, None),
        &["anonymous_not_allowed", "disconnect 3507"],
    );
}

#[test]
fn a_channel_is_decided_as_the_server_does() {
    let config = plain();
    let token = connection_token(&config, "42", 60);
    let open = check_connection(&config, &token, None, Some("open:a"));
    assert!(open.starts_with("valid token") && open.contains("allow"), "{open}");
    let closed = check_connection(&config, &token, None, Some("closed:a"));
    assert!(closed.starts_with("REFUSED") && closed.contains("103"), "{closed}");
}

#[test]
fn subscription_tokens_have_their_own_keys_where_that_is_configured() {
    let separate = configured(&json!({
        "client": { "subscription_token": { "enabled": true, "hmac_secret_key": "apart" } }
    }));
    let command = generated("42", 60);
    let keys = &separate.client.subscription_token.token.own;
    let token = signed("p", keys, json!({ "channel": "open:a" }), &command, NOW).unwrap().1;
    assert!(check_subscription(&separate, &token, None, None, None).starts_with("valid"));
    let with_other_keys = subscription_token(&separate, "42", "open:a");
    let text = check_subscription(&separate, &with_other_keys, None, None, None);
    assert!(text.contains("signature_mismatch") && text.contains("client.subscription_token"), "{text}");
}

/// A newcomer would otherwise get a token that the same configuration refuses.
#[test]
fn a_token_has_issuer_and_audience_of_the_configuration() {
    let config = configured(&json!({
        "client": { "token": { "issuer": "i", "audience": "a", "user_id_claim": "user.id" } }
    }));
    let token = connection_token(&config, "42", 60);
    assert!(contents(&token).unwrap().contains(r#""aud": "a""#));
    let text = check_connection(&config, &token, None, None);
    assert!(text.starts_with(r#"valid token for user "42""#), "{text}");
    let text = check_subscription(&config, &subscription_token(&config, "42", "open:a"), None, None, None);
    assert!(text.starts_with("valid"), "{text}");
}

#[test]
fn without_a_secret_nothing_is_made() {
    let none = configured(&json!({ "client": { "token": { "hmac_secret_key": "" } } }));
    let command = generated("", 1);
    let error = signed("client.token", &none.client.token.own, json!({}), &command, NOW).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("client.token.hmac_secret_key") && error.contains("--private-key"), "{error}");
}

#[test]
fn algorithms_are_those_of_the_key() {
    let config = plain();
    let made = |alg: &str| {
        let mut command = generated("42", 60);
        command.with.alg = Some(alg.into());
        command.with.kid = Some("k1".into());
        signed("client.token", &config.client.token.own, json!({}), &command, NOW)
    };
    for name in ["HS256", "HS384", "HS512"] {
        let (alg, token) = made(name).unwrap();
        assert_eq!(alg.name(), name);
        let read = Jws::parse(&token).unwrap();
        assert_eq!((read.alg, read.kid.as_deref()), (alg, Some("k1")));
        assert!(check_connection(&config, &token, None, None).starts_with("valid"), "{name}");
    }
    let error = made("RS256").unwrap_err().to_string();
    assert_eq!(error, "--alg: the key does not sign RS256, but HS256, HS384, HS512");
    assert!(made("none").unwrap_err().to_string().contains("ES512"));
}

/// Nothing listens there: the answer is that keys cannot be had, and not that the token is bad.
#[test]
fn a_key_set_that_cannot_be_fetched_is_said_so() {
    let set =
        configured(&json!({ "client": { "token": { "jwks_public_endpoint": "http://127.0.0.1:1/keys" } } }));
    let token = "eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.e30.AAAA";
    let text = check_connection(&set, token, None, None);
    assert!(text.starts_with("FAILED"), "nothing is known of the token: {text}");
    assert!(text.contains("keys_unavailable") && text.contains("error 100"), "{text}");
}

#[test]
fn claims_are_shown_as_they_are_written() {
    let command = generated("42", 60);
    let claims = json!({ "info": { "name": "Ann" } });
    let (_, token) = signed("client.token", &plain().client.token.own, claims, &command, NOW).unwrap();
    let shown = contents(&token).unwrap();
    assert!(shown.starts_with("  algorithm: HS256\n  claims: {\n"), "{shown}");
    let (_, claims) = shown.split_once("claims: ").unwrap();
    let expected = json!({ "info": { "name": "Ann" }, "sub": "42", "iat": NOW, "exp": NOW + 60 });
    assert_eq!(serde_json::from_str::<Value>(claims).unwrap(), expected);
    assert_eq!(contents("garbage"), None);
}

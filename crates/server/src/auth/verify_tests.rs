use super::super::reason::{Reason, Use};
use super::super::settings::{ClaimSettings, Expect, IssuerSettings, KeySettings, Timed, TokenSettings};
use super::super::testing::{Signer, always, b64u, issuer, keys_of, named, settings, signers};
use super::*;
use crate::auth::jws::Curve;
use crate::policy::Allow;
use crate::secret::Secret;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000;

fn make(settings: &TokenSettings) -> Verifier {
    Verifier::new(settings, &Jwks::offline()).unwrap()
}

fn now<T>(answer: Answer<T>) -> T {
    match answer {
        Answer::Now(value) => value,
        Answer::Later(_) => panic!("static keys need no waiting"),
    }
}

fn connect(verifier: &Verifier, token: &str) -> Result<ConnectToken, Refusal> {
    now(verifier.verify_connection(token, NOW))
}

fn subscribe(verifier: &Verifier, token: &str) -> Result<SubscribeToken, Refusal> {
    now(verifier.verify_subscription(token, NOW))
}

fn hmac() -> Signer {
    Signer::hmac("secret")
}

fn with_secret() -> Verifier {
    make(&settings(vec![issuer(keys_of(&[&hmac()]))]))
}

fn connect_code(claims: &str) -> String {
    let token = hmac().token(claims);
    connect(&with_secret(), &token).map_or_else(|refusal| refusal.reason.code().into_owned(), |_| "ok".into())
}

fn subscribe_code(claims: &str) -> String {
    let token = hmac().token(claims);
    subscribe(&with_secret(), &token)
        .map_or_else(|refusal| refusal.reason.code().into_owned(), |_| "ok".into())
}

#[test]
fn the_simplest_token_connects() {
    let token = connect(&with_secret(), &hmac().token(r#"{"sub":"42"}"#)).unwrap();
    assert_eq!((token.user.as_str(), token.expire_at, token.info), ("42", None, None));
}

/// Made by PyJWT: `jwt.encode({"sub": "42"}, "secret", algorithm="HS256")`.
#[test]
fn a_token_of_another_library_connects() {
    let token = concat!(
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9",
        ".79CVgMIG_JB921dVUeJDWNJubJojFodH3-XtC_1C408"
    );
    assert_eq!(connect(&with_secret(), token).unwrap().user, "42");
}

#[test]
fn every_algorithm_verifies_with_its_key() {
    for signer in signers() {
        let verifier = make(&settings(vec![issuer(keys_of(&[signer]))]));
        for alg in Alg::ALL {
            let token = signer.token_alg(alg, r#"{"sub":"u"}"#);
            let serves = match signer {
                Signer::Ec(curve, _) => alg == Alg::Es(*curve),
                _ => alg.family() == signer.alg().family(),
            };
            let code = connect(&verifier, &token).map_err(|refusal| refusal.reason);
            if serves {
                assert_eq!(code.unwrap().user, "u", "{alg}");
                // One changed bit in any of the three parts.
                let (head, signature) = token.rsplit_once('.').unwrap();
                let mut bytes = signer.forge(alg, head.as_bytes());
                bytes[0] ^= 1;
                let tampered = format!("{head}.{}", b64u(&bytes));
                assert_eq!(
                    connect(&verifier, &tampered).unwrap_err().reason,
                    Reason::SignatureMismatch,
                    "{alg}"
                );
                let other = signer.token_alg(alg, r#"{"sub":"v"}"#);
                let swapped = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
                if matches!(signer, Signer::Hmac(_) | Signer::Rsa(_) | Signer::Ed(_)) {
                    assert_eq!(connect(&verifier, &swapped).unwrap_err().reason, Reason::SignatureMismatch);
                }
            } else {
                assert_eq!(code.unwrap_err(), Reason::NoKeyForAlg, "{alg} with a key for {}", signer.alg());
            }
        }
    }
}

/// Centrifugo v6.9's answers to the same claims: 3500 for `claim_type`, 109 for `expired`, and so on.
#[test]
fn claims_of_connection_tokens_are_tolerated_as_centrifugo_does() {
    let at = |offset: i64| NOW + offset;
    let cases: &[(&str, String)] = &[
        ("ok", r#"{"sub":null}"#.into()),
        ("ok", "{}".into()),
        ("claim_type:sub", r#"{"sub":5}"#.into()),
        ("claim_type:sub", r#"{"sub":true}"#.into()),
        ("claim_type:sub", r#"{"sub":{}}"#.into()),
        ("claim_type:sub", r#"{"sub":["u"]}"#.into()),
        ("ok", format!(r#"{{"exp":{}}}"#, at(1))),
        ("expired", format!(r#"{{"exp":{}}}"#, at(0))),
        ("expired", format!(r#"{{"exp":{}}}"#, at(-1))),
        ("expired", r#"{"exp":0}"#.into()),
        ("expired", r#"{"exp":-1}"#.into()),
        ("expired", r#"{"exp":-1.5e9}"#.into()),
        ("ok", r#"{"exp":null}"#.into()),
        ("ok", format!(r#"{{"exp":{}.9}}"#, at(1))),
        ("ok", format!(r#"{{"exp":"{}"}}"#, at(100))),
        ("expired", format!(r#"{{"exp":"{}"}}"#, at(-100))),
        ("ok", r#"{"exp":1e15}"#.into()),
        ("ok", r#"{"exp":4611686018427387904}"#.into()),
        ("claim_type:exp", r#"{"exp":"x"}"#.into()),
        ("claim_type:exp", r#"{"exp":""}"#.into()),
        ("claim_type:exp", r#"{"exp":true}"#.into()),
        ("claim_type:exp", r#"{"exp":[1]}"#.into()),
        ("claim_type:exp", r#"{"exp":{}}"#.into()),
        ("expired", r#"{"exp":1e19}"#.into()),
        ("expired", r#"{"exp":9223372036854775807}"#.into()),
        ("claim_type:exp", r#"{"exp":1e400}"#.into()),
        ("claim_type:exp", r#"{"exp":" 4102444800"}"#.into()),
        ("claim_type:exp", r#"{"exp":"NaN"}"#.into()),
        ("claim_type:exp", r#"{"exp":"inf"}"#.into()),
        ("claim_type:nbf", r#"{"nbf":"x"}"#.into()),
        ("not_yet_valid", format!(r#"{{"nbf":{}}}"#, at(1))),
        ("ok", format!(r#"{{"nbf":{}}}"#, at(0))),
        ("claim_type:iat", r#"{"iat":"x"}"#.into()),
        ("ok", format!(r#"{{"iat":{}}}"#, at(1000))),
        ("claim_type:expire_at", r#"{"expire_at":1.5}"#.into()),
        ("claim_type:expire_at", r#"{"expire_at":5.0}"#.into()),
        ("claim_type:expire_at", r#"{"expire_at":5e0}"#.into()),
        ("claim_type:expire_at", r#"{"expire_at":"5"}"#.into()),
        ("claim_type:expire_at", r#"{"expire_at":18446744073709551616}"#.into()),
        ("malformed:b64info", r#"{"b64info":"!!!"}"#.into()),
        ("malformed:b64info", r#"{"b64info":"eyJiIjoxfQ"}"#.into()),
        ("malformed:b64info", r#"{"b64info":"_-8="}"#.into()),
        ("malformed:b64info", r#"{"b64info":"eyJi IjoxfQ=="}"#.into()),
        ("claim_type:b64info", r#"{"b64info":5}"#.into()),
        ("ok", r#"{"b64info":null}"#.into()),
        ("claim_type:channels", r#"{"channels":"a"}"#.into()),
        ("claim_type:channels", r#"{"channels":[5]}"#.into()),
        ("ok", r#"{"channels":null}"#.into()),
        ("claim_type:subs", r#"{"subs":[]}"#.into()),
        ("claim_type:subs", r#"{"subs":{"a":"x"}}"#.into()),
        ("claim_type:subs", r#"{"subs":{"a":{},"a":{}}}"#.into()),
        ("claim_type:subs", r#"{"subs":{"a":{"b64info":5}}}"#.into()),
        ("malformed:subs", r#"{"subs":{"a":{"b64info":"!!"}}}"#.into()),
        ("malformed:subs", r#"{"subs":{"a":{"b64data":"!!"}}}"#.into()),
        ("claim_type:subs", r#"{"subs":{"a":{"override":{"presence":true}}}}"#.into()),
        ("claim_type:subs", r#"{"subs":{"a":{"override":{"presence":{"value":"x"}}}}}"#.into()),
        ("ok", r#"{"subs":{"a":{"override":{"presence":null,"foo":5},"foo":5}}}"#.into()),
        ("subscription_token_used_to_connect", r#"{"channel":"a"}"#.into()),
        ("claim_type:channel", r#"{"channel":5}"#.into()),
        ("ok", r#"{"channel":""}"#.into()),
        ("ok", r#"{"channel":null}"#.into()),
        ("claim_type:aud", r#"{"aud":5}"#.into()),
        ("claim_type:aud", r#"{"aud":null}"#.into()),
        ("claim_type:aud", r#"{"aud":[5]}"#.into()),
        ("claim_type:aud", r#"{"aud":{}}"#.into()),
        ("ok", r#"{"aud":["a"],"iss":"b"}"#.into()),
        ("claim_type:iss", r#"{"iss":5}"#.into()),
        ("ok", r#"{"iss":null}"#.into()),
        ("claim_type:jti", r#"{"jti":5}"#.into()),
        ("ok", r#"{"meta":5}"#.into()),
        // Another application's claim of the same name.
        ("ok", r#"{"caps":"x"}"#.into()),
        ("ok", r#"{"caps":{"admin":true}}"#.into()),
        ("ok", r#"{"caps":["sub"]}"#.into()),
        ("claim_type:caps", r#"{"caps":[{"channels":["a"],"allow":["everything"]}]}"#.into()),
        // Of two faults, the one reported follows Centrifugo's order.
        ("expired", format!(r#"{{"exp":{},"b64info":"!!!"}}"#, at(-5))),
        ("claim_type:channels", format!(r#"{{"exp":{},"channels":"x"}}"#, at(-5))),
        ("subscription_token_used_to_connect", format!(r#"{{"exp":{},"channel":"x"}}"#, at(-5))),
        ("ok", "null".into()),
        ("ok", r#"{"SUB":"a","Info":1}"#.into()),
        ("expired", r#"{"EXP":1}"#.into()),
        ("subscription_token_used_to_connect", r#"{"Channel":"x"}"#.into()),
        ("ok", r#"{"nbf":1e30,"iat":-1e30}"#.into()),
        // Stricter than Centrifugo: what has two readings is refused.
        ("malformed:payload", r#"{"sub":"a","sub":"b"}"#.into()),
        ("malformed:payload", "[]".into()),
        ("malformed:payload", "\"x\"".into()),
        ("malformed:payload", String::new()),
        ("malformed:payload", "{} x".into()),
        ("malformed:payload", "\u{feff}{}".into()),
        ("malformed:payload", format!(r#"{{"info":{}}}"#, "[".repeat(10_000))),
        ("ok", format!(r#"{{"info":{}1{}}}"#, "[".repeat(1_000), "]".repeat(1_000))),
        ("ok", format!(r#"{{"caps":{}1{}}}"#, "[".repeat(9_999), "]".repeat(9_999))),
        ("claim_type:channels", format!(r#"{{"channels":{}1{}}}"#, "[".repeat(9_999), "]".repeat(9_999))),
        ("malformed:payload", format!(r#"{{"info":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000))),
        ("claim_type:sub", r#"{"sub":"\ud800"}"#.into()),
        ("claim_type:sub", r#"{"sub":"a","Sub":"b"}"#.into()),
        ("malformed:payload", r#"{"exp":01}"#.into()),
    ];
    for (expected, claims) in cases {
        assert_eq!(connect_code(claims), *expected, "{claims}");
    }
}

#[test]
fn claims_of_subscription_tokens_are_tolerated_as_centrifugo_does() {
    let cases: &[(&str, String)] = &[
        ("ok", r#"{"channel":"c"}"#.into()),
        ("connection_token_used_to_subscribe", r#"{"sub":"u"}"#.into()),
        ("connection_token_used_to_subscribe", r#"{"sub":"u","channel":""}"#.into()),
        ("claim_type:channel", r#"{"channel":5}"#.into()),
        ("expired", format!(r#"{{"exp":{}}}"#, NOW - 5)),
        ("expired", format!(r#"{{"channel":"c","exp":{},"expire_at":0}}"#, NOW - 5)),
        ("not_yet_valid", format!(r#"{{"channel":"c","nbf":{}}}"#, NOW + 5)),
        ("claim_type:exp", r#"{"channel":"c","exp":"x"}"#.into()),
        ("claim_type:client", r#"{"channel":"c","client":5}"#.into()),
        ("malformed:b64info", r#"{"channel":"c","b64info":"!!!"}"#.into()),
        ("malformed:b64data", r#"{"channel":"c","b64data":"!!!"}"#.into()),
        ("claim_type:b64data", r#"{"channel":"c","b64data":5}"#.into()),
        ("claim_type:override", r#"{"channel":"c","override":true}"#.into()),
        ("ok", r#"{"channel":"c","override":{"presence":{}}}"#.into()),
        ("claim_type:allow", r#"{"channel":"c","allow":"pub"}"#.into()),
        ("claim_type:allow", r#"{"channel":"c","allow":["publish"]}"#.into()),
        ("malformed:payload", r#"{"channel":"c","channel":"d"}"#.into()),
    ];
    for (expected, claims) in cases {
        assert_eq!(subscribe_code(claims), *expected, "{claims}");
    }
}

#[test]
fn contents_of_a_connection_token_come_through() {
    let claims = format!(
        r#"{{"sub":"u","exp":{},"iat":7,"jti":"j","iss":"i","meta":{{"m":1}},"info":{{
            "a": 1}},"channels":["x"],
            "subs":{{"a":{{"info":1,"b64data":"/wA=","override":{{"presence":{{"value":true}},"join_leave":{{}}}}}},"b":null,"":{{}}}},
            "caps":[{{"channels":["n:*"],"match":"wildcard","allow":["sub"]}}]}}"#,
        NOW + 60
    );
    let token = connect(&with_secret(), &hmac().token(&claims)).unwrap();
    assert_eq!((token.exp, token.expire_at, token.iat), (Some(NOW + 60), Some(NOW + 60), Some(7)));
    assert_eq!((token.jti.as_deref(), token.issuer.as_deref()), (Some("j"), Some("i")));
    assert_eq!(token.meta.as_deref(), Some(br#"{"m":1}"#.as_slice()));
    let info = token.info.unwrap();
    assert!(!info.contains(&b'\n'), "a frame of the JSON protocol ends at a line break");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&info).unwrap(), serde_json::json!({"a": 1}));
    assert_eq!(token.subs.keys().collect::<Vec<_>>(), ["a", "b"], "subs win over channels");
    let a = &token.subs["a"];
    assert_eq!((a.info.as_deref(), a.data.as_deref()), (Some(b"1".as_slice()), Some([0xff, 0].as_slice())));
    assert!(a.overrides.presence.unwrap().value && !a.overrides.join_leave.unwrap().value);
    assert!(token.caps.unwrap().allow("n:1", Allow::SUBSCRIBE));

    let get = |claims: &str| connect(&with_secret(), &hmac().token(claims)).unwrap();
    assert_eq!(get(r#"{"subs":{},"channels":["x","x",null,""]}"#).subs.len(), 1);
    assert_eq!(
        get(r#"{"info":{"a":1},"b64info":"eyJi\nIjoxfR=="}"#).info.as_deref(),
        Some(br#"{"b":1}"#.as_slice())
    );
    let spaced = "{ \"a\" : 1 ,\t\"b\" :\r[ 1 , 2 ] }";
    let info = get(&format!(r#"{{"info":{spaced}}}"#)).info.unwrap();
    assert_eq!(info, spaced.as_bytes(), "as it was signed");
    assert_eq!(get(r#"{"info":null,"meta":null}"#).info.as_deref(), Some(b"null".as_slice()));
    for (claim, expected) in [("0", None), ("-5", None), ("null", Some(NOW + 9)), ("17", Some(17))] {
        let token = get(&format!(r#"{{"exp":{},"expire_at":{claim}}}"#, NOW + 9));
        assert_eq!(token.expire_at, expected, "{claim}");
    }
}

#[test]
fn contents_of_a_subscription_token_come_through() {
    let claims = r#"{"sub":"u","channel":"$c","client":"k","info":{"a":1},"data":[1],"allow":["pub","hst"],
        "override":{"force_recovery":{"value":true}},"expire_at":9}"#;
    let token = subscribe(&with_secret(), &hmac().token(claims)).unwrap();
    assert_eq!((token.user.as_str(), token.channel.as_str(), token.client.as_str()), ("u", "$c", "k"));
    assert_eq!(token.allow, Allow::PUBLISH.union(Allow::HISTORY));
    let facts = token.facts();
    assert_eq!((facts.expire_at, facts.overrides.force_recovery.unwrap().value), (9, true));
    let reason = |user, channel, client, now| token.usable(user, channel, client, now).map_err(|r| r.reason);
    assert_eq!(reason("u", "$c", Some("k"), 8), Ok(()));
    assert_eq!(reason("u", "$c", None, 8), Ok(()));
    assert_eq!(reason("u", "c", Some("k"), 8), Err(Reason::ChannelMismatch));
    assert_eq!(reason("", "$c", Some("k"), 8), Err(Reason::UserMismatch));
    assert_eq!(reason("u", "$c", Some("z"), 8), Err(Reason::ClientMismatch));
    assert_eq!(reason("u", "$c", Some("k"), 9), Err(Reason::CredentialsExpired));
}

#[test]
fn anonymous_is_a_token_without_user_where_that_is_allowed() {
    let token = connect(&with_secret(), &hmac().token(r#"{"sub":""}"#)).unwrap();
    assert_eq!(token.usable(true, NOW), Ok(()));
    assert_eq!(token.usable(false, NOW).unwrap_err().reason, Reason::AnonymousNotAllowed);
    assert_eq!(token.refreshes("u").unwrap_err().reason, Reason::UserMismatch);
    assert_eq!(connect(&with_secret(), "").unwrap_err().reason, Reason::TokenMissing);
}

#[test]
fn labels_come_from_their_claim_and_from_others() {
    let from = |name: &str, path: &str| (name.to_owned(), path.to_owned());
    let labels =
        vec![from("plan", "account.plan"), from("seats", "account.seats"), from("gone", "account.gone")];
    let issuer = IssuerSettings {
        claims: ClaimSettings { labels, ..ClaimSettings::default() },
        ..issuer(keys_of(&[&hmac()]))
    };
    let verifier = make(&settings(vec![issuer]));
    let labels = |claims: &str| connect(&verifier, &hmac().token(claims)).map(|token| token.labels);
    let made = labels(
        r#"{"sub":"u","labels":{"region":"eu","plan":"old"},"account":{"plan":"paid","seats":5,"gone":null}}"#,
    );
    let expected = [("plan", "paid"), ("region", "eu"), ("seats", "5")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(made.unwrap(), expected);
    for own in ["null", r#"["a"]"#, r#"{"a":1}"#] {
        assert!(labels(&format!(r#"{{"sub":"u","labels":{own}}}"#)).unwrap().is_empty(), "{own}");
    }
    for (wrong, reason) in [
        (r#"{"account":{"plan":{}}}"#.to_owned(), "claim_type:account.plan"),
        (format!(r#"{{"labels":{{"a":"{}"}}}}"#, "x".repeat(3_000)), "claim_type:labels"),
    ] {
        assert_eq!(labels(&wrong).unwrap_err().reason.code(), reason, "{wrong:.40}");
    }
}

#[test]
fn mapped_claims_must_be_there() {
    let at = ClaimSettings {
        user_id: Some("user.id".into()),
        info: Some("profile".into()),
        meta: Some("https://app.example/meta".into()),
        channels: Some("realtime.channels".into()),
        caps: Some("realtime.caps".into()),
        ..ClaimSettings::default()
    };
    let issuer = IssuerSettings { claims: at, ..issuer(keys_of(&[&hmac()])) };
    let verifier = make(&settings(vec![issuer]));
    let full = serde_json::json!({
        "sub": "not this one", "user": {"id": "u"}, "profile": {"name": "n"}, "https://app.example/meta": 1,
        "realtime": {"channels": ["c"], "caps": [{"channels": ["d"], "allow": ["sub"]}]},
        "info": "not this one", "meta": 2, "channels": ["z"],
    });
    let token = connect(&verifier, &hmac().token(&full.to_string())).unwrap();
    assert_eq!(token.user, "u");
    assert_eq!(token.info.as_deref(), Some(br#"{"name":"n"}"#.as_slice()));
    assert_eq!(token.meta.as_deref(), Some(b"1".as_slice()));
    assert_eq!(token.subs.keys().collect::<Vec<_>>(), ["c"]);
    assert!(token.caps.unwrap().allow("d", Allow::SUBSCRIBE));

    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut claims = full.clone();
        change(&mut claims);
        let refusal = connect(&verifier, &hmac().token(&claims.to_string())).unwrap_err();
        refusal.reason.code().into_owned()
    };
    let remove = |name: &'static str| {
        move |claims: &mut serde_json::Value| drop(claims.as_object_mut().unwrap().remove(name))
    };
    assert_eq!(refused(&remove("user")), "claim_missing:user.id");
    assert_eq!(refused(&remove("profile")), "claim_missing:profile");
    assert_eq!(refused(&remove("https://app.example/meta")), "claim_missing:https://app.example/meta");
    assert_eq!(refused(&remove("realtime")), "claim_missing:realtime.channels");
    for (value, code) in [
        ("\"\"", "claim_missing:user.id"),
        ("null", "claim_missing:user.id"),
        ("true", "claim_type:user.id"),
        ("1.5", "claim_type:user.id"),
        ("[\"u\"]", "claim_type:user.id"),
        ("{}", "claim_type:user.id"),
    ] {
        let value: serde_json::Value = serde_json::from_str(value).unwrap();
        assert_eq!(refused(&|claims| claims["user"]["id"] = value.clone()), code);
    }
    let mut numeric = full.clone();
    numeric["user"]["id"] = 42.into();
    assert_eq!(connect(&verifier, &hmac().token(&numeric.to_string())).unwrap().user, "42");
    // A subscription token follows the same rule.
    let token = hmac().token(r#"{"sub":"u","channel":"c"}"#);
    assert_eq!(subscribe(&verifier, &token).unwrap_err().reason.code(), "claim_missing:user.id");
}

#[test]
fn issuer_and_audience_are_compared() {
    let with = |iss: Expect, aud: Expect| {
        make(&settings(vec![IssuerSettings { issuer: iss, audience: aud, ..issuer(keys_of(&[&hmac()])) }]))
    };
    let code = |verifier: &Verifier, claims: &str| {
        connect(verifier, &hmac().token(claims))
            .map_or_else(|r| r.reason.code().into_owned(), |_| "ok".into())
    };
    let exact = with(Expect::Exact("me".into()), Expect::Exact("us".into()));
    for (expected, claims) in [
        ("ok", r#"{"iss":"me","aud":"us"}"#),
        ("ok", r#"{"iss":"me","aud":["them","us"]}"#),
        ("issuer_mismatch", r#"{"aud":"us"}"#),
        ("issuer_mismatch", r#"{"iss":"me ","aud":"us"}"#),
        ("issuer_mismatch", r#"{"iss":"Me","aud":"us"}"#),
        ("audience_mismatch", r#"{"iss":"me"}"#),
        ("audience_mismatch", r#"{"iss":"me","aud":[]}"#),
        ("audience_mismatch", r#"{"iss":"me","aud":"us2"}"#),
        // Wrong before expired, as Centrifugo has it.
        ("audience_mismatch", r#"{"iss":"me","aud":"x","exp":1}"#),
    ] {
        assert_eq!(code(&exact, claims), expected, "{claims}");
    }
    let regex = with(Expect::Regex("https://(good|better)\\.example".into()), Expect::Any);
    assert_eq!(code(&regex, r#"{"iss":"https://good.example"}"#), "ok");
    for iss in ["https://good.example.evil", "x https://good.example", "https://goodxexample"] {
        assert_eq!(code(&regex, &format!(r#"{{"iss":"{iss}"}}"#)), "issuer_mismatch", "{iss}");
    }
    let refusal = connect(&exact, &hmac().token(r#"{"iss":"me","aud":"x"}"#)).unwrap_err();
    assert!(refusal.fix.contains("client.token.audience"), "{}", refusal.fix);
}

#[test]
fn several_issuers_stay_apart() {
    let (one, two, any) = (Signer::hmac("one"), Signer::hmac("two"), Signer::hmac("any"));
    let verifier = make(&settings(vec![
        IssuerSettings { path: "any".into(), ..issuer(keys_of(&[&any])) },
        named("one", "https://one", keys_of(&[&one])),
        named("two", "https://two", keys_of(&[&two, &signers()[1]])),
    ]));
    let code = |signer: &Signer, claims: &str| {
        connect(&verifier, &signer.token(claims))
            .map_or_else(|r| r.reason.code().into_owned(), |_| "ok".into())
    };
    assert_eq!(code(&one, r#"{"iss":"https://one"}"#), "ok");
    assert_eq!(code(&two, r#"{"iss":"https://two"}"#), "ok");
    assert_eq!(code(&signers()[1], r#"{"iss":"https://two"}"#), "ok");
    assert_eq!(code(&any, "{}"), "ok");
    assert_eq!(code(&any, r#"{"iss":"https://three"}"#), "ok");
    assert_eq!(code(&two, r#"{"iss":"https://one"}"#), "signature_mismatch");
    assert_eq!(
        code(&any, r#"{"iss":"https://one"}"#),
        "signature_mismatch",
        "a catch-all does not replace a missing issuer"
    );
    assert_eq!(code(&signers()[1], r#"{"iss":"https://one"}"#), "no_key_for_alg");
    assert_eq!(code(&one, "{}"), "signature_mismatch");
}

#[test]
fn one_issuer_may_have_two_audiences() {
    let with = |path: &str, aud: &str, signer: &Signer| IssuerSettings {
        audience: Expect::Exact(aud.into()),
        ..named(path, "i", keys_of(&[signer]))
    };
    let (one, two) = (Signer::hmac("one"), Signer::hmac("two"));
    let both = vec![with("one", "a", &one), with("two", "b", &two)];
    let verifier = make(&settings(both.clone()));
    assert!(connect(&verifier, &one.token(r#"{"iss":"i","aud":"a"}"#)).is_ok());
    assert!(connect(&verifier, &two.token(r#"{"iss":"i","aud":"b"}"#)).is_ok());
    let crossed = connect(&verifier, &one.token(r#"{"iss":"i","aud":"b"}"#)).unwrap_err();
    assert_eq!(crossed.reason, Reason::SignatureMismatch);
    let same = vec![both[0].clone(), IssuerSettings { path: "three".into(), ..both[0].clone() }];
    let error = Verifier::new(&settings(same), &Jwks::offline()).err().unwrap();
    assert_eq!(error, SettingsError::Overlap("one".into(), "three".into()));
}

#[test]
fn no_issuer_at_all_accepts_nothing() {
    let none = make(&settings(vec![]));
    assert_eq!(connect(&none, &hmac().token("{}")).unwrap_err().reason, Reason::IssuerMismatch);
    let no_keys = make(&settings(vec![issuer(KeySettings::default())]));
    for signer in signers() {
        assert_eq!(connect(&no_keys, &signer.token("{}")).unwrap_err().reason, Reason::NoKeyForAlg);
    }
}

#[test]
fn old_keys_hold_until_their_time() {
    let keys = KeySettings {
        hmac: vec![
            always("client.token.hmac_secret_key", "new"),
            Timed::until("client.token.hmac_previous_secret_key", Secret::new("old"), NOW),
            Timed { valid_from: Some(NOW + 1), ..always("client.token.hmac_keys", "next") },
        ],
        ..KeySettings::default()
    };
    let verifier = make(&settings(vec![issuer(keys)]));
    let ok = |secret: &str, at: i64| {
        now(verifier.verify_connection(&Signer::hmac(secret).token("{}"), at)).is_ok()
    };
    assert!(ok("new", NOW) && ok("new", NOW + 1));
    assert!(ok("old", NOW) && !ok("old", NOW + 1));
    assert!(!ok("next", NOW) && ok("next", NOW + 1));
    assert!(Timed::until("o", Secret::new("old"), 0).valid_until.is_none());

    // Rotation of public keys, and a ring in which no key holds.
    let (old, new) = (Signer::ec(Curve::P256), &signers()[2]);
    let mut keys = keys_of(&[new, &old]);
    keys.ecdsa[1].valid_until = Some(NOW);
    let verifier = make(&settings(vec![issuer(keys.clone())]));
    let at = |signer: &Signer, at: i64| {
        now(verifier.verify_connection(&signer.token("{}"), at)).err().map(|r| r.reason)
    };
    assert_eq!((at(new, NOW), at(&old, NOW)), (None, None));
    assert_eq!((at(new, NOW + 1), at(&old, NOW + 1)), (None, Some(Reason::SignatureMismatch)));
    keys.ecdsa.remove(0);
    let verifier = make(&settings(vec![issuer(keys)]));
    let refusal = now(verifier.verify_connection(&old.token("{}"), NOW + 1)).unwrap_err();
    assert_eq!(refusal.reason, Reason::NoKeyForAlg);
    assert!(refusal.detail.contains("do not hold"), "{}", refusal.detail);
}

#[test]
fn leeway_is_what_is_configured_and_no_more() {
    let mut with = settings(vec![issuer(keys_of(&[&hmac()]))]);
    with.leeway = 30;
    let verifier = make(&with);
    let code = |claims: String| connect(&verifier, &hmac().token(&claims)).map_err(|refusal| refusal.reason);
    assert_eq!(code(format!(r#"{{"exp":{}}}"#, NOW - 29)).unwrap().expire_at, Some(NOW + 1));
    assert_eq!(code(format!(r#"{{"exp":{}}}"#, NOW - 30)).unwrap_err(), Reason::Expired);
    assert!(code(format!(r#"{{"nbf":{}}}"#, NOW + 30)).is_ok());
    assert_eq!(code(format!(r#"{{"nbf":{}}}"#, NOW + 31)).unwrap_err(), Reason::NotYetValid);
    with.require_exp = true;
    let verifier = make(&with);
    let refusal = connect(&verifier, &hmac().token("{}")).unwrap_err();
    assert_eq!(refusal.reason.code(), "claim_missing:exp");
}

#[test]
fn a_skipped_signature_skips_nothing_else() {
    let mut with = settings(vec![issuer(keys_of(&[&hmac()]))]);
    with.insecure_skip_signature = true;
    let verifier = make(&with);
    let forged = Signer::hmac("forged");
    assert_eq!(connect(&verifier, &forged.token(r#"{"sub":"u"}"#)).unwrap().user, "u");
    let expired = connect(&verifier, &forged.token(r#"{"sub":"u","exp":1}"#)).unwrap_err();
    assert_eq!(expired.reason, Reason::Expired);
    let none = connect(&verifier, &forged.token_with(r#"{"alg":"none"}"#, "{}")).unwrap_err();
    assert_eq!(none.reason, Reason::AlgNotAllowed);
}

#[test]
fn refusals_show_no_secret() {
    let verifier = make(&settings(vec![issuer(keys_of(&[&Signer::hmac("canary-key-canary-key")]))]));
    let shown = format!("{:?}", settings(vec![issuer(keys_of(&[&Signer::hmac("canary-key-canary-key")]))]));
    assert!(!shown.contains("canary"), "{shown}");
    let claims = r#"{"sub":"u","info":"canary-info","meta":"canary-meta","exp":1}"#;
    for signer in [Signer::hmac("canary-key-canary-key"), Signer::hmac("other")] {
        let token = signer.token(claims);
        let refusal = connect(&verifier, &token).unwrap_err();
        let shown = format!("{refusal} {refusal:?} {:?}", refusal.outcome(Use::Connect));
        let signature = token.rsplit('.').next().unwrap();
        assert!(
            !shown.contains("canary") && !shown.contains(signature) && !shown.contains(&token[..20]),
            "{shown}"
        );
    }
    let token =
        connect(&verifier, &Signer::hmac("canary-key-canary-key").token(r#"{"sub":"u","info":"canary"}"#));
    assert!(!format!("{token:?}").contains("canary"));
}

fn any_signer() -> impl Strategy<Value = &'static Signer> {
    (0..signers().len()).prop_map(|at| &signers()[at])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Of several issuers with keys of their own, exactly the one that a token names accepts it, and only from
    /// its own signer.
    #[test]
    fn no_token_verifies_under_another_issuers_key(
        keys in proptest::collection::vec((any_signer(), "[a-z]{1,8}"), 2..6),
        says in 0usize..6,
        signs in 0usize..6,
    ) {
        let fresh: Vec<Signer> = keys.iter().map(|(signer, secret)| match signer {
            Signer::Hmac(_) => Signer::hmac(secret),
            Signer::Ed(_) => Signer::ed(),
            _ => Signer::ec(Curve::P256),
        }).collect();
        let (says, signs) = (says % fresh.len(), signs % fresh.len());
        let issuers = fresh.iter().enumerate().map(|(at, signer)| {
            named(&format!("p{at}"), &format!("https://{at}"), keys_of(&[signer]))
        });
        let verifier = make(&settings(issuers.collect()));
        let token = fresh[signs].token(&format!(r#"{{"sub":"u","iss":"https://{says}"}}"#));
        let same_key = says == signs || matches!(
            (&fresh[says], &fresh[signs]),
            (Signer::Hmac(one), Signer::Hmac(other)) if one == other
        );
        prop_assert_eq!(connect(&verifier, &token).is_ok(), same_key);
    }

    #[test]
    fn arbitrary_bytes_never_panic(text in ".{0,200}", header in ".{0,60}", claims in ".{0,120}") {
        let verifier = with_secret();
        for token in [text.clone(), hmac().token(&claims), hmac().token_with(&header, &claims), format!("{text}.{text}.{text}")] {
            let _ = connect(&verifier, &token);
            let _ = subscribe(&verifier, &token);
        }
    }

    /// A payload of any JSON values under the names that mean something: never a panic, and what is accepted has
    /// the user that it says.
    #[test]
    fn arbitrary_claims_never_panic(
        members in proptest::collection::vec((
            prop_oneof![Just("sub"), Just("exp"), Just("nbf"), Just("iat"), Just("info"), Just("b64info"), Just("channels"),
                Just("subs"), Just("meta"), Just("expire_at"), Just("aud"), Just("iss"), Just("jti"), Just("caps"),
                Just("channel"), Just("client"), Just("override"), Just("allow"), Just("data"), Just("b64data")],
            prop_oneof![Just("null"), Just("1"), Just("-1e300"), Just("\"x\""), Just("\"AA==\""), Just("[]"), Just("[\"a\"]"),
                Just("{}"), Just("{\"a\":{}}"), Just("{\"a\":null}"), Just("[{}]"), Just("{\"presence\":{\"value\":true}}"),
                Just("9223372036854775807"), Just("true"), Just("\"\\ud800\"")],
        ), 0..8),
    ) {
        let claims = format!("{{{}}}", members.iter().map(|(n, v)| format!("\"{n}\":{v}")).collect::<Vec<_>>().join(","));
        let verifier = with_secret();
        if let Ok(token) = connect(&verifier, &hmac().token(&claims)) {
            let says = members.iter().find(|(name, _)| *name == "sub").map_or("null", |(_, value)| value);
            prop_assert_eq!(token.user.is_empty(), says == "null");
        }
        let _ = subscribe(&verifier, &hmac().token(&claims));
    }
}

#[path = "forged_tests.rs"]
mod forged;
#[path = "rfc_tests.rs"]
mod rfc;
#[path = "wycheproof_tests.rs"]
mod wycheproof;

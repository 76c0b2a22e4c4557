use super::super::reason::Reason;
use super::super::settings::{IssuerSettings, JwksSettings, KeySettings};
use super::super::testing::{Signer, issuer, keys_of, named, settings, signers};
use super::super::{Refusal, Verifier};
use super::*;
use crate::auth::claims::ConnectToken;
use crate::auth::jws::Curve;
use crate::secret::Secret;
use proptest::prelude::*;
use spinward_testkit::idp::{Behave, Idp};

fn quick() -> FetchSettings {
    FetchSettings { timeout_ms: 300, ttl: 100, refresh_before: 20, stale: 1000, ..FetchSettings::default() }
}

fn keys_at(url: &str) -> KeySettings {
    let set = JwksSettings {
        option: "client.token.jwks_public_endpoint".into(),
        endpoint: url.into(),
        insecure_skip_endpoint_safety_check: false,
        fetch: quick(),
    };
    KeySettings { jwks: Some(set), ..KeySettings::default() }
}

fn verifier(issuers: Vec<IssuerSettings>) -> (Verifier, Jwks) {
    let jwks = Jwks::new(Handle::current());
    (Verifier::new(&settings(issuers), &jwks).unwrap(), jwks)
}

async fn connect(verifier: &Verifier, token: &str, now: i64) -> Result<ConnectToken, Refusal> {
    verifier.verify_connection(token, now).wait().await
}

async fn code(verifier: &Verifier, token: &str, now: i64) -> String {
    connect(verifier, token, now).await.map_or_else(|r| r.reason.code().into_owned(), |token| token.user)
}

const USER: &str = r#"{"sub":"u"}"#;

#[tokio::test]
async fn keys_of_all_kinds_come_from_a_set() {
    let keys: Vec<String> =
        signers()[1..].iter().enumerate().map(|(n, s)| s.jwk(&format!("k{n}"), "")).collect();
    let idp = Idp::start(Behave::keys(&keys)).await.unwrap();
    let (verifier, jwks) = verifier(vec![issuer(keys_at(&idp.url))]);
    for (n, signer) in signers()[1..].iter().enumerate() {
        assert_eq!(code(&verifier, &signer.token_kid(&format!("k{n}"), USER), 0).await, "u", "{signer:?}");
        assert_eq!(code(&verifier, &signer.token_kid("k9", USER), 0).await, "unknown_kid");
        assert_eq!(code(&verifier, &signer.token(USER), 0).await, "kid_missing");
        let swapped = format!("k{}", (n + 1) % 5);
        let refusal = connect(&verifier, &signer.token_kid(&swapped, USER), 0).await.unwrap_err();
        assert!(matches!(refusal.reason, Reason::AlgNotAllowed | Reason::SignatureMismatch), "{refusal}");
    }
    assert_eq!(idp.requests(), 2, "one for the set, one for the unknown kid");
    assert_eq!(jwks.stats(), JwksStats { fetches: 2, failures: 0 });
}

#[tokio::test]
async fn a_thousand_at_once_make_one_request() {
    let idp = Idp::start(Behave::keys(&[signers()[5].jwk("k", "")])).await.unwrap();
    let (verifier, _) = verifier(vec![issuer(keys_at(&idp.url))]);
    let token = signers()[5].token_kid("k", USER);
    let waiting: Vec<_> =
        (0..1000).map(|_| tokio::spawn(verifier.verify_connection(&token, 0).wait())).collect();
    for answer in waiting {
        assert!(answer.await.unwrap().is_ok());
    }
    assert_eq!(idp.requests(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_no_fetch_with_it() {
    let idp = Idp::start(Behave::keys(&[signers()[5].jwk("k", "")])).await.unwrap();
    let (verifier, _) = verifier(vec![issuer(keys_at(&idp.url))]);
    let token = signers()[5].token_kid("k", USER);
    drop(verifier.verify_connection(&token, 0));
    assert_eq!(code(&verifier, &token, 0).await, "u");
    assert_eq!(idp.requests(), 1);
}

#[tokio::test]
async fn known_keys_serve_while_the_issuer_misbehaves() {
    let good = Behave::keys(&[signers()[5].jwk("k", "")]);
    let idp = Idp::start(good.clone()).await.unwrap();
    let (verifier, jwks) = verifier(vec![issuer(keys_at(&idp.url))]);
    let token = signers()[5].token_kid("k", USER);
    assert_eq!(code(&verifier, &token, 0).await, "u");
    let twice = format!(r#"{{"keys":[{0},{0}]}}"#, signers()[5].jwk("k", ""));
    let mut now = 100;
    for bad in [
        Behave::Status(500, ""),
        Behave::Status(302, "location: http://169.254.169.254/\r\n"),
        Behave::Hang,
        Behave::Truncate,
        Behave::Large,
        Behave::Set("not json".into()),
        Behave::Set(r#"{"keys":5}"#.into()),
        Behave::Set(twice),
    ] {
        idp.behave(bad);
        now += 20;
        assert_eq!(code(&verifier, &token, now).await, "u");
        let other = signers()[5].token_kid(&format!("other{now}"), USER);
        assert_eq!(code(&verifier, &other, now).await, "keys_unavailable");
    }
    assert!(jwks.stats().failures >= 8, "{:?}", jwks.stats());
    // Nothing was fetched since, and the key is past its stale time.
    assert_eq!(code(&verifier, &token, 5000).await, "keys_unavailable");
    idp.behave(good);
    assert_eq!(code(&verifier, &token, 5100).await, "u");
    let refusal = connect(&verifier, "x.y.z", 0).await.unwrap_err();
    assert!(!refusal.is_temporary());
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = Idp::start(Behave::keys(&[signers()[5].jwk("k", "")])).await.unwrap();
    let head: &'static str = Box::leak(format!("location: {}/keys\r\n", target.url).into_boxed_str());
    let idp = Idp::start(Behave::Status(307, head)).await.unwrap();
    let (verifier, _) = verifier(vec![issuer(keys_at(&idp.url))]);
    assert_eq!(code(&verifier, &signers()[5].token_kid("k", USER), 0).await, "keys_unavailable");
    assert_eq!((target.requests(), idp.requests()), (0, 2), "one retry, and no visit elsewhere");
}

#[tokio::test]
async fn rotation_refuses_nobody_and_floods_fetch_little() {
    let (old, new) = (Signer::ed(), Signer::ed());
    let idp = Idp::start(Behave::keys(&[old.jwk("old", "")])).await.unwrap();
    let (verifier, _) = verifier(vec![issuer(keys_at(&idp.url))]);
    assert_eq!(code(&verifier, &old.token_kid("old", USER), 0).await, "u");
    idp.behave(Behave::keys(&[old.jwk("old", ""), new.jwk("new", "")]));
    assert_eq!(code(&verifier, &new.token_kid("new", USER), 1).await, "u");
    assert_eq!(code(&verifier, &old.token_kid("old", USER), 1).await, "u");
    let before = idp.requests();
    for n in 0..10_000 {
        let forged = old.token_kid(&format!("forged{n}"), USER);
        let told = code(&verifier, &forged, 2 + n / 1000).await;
        assert!(told == "unknown_kid" || told == "keys_unavailable", "{told}");
    }
    assert!(idp.requests() - before <= 3, "{}", idp.requests() - before);
    assert_eq!(code(&verifier, &new.token_kid("new", USER), 12).await, "u");
}

#[tokio::test]
async fn issuers_that_share_a_kid_stay_apart() {
    let (one, two) = (Signer::ec(Curve::P256), Signer::ec(Curve::P256));
    let (idp_one, idp_two) = (
        Idp::start(Behave::keys(&[one.jwk("1", "")])).await.unwrap(),
        Idp::start(Behave::keys(&[two.jwk("1", "")])).await.unwrap(),
    );
    let (verifier, _) = verifier(vec![
        named("one", "https://one", keys_at(&idp_one.url)),
        named("two", "https://two", keys_at(&idp_two.url)),
        named("hmac", "https://hmac", keys_of(&[&Signer::hmac("s")])),
    ]);
    let claims = |iss: &str| format!(r#"{{"sub":"u","iss":"https://{iss}"}}"#);
    assert_eq!(code(&verifier, &one.token_kid("1", &claims("one")), 0).await, "u");
    assert_eq!(code(&verifier, &two.token_kid("1", &claims("two")), 0).await, "u");
    assert_eq!(code(&verifier, &one.token_kid("1", &claims("two")), 0).await, "signature_mismatch");
    assert_eq!(code(&verifier, &two.token_kid("1", &claims("one")), 0).await, "signature_mismatch");
    assert_eq!(code(&verifier, &Signer::hmac("s").token(&claims("hmac")), 0).await, "u");
    assert_eq!(code(&verifier, &Signer::hmac("s").token(&claims("one")), 0).await, "no_key_for_alg");
}

#[tokio::test]
async fn secrets_stand_beside_a_set_and_never_in_it() {
    let secret = Signer::hmac("secret");
    let idp = Idp::start(Behave::keys(&[secret.jwk("h", ""), signers()[1].jwk("r", "")])).await.unwrap();
    let (without, _) = verifier(vec![issuer(keys_at(&idp.url))]);
    assert_eq!(code(&without, &secret.token_kid("h", USER), 0).await, "no_key_for_alg");
    let keys = KeySettings { hmac: keys_of(&[&secret]).hmac, ..keys_at(&idp.url) };
    let (beside, _) = verifier(vec![issuer(keys)]);
    assert_eq!(code(&beside, &secret.token(USER), 0).await, "u");
    assert_eq!(code(&beside, &signers()[1].token_kid("r", USER), 0).await, "u");
    // The public key of the set as an HMAC secret.
    let confused = Signer::hmac(&signers()[1].public_pem()).token_kid("r", USER);
    assert_eq!(code(&beside, &confused, 0).await, "signature_mismatch");
}

#[tokio::test]
async fn the_places_of_an_address_are_filled_from_a_closed_list() {
    let (one, two) = (Signer::ed(), Signer::ed());
    let idp = Idp::start(Behave::keys(&[one.jwk("k", "")])).await.unwrap();
    let keys = keys_at(&format!("{}/realms/{{{{realm}}}}/certs", idp.url));
    let issuer = IssuerSettings {
        issuer: crate::auth::Expect::Regex("https://sso/(?P<realm>red|blue)".into()),
        ..issuer(keys)
    };
    let (verifier, _) = verifier(vec![issuer]);
    let claims = |realm: &str| format!(r#"{{"sub":"u","iss":"https://sso/{realm}"}}"#);
    assert_eq!(code(&verifier, &one.token_kid("k", &claims("red")), 0).await, "u");
    idp.behave(Behave::keys(&[two.jwk("k", "")]));
    // The other realm has a key of the same name, and it is another key.
    assert_eq!(code(&verifier, &one.token_kid("k", &claims("blue")), 0).await, "signature_mismatch");
    assert_eq!(code(&verifier, &two.token_kid("k", &claims("blue")), 0).await, "u");
    for realm in ["green", "red/../blue", "..", "red?x", ""] {
        assert_eq!(
            code(&verifier, &one.token_kid("k", &claims(realm)), 0).await,
            "issuer_mismatch",
            "{realm}"
        );
    }
    let seen = idp.seen();
    assert_eq!(seen.len(), 2);
    assert!(
        seen[0].starts_with("GET /realms/red/certs HTTP/1.1")
            && seen[1].starts_with("GET /realms/blue/certs ")
    );
}

#[tokio::test]
async fn headers_are_sent_and_sets_survive_a_reload() {
    let idp = Idp::start(Behave::keys(&[signers()[5].jwk("k", "")])).await.unwrap();
    let mut keys = keys_at(&idp.url);
    let fetch = &mut keys.jwks.as_mut().unwrap().fetch;
    fetch.headers = vec![("Authorization".into(), Secret::new("Bearer canary"))];
    let (first, jwks) = verifier(vec![issuer(keys.clone())]);
    let token = signers()[5].token_kid("k", USER);
    assert_eq!(code(&first, &token, 0).await, "u");
    assert!(idp.seen()[0].to_ascii_lowercase().contains("authorization: bearer canary"));
    let reloaded = Verifier::new(&settings(vec![issuer(keys.clone())]), &jwks).unwrap();
    assert_eq!(code(&reloaded, &token, 0).await, "u");
    assert_eq!(idp.requests(), 1);
    assert!(!format!("{keys:?}").contains("canary"));
    keys.jwks.as_mut().unwrap().fetch.headers.clear();
    let other = Verifier::new(&settings(vec![issuer(keys.clone())]), &jwks).unwrap();
    assert_eq!(code(&other, &token, 0).await, "u");
    assert_eq!(idp.requests(), 2, "other settings, another set");
    keys.jwks.as_mut().unwrap().fetch.ca_pem = "no certificate".into();
    assert!(Verifier::new(&settings(vec![issuer(keys)]), &jwks).is_err());
}

#[tokio::test]
async fn a_bad_header_or_certificate_is_refused_at_start() {
    let fault = |change: &dyn Fn(&mut FetchSettings)| {
        let mut settings = quick();
        change(&mut settings);
        fetch::client(&settings).unwrap_err()
    };
    let header = |name: &str, value: &str| vec![(name.to_owned(), Secret::new(value))];
    assert_eq!(fault(&|s| s.headers = header("a b", "x")), FetchError::Header("a b".into()));
    assert_eq!(fault(&|s| s.headers = header("a", "x\r\ny: z")), FetchError::Header("a".into()));
    assert_eq!(fault(&|s| s.ca_pem = "nothing".into()), FetchError::Certificates);
}

#[test]
fn one_bad_key_does_not_spoil_a_set() {
    let rsa = signers()[1].jwk("rsa", "");
    let bad = [
        r#"{"kid":"1","kty":"RSA","n":"AQAB","e":"AQAB"}"#,
        r#"{"kid":"2","kty":"RSA","n":"!","e":"AQAB"}"#,
        r#"{"kid":"3","kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
        r#"{"kid":"4","kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#,
        r#"{"kid":"5","kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        r#"{"kid":"6","kty":"oct","k":"AA"}"#,
        r#"{"kid":"7","kty":"new"}"#,
        r#"{"kid":8,"kty":"RSA"}"#,
        r#"{"kty":"RSA"}"#,
        "5",
        "null",
        r#"{"kid":"9","kid":"10"}"#,
    ];
    let text = format!(r#"{{"keys":[{},{rsa}],"other":1}}"#, bad.join(","));
    let set = KeySet::parse(text.as_bytes()).unwrap();
    assert!(set.get("rsa").is_some());
    assert_eq!(set.len(), 1);
}

#[test]
fn use_operations_and_algorithm_are_heeded() {
    let ec = &signers()[2];
    let with = |more: &str| {
        let set = format!(r#"{{"keys":[{}]}}"#, ec.jwk("k", more));
        KeySet::parse(set.as_bytes()).unwrap().get("k").map(|key| key.alg)
    };
    use crate::auth::jws::Alg;
    assert_eq!(with(""), Some(None));
    assert_eq!(with(r#","use":"sig","alg":"ES256""#), Some(Some(Alg::Es(Curve::P256))));
    assert_eq!(with(r#","key_ops":["verify"]"#), Some(None));
    assert_eq!(with(r#","key_ops":["sign","verify"]"#), Some(None));
    assert_eq!(with(r#","use":null,"alg":null"#), Some(None));
    for not in [
        r#","use":"enc""#,
        r#","use":5"#,
        r#","key_ops":["sign"]"#,
        r#","key_ops":[]"#,
        r#","key_ops":"verify""#,
        r#","alg":"ES384""#,
        r#","alg":"HS256""#,
        r#","alg":"ES256K""#,
        r#","alg":5"#,
        r#","alg":"RS256""#,
    ] {
        assert_eq!(with(not), None, "{not}");
    }
    let ed = format!(r#"{{"keys":[{}]}}"#, signers()[5].jwk("k", r#","alg":"Ed25519""#));
    assert_eq!(KeySet::parse(ed.as_bytes()).unwrap().get("k").unwrap().alg, Some(Alg::EdDsa));
}

#[test]
fn names_are_unique_among_keys_that_verify() {
    let ed = &signers()[5];
    let parse =
        |keys: &[String]| KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).err();
    assert_eq!(parse(&[ed.jwk("k", ""), signers()[2].jwk("k", "")]), Some(set::SetError::DuplicateKid));
    assert_eq!(
        parse(&[ed.jwk("k", ""), r#"{"kid":"k","kty":"new"}"#.into()]),
        Some(set::SetError::DuplicateKid)
    );
    assert_eq!(parse(&[ed.jwk("k", ""), signers()[2].jwk("k", r#","use":"enc""#)]), None);
    assert_eq!(parse(&vec!["1".to_owned(); 257]), Some(set::SetError::TooMany));
    for not in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"keys":[],"keys":[]}"#] {
        assert!(KeySet::parse(not.as_bytes()).is_err(), "{not}");
    }
}

proptest! {
    #[test]
    fn arbitrary_sets_never_panic(text in ".{0,200}", n in "[A-Za-z0-9_-]{0,100}", e in "[A-Za-z0-9_-]{0,12}") {
        let _ = KeySet::parse(text.as_bytes());
        for kty in ["RSA", "EC", "OKP"] {
            for crv in ["P-256", "P-521", "Ed25519"] {
                let key = format!(r#"{{"keys":[{{"kid":"k","kty":"{kty}","crv":"{crv}","n":"{n}","e":"{e}","x":"{n}","y":"{e}"}}]}}"#);
                let _ = KeySet::parse(key.as_bytes());
            }
        }
    }
}

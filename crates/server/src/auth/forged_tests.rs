//! Forged tokens. Each one is refused with the reason that is written beside it, as a connection token and as a
//! subscription token; and each use of it gets the code of the one table.

use super::*;
use crate::auth::testing::b64u;

const CLAIMS: &str = r#"{"sub":"admin","channel":"c"}"#;
const CONNECT: &str = r#"{"sub":"admin"}"#;

/// Everything but the header is right: signed with the secret that is configured.
fn header(header: &str, claims: &str) -> String {
    hmac().token_with(header, claims)
}

fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}.", b64u(header), b64u(claims))
}

/// Returns the tokens of an attacker who knows all public keys, and none of the secrets.
fn forgeries(claims: &str) -> Vec<(&'static str, &'static str, String)> {
    let good = hmac().token(claims);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (protected, payload) = head.split_once('.').unwrap();
    let (rsa, ec, ed) = (&signers()[1], &signers()[2], &signers()[5]);
    let (other, empty) = (Signer::hmac("other"), Signer::hmac(""));
    let der = |signer: &Signer| {
        signer.public_pem().lines().filter(|line| !line.starts_with('-')).collect::<String>()
    };
    let with_secret = |secret: &str| Signer::hmac(secret).token(claims);
    let mut list: Vec<(&'static str, &'static str, String)> = Vec::new();
    let mut add = |name, reason, token: String| list.push((name, reason, token));

    for alg in ["none", "None", "NONE", "nOnE", "none ", "", "null", "NoNe\\u0000"] {
        add(
            "no algorithm, no signature",
            "alg_not_allowed",
            unsigned(&format!(r#"{{"alg":"{alg}"}}"#), claims),
        );
        add("no algorithm, signed", "alg_not_allowed", header(&format!(r#"{{"alg":"{alg}"}}"#), claims));
    }
    add("algorithm absent", "alg_not_allowed", header(r#"{"typ":"JWT"}"#, claims));
    add("algorithm null", "alg_not_allowed", header(r#"{"alg":null}"#, claims));
    add("algorithm a number", "malformed:header", header(r#"{"alg":256}"#, claims));
    add("algorithm a list", "malformed:header", header(r#"{"alg":["none","HS256"]}"#, claims));
    add("algorithm twice", "malformed:header", header(r#"{"alg":"none","alg":"HS256"}"#, claims));
    add(
        "algorithm twice, escaped",
        "malformed:header",
        header(r#"{"alg":"HS256","a\u006cg":"none"}"#, claims),
    );
    for alg in [
        "hs256", "HS256\\n", " HS256", "HS1", "HS224", "PS256", "PS384", "PS512", "ES256K", "RS1", "dir",
        "A128KW",
    ] {
        add("algorithm not supported", "alg_not_allowed", header(&format!(r#"{{"alg":"{alg}"}}"#), claims));
    }
    add("critical extension", "malformed:header", header(r#"{"alg":"HS256","crit":["exp"]}"#, claims));
    add(
        "critical extension b64",
        "malformed:header",
        header(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, claims),
    );
    add("critical list empty", "malformed:header", header(r#"{"alg":"HS256","crit":[]}"#, claims));

    add("signature empty", "signature_mismatch", format!("{head}."));
    add("signature cut", "signature_mismatch", format!("{head}.{}", &signature[..40]));
    add("signature of one byte", "signature_mismatch", format!("{head}.AA"));
    add("signature zero", "signature_mismatch", format!("{head}.{}", b64u([0; 32])));
    add("signature too long", "signature_mismatch", format!("{head}.{signature}AAAA"));
    add("signature padded", "malformed:signature", format!("{head}.{signature}="));
    add("signature with spare bits", "malformed:signature", format!("{head}.{}9", &signature[..42]));
    add("signature in the other alphabet", "malformed:signature", format!("{head}.+/{}", &signature[2..]));
    add("tab behind", "malformed:signature", format!("{good}\t"));
    add("line break within the claims", "signature_mismatch", good.replacen('.', ".\n", 1));
    add("NUL behind", "malformed:signature", format!("{good}\0"));
    add("space before", "malformed:header", format!(" {good}"));
    add("BOM before", "malformed:header", format!("\u{feff}{good}"));
    add("scheme before", "malformed:header", format!("Bearer {good}"));
    add("two parts", "malformed:token", head.to_owned());
    add("one part", "malformed:token", protected.to_owned());
    add("four parts", "malformed:token", format!("{good}.{signature}"));
    add("five parts, as an encrypted token", "malformed:token", format!("{protected}....{signature}"));
    add("dots alone", "malformed:token", "....".into());
    add("two dots", "malformed:header", "..".into());
    add("payload empty", "malformed:payload", header(r#"{"alg":"HS256"}"#, ""));
    add("payload padded", "malformed:payload", format!("{protected}.{payload}=.{signature}"));
    add("payload another", "signature_mismatch", {
        let changed = b64u(claims.replace("admin", "root"));
        format!("{protected}.{changed}.{signature}")
    });
    add(
        "header another",
        "signature_mismatch",
        format!("{}.{payload}.{signature}", b64u(r#"{"alg":"HS256" }"#)),
    );
    add("header another algorithm", "signature_mismatch", {
        format!("{}.{payload}.{signature}", b64u(r#"{"alg":"HS512","typ":"JWT"}"#))
    });
    add("JSON serialization", "malformed:token", {
        format!(r#"{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}"#)
    });

    add("another secret", "signature_mismatch", other.token(claims));
    add("empty secret", "signature_mismatch", empty.token(claims));
    for secret in ["Secret", "secret ", "secret\n", "c2VjcmV0", "null", "\0", "password"] {
        add("a guessed secret", "signature_mismatch", with_secret(secret));
    }
    add("RSA key as secret, PEM", "signature_mismatch", with_secret(&rsa.public_pem()));
    add("RSA key as secret, PEM trimmed", "signature_mismatch", with_secret(rsa.public_pem().trim()));
    add("RSA key as secret, base64", "signature_mismatch", with_secret(&der(rsa)));
    add("RSA key as secret, JWK", "signature_mismatch", with_secret(&rsa.jwk("k", "")));
    add("EC key as secret, PEM", "signature_mismatch", with_secret(&ec.public_pem()));
    add("Ed25519 key as secret, PEM", "signature_mismatch", with_secret(&ed.public_pem()));

    let stranger = Signer::ec(Curve::P256);
    let key = stranger.jwk("own", "");
    add(
        "own key in the header",
        "signature_mismatch",
        stranger.token_with(&format!(r#"{{"alg":"ES256","jwk":{key}}}"#), claims),
    );
    add("own key by address", "signature_mismatch", {
        stranger.token_with(r#"{"alg":"ES256","jku":"http://127.0.0.1:1/keys","kid":"own"}"#, claims)
    });
    add("own certificate by address", "signature_mismatch", {
        stranger.token_with(r#"{"alg":"ES256","x5u":"http://127.0.0.1:1/cert","x5c":["AAAA"]}"#, claims)
    });
    add("own secret in the header", "signature_mismatch", {
        other.token_with(r#"{"alg":"HS256","jwk":{"kty":"oct","k":"b3RoZXI"}}"#, claims)
    });
    for kid in [
        "../../../../dev/null",
        "/etc/passwd",
        "\\u0000",
        "' OR 1=1 --",
        "http://127.0.0.1:1/",
        "ключ",
        "${jndi:x}",
    ] {
        add("a kid that means something elsewhere", "signature_mismatch", {
            other.token_with(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), claims)
        });
    }
    add("a kid that is a number", "malformed:header", header(r#"{"alg":"HS256","kid":1}"#, claims));
    add(
        "a long kid",
        "malformed:header",
        header(&format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(1000)), claims),
    );
    add("a stranger's RSA key", "signature_mismatch", Signer::rsa().token(claims));
    add("a stranger's Ed25519 key", "signature_mismatch", Signer::ed().token(claims));
    add(
        "ES256 named, P-384 used",
        "signature_mismatch",
        signers()[3].token_with(r#"{"alg":"ES256"}"#, claims),
    );
    add("ES384, and the key is on P-256", "no_key_for_alg", signers()[3].token(claims));
    add("RS256 named, HMAC used", "signature_mismatch", header(r#"{"alg":"RS256"}"#, claims));
    add("EdDSA named, HMAC used", "signature_mismatch", header(r#"{"alg":"EdDSA"}"#, claims));
    add(
        "ES256 signature of zeros",
        "signature_mismatch",
        format!("{}.{payload}.{}", b64u(r#"{"alg":"ES256"}"#), b64u([0; 64])),
    );
    add(
        "Ed25519 signature of zeros",
        "signature_mismatch",
        format!("{}.{payload}.{}", b64u(r#"{"alg":"EdDSA"}"#), b64u([0; 64])),
    );
    add(
        "user twice",
        "malformed:payload",
        header(r#"{"alg":"HS256"}"#, &claims.replacen('{', r#"{"sub":"x","#, 1)),
    );
    add("user a list", "claim_type:sub", hmac().token(&claims.replace("\"admin\"", "[\"admin\"]")));
    add("expired", "expired", hmac().token(&claims.replacen('{', r#"{"exp":1,"#, 1)));
    add("not begun", "not_yet_valid", hmac().token(&claims.replacen('{', r#"{"nbf":99999999999,"#, 1)));
    add(
        "deep claims",
        "malformed:payload",
        hmac().token(&claims.replacen('{', &format!(r#"{{"x":{},"#, "[".repeat(10_000)), 1)),
    );
    add(
        "deep header",
        "malformed:header",
        header(&format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(1_000), "]".repeat(1_000)), claims),
    );
    add(
        "large header",
        "malformed:header",
        header(&format!(r#"{{"alg":"HS256","x":"{}"}}"#, "x".repeat(60_000)), claims),
    );
    add("nothing", "token_missing", String::new());
    list
}

/// Keys of all kinds at once: whatever a forgery relies on is configured.
fn with_every_key() -> Verifier {
    make(&settings(vec![issuer(keys_of(&[&hmac(), &signers()[1], &signers()[2], &signers()[5]]))]))
}

#[test]
fn forged_tokens_are_refused_with_their_reasons() {
    let verifier = with_every_key();
    let (connections, subscriptions) = (forgeries(CONNECT), forgeries(CLAIMS));
    assert!(connections.len() >= 60, "{}", connections.len());
    for (name, expected, token) in &connections {
        let refusal = connect(&verifier, token).expect_err(name);
        assert_eq!(refusal.reason.code(), *expected, "{name}: {token:.300}");
        let code = match *expected {
            "expired" | "not_yet_valid" => [109, 3005],
            "token_missing" => [3501, 3501],
            _ => [3500, 3500],
        };
        assert_eq!([Use::Connect, Use::Refresh].map(|used| refusal.outcome(used).code()), code, "{name}");
    }
    for (name, expected, token) in &subscriptions {
        let refusal = subscribe(&verifier, token).expect_err(name);
        assert_eq!(refusal.reason.code(), *expected, "{name}: {token:.300}");
        let code = match *expected {
            "expired" | "not_yet_valid" => [109, 3006],
            "token_missing" => [103, 107],
            _ => [103, 3500],
        };
        assert_eq!(
            [Use::Subscribe, Use::SubRefresh].map(|used| refusal.outcome(used).code()),
            code,
            "{name}"
        );
    }
}

/// The control: what the forgeries are made from is accepted.
#[test]
fn the_honest_tokens_beside_them_are_accepted() {
    let verifier = with_every_key();
    for signer in [&hmac(), &signers()[1], &signers()[2], &signers()[5]] {
        assert_eq!(connect(&verifier, &signer.token(CONNECT)).unwrap().user, "admin");
        assert_eq!(subscribe(&verifier, &signer.token(CLAIMS)).unwrap().channel, "c");
    }
}

#[test]
fn each_kind_of_token_is_refused_in_the_others_place() {
    let verifier = with_every_key();
    let refusal = connect(&verifier, &hmac().token(CLAIMS)).unwrap_err();
    assert_eq!(refusal.reason, Reason::SubscriptionTokenUsedToConnect);
    let refusal = subscribe(&verifier, &hmac().token(CONNECT)).unwrap_err();
    assert_eq!(refusal.reason, Reason::ConnectionTokenUsedToSubscribe);
}

/// A token of 60 KB costs what reading it costs, refused or not.
#[test]
fn large_tokens_are_read() {
    let verifier = with_every_key();
    let channels: Vec<String> = (0..5000).map(|i| format!("\"c{i}\":{{}}")).collect();
    let claims = format!(r#"{{"sub":"u","subs":{{{}}}}}"#, channels.join(","));
    let token = hmac().token(&claims);
    assert!(token.len() > 60_000);
    assert_eq!(connect(&verifier, &token).unwrap().subs.len(), 5000);
    let refusal = connect(&verifier, &Signer::hmac("other").token(&claims)).unwrap_err();
    assert_eq!(refusal.reason, Reason::SignatureMismatch);
}

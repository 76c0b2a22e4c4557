//! The vectors of C2SP Wycheproof. Those for JOSE are read from the folder that `SPINWARD_WYCHEPROOF` names, or from
//! `../shared/wycheproof` beside the repository; without them those tests say so and do nothing. Those for bare
//! signatures come with a crate.

use super::*;
use crate::auth::jwks::set::KeySet;
use crate::auth::jws::Sha;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::path::PathBuf;

fn groups(file: &str) -> Option<Vec<Value>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/wycheproof");
    let folder = std::env::var_os("SPINWARD_WYCHEPROOF").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let Ok(text) = std::fs::read(folder.join(file)) else {
        eprintln!("SKIPPED: no {file} in {}; set SPINWARD_WYCHEPROOF", folder.display());
        return None;
    };
    let file: Value = serde_json::from_slice(&text).unwrap();
    Some(file["testGroups"].as_array().unwrap().clone())
}

/// A key of a file that is a shared secret: taken as if configured.
fn verify_secret(key: &Value, jws: &Jws<'_>) -> bool {
    let secret = URL_SAFE_NO_PAD.decode(key["k"].as_str().unwrap()).unwrap();
    key["alg"] == jws.alg.name()
        && key["use"] != "enc"
        && VerifyKey::hmac(&secret)
            .is_ok_and(|key| key.verify(jws.alg, jws.signing_input, &jws.signature).is_ok())
}

/// Verifies a token with what a group calls its key: a secret, several secrets, a key or a key set.
fn verify(group: &Value, token: &str) -> bool {
    let key = group.get("public").unwrap_or(&group["private"]);
    let Ok(jws) = Jws::parse(token) else { return false };
    if key["kty"] == "oct" {
        return verify_secret(key, &jws);
    }
    let kid = jws.kid.clone().unwrap_or_default();
    let set = match key["keys"].as_array() {
        Some(keys) if keys.iter().all(|key| key["kty"] == "oct") => {
            let mut named = keys.iter().filter(|key| key["kid"] == kid.as_str());
            let (Some(key), None) = (named.next(), named.next()) else { return false };
            return verify_secret(key, &jws);
        }
        Some(_) => key.clone(),
        None => json!({ "keys": [key] }),
    };
    let Ok(set) = KeySet::parse(set.to_string().as_bytes()) else { return false };
    // A single key is used whatever the header calls it.
    let name = if key["keys"].is_array() { kid } else { key["kid"].as_str().unwrap_or_default().to_owned() };
    let Some(key) = set.get(&name) else { return false };
    key.alg.is_none_or(|alg| alg == jws.alg)
        && key.key.verify(jws.alg, jws.signing_input, &jws.signature).is_ok()
}

/// Runs a file. Gives the cases, how many tokens both call valid, those that are invalid and accepted here, and
/// those that are valid and refused here.
fn run(file: &str) -> Option<(usize, usize, Vec<u64>, Vec<u64>)> {
    let (mut cases, mut valid, mut accepted, mut refused) = (0, 0, Vec::new(), Vec::new());
    for group in groups(file)? {
        for test in group["tests"].as_array().unwrap() {
            // Encryption is not for tokens of ours. A token that is not text is a signature in JSON form.
            let Some(jws) = test.get("jws") else { continue };
            let whole = jws.to_string();
            let token = jws.as_str().unwrap_or(&whole);
            let id = test["tcId"].as_u64().unwrap();
            cases += 1;
            match (test["result"].as_str().unwrap(), verify(&group, token)) {
                ("invalid", true) => accepted.push(id),
                ("valid", false) => refused.push(id),
                ("valid", true) => valid += 1,
                _ => {}
            }
        }
    }
    Some((cases, valid, accepted, refused))
}

#[test]
fn signatures() {
    let Some((cases, valid, accepted, refused)) = run("json_web_signature_test.json") else { return };
    assert_eq!((cases, valid), (401, 26));
    // The padding that makes these two invalid was lost when the file was made: they are the valid token of the
    // same key, byte for byte.
    assert_eq!(accepted, [367, 370]);
    // RSA-PSS is not offered.
    let pss = [272, 273, 274, 275, 287, 288, 320, 321, 322, 323, 325, 326, 327, 328, 346, 350];
    // The key says "ES521", which is not an algorithm.
    let misnamed = [347, 351];
    // Characters that are not base64url, which the file would have ignored.
    let lenient = [372, 373];
    let mut expected = [&pss[..], &misnamed, &lenient].concat();
    expected.sort_unstable();
    assert_eq!(refused, expected);
}

#[test]
fn keys() {
    let Some((cases, valid, accepted, refused)) = run("json_web_key_test.json") else { return };
    assert_eq!((cases, valid), (26, 5));
    // Short secrets are accepted with a warning, as everybody's first secret is "secret".
    assert_eq!(accepted, [10, 11, 12]);
    assert_eq!(refused, [0; 0]);
}

#[test]
fn sets() {
    let Some((cases, valid, accepted, refused)) = run("json_web_crypto_test.json") else { return };
    assert_eq!((cases, valid), (49, 4));
    assert_eq!((accepted, refused), (Vec::new(), Vec::new()));
}

/// Numbers of vectors for bare signatures that ran, and of valid ones: for both sides, or the test fails.
#[derive(Debug, Default, PartialEq)]
struct Ran {
    vectors: usize,
    valid: usize,
}

impl Ran {
    fn judge(
        &mut self,
        key: &VerifyKey,
        alg: Alg,
        (id, valid): (usize, bool),
        text: &[u8],
        signature: &[u8],
    ) {
        let found = key.verify(alg, text, signature).is_ok();
        assert_eq!(found, valid, "{alg}, vector {id}");
        self.vectors += 1;
        self.valid += usize::from(found);
    }
}

/// Runs the sets of a module whose groups have a public key in PEM.
macro_rules! public {
    ($module:ident, $alg:expr, [$($set:ident),+]) => {{
        let mut ran = Ran::default();
        for name in [$(::wycheproof::$module::TestName::$set),+] {
            for group in ::wycheproof::$module::TestSet::load(name).unwrap().test_groups {
                let key = VerifyKey::pem(&group.pem).unwrap();
                for test in group.tests {
                    let verdict = (test.tc_id, test.result == ::wycheproof::TestResult::Valid);
                    ran.judge(&key, $alg, verdict, &test.msg, &test.sig);
                }
            }
        }
        ran
    }};
}

#[test]
fn bare_hmac() {
    use ::wycheproof::mac::{TestName, TestSet};
    let run = |name, sha, bits: usize| {
        let mut ran = Ran::default();
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let key = VerifyKey::hmac(&test.key).unwrap();
                // A part of a tag is as good as no tag.
                let valid = test.result == ::wycheproof::TestResult::Valid && group.tag_size == bits;
                ran.judge(&key, Alg::Hs(sha), (test.tc_id, valid), &test.msg, &test.tag);
            }
        }
        (ran.vectors, ran.valid)
    };
    assert_eq!(run(TestName::HmacSha256, Sha::S256, 256), (174, 33));
    assert_eq!(run(TestName::HmacSha384, Sha::S384, 384), (174, 33));
    assert_eq!(run(TestName::HmacSha512, Sha::S512, 512), (174, 33));
}

#[test]
fn bare_rsa() {
    let ran = public!(
        rsa_pkcs1_verify,
        Alg::Rs(Sha::S256),
        [Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256]
    );
    assert_eq!((ran.vectors, ran.valid), (1034, 31));
    let ran = public!(
        rsa_pkcs1_verify,
        Alg::Rs(Sha::S384),
        [Rsa2048Sha384, Rsa3072Sha384, Rsa4096Sha384, Rsa8192Sha384]
    );
    assert_eq!((ran.vectors, ran.valid), (1035, 28));
    let ran = public!(
        rsa_pkcs1_verify,
        Alg::Rs(Sha::S512),
        [Rsa2048Sha512, Rsa3072Sha512, Rsa4096Sha512, Rsa8192Sha512]
    );
    assert_eq!((ran.vectors, ran.valid), (1037, 30));
}

#[test]
fn bare_ecdsa() {
    let ran = public!(ecdsa, Alg::Es(Curve::P256), [EcdsaSecp256r1Sha256P1363]);
    assert_eq!((ran.vectors, ran.valid), (262, 173));
    let ran = public!(ecdsa, Alg::Es(Curve::P384), [EcdsaSecp384r1Sha384P1363]);
    assert_eq!((ran.vectors, ran.valid), (280, 193));
    let ran = public!(ecdsa, Alg::Es(Curve::P521), [EcdsaSecp521r1Sha512P1363]);
    assert_eq!((ran.vectors, ran.valid), (318, 231));
}

#[test]
fn bare_ed25519() {
    let ran = public!(eddsa, Alg::EdDsa, [Ed25519]);
    assert_eq!((ran.vectors, ran.valid), (151, 88));
}

//! Reading a key set (RFC 7517; RFC 7518 §6 for RSA and EC, RFC 8037 §2 for Ed25519).
//!
//! A key that cannot be read or is not for verifying is left out; the others serve. The set as a whole is
//! refused if two of its keys share a `kid`: it would be left to chance which one checks.

use super::super::json::{MAX_DEPTH, Object};
use super::super::jws::{Alg, Curve, string};
use super::super::keys::VerifyKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// Most keys of a set.
const MAX_KEYS: usize = 256;

/// One key of a set.
#[derive(Debug)]
pub(in super::super) struct Jwk {
    /// RSA, ECDSA or Ed25519: secrets in a set are left out.
    pub(in super::super) key: VerifyKey,
    /// The only algorithm that it is for, if the set says so.
    pub(in super::super) alg: Option<Alg>,
}

/// The usable keys of a set, by `kid`.
#[derive(Debug, Default)]
pub(in super::super) struct KeySet {
    keys: HashMap<String, Arc<Jwk>>,
}

/// A set that is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(in super::super) enum SetError {
    #[error("the response {0}")]
    Json(String),
    #[error("the response has no list \"keys\"")]
    NoKeys,
    #[error("the set has more than {MAX_KEYS} keys")]
    TooMany,
    #[error("two keys of the set have the same kid")]
    DuplicateKid,
}

impl KeySet {
    pub(in super::super) fn parse(bytes: &[u8]) -> Result<Self, SetError> {
        let set = Object::parse(bytes, MAX_DEPTH).map_err(SetError::Json)?;
        let keys = set.get("keys").ok_or(SetError::NoKeys)?;
        let keys: Vec<&RawValue> = serde_json::from_str(keys.get()).map_err(|_| SetError::NoKeys)?;
        if keys.len() > MAX_KEYS {
            return Err(SetError::TooMany);
        }
        let mut found = HashMap::new();
        for value in keys {
            let Some(object) = Object::of(value) else { continue };
            let Some(kid) = text(&object, "kid") else { continue };
            if !is_for_verifying(&object) {
                continue;
            }
            // A key that cannot be read still claims its name.
            if found.insert(kid, jwk(&object).map(Arc::new)).is_some() {
                return Err(SetError::DuplicateKid);
            }
        }
        Ok(Self { keys: found.into_iter().filter_map(|(kid, key)| Some((kid, key?))).collect() })
    }

    pub(in super::super) fn get(&self, kid: &str) -> Option<&Arc<Jwk>> {
        self.keys.get(kid)
    }

    #[cfg(test)]
    pub(in super::super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// Without `use` and `key_ops` a key is for anything (RFC 7517 §4.2, §4.3).
fn is_for_verifying(key: &Object<'_>) -> bool {
    let of_use = key.get("use").is_none_or(|value| string(value).as_deref() == Some("sig"));
    let of_ops = key.get("key_ops").is_none_or(|value| {
        serde_json::from_str::<Vec<String>>(value.get()).is_ok_and(|ops| ops.iter().any(|op| op == "verify"))
    });
    of_use && of_ops
}

fn jwk(key: &Object<'_>) -> Option<Jwk> {
    let verify = match text(key, "kty")?.as_str() {
        "RSA" => VerifyKey::rsa(&number(key, "n")?, &number(key, "e")?).ok()?,
        "EC" => {
            let curve = match text(key, "crv")?.as_str() {
                "P-256" => Curve::P256,
                "P-384" => Curve::P384,
                "P-521" => Curve::P521,
                _ => return None,
            };
            let (x, y) = (number(key, "x")?, number(key, "y")?);
            if x.len() != curve.bytes() || y.len() != curve.bytes() {
                return None;
            }
            VerifyKey::ecdsa(curve, &[&[4], x.as_slice(), &y].concat()).ok()?
        }
        "OKP" if text(key, "crv")? == "Ed25519" => VerifyKey::ed25519(&number(key, "x")?).ok()?,
        _ => return None,
    };
    let alg = match key.get("alg") {
        None => None,
        Some(value) => match string(value)?.as_str() {
            // The name that RFC 9864 gives to EdDSA with this curve.
            "Ed25519" => Some(Alg::EdDsa),
            name => Some(Alg::from_name(name)?),
        },
    };
    // A key whose `alg` is not one of its own could never verify anything.
    alg.is_none_or(|alg| verify.serves(alg)).then_some(Jwk { key: verify, alg })
}

fn text(object: &Object<'_>, name: &str) -> Option<String> {
    string(object.get(name)?)
}

fn number(object: &Object<'_>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(object, name)?).ok()
}

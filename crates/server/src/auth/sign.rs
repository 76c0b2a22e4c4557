//! Making tokens: for the command line and for development, not for verification.

use super::jws::{Alg, Curve, Sha};
use super::pem;
use crate::config::typed::TokenIssuer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::fmt;
use thiserror::Error;

/// A token with these claims, signed by HS256.
#[must_use]
pub fn hs256(secret: &str, claims: &Value) -> String {
    let alg = Alg::Hs(Sha::S256);
    let text = signing_input(alg, None, claims);
    let signature = hmac(Sha::S256, secret, text.as_bytes());
    whole(&text, signature)
}

/// Sets a claim by its path, with objects on the way to it.
fn set_claim(claims: &mut Value, path: &str, value: Value) {
    let place = path.split('.').fold(claims, |object, name| {
        if !object.is_object() {
            *object = json!({});
        }
        &mut object[name]
    });
    *place = value;
}

/// The claims of a user that a configuration requires, whatever the token is for.
pub(crate) fn required_claims(issuer: &TokenIssuer, user: &str) -> Value {
    let mut claims = json!({ "sub": user });
    for (claim, value) in [("iss", &issuer.issuer), ("aud", &issuer.audience)] {
        if !value.is_empty() {
            claims[claim] = json!(value);
        }
    }
    if !issuer.user_id_claim.is_empty() {
        set_claim(&mut claims, &issuer.user_id_claim, json!(user));
    }
    claims
}

/// A key that signs.
pub enum Signer {
    /// A shared secret.
    Hmac(String),
    /// An RSA key.
    Rsa(Box<RsaKeyPair>),
    /// An ECDSA key on this curve.
    Ec(Curve, Box<EcdsaKeyPair>),
    /// An Ed25519 key.
    Ed(Box<Ed25519KeyPair>),
}

/// Reasons why signing fails.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignFault {
    /// Not PEM, or none of a private key.
    #[error("not a PEM private key: expected a block that begins with -----BEGIN PRIVATE KEY-----")]
    NotPem,
    /// It needs a password.
    #[error("an encrypted private key: decrypt it first, as with openssl pkey")]
    Encrypted,
    /// No key, or of a kind that is not supported.
    #[error("a damaged key or one of a kind that is not supported: use RSA, P-256, P-384, P-521 or Ed25519")]
    Unsupported,
    /// The key is for other algorithms.
    #[error("the key does not sign {alg}, but {}", names(.serves))]
    Alg {
        /// Requested algorithm.
        alg: Alg,
        /// Algorithms that the key can sign with.
        serves: &'static [Alg],
    },
    /// The crypto library refused.
    #[error("the key does not sign")]
    Refused,
}

fn names(algs: &[Alg]) -> String {
    algs.iter().map(|alg| alg.name()).collect::<Vec<_>>().join(", ")
}

impl Signer {
    /// A shared secret.
    #[must_use]
    pub fn hmac(secret: &str) -> Self {
        Self::Hmac(secret.to_owned())
    }

    /// A private key from PEM text: PKCS #8, or the older forms of RSA and EC keys.
    ///
    /// # Errors
    /// The text is not a PEM private key of a supported kind.
    pub fn pem(text: &str) -> Result<Self, SignFault> {
        // Before a key of the older form openssl writes the parameters of its curve.
        let blocks = pem::blocks(text);
        let (label, der) =
            blocks.iter().find(|(label, _)| label.ends_with("PRIVATE KEY")).ok_or(SignFault::NotPem)?;
        match label.as_str() {
            "PRIVATE KEY" => Self::pkcs8(der),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(der).ok().map(Self::of_rsa),
            "EC PRIVATE KEY" => Self::ec_by(|alg| EcdsaKeyPair::from_private_key_der(alg, der).ok()),
            "ENCRYPTED PRIVATE KEY" => return Err(SignFault::Encrypted),
            _ => return Err(SignFault::NotPem),
        }
        .ok_or(SignFault::Unsupported)
    }

    fn pkcs8(der: &[u8]) -> Option<Self> {
        (RsaKeyPair::from_pkcs8(der).ok().map(Self::of_rsa))
            .or_else(|| Ed25519KeyPair::from_pkcs8(der).ok().map(|pair| Self::Ed(Box::new(pair))))
            .or_else(|| Self::ec_by(|alg| EcdsaKeyPair::from_pkcs8(alg, der).ok()))
    }

    fn of_rsa(pair: RsaKeyPair) -> Self {
        Self::Rsa(Box::new(pair))
    }

    /// The first curve that a key can be read for.
    fn ec_by(read: impl Fn(&'static EcdsaSigningAlgorithm) -> Option<EcdsaKeyPair>) -> Option<Self> {
        [Curve::P256, Curve::P384, Curve::P521]
            .into_iter()
            .find_map(|curve| Some(Self::Ec(curve, Box::new(read(curve.signing())?))))
    }

    /// Returns the algorithms that the key can sign with, the usual one first.
    #[must_use]
    pub const fn algs(&self) -> &'static [Alg] {
        match self {
            Self::Hmac(_) => &[Alg::Hs(Sha::S256), Alg::Hs(Sha::S384), Alg::Hs(Sha::S512)],
            Self::Rsa(_) => &[Alg::Rs(Sha::S256), Alg::Rs(Sha::S384), Alg::Rs(Sha::S512)],
            Self::Ec(Curve::P256, _) => &[Alg::Es(Curve::P256)],
            Self::Ec(Curve::P384, _) => &[Alg::Es(Curve::P384)],
            Self::Ec(Curve::P521, _) => &[Alg::Es(Curve::P521)],
            Self::Ed(_) => &[Alg::EdDsa],
        }
    }

    /// The usual algorithm of the key.
    #[must_use]
    pub const fn alg(&self) -> Alg {
        self.algs()[0]
    }

    /// A token with these claims; `kid` goes into its header.
    ///
    /// # Errors
    /// The key is for other algorithms.
    pub fn claims(&self, alg: Alg, kid: Option<&str>, claims: &Value) -> Result<String, SignFault> {
        let text = signing_input(alg, kid, claims);
        Ok(whole(&text, &self.sign(alg, text.as_bytes())?))
    }

    /// The signature over a text.
    ///
    /// # Errors
    /// The key is for other algorithms.
    pub fn sign(&self, alg: Alg, text: &[u8]) -> Result<Vec<u8>, SignFault> {
        match (self, alg) {
            (Self::Hmac(secret), Alg::Hs(sha)) => Ok(hmac(sha, secret, text).as_ref().to_vec()),
            (Self::Rsa(pair), Alg::Rs(sha)) => {
                let padding: &dyn signature::RsaEncoding = match sha {
                    Sha::S256 => &signature::RSA_PKCS1_SHA256,
                    Sha::S384 => &signature::RSA_PKCS1_SHA384,
                    Sha::S512 => &signature::RSA_PKCS1_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), text, &mut signature)
                    .map_err(|_| SignFault::Refused)?;
                Ok(signature)
            }
            (Self::Ec(curve, pair), Alg::Es(asked)) if *curve == asked => {
                let signature = pair.sign(&SystemRandom::new(), text).map_err(|_| SignFault::Refused)?;
                Ok(signature.as_ref().to_vec())
            }
            (Self::Ed(pair), Alg::EdDsa) => Ok(pair.sign(text).as_ref().to_vec()),
            _ => Err(SignFault::Alg { alg, serves: self.algs() }),
        }
    }
}

/// The algorithm alone: neither secrets nor keys are shown.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.alg())
    }
}

impl Curve {
    /// Signatures of the fixed size of RFC 7518 §3.4.
    pub(super) const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        }
    }
}

fn hmac(sha: Sha, secret: &str, text: &[u8]) -> hmac::Tag {
    let algorithm = match sha {
        Sha::S256 => hmac::HMAC_SHA256,
        Sha::S384 => hmac::HMAC_SHA384,
        Sha::S512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, secret.as_bytes()), text)
}

fn signing_input(alg: Alg, kid: Option<&str>, claims: &Value) -> String {
    let mut header = json!({ "alg": alg.name(), "typ": "JWT" });
    if let Some(kid) = kid {
        header["kid"] = Value::from(kid);
    }
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn whole(text: &str, signature: impl AsRef<[u8]>) -> String {
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;

//! PEM, and the public keys in it: `PUBLIC KEY` (SubjectPublicKeyInfo, RFC 5280 §4.1) and `RSA PUBLIC KEY` (PKCS #1).
//!
//! The structure is read here, so that a wrong kind of key is named instead of "cannot be read"; whether the
//! numbers make a key is for the crypto library to say.

use super::jws::{Curve, Family};
use super::keys::VerifyKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// Reasons to refuse a configured key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyFault {
    /// There is nothing.
    #[error("the key is empty")]
    Empty,
    /// Not PEM.
    #[error("not a PEM key: expected a block that begins with -----BEGIN PUBLIC KEY-----")]
    NotPem,
    /// A PEM block of another kind.
    #[error("a PEM block {0:?}, where \"PUBLIC KEY\" is expected")]
    Label(String),
    /// The public key of another family.
    #[error("a key of the family {found:?}, which this option is not for")]
    Kind {
        /// The family of the key.
        found: Family,
    },
    /// An algorithm or curve that is not supported.
    #[error("a kind of key that is not supported: use RSA, P-256, P-384, P-521 or Ed25519")]
    Unsupported,
    /// An RSA key of another size.
    #[error("an RSA key of {0} bits: it must have 2048 to 8192")]
    RsaSize(usize),
    /// An RSA exponent that is invalid.
    #[error("an RSA key whose exponent is even, 1 or too large")]
    RsaExponent,
    /// An RSA key of a broken generator (CVE-2017-15361).
    #[error("an RSA key made by a generator whose keys can be factored: make a new one elsewhere")]
    RsaPredictable,
    /// The numbers do not make a key.
    #[error("the key is damaged")]
    Invalid,
}

/// Reads the first PEM block of a text.
pub(super) fn public_key(text: &str) -> Result<VerifyKey, KeyFault> {
    if text.trim().is_empty() {
        return Err(KeyFault::Empty);
    }
    let blocks = blocks(text);
    let (label, der) = blocks.first().ok_or(KeyFault::NotPem)?;
    match label.as_str() {
        "PUBLIC KEY" => subject_public_key_info(der),
        "RSA PUBLIC KEY" => rsa_public_key(der),
        _ => Err(KeyFault::Label(label.chars().take(40).collect())),
    }
}

/// The PEM blocks of a text up to a broken one, each with its label. `\n` written out, as environment variables
/// have it, counts as a line break.
pub(super) fn blocks(text: &str) -> Vec<(String, Vec<u8>)> {
    let text = text.replace("\\n", "\n");
    let (mut rest, mut found) = (text.as_str(), Vec::new());
    while let Some((label, der, after)) = block(rest) {
        found.push((label.to_owned(), der));
        rest = after;
    }
    found
}

/// Label and content of the next block, and what comes after it.
fn block(text: &str) -> Option<(&str, Vec<u8>, &str)> {
    let (_, after) = text.split_once("-----BEGIN ")?;
    let (label, after) = after.split_once("-----")?;
    let (body, after) = after.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_ascii_whitespace().collect();
    Some((label, STANDARD.decode(body).ok()?, after))
}

/// `SEQUENCE { SEQUENCE { algorithm, parameters }, BIT STRING }`
fn subject_public_key_info(der: &[u8]) -> Result<VerifyKey, KeyFault> {
    let mut outer = Der(der);
    let mut info = Der(outer.take(SEQUENCE)?);
    outer.end()?;
    let mut algorithm = Der(info.take(SEQUENCE)?);
    let bits = info.take(BIT_STRING)?;
    info.end()?;
    let Some((0, key)) = bits.split_first() else { return Err(KeyFault::Invalid) };
    match algorithm.take(OBJECT)? {
        RSA_ENCRYPTION => rsa_public_key(key),
        ED25519 => VerifyKey::ed25519(key),
        EC_PUBLIC_KEY => {
            let curve = match algorithm.take(OBJECT)? {
                P256 => Curve::P256,
                P384 => Curve::P384,
                P521 => Curve::P521,
                _ => return Err(KeyFault::Unsupported),
            };
            VerifyKey::ecdsa(curve, key)
        }
        _ => Err(KeyFault::Unsupported),
    }
}

fn rsa_public_key(der: &[u8]) -> Result<VerifyKey, KeyFault> {
    let (modulus, exponent) = rsa_numbers(der)?;
    VerifyKey::rsa(modulus, exponent)
}

/// `SEQUENCE { INTEGER modulus, INTEGER exponent }`
pub(super) fn rsa_numbers(der: &[u8]) -> Result<(&[u8], &[u8]), KeyFault> {
    let mut outer = Der(der);
    let mut numbers = Der(outer.take(SEQUENCE)?);
    outer.end()?;
    let (modulus, exponent) = (numbers.take(INTEGER)?, numbers.take(INTEGER)?);
    numbers.end()?;
    Ok((modulus, exponent))
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;

/// 1.2.840.113549.1.1.1
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// 1.3.132.0.35
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// 1.3.101.112
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// DER values one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which must have this tag.
    fn take(&mut self, tag: u8) -> Result<&'a [u8], KeyFault> {
        let (length, rest) = match self.0 {
            [found, length @ 0..=0x7f, rest @ ..] if *found == tag => (usize::from(*length), rest),
            [found, 0x81, length, rest @ ..] if *found == tag => (usize::from(*length), rest),
            [found, 0x82, high, low, rest @ ..] if *found == tag => {
                (usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return Err(KeyFault::Invalid),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(KeyFault::Invalid)?;
        self.0 = rest;
        Ok(content)
    }

    const fn end(&self) -> Result<(), KeyFault> {
        if self.0.is_empty() { Ok(()) } else { Err(KeyFault::Invalid) }
    }
}

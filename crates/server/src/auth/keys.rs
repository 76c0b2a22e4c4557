//! Keys, and the one rule about them: a key only ever checks algorithms of its own family.
//!
//! The rule holds by type. There is no way to use the text of a public key as an HMAC secret, or a P-256 key
//! for ES384: [`VerifyKey::verify`] matches key and algorithm as a pair, and every other pair is an error.

use super::jws::{Alg, Curve, Family, Sha};
use super::pem::{self, KeyFault};
use super::settings::{KeySettings, Timed};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey};
use std::fmt;
use thiserror::Error;

/// A key that can check signatures.
#[derive(Clone)]
pub enum VerifyKey {
    /// A shared secret.
    Hmac(HmacKey),
    /// An RSA key of 2048 to 8192 bits.
    Rsa(RsaKey),
    /// An ECDSA key.
    Ecdsa(EcKey),
    /// An Ed25519 key.
    Ed25519(EdKey),
}

/// A shared secret.
#[derive(Clone)]
pub struct HmacKey(Box<[hmac::Key; 3]>);

/// An RSA public key, ready for each digest.
#[derive(Clone)]
pub struct RsaKey([ParsedPublicKey; 3]);

/// An ECDSA public key.
#[derive(Clone)]
pub struct EcKey {
    curve: Curve,
    key: ParsedPublicKey,
}

/// An Ed25519 public key.
#[derive(Clone)]
pub struct EdKey(ParsedPublicKey);

/// Reasons why a key does not verify a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The key is not for this algorithm.
    Alg,
    /// The signature is not made with this key over this text.
    Signature,
}

impl VerifyKey {
    /// A secret for HMAC.
    ///
    /// # Errors
    /// The secret is empty.
    pub fn hmac(secret: &[u8]) -> Result<Self, KeyFault> {
        if secret.is_empty() {
            return Err(KeyFault::Empty);
        }
        let key = |algorithm| hmac::Key::new(algorithm, secret);
        Ok(Self::Hmac(HmacKey(Box::new([
            key(hmac::HMAC_SHA256),
            key(hmac::HMAC_SHA384),
            key(hmac::HMAC_SHA512),
        ]))))
    }

    /// An RSA key from modulus and exponent, big endian.
    ///
    /// # Errors
    /// The modulus does not have 2048 to 8192 bits, or the two do not make a key.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyFault> {
        let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
        let e = &e[e.iter().take_while(|byte| **byte == 0).count()..];
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !(2048..=8192).contains(&bits) {
            return Err(KeyFault::RsaSize(bits));
        }
        // An even exponent is not a key, and 1 makes every text its own signature.
        if e.is_empty() || e.len() > 8 || e.last().is_some_and(|byte| byte % 2 == 0) || e == [1] {
            return Err(KeyFault::RsaExponent);
        }
        if has_predictable_primes(n) {
            return Err(KeyFault::RsaPredictable);
        }
        let parse = |parameters| {
            PublicKeyComponents { n, e }.to_parsed_public_key(parameters).map_err(|_| KeyFault::Invalid)
        };
        Ok(Self::Rsa(RsaKey([
            parse(&signature::RSA_PKCS1_2048_8192_SHA256)?,
            parse(&signature::RSA_PKCS1_2048_8192_SHA384)?,
            parse(&signature::RSA_PKCS1_2048_8192_SHA512)?,
        ])))
    }

    /// An ECDSA key from a point in uncompressed form (`04 ‖ x ‖ y`).
    ///
    /// # Errors
    /// The point is not on the curve.
    pub fn ecdsa(curve: Curve, point: &[u8]) -> Result<Self, KeyFault> {
        let algorithm = match curve {
            Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Curve::P521 => &signature::ECDSA_P521_SHA512_FIXED,
        };
        if point.len() != 1 + 2 * curve.bytes() || point.first() != Some(&4) {
            return Err(KeyFault::Invalid);
        }
        let key = ParsedPublicKey::new(algorithm, point).map_err(|_| KeyFault::Invalid)?;
        Ok(Self::Ecdsa(EcKey { curve, key }))
    }

    /// An Ed25519 key from its 32 bytes.
    ///
    /// # Errors
    /// It has another length or is not a key.
    pub fn ed25519(key: &[u8]) -> Result<Self, KeyFault> {
        if key.len() != 32 {
            return Err(KeyFault::Invalid);
        }
        ParsedPublicKey::new(&signature::ED25519, key)
            .map(|key| Self::Ed25519(EdKey(key)))
            .map_err(|_| KeyFault::Invalid)
    }

    /// A public key from PEM text.
    ///
    /// # Errors
    /// The text is not a PEM public key of a supported kind.
    pub fn pem(text: &str) -> Result<Self, KeyFault> {
        pem::public_key(text)
    }

    /// The family that the key belongs to.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Hmac(_) => Family::Hmac,
            Self::Rsa(_) => Family::Rsa,
            Self::Ecdsa(_) => Family::Ecdsa,
            Self::Ed25519(_) => Family::Ed25519,
        }
    }

    /// Returns true if the key can check this algorithm at all.
    #[must_use]
    pub fn serves(&self, alg: Alg) -> bool {
        match (self, alg) {
            (Self::Ecdsa(key), Alg::Es(curve)) => key.curve == curve,
            _ => self.family() == alg.family(),
        }
    }

    /// Checks a signature. HMACs are compared in constant time; ECDSA signatures have the fixed size of
    /// RFC 7518 §3.4.
    ///
    /// # Errors
    /// The key is for other algorithms, or the signature is not its.
    pub fn verify(&self, alg: Alg, text: &[u8], signature: &[u8]) -> Result<(), Mismatch> {
        let good = match (self, alg) {
            (Self::Hmac(HmacKey(keys)), Alg::Hs(sha)) => {
                hmac::verify(&keys[sha.index()], text, signature).is_ok()
            }
            (Self::Rsa(RsaKey(keys)), Alg::Rs(sha)) => keys[sha.index()].verify_sig(text, signature).is_ok(),
            (Self::Ecdsa(key), Alg::Es(curve)) if key.curve == curve => {
                key.key.verify_sig(text, signature).is_ok()
            }
            (Self::Ed25519(EdKey(key)), Alg::EdDsa) => key.verify_sig(text, signature).is_ok(),
            _ => return Err(Mismatch::Alg),
        };
        if good { Ok(()) } else { Err(Mismatch::Signature) }
    }
}

/// The kind alone: neither secrets nor keys are shown.
impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hmac(_) => f.write_str("Hmac"),
            Self::Rsa(_) => f.write_str("Rsa"),
            Self::Ecdsa(key) => write!(f, "Ecdsa({:?})", key.curve),
            Self::Ed25519(_) => f.write_str("Ed25519"),
        }
    }
}

impl Sha {
    const fn index(self) -> usize {
        match self {
            Self::S256 => 0,
            Self::S384 => 1,
            Self::S512 => 2,
        }
    }
}

impl Curve {
    /// Bytes of one coordinate.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// Returns true if a modulus was made by a generator of smart cards whose keys can be factored (CVE-2017-15361):
/// modulo each of these primes it is then a power of 65537, which no other modulus is modulo all of them.
fn has_predictable_primes(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101,
        103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let rest = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        loop {
            if power == rest {
                return true;
            }
            power = power * (65537 % prime) % prime;
            if power == 1 {
                return false;
            }
        }
    })
}

/// The static keys of one issuer, old and new.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(Vec<RingKey>);

#[derive(Clone, Debug)]
struct RingKey {
    key: VerifyKey,
    valid_from: Option<i64>,
    valid_until: Option<i64>,
}

/// Reasons why no key of a ring verifies a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingFault {
    /// The ring has no key of the family.
    NoKey,
    /// Keys of the family are there, none for this algorithm (another curve).
    WrongCurve,
    /// Those that are for it do not hold now.
    OutOfTime,
    /// Some were tried, and none verifies the signature.
    Signature,
}

/// A configured key is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{option}: {fault}")]
pub struct KeyError {
    /// The option to change.
    pub option: String,
    /// The fault.
    pub fault: KeyFault,
}

impl KeyRing {
    /// Reads all keys of an issuer.
    ///
    /// # Errors
    /// A key cannot be read, or is not of the kind that its option is for.
    pub fn new(settings: &KeySettings) -> Result<Self, KeyError> {
        let mut ring = Self::default();
        let hmac = |text: &str| VerifyKey::hmac(text.as_bytes());
        ring.add(&settings.hmac, Family::Hmac, hmac)?;
        ring.add(&settings.rsa, Family::Rsa, VerifyKey::pem)?;
        ring.add(&settings.ecdsa, Family::Ecdsa, VerifyKey::pem)?;
        ring.add(&settings.ed25519, Family::Ed25519, VerifyKey::pem)?;
        Ok(ring)
    }

    fn add(
        &mut self,
        keys: &[Timed],
        family: Family,
        read: impl Fn(&str) -> Result<VerifyKey, KeyFault>,
    ) -> Result<(), KeyError> {
        for timed in keys {
            let key = read(timed.key.expose()).and_then(|key| {
                if key.family() == family { Ok(key) } else { Err(KeyFault::Kind { found: key.family() }) }
            });
            let key = key.map_err(|fault| KeyError { option: timed.option.clone(), fault })?;
            self.0.push(RingKey { key, valid_from: timed.valid_from, valid_until: timed.valid_until });
        }
        Ok(())
    }

    /// Returns true if a family has a key, whether or not it is currently valid.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.0.iter().any(|entry| entry.key.family() == family)
    }

    /// Checks a signature at a time with the keys of the ring.
    ///
    /// # Errors
    /// No key verifies it.
    pub fn verify(&self, alg: Alg, text: &[u8], signature: &[u8], now: i64) -> Result<(), RingFault> {
        let mut fault = RingFault::NoKey;
        for entry in self.0.iter().filter(|entry| entry.key.family() == alg.family()) {
            let found = if !entry.key.serves(alg) {
                RingFault::WrongCurve
            } else if !entry.holds(now) {
                RingFault::OutOfTime
            } else if entry.key.verify(alg, text, signature).is_ok() {
                return Ok(());
            } else {
                RingFault::Signature
            };
            // The fault that says most: a key that was tried says more than one that was passed over.
            if found as u8 > fault as u8 {
                fault = found;
            }
        }
        Err(fault)
    }
}

impl RingKey {
    fn holds(&self, now: i64) -> bool {
        self.valid_from.is_none_or(|from| from <= now) && self.valid_until.is_none_or(|until| now <= until)
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;

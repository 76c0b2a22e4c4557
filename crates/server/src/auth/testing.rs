//! Making tokens, honest and forged, for the tests.

use super::jws::{Alg, Curve};
use super::pem::rsa_numbers;
use super::settings::{Expect, IssuerSettings, KeySettings, Timed, TokenSettings};
pub(crate) use super::sign::Signer;
use crate::secret::Secret;
use aws_lc_rs::encoding::{self, AsDer};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::sync::OnceLock;

pub(crate) fn b64u(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(crate) fn ec(curve: Curve) -> Self {
        Self::Ec(curve, Box::new(EcdsaKeyPair::generate(curve.signing()).unwrap()))
    }

    pub(crate) fn ed() -> Self {
        Self::Ed(Box::new(Ed25519KeyPair::generate().unwrap()))
    }

    /// Signs; with the usual algorithm of the key where it does not have the one that is asked for.
    pub(crate) fn forge(&self, alg: Alg, text: &[u8]) -> Vec<u8> {
        let alg = if self.algs().contains(&alg) { alg } else { self.alg() };
        self.sign(alg, text).unwrap()
    }

    /// The public key as a PEM block.
    pub(crate) fn public_pem(&self) -> String {
        let der = match self {
            Self::Hmac(_) => panic!("a secret has no public key"),
            Self::Rsa(pair) => AsDer::<encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Self::Ec(_, pair) => AsDer::<encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Self::Ed(pair) => AsDer::<encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()),
        };
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.unwrap().as_ref())
        )
    }

    /// The public key as a member of a key set; `more` is added to it.
    pub(crate) fn jwk(&self, kid: &str, more: &str) -> String {
        let key = match self {
            Self::Hmac(secret) => format!(r#""kty":"oct","k":"{}""#, b64u(secret)),
            Self::Rsa(pair) => {
                let (n, e) = rsa_numbers(pair.public_key().as_ref()).unwrap();
                let n = &n[usize::from(n[0] == 0)..];
                format!(r#""kty":"RSA","n":"{}","e":"{}""#, b64u(n), b64u(e))
            }
            Self::Ec(curve, pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at(curve.bytes());
                let name = match curve {
                    Curve::P256 => "P-256",
                    Curve::P384 => "P-384",
                    Curve::P521 => "P-521",
                };
                format!(r#""kty":"EC","crv":"{name}","x":"{}","y":"{}""#, b64u(x), b64u(y))
            }
            Self::Ed(pair) => {
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, b64u(pair.public_key().as_ref()))
            }
        };
        format!(r#"{{"kid":"{kid}",{key}{more}}}"#)
    }

    /// A token with these claims, signed with the first algorithm of the key.
    pub(crate) fn token(&self, claims: &str) -> String {
        self.token_with(&format!(r#"{{"alg":"{}","typ":"JWT"}}"#, self.alg()), claims)
    }

    /// A token whose header names a key.
    pub(crate) fn token_kid(&self, kid: &str, claims: &str) -> String {
        self.token_with(&format!(r#"{{"alg":"{}","kid":"{kid}"}}"#, self.alg()), claims)
    }

    /// A token signed with another algorithm of the key.
    pub(crate) fn token_alg(&self, alg: Alg, claims: &str) -> String {
        self.token_with(&format!(r#"{{"alg":"{alg}"}}"#), claims)
    }

    /// A token with a header of one's own. It is signed with the key whatever the header says.
    pub(crate) fn token_with(&self, header: &str, claims: &str) -> String {
        let named = Alg::ALL.into_iter().find(|alg| header.contains(&format!("\"{alg}\"")));
        let text = format!("{}.{}", b64u(header), b64u(claims));
        let signature = self.forge(named.unwrap_or_else(|| self.alg()), text.as_bytes());
        format!("{text}.{}", b64u(signature))
    }
}

/// One signer of each kind. Made once: RSA keys take their time.
pub(crate) fn signers() -> &'static [Signer] {
    static SIGNERS: OnceLock<Vec<Signer>> = OnceLock::new();
    SIGNERS.get_or_init(|| {
        vec![
            Signer::hmac("secret"),
            Signer::rsa(),
            Signer::ec(Curve::P256),
            Signer::ec(Curve::P384),
            Signer::ec(Curve::P521),
            Signer::ed(),
        ]
    })
}

pub(crate) fn always(option: &str, key: &str) -> Timed {
    Timed::always(option, Secret::new(key))
}

/// Keys for what a signer makes.
pub(crate) fn keys_of(signers: &[&Signer]) -> KeySettings {
    let mut keys = KeySettings::default();
    for signer in signers {
        match signer {
            Signer::Hmac(secret) => keys.hmac.push(always("client.token.hmac_secret_key", secret)),
            Signer::Rsa(_) => keys.rsa.push(always("client.token.rsa_public_key", &signer.public_pem())),
            Signer::Ec(..) => keys.ecdsa.push(always("client.token.ecdsa_public_key", &signer.public_pem())),
            Signer::Ed(_) => {
                keys.ed25519.push(always("client.token.ed25519_public_key", &signer.public_pem()))
            }
        }
    }
    keys
}

/// An issuer at `client.token`.
pub(crate) fn issuer(keys: KeySettings) -> IssuerSettings {
    IssuerSettings { path: "client.token".into(), keys, ..IssuerSettings::default() }
}

pub(crate) fn named(name: &str, iss: &str, keys: KeySettings) -> IssuerSettings {
    IssuerSettings { path: name.into(), issuer: Expect::Exact(iss.into()), ..issuer(keys) }
}

pub(crate) fn settings(issuers: Vec<IssuerSettings>) -> TokenSettings {
    TokenSettings { issuers, ..TokenSettings::default() }
}

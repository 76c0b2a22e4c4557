//! The envelope of a token: JWS compact serialization (RFC 7515), read strictly.
//!
//! Of the header only `alg`, `kid` and `crit` mean anything here. Keys and addresses of keys that a header
//! brings along (`jwk`, `jku`, `x5c`, `x5u`) are not looked at: who signs a token does not get to say which
//! key checks it.

use super::json::{MAX_DEPTH, Object};
use super::reason::{Part, Reason, Refusal};
use crate::params::without_breaks;
use crate::quote::quoted;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use std::fmt;

/// Most bytes of a token. What a client sends is bounded by the message limit before.
pub const MAX_TOKEN: usize = 1 << 20;
/// Most bytes of a header.
const MAX_HEADER: usize = 4096;
/// Most bytes of a `kid`.
const MAX_KID: usize = 256;

/// A signature algorithm that is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alg {
    /// HMAC: HS256, HS384, HS512.
    Hs(Sha),
    /// RSA with PKCS #1 v1.5 padding: RS256, RS384, RS512.
    Rs(Sha),
    /// ECDSA: ES256 on P-256, ES384 on P-384, ES512 on P-521.
    Es(Curve),
    /// EdDSA with Ed25519.
    EdDsa,
}

/// A digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sha {
    /// SHA-256.
    S256,
    /// SHA-384.
    S384,
    /// SHA-512.
    S512,
}

/// An elliptic curve for ECDSA; it decides the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// P-256 with SHA-256.
    P256,
    /// P-384 with SHA-384.
    P384,
    /// P-521 with SHA-512.
    P521,
}

/// A family of algorithms: a key belongs to exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Shared secrets.
    Hmac,
    /// RSA keys.
    Rsa,
    /// ECDSA keys.
    Ecdsa,
    /// Ed25519 keys.
    Ed25519,
}

impl Alg {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Hs(Sha::S256),
        Self::Hs(Sha::S384),
        Self::Hs(Sha::S512),
        Self::Rs(Sha::S256),
        Self::Rs(Sha::S384),
        Self::Rs(Sha::S512),
        Self::Es(Curve::P256),
        Self::Es(Curve::P384),
        Self::Es(Curve::P521),
        Self::EdDsa,
    ];

    /// The algorithm of a name (RFC 7518 §3.1, RFC 8037 §3.1). Names are case-sensitive.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.name() == name)
    }

    /// The name in a header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs(Sha::S256) => "HS256",
            Self::Hs(Sha::S384) => "HS384",
            Self::Hs(Sha::S512) => "HS512",
            Self::Rs(Sha::S256) => "RS256",
            Self::Rs(Sha::S384) => "RS384",
            Self::Rs(Sha::S512) => "RS512",
            Self::Es(Curve::P256) => "ES256",
            Self::Es(Curve::P384) => "ES384",
            Self::Es(Curve::P521) => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The family of keys that can check it.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Hs(_) => Family::Hmac,
            Self::Rs(_) => Family::Rsa,
            Self::Es(_) => Family::Ecdsa,
            Self::EdDsa => Family::Ed25519,
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A token taken apart. Nothing of it is verified.
pub struct Jws<'a> {
    /// The algorithm that the header names.
    pub alg: Alg,
    /// The key that the header names: an opaque text to look up, never a path or an address.
    pub kid: Option<String>,
    /// Bytes that the signature covers.
    pub signing_input: &'a [u8],
    /// The payload.
    pub payload: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Payload and signature are never shown.
impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jws").field("alg", &self.alg).field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// The token does not have three parts of strict base64url (no padding, no spare bits), its header is not a
    /// small JSON object with distinct names, has a critical extension (none is known here) or an algorithm
    /// that is not supported.
    pub fn parse(token: &'a str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(malformed(Part::Token, format!("the token has {} bytes", token.len())));
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or_else(not_three_parts)?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(not_three_parts)?;
        if payload.contains('.') {
            return Err(not_three_parts());
        }
        let (alg, kid) = parse_header(header)?;
        Ok(Self {
            alg,
            kid,
            signing_input: signing_input.as_bytes(),
            payload: decode(Part::Payload, payload)?,
            signature: decode(Part::Signature, signature)?,
        })
    }
}

fn parse_header(encoded: &str) -> Result<(Alg, Option<String>), Refusal> {
    if encoded.len() > MAX_HEADER {
        return Err(malformed(Part::Header, format!("the header has {} bytes", encoded.len())));
    }
    let bytes = decode(Part::Header, encoded)?;
    let header = Object::parse(&bytes, MAX_DEPTH)
        .map_err(|fault| malformed(Part::Header, format!("the header {fault}")))?;
    if let Some(name) = header.twice(&["alg", "kid", "typ", "cty", "crit"]) {
        return Err(malformed(Part::Header, format!("the header has {name:?} in two spellings")));
    }
    if header.raw("crit").is_some() {
        return Err(malformed(Part::Header, "the header has \"crit\", and no critical extension is known"));
    }
    let text = |name: &str| match header.get(name) {
        None => Ok(None),
        Some(value) => string(value)
            .map(Some)
            .ok_or_else(|| malformed(Part::Header, format!("{name:?} in the header is not a string"))),
    };
    // Nothing follows from these two, but Centrifugo refuses other types as well.
    text("typ")?;
    text("cty")?;
    let kid = text("kid")?;
    if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
        return Err(malformed(Part::Header, format!("\"kid\" in the header is longer than {MAX_KID} bytes")));
    }
    let Some(name) = text("alg")? else {
        return Err(alg_not_allowed("the header names no algorithm".into()));
    };
    let alg = Alg::from_name(&name)
        .ok_or_else(|| alg_not_allowed(format!("the algorithm {} is not supported", quoted(&name))))?;
    Ok((alg, kid))
}

/// A JSON string.
pub(super) fn string(value: &RawValue) -> Option<String> {
    // The error that would say so otherwise costs more than the checks of all other claims.
    if !value.get().starts_with('"') {
        return None;
    }
    serde_json::from_str(value.get()).ok()
}

fn decode(part: Part, text: &str) -> Result<Vec<u8>, Refusal> {
    let name = match part {
        Part::Header => "header",
        Part::Payload => "payload",
        _ => "signature",
    };
    // Line breaks do not count, as in Centrifugo v6.9. The signature is over them.
    URL_SAFE_NO_PAD
        .decode(without_breaks(text).as_bytes())
        .map_err(|_| malformed(part, format!("the {name} is not base64url without padding (RFC 7515 §2)")))
}

fn malformed(part: Part, detail: impl Into<String>) -> Refusal {
    Refusal::new(
        Reason::Malformed(part),
        detail,
        "make the token with a JWT library and pass it on unchanged",
    )
}

fn not_three_parts() -> Refusal {
    malformed(Part::Token, "a token has three parts with a dot between them")
}

fn alg_not_allowed(detail: String) -> Refusal {
    let names = Alg::ALL.map(Alg::name).join(", ");
    Refusal::new(Reason::AlgNotAllowed, detail, format!("sign with one of {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with_header(header: &str) -> Result<(Alg, Option<String>), Reason> {
        let token = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
        Jws::parse(&token).map(|jws| (jws.alg, jws.kid)).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_header_names_algorithm_and_key() {
        assert_eq!(parse_with_header(r#"{"alg":"HS256"}"#), Ok((Alg::Hs(Sha::S256), None)));
        assert_eq!(
            parse_with_header("{ \"typ\" : \"at+jwt\",\r\n \"alg\":\"ES512\",\"kid\":\"../../\\u0000\"}"),
            Ok((Alg::Es(Curve::P521), Some("../../\0".into())))
        );
        let brings_a_key =
            r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AA"},"jku":"http://x","x5u":"http://x"}"#;
        assert_eq!(parse_with_header(brings_a_key), Ok((Alg::Hs(Sha::S256), None)));
        assert_eq!(
            parse_with_header(r#"{"alg":"HS256","kid":null,"typ":null}"#),
            Ok((Alg::Hs(Sha::S256), None))
        );
    }

    #[test]
    fn other_algorithms_are_not_allowed() {
        for alg in [
            "none", "None", "NONE", "nOnE", "hs256", "HS256 ", "", "PS256", "ES256K", "RS1", "HS128",
            "Ed25519", "dir", "ES521",
        ] {
            assert_eq!(
                parse_with_header(&format!("{{\"alg\":\"{alg}\"}}")),
                Err(Reason::AlgNotAllowed),
                "{alg}"
            );
        }
        assert_eq!(parse_with_header("{}"), Err(Reason::AlgNotAllowed));
        assert_eq!(parse_with_header(r#"{"alg":null}"#), Err(Reason::AlgNotAllowed));
        assert_eq!(parse_with_header(r#"{"ALG":"hs256"}"#), Err(Reason::AlgNotAllowed));
        assert_eq!(parse_with_header(r#"{"ALG":"HS256"}"#), Ok((Alg::Hs(Sha::S256), None)));
    }

    #[test]
    fn bad_headers_are_malformed() {
        for header in [
            "",
            "x",
            "[]",
            "null",
            "\"HS256\"",
            r#"{"alg":5}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":"HS256","alg":"HS256"}"#,
            r#"{"alg":"HS256","\u0061lg":"none"}"#,
            r#"{"alg":"HS256","ALG":"none"}"#,
            r#"{"alg":"HS256","TYP":5}"#,
            r#"{"alg":"HS256","kid":5}"#,
            r#"{"alg":"HS256","typ":5}"#,
            r#"{"alg":"HS256","cty":{}}"#,
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            r#"{"alg":"HS256","crit":[]}"#,
            r#"{"alg":"HS256","crit":null}"#,
            r#"{"alg":"HS256"}x"#,
            "\u{feff}{\"alg\":\"HS256\"}",
        ] {
            assert_eq!(parse_with_header(header), Err(Reason::Malformed(Part::Header)), "{header}");
        }
        let long_kid = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(257));
        assert_eq!(parse_with_header(&long_kid), Err(Reason::Malformed(Part::Header)));
        let long_header = format!(r#"{{"alg":"HS256","x":"{}"}}"#, "x".repeat(4096));
        assert_eq!(parse_with_header(&long_header), Err(Reason::Malformed(Part::Header)));
    }

    #[test]
    fn parts_are_strict() {
        const HEADER: &str = "eyJhbGciOiJIUzI1NiJ9";
        let reason = |token: &str| Jws::parse(token).err().map(|refusal| refusal.reason);
        for token in ["", ".", "a.b", HEADER, &format!("{HEADER}.e30"), &format!("{HEADER}.e30.AA.AA")] {
            assert_eq!(reason(token), Some(Reason::Malformed(Part::Token)), "{token}");
        }
        assert_eq!(reason(&"x".repeat(MAX_TOKEN + 1)), Some(Reason::Malformed(Part::Token)));
        assert_eq!(reason(&format!("{HEADER}.e30.AA")), None);
        assert_eq!(reason(&format!("{HEADER}.e3\r0.A\nA\n")), None);
        // Padding, spare bits that are not zero, the other alphabet, white space, a length of 1 modulo 4.
        for bad in ["AA==", "AB", "A", "A/A", "A+A", "A A", "A\n", "AAA\0", "ÄAA"] {
            assert_eq!(
                reason(&format!("{HEADER}.e30.{bad}")),
                Some(Reason::Malformed(Part::Signature)),
                "{bad:?}"
            );
            assert_eq!(
                reason(&format!("{HEADER}.{bad}.AA")),
                Some(Reason::Malformed(Part::Payload)),
                "{bad:?}"
            );
        }
        assert_eq!(reason(&format!("{HEADER}=.e30.AA")), Some(Reason::Malformed(Part::Header)));
        assert_eq!(reason(&format!(" {HEADER}.e30.AA")), Some(Reason::Malformed(Part::Header)));
    }
}

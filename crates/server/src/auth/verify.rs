//! Verifying tokens: from the text that a client sent to claims that can be relied on, or a refusal.
//!
//! The order is fixed. Envelope, issuer (by `iss` and `aud`, to know with which keys), signature, types of
//! claims, kind of token, times, contents. A token that names an issuer is only ever checked with that
//! issuer's keys; nothing of a token is used for anything else before its signature is good.

use super::claims::{self, ConnectToken, Origin, SubscribeToken};
use super::endpoint::{Endpoint, EndpointError};
use super::expect::{ExpectError, Matcher};
use super::json::{CLAIMS_DEPTH, Object};
use super::jwks::{FetchError, Found, Jwks, Round};
use super::jws::{Alg, Family, Jws};
use super::keys::{KeyError, KeyRing, Mismatch, RingFault, VerifyKey};
use super::reason::{Part, Reason, Refusal};
use super::settings::{ClaimSettings, IssuerSettings, TokenSettings};
use crate::quote::quoted;
use spinward::Answer;
use std::sync::Arc;
use thiserror::Error;

/// Verifies tokens of one kind. Cheap to clone; a reload makes a new one, and verifications under way end
/// with the keys that they began with.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    issuers: Vec<Issuer>,
    leeway: u32,
    require_exp: bool,
    skip_signature: bool,
    jwks: Jwks,
}

struct Issuer {
    path: String,
    ring: KeyRing,
    issuer: Matcher,
    audience: Matcher,
    claims: ClaimSettings,
    jwks: Option<Endpoint>,
}

/// Settings that no verifier can be made of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// A key could not be parsed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An expression for `iss` or `aud` could not be parsed.
    #[error(transparent)]
    Expect(#[from] ExpectError),
    /// The address of a key set is unusable.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Certificates or headers of a key set are unusable.
    #[error("{path}: {fault}")]
    Fetch {
        /// The options to change.
        path: String,
        /// The fault.
        fault: FetchError,
    },
    /// Two issuers would answer for the same tokens.
    #[error(
        "{0} and {1} accept the same issuer and audience: give each its own issuer, or each its own audience"
    )]
    Overlap(String, String),
}

impl Verifier {
    /// Makes a verifier. Key sets are kept in `jwks`, which outlives it.
    ///
    /// # Errors
    /// A key, an expression or an address is unusable, or two issuers overlap.
    pub fn new(settings: &TokenSettings, jwks: &Jwks) -> Result<Self, SettingsError> {
        let issuers =
            settings.issuers.iter().map(|issuer| Issuer::new(issuer, jwks)).collect::<Result<Vec<_>, _>>()?;
        for (at, one) in settings.issuers.iter().enumerate() {
            for other in &settings.issuers[..at] {
                if one.issuer == other.issuer && one.audience == other.audience {
                    return Err(SettingsError::Overlap(other.path.clone(), one.path.clone()));
                }
            }
        }
        Ok(Self(Arc::new(Inner {
            issuers,
            leeway: settings.leeway,
            require_exp: settings.require_exp,
            skip_signature: settings.insecure_skip_signature,
            jwks: jwks.clone(),
        })))
    }

    /// Verifies a connection token. `now` is Unix time in seconds.
    #[must_use]
    pub fn verify_connection(&self, token: &str, now: i64) -> Answer<Result<ConnectToken, Refusal>> {
        self.verify(token, now, claims::connect)
    }

    /// Verifies a subscription token. `now` is Unix time in seconds.
    #[must_use]
    pub fn verify_subscription(&self, token: &str, now: i64) -> Answer<Result<SubscribeToken, Refusal>> {
        self.verify(token, now, claims::subscribe)
    }

    /// Verifies the token of a caller of the server API, and returns its scopes. `now` is Unix time in seconds.
    #[must_use]
    pub fn verify_caller(&self, token: &str, now: i64) -> Answer<Result<Vec<String>, Refusal>> {
        self.verify(token, now, claims::caller)
    }

    fn verify<T: Send + 'static>(&self, token: &str, now: i64, read: Read<T>) -> Answer<Result<T, Refusal>> {
        match self.step(token, now, read, Round::First) {
            Step::Done(result) => Answer::Now(result),
            Step::Wait(mut wait) => {
                let (this, token) = (self.clone(), token.to_owned());
                Answer::later(async move {
                    loop {
                        let round = wait.await;
                        match this.step(&token, now, read, round) {
                            Step::Done(result) => return result,
                            Step::Wait(next) => wait = next,
                        }
                    }
                })
            }
        }
    }

    /// Everything that can be done with the keys at hand.
    fn step<T>(&self, token: &str, now: i64, read: Read<T>, round: Round) -> Step<T> {
        match self.0.try_verify(token, now, read, round) {
            Ok(Ok(claims)) => Step::Done(Ok(claims)),
            Ok(Err(wait)) => Step::Wait(wait),
            Err(refusal) => Step::Done(Err(refusal)),
        }
    }
}

type Read<T> = fn(&Object<'_>, &claims::Rules<'_>) -> Result<T, Refusal>;

enum Step<T> {
    Done(Result<T, Refusal>),
    Wait(super::jwks::Wait),
}

impl Inner {
    fn try_verify<T>(
        &self,
        token: &str,
        now: i64,
        read: Read<T>,
        round: Round,
    ) -> Result<Result<T, super::jwks::Wait>, Refusal> {
        if token.is_empty() {
            return Err(Refusal::new(Reason::TokenMissing, "there is no token", "send one"));
        }
        let jws = Jws::parse(token)?;
        // Signed by who has the key, and no claim at all: as Centrifugo v6.9 takes it.
        let none = jws.payload.trim_ascii() == b"null";
        let object =
            Object::parse(if none { b"{}" } else { &jws.payload }, CLAIMS_DEPTH).map_err(|fault| {
                Refusal::new(
                    Reason::Malformed(Part::Payload),
                    format!("the claims: {fault}"),
                    "make the claims one JSON object with each name once",
                )
            })?;
        let origin = Origin::read(&object)?;
        let issuer = self.issuer(&origin)?;
        if !self.skip_signature
            && let Some(wait) = issuer.check_signature(&self.jwks, &jws, &origin, now, round)?
        {
            return Ok(Err(wait));
        }
        let rules =
            claims::Rules { at: &issuer.claims, leeway: self.leeway, require_exp: self.require_exp, now };
        read(&object, &rules).map(Ok)
    }

    /// The issuer that a token says it is from. An issuer that accepts any `iss` answers only for tokens that
    /// no other one names, so that it never replaces another.
    fn issuer(&self, origin: &Origin) -> Result<&Issuer, Refusal> {
        let iss = origin.iss.as_deref();
        let named = self.issuers.iter().any(|issuer| issuer.issuer.is_named(iss));
        let mut of_issuer = self
            .issuers
            .iter()
            .filter(|issuer| if named { issuer.issuer.is_named(iss) } else { issuer.issuer.accepts(iss) })
            .peekable();
        let Some(first) = of_issuer.peek() else {
            let got = iss.map_or_else(|| "absent".to_owned(), quoted);
            let (path, expected) = self.first_expectation(|issuer| &issuer.issuer);
            return Err(Refusal::new(
                Reason::IssuerMismatch,
                format!("the claim iss is {got}, expected {expected}"),
                format!("set iss in the token, or {path}.issuer"),
            ));
        };
        let path = first.path.clone();
        let expected = first.audience.to_string();
        of_issuer.find(|issuer| issuer.audience.accepts_one(&origin.aud)).ok_or_else(|| {
            let got = match origin.aud.as_slice() {
                [] => "absent".to_owned(),
                [one] => quoted(one),
                many => format!("a list of {}, the first {}", many.len(), quoted(&many[0])),
            };
            Refusal::new(
                Reason::AudienceMismatch,
                format!("the claim aud is {got}, expected {expected}"),
                format!("set aud in the token, or {path}.audience"),
            )
        })
    }

    fn first_expectation(&self, of: impl Fn(&Issuer) -> &Matcher) -> (String, String) {
        self.issuers.first().map_or_else(
            || ("client.token".to_owned(), "an issuer to be configured".to_owned()),
            |issuer| (issuer.path.clone(), of(issuer).to_string()),
        )
    }
}

impl Issuer {
    fn new(settings: &IssuerSettings, jwks: &Jwks) -> Result<Self, SettingsError> {
        let path = &settings.path;
        let issuer = Matcher::new(&settings.issuer, &format!("{path}.issuer_regex"))?;
        let audience = Matcher::new(&settings.audience, &format!("{path}.audience_regex"))?;
        let endpoint =
            settings.keys.jwks.as_ref().map(|set| Endpoint::new(set, &issuer, &audience)).transpose()?;
        if let Some(endpoint) = &endpoint {
            jwks.prepare(endpoint.fetch())
                .map_err(|fault| SettingsError::Fetch { path: path.clone(), fault })?;
        }
        Ok(Self {
            path: path.clone(),
            ring: KeyRing::new(&settings.keys)?,
            issuer,
            audience,
            claims: settings.claims.clone(),
            jwks: endpoint,
        })
    }

    /// Checks the signature. `Some` if keys have to be waited for.
    fn check_signature(
        &self,
        jwks: &Jwks,
        jws: &Jws<'_>,
        origin: &Origin,
        now: i64,
        round: Round,
    ) -> Result<Option<super::jwks::Wait>, Refusal> {
        // Secrets are never in a key set; all other keys come from it where there is one.
        let Some(endpoint) = self.jwks.as_ref().filter(|_| jws.alg.family() != Family::Hmac) else {
            return self
                .ring
                .verify(jws.alg, jws.signing_input, &jws.signature, now)
                .map(|()| None)
                .map_err(|fault| self.static_refusal(jws.alg, fault));
        };
        let Some(kid) = jws.kid.as_deref() else {
            return Err(Refusal::new(
                Reason::KidMissing,
                "the header has no kid, and keys come from a key set",
                "let the issuer put the id of the key into the header",
            ));
        };
        let url = endpoint
            .resolve(&self.issuer.captures(origin.iss.as_deref()), &self.audience.captures_one(&origin.aud))
            .ok_or_else(|| {
                Refusal::new(
                    Reason::IssuerMismatch,
                    "iss or aud would make an address of a key set that is not allowed",
                    format!("list the allowed values in {}.issuer_regex or audience_regex", self.path),
                )
            })?;
        match jwks.find(&url, endpoint.fetch(), kid, now, round) {
            Found::Key(key) => check_with(endpoint, &key.key, key.alg, jws).map(|()| None),
            Found::Wait(wait) => Ok(Some(wait)),
            Found::Unknown => Err(Refusal::new(
                Reason::UnknownKid,
                format!("the key set has no usable key with the kid {}", quoted(kid)),
                format!("check that {} is the issuer's", endpoint.option()),
            )),
            Found::Unavailable(why) => Err(Refusal::new(
                Reason::KeysUnavailable,
                format!("the key set cannot be had: {why}"),
                format!("check {} and the network between", endpoint.option()),
            )),
        }
    }

    fn static_refusal(&self, alg: Alg, fault: RingFault) -> Refusal {
        let option = match alg.family() {
            Family::Hmac => "hmac_secret_key",
            Family::Rsa => "rsa_public_key",
            Family::Ecdsa => "ecdsa_public_key",
            Family::Ed25519 => "ed25519_public_key",
        };
        let path = &self.path;
        match fault {
            RingFault::NoKey => Refusal::new(
                Reason::NoKeyForAlg,
                format!("the token is signed with {alg}, and no key for it is configured"),
                format!("set {path}.{option}, or sign with another algorithm"),
            ),
            RingFault::WrongCurve => Refusal::new(
                Reason::NoKeyForAlg,
                format!("the token is signed with {alg}, and the configured key is on another curve"),
                format!("set {path}.{option} to a key on the curve of {alg}"),
            ),
            RingFault::OutOfTime => Refusal::new(
                Reason::NoKeyForAlg,
                format!("the token is signed with {alg}, and its keys do not hold at this time"),
                format!("check the times of the keys beside {path}.{option}"),
            ),
            RingFault::Signature => Refusal::new(
                Reason::SignatureMismatch,
                format!("the {alg} signature is not that of a configured key"),
                format!("sign with the key that {path}.{option} belongs to"),
            ),
        }
    }
}

fn check_with(endpoint: &Endpoint, key: &VerifyKey, only: Option<Alg>, jws: &Jws<'_>) -> Result<(), Refusal> {
    let verdict = match only {
        Some(alg) if alg != jws.alg => Err(Mismatch::Alg),
        _ => key.verify(jws.alg, jws.signing_input, &jws.signature),
    };
    verdict.map_err(|mismatch| match mismatch {
        Mismatch::Alg => Refusal::new(
            Reason::AlgNotAllowed,
            format!("the key that kid names is not for {}", jws.alg),
            "sign with the algorithm that the key is published for",
        ),
        Mismatch::Signature => Refusal::new(
            Reason::SignatureMismatch,
            format!("the {} signature is not that of the key that kid names", jws.alg),
            format!("check that {} is the issuer's", endpoint.option()),
        ),
    })
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;

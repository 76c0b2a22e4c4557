//! From the options of tokens to what they are checked against.

use crate::auth::settings::{
    ClaimSettings, Expect, FetchSettings, IssuerSettings, JwksSettings, KeySettings, Timed, TokenSettings,
};
use crate::config::Duration;
use crate::config::catalogue::Pem;
use crate::config::pem::{self, PemError};
use crate::config::typed::{Token, TokenIssuer};
use crate::secret::Secret;

/// The options of tokens hold something that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// A key or certificate cannot be read.
    #[error("{option}: {source}")]
    Pem {
        /// The option to change.
        option: String,
        /// The fault.
        source: PemError,
    },
    /// A label has no name, or no claim that it comes from.
    #[error("{option}: set key to the name of the label, and value to the claim that it comes from")]
    Label {
        /// The option to change.
        option: String,
    },
}

/// Returns the settings that tokens of the section `path` are checked against. `skip`: signatures are not checked.
///
/// # Errors
/// A key or certificate cannot be read, or a label is incomplete.
pub(super) fn token_settings(token: &Token, path: &str, skip: bool) -> Result<TokenSettings, TokensError> {
    let mut issuers = Vec::with_capacity(token.issuers.len() + 1);
    // With a list of issuers, the section itself is one only if it has keys: it would take in every token else.
    if token.issuers.is_empty() || has_keys(&token.own) {
        issuers.push(issuer(&token.own, path.to_owned())?);
    }
    for (at, named) in token.issuers.iter().enumerate() {
        let name = if named.name.is_empty() { at.to_string() } else { named.name.clone() };
        issuers.push(issuer(&named.issuer, format!("{path}.issuers[{name}]"))?);
    }
    Ok(TokenSettings {
        issuers,
        leeway: seconds(token.leeway),
        require_exp: token.require_exp,
        insecure_skip_signature: skip,
    })
}

fn has_keys(token: &TokenIssuer) -> bool {
    !(token.hmac_secret_key.is_empty()
        && token.hmac_previous_secret_key.is_empty()
        && token.rsa_public_key.is_empty()
        && token.ecdsa_public_key.is_empty()
        && token.ed25519_public_key.is_empty()
        && token.jwks_public_endpoint.is_empty()
        && token.keys.is_empty())
}

fn issuer(token: &TokenIssuer, path: String) -> Result<IssuerSettings, TokensError> {
    let named = |claim: &str| (!claim.is_empty()).then(|| claim.to_owned());
    if let Some(at) =
        token.labels_from_claim.iter().position(|one| one.key.is_empty() || one.value.is_empty())
    {
        return Err(TokensError::Label { option: format!("{path}.labels_from_claim[{at}]") });
    }
    let labels = token.labels_from_claim.iter().map(|one| (one.key.clone(), one.value.clone()));
    Ok(IssuerSettings {
        keys: keys(token, &path)?,
        issuer: expect(&token.issuer, &token.issuer_regex),
        audience: expect(&token.audience, &token.audience_regex),
        claims: ClaimSettings {
            user_id: named(&token.user_id_claim),
            info: named(&token.info_claim),
            meta: named(&token.meta_claim),
            channels: named(&token.channels_claim),
            caps: named(&token.caps_claim),
            labels: labels.collect(),
        },
        path,
    })
}

fn keys(token: &TokenIssuer, path: &str) -> Result<KeySettings, TokensError> {
    let option = |name: &str| format!("{path}.{name}");
    let mut keys = KeySettings::default();
    if !token.hmac_secret_key.is_empty() {
        keys.hmac.push(Timed::always(option("hmac_secret_key"), token.hmac_secret_key.clone()));
    }
    if !token.hmac_previous_secret_key.is_empty() {
        let until = token.hmac_previous_secret_key_valid_until;
        let key = token.hmac_previous_secret_key.clone();
        keys.hmac.push(Timed::until(option("hmac_previous_secret_key"), key, until));
    }
    for (list, name, pem) in [
        (&mut keys.rsa, "rsa_public_key", &token.rsa_public_key),
        (&mut keys.ecdsa, "ecdsa_public_key", &token.ecdsa_public_key),
        (&mut keys.ed25519, "ed25519_public_key", &token.ed25519_public_key),
    ] {
        if !pem.is_empty() {
            let option = option(name);
            let key = public_key(Secret::new(pem.as_str()), &option)?;
            list.push(Timed::always(option, key));
        }
    }
    for (at, key) in token.keys.iter().enumerate() {
        // The check of the configuration has refused all other types.
        let list = match key.r#type.as_str() {
            "hmac" => &mut keys.hmac,
            "rsa" => &mut keys.rsa,
            "ecdsa" => &mut keys.ecdsa,
            _ => &mut keys.ed25519,
        };
        let option = option(&format!("keys[{at}].key"));
        let text = key.key.clone();
        let text = if key.r#type == "hmac" { text } else { public_key(text, &option)? };
        let timed = Timed::until(option, text, key.valid_until);
        list.push(Timed { valid_from: (key.valid_from != 0).then_some(key.valid_from), ..timed });
    }
    if !token.jwks_public_endpoint.is_empty() {
        keys.jwks = Some(JwksSettings {
            option: option("jwks_public_endpoint"),
            endpoint: token.jwks_public_endpoint.clone(),
            insecure_skip_endpoint_safety_check: token.insecure_skip_jwks_endpoint_safety_check,
            fetch: fetch(token, path)?,
        });
    }
    Ok(keys)
}

/// A public key as PEM, given as any PEM option is. What is neither PEM nor a path is left for the reader of keys,
/// which says more precisely what is wrong with it.
fn public_key(given: Secret, option: &str) -> Result<Secret, TokensError> {
    match pem::load(&Pem(given.clone())) {
        Ok(pem) => Ok(String::from_utf8(pem).map_or(given, Secret::new)),
        Err(PemError::Form) => Ok(given),
        Err(source) => Err(TokensError::Pem { option: option.to_owned(), source }),
    }
}

fn fetch(token: &TokenIssuer, path: &str) -> Result<FetchSettings, TokensError> {
    let usual = FetchSettings::default();
    let ttl = seconds(token.jwks_ttl);
    Ok(FetchSettings {
        timeout_ms: u64::try_from(token.jwks_timeout.get().as_millis()).unwrap_or(u64::MAX),
        ttl,
        // A set must serve for some time before it is fetched again.
        refresh_before: usual.refresh_before.min(ttl / 2),
        stale: seconds(token.jwks_stale),
        negative_ttl: seconds(token.jwks_negative_ttl),
        ca_pem: certificates(&token.jwks_ca_pem, format!("{path}.jwks_ca_pem"))?,
        headers: token.jwks_headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        ..usual
    })
}

pub(super) fn certificates(given: &Pem, option: String) -> Result<String, TokensError> {
    if given.0.is_empty() {
        return Ok(String::new());
    }
    let bad = |source| TokensError::Pem { option: option.clone(), source };
    String::from_utf8(pem::load(given).map_err(bad)?).map_err(|_| bad(PemError::Form))
}

pub(super) fn expect(exact: &str, regex: &str) -> Expect {
    if !exact.is_empty() {
        Expect::Exact(exact.to_owned())
    } else if regex.is_empty() {
        Expect::Any
    } else {
        Expect::Regex(regex.to_owned())
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.get().as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;

//! Settings for token verification, independent of where they were configured.

use crate::secret::Secret;
use std::fmt;

/// Verification settings for tokens of one kind (connection or subscription).
#[derive(Clone, Debug, Default)]
pub struct TokenSettings {
    /// Accepted issuers. One entry is the usual case; with several, each needs its own `issuer`.
    pub issuers: Vec<IssuerSettings>,
    /// Seconds by which the clocks of issuers may differ from ours, for `exp`, `nbf` and `expire_at`.
    pub leeway: u32,
    /// Refuse tokens without `exp`. Centrifugo accepts them as never ending.
    pub require_exp: bool,
    /// Accept any signature (`client.insecure_skip_token_signature_verify`): for a server behind something
    /// that has checked it.
    pub insecure_skip_signature: bool,
}

/// One issuer: its keys, what its tokens must say, and where its claims are.
#[derive(Clone, Debug, Default)]
pub struct IssuerSettings {
    /// The path of its options, such as `client.token`: the start of every option name in a refusal.
    pub path: String,
    /// Its keys.
    pub keys: KeySettings,
    /// Required value of `iss`.
    pub issuer: Expect,
    /// Required value of `aud`, or one that it must hold.
    pub audience: Expect,
    /// Paths of its claims.
    pub claims: ClaimSettings,
}

/// Expected value of a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Anything, or nothing.
    #[default]
    Any,
    /// This text.
    Exact(String),
    /// A text that this regular expression matches as a whole.
    Regex(String),
}

/// Keys of one issuer. A key only ever checks the algorithms of its own family.
#[derive(Clone, Default)]
pub struct KeySettings {
    /// Secrets for HS256, HS384, HS512.
    pub hmac: Vec<Timed>,
    /// PEM public keys for RS256, RS384, RS512.
    pub rsa: Vec<Timed>,
    /// PEM public keys for ES256, ES384, ES512; the curve of a key says which.
    pub ecdsa: Vec<Timed>,
    /// PEM public keys for EdDSA.
    pub ed25519: Vec<Timed>,
    /// A key set to fetch. The static public keys are then not used; HMAC secrets are.
    pub jwks: Option<JwksSettings>,
}

/// Secrets and keys are never shown.
impl fmt::Debug for KeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySettings")
            .field("hmac", &self.hmac.len())
            .field("rsa", &self.rsa.len())
            .field("ecdsa", &self.ecdsa.len())
            .field("ed25519", &self.ed25519.len())
            .field("jwks", &self.jwks)
            .finish()
    }
}

/// A key and when it holds. Several of one kind make a rotation.
#[derive(Clone, Default)]
pub struct Timed {
    /// The option that it came from, for messages.
    pub option: String,
    /// The secret or PEM text.
    pub key: Secret,
    /// First second, in Unix time, in which it holds.
    pub valid_from: Option<i64>,
    /// Last second, in Unix time, in which it holds.
    pub valid_until: Option<i64>,
}

impl Timed {
    /// A key that always holds.
    #[must_use]
    pub fn always(option: impl Into<String>, key: Secret) -> Self {
        Self { option: option.into(), key, valid_from: None, valid_until: None }
    }

    /// A key that holds until a second, itself included. Zero is for ever, as in
    /// `hmac_previous_secret_key_valid_until`.
    #[must_use]
    pub fn until(option: impl Into<String>, key: Secret, valid_until: i64) -> Self {
        Self { valid_until: (valid_until != 0).then_some(valid_until), ..Self::always(option, key) }
    }
}

/// A key set to fetch.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksSettings {
    /// The option that names the address, for refusals.
    pub option: String,
    /// `http` or `https` address. `{{name}}` is replaced by the named group of the `issuer` or `audience`
    /// expression; unless the group is a closed list of plain words, the settings are refused.
    pub endpoint: String,
    /// Accept groups that are not a closed list. Values are then still limited to plain words.
    pub insecure_skip_endpoint_safety_check: bool,
    /// Settings for fetching and keeping the set.
    pub fetch: FetchSettings,
}

/// The address may have a password in it.
impl fmt::Debug for JwksSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksSettings").field("fetch", &self.fetch).finish_non_exhaustive()
    }
}

/// Settings for fetching and keeping a key set. Times are in seconds.
#[derive(Clone, PartialEq, Eq)]
pub struct FetchSettings {
    /// Request timeout, in milliseconds.
    pub timeout_ms: u64,
    /// Time a set is fresh.
    pub ttl: u32,
    /// Time before that end at which it is fetched again while it still serves.
    pub refresh_before: u32,
    /// Time beyond its freshness that a set serves while it cannot be fetched.
    pub stale: u32,
    /// Fetches that may follow each other at once.
    pub burst: u32,
    /// After those, one fetch in this time, whatever `kid`s clients come up with.
    pub interval: u32,
    /// Time before a `kid` that was not found is looked for again.
    pub negative_ttl: u32,
    /// PEM certificates that alone are trusted for the endpoint; the system's if empty.
    pub ca_pem: String,
    /// Headers of the request, such as an authorization.
    pub headers: Vec<(String, Secret)>,
}

/// Header values may be credentials.
impl fmt::Debug for FetchSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchSettings")
            .field("timeout_ms", &self.timeout_ms)
            .field("ttl", &self.ttl)
            .field("refresh_before", &self.refresh_before)
            .field("stale", &self.stale)
            .field("burst", &self.burst)
            .field("interval", &self.interval)
            .field("negative_ttl", &self.negative_ttl)
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// Centrifugo's timeout (1 s) and freshness (1 h); the rest is ours.
impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            timeout_ms: 1000,
            ttl: 3600,
            refresh_before: 600,
            stale: 86_400,
            burst: 3,
            interval: 10,
            negative_ttl: 30,
            ca_pem: String::new(),
            headers: Vec::new(),
        }
    }
}

/// Places of claims. A path is the name of a claim, or names joined by dots.
///
/// A claim that is named here and absent in a token refuses the token: nothing is guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimSettings {
    /// The user id, instead of `sub`.
    pub user_id: Option<String>,
    /// Instead of `info` and `b64info`.
    pub info: Option<String>,
    /// Instead of `meta`.
    pub meta: Option<String>,
    /// Instead of `channels`.
    pub channels: Option<String>,
    /// Instead of `caps`.
    pub caps: Option<String>,
    /// Labels from other claims, beside those in `labels`: names, and the paths of their values.
    pub labels: Vec<(String, String)>,
}

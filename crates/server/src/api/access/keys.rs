//! From what a request shows to its caller.

use super::caller::Caller;
use crate::auth::reason::Reason;
use crate::auth::verify::Verifier;
use crate::secret::Secret;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use spinward::clock::Clock;
use std::fmt;
use std::sync::Arc;
use subtle::{ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;

/// A request without a caller. Nothing of what it shows is in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    /// No key is shown, or another one.
    #[error("the key is missing or not one of the configuration")]
    Key,
    /// The key was one until its end.
    #[error("the key {name} has expired: see valid_until")]
    Expired {
        /// The name of the key.
        name: Arc<str>,
    },
    /// The token is not accepted.
    #[error("the token: {0}")]
    Token(String),
    /// Tokens cannot be verified now.
    #[error("the key set of tokens cannot be had: {0}")]
    KeySet(String),
    /// The token lacks the scope.
    #[error("the token lacks the scope {0}")]
    Scope(String),
}

impl Refused {
    /// Label of log lines.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Expired { .. } => "key_expired",
            Self::Token(_) => "token",
            Self::KeySet(_) => "key_set",
            Self::Scope(_) => "token_scope",
        }
    }
}

/// Callers that an endpoint admits.
pub(crate) struct Callers {
    clock: Clock,
    /// The caller of requests that show nothing, where they are taken.
    open: Option<Arc<Caller>>,
    keys: Vec<Key>,
    tokens: Option<Tokens>,
}

struct Key {
    digest: [u8; SHA256_OUTPUT_LEN],
    /// Unix time in seconds.
    valid_until: Option<i64>,
    caller: Arc<Caller>,
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&Caller> = self.keys.iter().map(|key| &*key.caller).collect();
        f.debug_struct("Callers").field("open", &self.open).field("keys", &keys).finish_non_exhaustive()
    }
}

/// Tokens in place of keys.
pub(crate) struct Tokens {
    /// Verifies them.
    pub(crate) verifier: Verifier,
    /// The scope that they must have; empty for none.
    pub(crate) scope: String,
    /// The caller that has one.
    pub(crate) caller: Arc<Caller>,
}

impl Callers {
    /// Nobody.
    pub(crate) const fn new(clock: Clock) -> Self {
        Self { clock, open: None, keys: Vec::new(), tokens: None }
    }

    /// Those with this key, who may do everything.
    #[cfg(test)]
    pub(crate) fn single(key: &str) -> Self {
        let clock = Clock::system();
        let usage = super::Usages::default().of("a");
        let mut callers = Self::new(clock.clone());
        callers.add(&Secret::from(key), None, Arc::new(Caller::new(super::Scope::default(), usage, clock)));
        callers
    }

    /// Takes every request as one of this caller.
    pub(crate) fn open_to(&mut self, caller: Arc<Caller>) {
        self.open = Some(caller);
    }

    /// Adds a key. An empty one is none.
    pub(crate) fn add(&mut self, key: &Secret, valid_until: Option<i64>, caller: Arc<Caller>) {
        if !key.is_empty() {
            self.keys.push(Key { digest: hashed(key.expose().as_bytes()), valid_until, caller });
        }
    }

    /// Takes tokens, too.
    pub(crate) fn accept(&mut self, tokens: Tokens) {
        self.tokens = Some(tokens);
    }

    /// Returns the caller of requests that show nothing.
    pub(crate) const fn open(&self) -> Option<&Arc<Caller>> {
        self.open.as_ref()
    }

    /// Returns the caller that has this key. The time that it takes says nothing about any key: digests of one length
    /// are compared, and all of them.
    ///
    /// # Errors
    /// Nobody has it.
    pub(crate) fn with_key(&self, shown: &[u8]) -> Result<Arc<Caller>, Refused> {
        let shown = hashed(shown);
        let mut found = u32::MAX;
        for (at, key) in (0..).zip(&self.keys) {
            found.conditional_assign(&at, shown.as_slice().ct_eq(key.digest.as_slice()));
        }
        let key = usize::try_from(found).ok().and_then(|at| self.keys.get(at)).ok_or(Refused::Key)?;
        if key.valid_until.is_some_and(|end| self.clock.now().unix() > end) {
            return Err(Refused::Expired { name: key.caller.name().into() });
        }
        Ok(Arc::clone(&key.caller))
    }

    /// Returns the caller that has this token.
    ///
    /// # Errors
    /// Tokens are not taken, or not this one.
    pub(crate) async fn with_token(&self, token: &str) -> Result<Arc<Caller>, Refused> {
        let tokens = self.tokens.as_ref().ok_or(Refused::Key)?;
        let verified = tokens.verifier.verify_caller(token, self.clock.now().unix()).wait().await;
        let scopes = verified.map_err(|refusal| match refusal.reason {
            Reason::KeysUnavailable => Refused::KeySet(refusal.detail),
            _ => Refused::Token(refusal.detail),
        })?;
        if tokens.scope.is_empty() || scopes.contains(&tokens.scope) {
            Ok(Arc::clone(&tokens.caller))
        } else {
            Err(Refused::Scope(tokens.scope.clone()))
        }
    }
}

fn hashed(key: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut out = [0; SHA256_OUTPUT_LEN];
    out.copy_from_slice(digest(&SHA256, key).as_ref());
    out
}

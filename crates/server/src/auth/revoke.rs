//! Taking back what was granted: single tokens, all tokens of a user up to a time, a user.
//!
//! A connection is registered first and checked against this store then; a revocation is stored first and looks
//! for connections then. Whatever the order of the two, one of them sees the other.
//!
//! Entries end with the tokens that they are about, so that the store does not grow for ever.

use super::reason::{Reason, Refusal};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Subject of a check: a connection or a subscription, by its token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// The user; empty is anonymous, whom nothing but a `jti` revokes.
    pub user: &'a str,
    /// The claim `jti`.
    pub jti: Option<&'a str>,
    /// The claim `iat`.
    pub iat: Option<i64>,
    /// The channel, if the token is a subscription's.
    pub channel: Option<&'a str>,
}

/// One thing that is taken back. Times are Unix seconds; an end of 0 is "never".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Revocation {
    /// The token with this `jti`.
    Token {
        /// The claim `jti`.
        uid: String,
        /// Time the token expires.
        expire_at: i64,
    },
    /// All tokens of a user issued before a time; a token without `iat` is among them.
    UserTokens {
        /// The user.
        user: String,
        /// Tokens issued in this second are good.
        issued_before: i64,
        /// Only subscription tokens of this channel; all tokens if empty.
        channel: String,
        /// Time the last of them expires.
        expire_at: i64,
    },
    /// A user, whatever the token.
    User {
        /// The user.
        user: String,
        /// Time the block ends.
        expire_at: i64,
    },
}

/// A store of revocations. The check is on the path of every login and must not wait: a store that is
/// elsewhere keeps a copy here.
pub trait RevocationStore: Send + Sync {
    /// Checks a subject.
    ///
    /// # Errors
    /// The subject is revoked, with the reason.
    fn check(&self, subject: &Subject<'_>, now: i64) -> Result<(), Refusal>;

    /// Adds a revocation. An end in the past changes nothing.
    ///
    /// # Errors
    /// The store is full, or cannot be reached.
    fn revoke(&self, revocation: Revocation, now: i64) -> Result<(), StoreError>;

    /// Ends the block of a user.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn unblock_user(&self, user: &str, now: i64) -> Result<(), StoreError>;
}

/// A revocation could not be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There are as many entries as there may be.
    #[error("there are {0} revocations already: give them an expire_at, or raise the limit")]
    Full(usize),
    /// A name is empty or too long.
    #[error("{0} must have 1 to 1024 bytes")]
    Name(&'static str),
    /// The store could not be reached or written.
    #[error("the store of revocations failed: {0}")]
    Failed(String),
}

/// Revocations as plain data: the state machine of the memory store, without a lock or a file.
#[derive(Clone, Debug)]
pub struct Revocations {
    tokens: HashMap<String, i64>,
    /// By user, then by channel (empty for all tokens): issued before, end.
    user_tokens: HashMap<String, Vec<(String, i64, i64)>>,
    users: HashMap<String, i64>,
    limit: usize,
    entries: usize,
    next_sweep: i64,
}

/// Seconds between two walks over all entries.
const SWEEP_EVERY: i64 = 60;
const MAX_NAME: usize = 1024;
/// The end of what has none.
const NEVER: i64 = i64::MAX;

impl Revocations {
    /// An empty store that holds at most so many entries.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            tokens: HashMap::new(),
            user_tokens: HashMap::new(),
            users: HashMap::new(),
            limit,
            entries: 0,
            next_sweep: i64::MIN,
        }
    }

    /// Entries, some of which may have ended.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Returns true if there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Checks a subject.
    ///
    /// # Errors
    /// The subject is revoked, with the reason.
    pub fn check(&self, subject: &Subject<'_>, now: i64) -> Result<(), Refusal> {
        if self.entries == 0 {
            return Ok(());
        }
        let holds = |end: &i64| now < *end;
        if subject.jti.and_then(|jti| self.tokens.get(jti)).is_some_and(holds) {
            return Err(refusal(Reason::Revoked, "the token was revoked by its jti"));
        }
        if subject.user.is_empty() {
            return Ok(());
        }
        if self.users.get(subject.user).is_some_and(holds) {
            return Err(refusal(Reason::UserBlocked, "the user is blocked"));
        }
        let concerns = |(channel, before, end): &(String, i64, i64)| {
            holds(end)
                && (channel.is_empty() || subject.channel == Some(channel))
                && subject.iat.is_none_or(|iat| iat < *before)
        };
        if self.user_tokens.get(subject.user).is_some_and(|entries| entries.iter().any(concerns)) {
            return Err(refusal(
                Reason::Invalidated,
                "tokens of the user issued before some time were invalidated, and this is one or has no iat",
            ));
        }
        Ok(())
    }

    /// Adds a revocation. Of two about the same thing the wider one holds.
    ///
    /// # Errors
    /// The store is full of entries that have not ended, or a name is empty or too long.
    pub fn revoke(&mut self, revocation: Revocation, now: i64) -> Result<(), StoreError> {
        let (name, what, expire_at) = match &revocation {
            Revocation::Token { uid, expire_at } => (uid, "uid", *expire_at),
            Revocation::UserTokens { user, expire_at, .. } | Revocation::User { user, expire_at } => {
                (user, "user", *expire_at)
            }
        };
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(StoreError::Name(what));
        }
        if let Revocation::UserTokens { channel, .. } = &revocation
            && channel.len() > MAX_NAME
        {
            return Err(StoreError::Name("channel"));
        }
        let end = if expire_at == 0 { NEVER } else { expire_at };
        if end <= now {
            return Ok(());
        }
        if now >= self.next_sweep || self.entries >= self.limit {
            self.sweep(now);
        }
        let widen = |known: &mut i64, end: i64| *known = end.max(*known);
        let full = StoreError::Full(self.limit);
        let room = self.entries < self.limit;
        match revocation {
            Revocation::Token { uid, .. } => match self.tokens.get_mut(&uid) {
                Some(known) => {
                    widen(known, end);
                    return Ok(());
                }
                None if room => drop(self.tokens.insert(uid, end)),
                None => return Err(full),
            },
            Revocation::User { user, .. } => match self.users.get_mut(&user) {
                Some(known) => {
                    widen(known, end);
                    return Ok(());
                }
                None if room => drop(self.users.insert(user, end)),
                None => return Err(full),
            },
            Revocation::UserTokens { user, issued_before, channel, .. } => {
                let known = self.user_tokens.get_mut(&user).into_iter().flatten();
                if let Some((_, before, known)) = known.into_iter().find(|(c, _, _)| *c == channel) {
                    *before = issued_before.max(*before);
                    widen(known, end);
                    return Ok(());
                }
                if !room {
                    return Err(full);
                }
                self.user_tokens.entry(user).or_default().push((channel, issued_before, end));
            }
        }
        self.entries += 1;
        Ok(())
    }

    /// Ends the block of a user. Whether there was one.
    pub fn unblock_user(&mut self, user: &str) -> bool {
        let was = self.users.remove(user).is_some();
        self.entries -= usize::from(was);
        was
    }

    /// Forgets what has ended.
    pub fn sweep(&mut self, now: i64) {
        self.tokens.retain(|_, end| now < *end);
        self.users.retain(|_, end| now < *end);
        self.user_tokens.retain(|_, entries| {
            entries.retain(|(_, _, end)| now < *end);
            !entries.is_empty()
        });
        self.entries =
            self.tokens.len() + self.users.len() + self.user_tokens.values().map(Vec::len).sum::<usize>();
        self.next_sweep = now.saturating_add(SWEEP_EVERY);
    }

    /// Everything that has not ended, to be written somewhere.
    #[must_use]
    pub fn snapshot(&self, now: i64) -> Vec<Revocation> {
        let end = |end: i64| if end == NEVER { 0 } else { end };
        let tokens = self.tokens.iter().filter(|(_, at)| now < **at);
        let users = self.users.iter().filter(|(_, at)| now < **at);
        let user_tokens = self
            .user_tokens
            .iter()
            .flat_map(|(user, entries)| entries.iter().map(move |entry| (user, entry)))
            .filter(|(_, (_, _, at))| now < *at);
        tokens
            .map(|(uid, at)| Revocation::Token { uid: uid.clone(), expire_at: end(*at) })
            .chain(users.map(|(user, at)| Revocation::User { user: user.clone(), expire_at: end(*at) }))
            .chain(user_tokens.map(|(user, (channel, before, at))| Revocation::UserTokens {
                user: user.clone(),
                issued_before: *before,
                channel: channel.clone(),
                expire_at: end(*at),
            }))
            .collect()
    }
}

fn refusal(reason: Reason, detail: &str) -> Refusal {
    Refusal::new(reason, detail, "the application took it back through the server API")
}

#[cfg(test)]
#[path = "revoke_tests.rs"]
mod tests;

//! Decisions about fetching a key set: a state machine without clock, socket or lock.
//!
//! A set is *fresh* for `ttl` seconds and serves without question. Shortly before that ends it is fetched again
//! while it still serves. After that it serves *stale*, and only while it cannot be fetched. A `kid` that the
//! set does not have may be new, so it asks for a fetch; a bucket limits those, whatever clients come up with,
//! and a `kid` that was looked for in vain is remembered for a while.

use super::super::settings::FetchSettings;
use super::Round;
use super::set::{Jwk, KeySet};
use std::collections::VecDeque;
use std::sync::Arc;

pub(super) struct Cache {
    ttl: i64,
    refresh_after: i64,
    stale: i64,
    negative_ttl: i64,
    bucket: Bucket,
    set: Option<Fetched>,
    in_flight: bool,
    ended: u64,
    /// Reason why the latest fetch failed, if it did.
    failure: Option<String>,
    /// `kid`s that a fetched set did not have, and until when that is believed. Oldest first.
    unknown: VecDeque<(String, i64)>,
}

struct Fetched {
    keys: KeySet,
    at: i64,
}

/// Decision about a `kid`.
#[derive(Debug)]
pub(super) enum Lookup {
    /// Here is the key. With `refresh` a fetch counts as begun, and the caller starts it.
    Key { key: Arc<Jwk>, refresh: bool },
    /// A fetch counts as begun: the caller starts it and waits for it.
    Fetch,
    /// A fetch is under way: wait for it.
    Join,
    /// The issuer has no such key.
    Unknown,
    /// Nothing can be said now.
    Unavailable(String),
}

/// Most `kid`s that are remembered as unknown.
const MAX_UNKNOWN: usize = 256;

impl Cache {
    pub(super) fn new(settings: &FetchSettings) -> Self {
        let ttl = i64::from(settings.ttl.max(1));
        Self {
            ttl,
            refresh_after: ttl.saturating_sub(i64::from(settings.refresh_before)).max(ttl / 2),
            stale: i64::from(settings.stale),
            negative_ttl: i64::from(settings.negative_ttl),
            bucket: Bucket::new(settings.burst.max(1), settings.interval.max(1)),
            set: None,
            in_flight: false,
            ended: 0,
            failure: None,
            unknown: VecDeque::new(),
        }
    }

    pub(super) fn lookup(&mut self, kid: &str, now: i64, round: Round) -> Lookup {
        let age = self.set.as_ref().map(|set| now.saturating_sub(set.at));
        let serves = age.is_some_and(|age| age < self.ttl.saturating_add(self.stale));
        let key = self.set.as_ref().filter(|_| serves).and_then(|set| set.keys.get(kid)).cloned();
        match (key, age) {
            (Some(key), Some(age)) if age < self.ttl => {
                Lookup::Key { key, refresh: age >= self.refresh_after && self.begin(now) }
            }
            (Some(key), _) => self.stale_key(key, now, round),
            (None, _) => self.absent_key(kid, serves, now, round),
        }
    }

    /// A key of a set that is no longer fresh: asked for again first, unless that has just failed. In an outage
    /// nobody waits for it.
    fn stale_key(&mut self, key: Arc<Jwk>, now: i64, round: Round) -> Lookup {
        if self.failure.is_some() || round == Round::Last {
            let refresh = round == Round::First && self.begin(now);
            return Lookup::Key { key, refresh };
        }
        if self.in_flight {
            return Lookup::Join;
        }
        if self.begin(now) { Lookup::Fetch } else { Lookup::Key { key, refresh: false } }
    }

    fn absent_key(&mut self, kid: &str, serves: bool, now: i64, round: Round) -> Lookup {
        let unavailable = |this: &Self| {
            let limited = || "fetches are limited; the next one is not due yet".to_owned();
            Lookup::Unavailable(this.failure.clone().unwrap_or_else(limited))
        };
        if serves && self.is_unknown(kid, now) {
            return Lookup::Unknown;
        }
        if round == Round::Last {
            // A set that came just now speaks for itself; otherwise nobody knows what the issuer has.
            if serves && self.failure.is_none() {
                self.remember_unknown(kid, now);
                return Lookup::Unknown;
            }
            return unavailable(self);
        }
        if self.in_flight {
            return Lookup::Join;
        }
        // The key may be new, and a flood of forged names must not make its tokens bad ones: who cannot be looked
        // for now is to come again.
        if self.begin(now) { Lookup::Fetch } else { unavailable(self) }
    }

    /// A fetch that was begun at `began` ended. A failed one leaves the set as it is.
    pub(super) fn fetched(&mut self, began: i64, result: Result<KeySet, String>) {
        self.in_flight = false;
        self.ended += 1;
        match result {
            Ok(keys) => {
                self.set = Some(Fetched { keys, at: began });
                self.failure = None;
            }
            Err(why) => self.failure = Some(why),
        }
    }

    /// Returns the number of fetches that have ended. They run one at a time, so the current one has the next number.
    pub(super) const fn ended(&self) -> u64 {
        self.ended
    }

    fn begin(&mut self, now: i64) -> bool {
        if self.in_flight || !self.bucket.take(now) {
            return false;
        }
        self.in_flight = true;
        true
    }

    fn is_unknown(&self, kid: &str, now: i64) -> bool {
        self.unknown.iter().any(|(known, until)| known == kid && now < *until)
    }

    fn remember_unknown(&mut self, kid: &str, now: i64) {
        if self.negative_ttl == 0 {
            return;
        }
        self.unknown.retain(|(known, until)| known != kid && now < *until);
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.pop_front();
        }
        self.unknown.push_back((kid.to_owned(), now.saturating_add(self.negative_ttl)));
    }
}

/// So many at once, then one in every interval.
struct Bucket {
    burst: i64,
    interval: i64,
    /// The time at which the bucket is full again.
    full_at: i64,
}

impl Bucket {
    fn new(burst: u32, interval: u32) -> Self {
        Self { burst: i64::from(burst), interval: i64::from(interval), full_at: i64::MIN }
    }

    fn take(&mut self, now: i64) -> bool {
        // A clock that was set back must not lock the bucket for long.
        let most = self.interval.saturating_mul(self.burst);
        let debt = self.full_at.saturating_sub(now).clamp(0, most);
        self.full_at = now.saturating_add(debt);
        if debt.saturating_add(self.interval) > most {
            return false;
        }
        self.full_at = self.full_at.saturating_add(self.interval);
        true
    }
}

#[cfg(test)]
mod tests;

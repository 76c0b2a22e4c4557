//! Key sets that issuers publish (JWKS, RFC 7517), fetched and kept.
//!
//! `set` reads a set, `cache` decides when to fetch (a state machine without clock or socket), `fetch`
//! makes the request. Here the three are tied together: one fetch at a time per address, shared by all who wait
//! for it, run apart from the callers, so that a client that goes away takes nothing with it.

pub(super) mod cache;
pub(super) mod fetch;
pub(super) mod set;

pub use fetch::FetchError;

use super::settings::FetchSettings;
use cache::{Cache, Lookup};
use parking_lot::Mutex;
use set::{Jwk, KeySet};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Handle;
use tokio::sync::watch;

/// All key sets of a server. Cheap to clone. It outlives reloads of the configuration, so that a reload neither
/// fetches everything again nor forgets a set whose issuer is away.
#[derive(Clone, Default)]
pub struct Jwks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    runtime: Option<Handle>,
    /// By address. The same address with other settings (headers, certificates) is another set.
    slots: Mutex<HashMap<String, Vec<Arc<Slot>>>>,
    fetches: AtomicU64,
    failures: AtomicU64,
}

struct Slot {
    url: String,
    settings: Arc<FetchSettings>,
    client: reqwest::Client,
    cache: Mutex<Cache>,
    /// Number of fetches that have ended.
    done: watch::Sender<u64>,
}

/// Statistics of fetches since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JwksStats {
    /// Fetches begun.
    pub fetches: u64,
    /// Fetches that brought no set.
    pub failures: u64,
}

/// Number of times that one verification has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Not yet.
    First,
    /// Once, for a fetch that had begun before: what it brings may be older than the token.
    Joined,
    /// For a fetch of its own: no further one would help.
    Last,
}

/// Waits for the fetch under way.
pub(super) type Wait = Pin<Box<dyn Future<Output = Round> + Send>>;

/// The answer to a lookup.
pub(super) enum Found {
    Key(Arc<Jwk>),
    Wait(Wait),
    Unknown,
    Unavailable(String),
}

/// Most addresses that sets are kept for. Only with `insecure_skip_jwks_endpoint_safety_check` can there be
/// more than are configured.
const MAX_SLOTS: usize = 1024;

impl Jwks {
    /// Key sets that are fetched on a runtime.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self(Arc::new(Shared { runtime: Some(runtime), ..Shared::default() }))
    }

    /// Key sets that are fetched on the runtime that is entered here. Outside of one nothing is ever fetched.
    #[must_use]
    pub fn current() -> Self {
        Handle::try_current().map_or_else(|_| Self::offline(), Self::new)
    }

    /// For settings without key sets: nothing is ever fetched.
    #[must_use]
    pub fn offline() -> Self {
        Self::default()
    }

    /// Returns the statistics of fetches since the start.
    #[must_use]
    pub fn stats(&self) -> JwksStats {
        JwksStats {
            fetches: self.0.fetches.load(Ordering::Relaxed),
            failures: self.0.failures.load(Ordering::Relaxed),
        }
    }

    /// Checks that requests can be made with these settings.
    pub(super) fn prepare(&self, settings: &FetchSettings) -> Result<(), FetchError> {
        fetch::client(settings).map(drop)
    }

    /// Looks for a key. It is inline and quick; where a fetch is needed, the answer is something to wait for.
    pub(super) fn find(
        &self,
        url: &str,
        settings: &Arc<FetchSettings>,
        kid: &str,
        now: i64,
        round: Round,
    ) -> Found {
        let slot = match self.slot(url, settings) {
            Ok(slot) => slot,
            Err(why) => return Found::Unavailable(why),
        };
        let mut cache = slot.cache.lock();
        match cache.lookup(kid, now, round) {
            Lookup::Key { key, refresh } => {
                drop(cache);
                if refresh {
                    self.start(&slot, now);
                }
                Found::Key(key)
            }
            Lookup::Unknown => Found::Unknown,
            Lookup::Unavailable(why) => Found::Unavailable(why),
            Lookup::Join => {
                let next = if round == Round::First { Round::Joined } else { Round::Last };
                Found::Wait(wait(slot.done.subscribe(), cache.ended() + 1, next))
            }
            Lookup::Fetch => {
                let waiter = wait(slot.done.subscribe(), cache.ended() + 1, Round::Last);
                drop(cache);
                self.start(&slot, now);
                Found::Wait(waiter)
            }
        }
    }

    fn slot(&self, url: &str, settings: &Arc<FetchSettings>) -> Result<Arc<Slot>, String> {
        let same = |slot: &&Arc<Slot>| Arc::ptr_eq(&slot.settings, settings) || slot.settings == *settings;
        let mut slots = self.0.slots.lock();
        if let Some(slot) = slots.get(url).and_then(|slots| slots.iter().find(same)) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= MAX_SLOTS {
            return Err(format!("there are {MAX_SLOTS} key sets already"));
        }
        let slot = Arc::new(Slot {
            url: url.to_owned(),
            settings: Arc::clone(settings),
            client: fetch::client(settings).map_err(|error| error.to_string())?,
            cache: Mutex::new(Cache::new(settings)),
            done: watch::Sender::new(0),
        });
        let of_url = slots.entry(url.to_owned()).or_default();
        // After a reload with other settings the former set is of no use to anyone.
        of_url.truncate(7);
        of_url.insert(0, Arc::clone(&slot));
        Ok(slot)
    }

    /// Starts the fetch that the cache has counted as begun.
    fn start(&self, slot: &Arc<Slot>, now: i64) {
        let running = Running { shared: Arc::clone(&self.0), slot: Arc::clone(slot), now, result: None };
        let Some(runtime) = &self.0.runtime else { return drop(running) };
        self.0.fetches.fetch_add(1, Ordering::Relaxed);
        runtime.spawn(async move {
            let mut running = running;
            running.result = Some(fetch::get(&running.slot.client, &running.slot.url).await);
        });
    }
}

/// Waits for the end of the fetch of this number.
fn wait(mut done: watch::Receiver<u64>, number: u64, next: Round) -> Wait {
    Box::pin(async move {
        // An error is a sender that is gone: then there is nothing to wait for either.
        let _ = done.wait_for(|ended| *ended >= number).await;
        next
    })
}

/// A fetch under way. However it ends, even by a panic or with the runtime, waiters are notified.
struct Running {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    now: i64,
    result: Option<Result<KeySet, String>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let result = self.result.take().unwrap_or_else(|| Err("the fetch was cut off".to_owned()));
        if result.is_err() {
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
        }
        let ended = {
            let mut cache = self.slot.cache.lock();
            cache.fetched(self.now, result);
            cache.ended()
        };
        self.slot.done.send_modify(|known| *known = ended.max(*known));
    }
}

#[cfg(test)]
mod tests;

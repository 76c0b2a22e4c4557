//! Reasons of refusals: in the log, at a limited rate, and in counters by reason.

use crate::auth::claims::CAPS_FIX;
use crate::auth::reason::{Refusal, Use};
use parking_lot::Mutex;
use spinward::clock::Clock;
use std::collections::BTreeMap;
use std::fmt::Display;

/// RefusalLog that are logged in one second; the others are only counted.
const LOGGED_PER_SECOND: u32 = 20;
/// Distinct reasons that are counted apart. They are few; a bound all the same.
const REASONS: usize = 512;

/// Warning for a claim `caps` in another form.
pub(crate) const CAPS_IGNORED: &str = "the claim caps is in another form than Spinward's and allows nothing";

/// Counts refusals and logs some of them.
pub struct RefusalLog {
    clock: Clock,
    state: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    second: u64,
    logged: u32,
    silent: u64,
    /// The minute in which a claim `caps` in another form was last logged.
    caps_ignored: Option<u64>,
    by_reason: BTreeMap<(&'static str, String), u64>,
}

impl RefusalLog {
    /// None yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::new(Counts::default()) }
    }

    /// A token was refused. Neither it nor anything of it is logged.
    pub fn token(&self, used: Use, user: &str, channel: &str, refusal: &Refusal, code: u32) {
        let reason = refusal.reason.code();
        if let Some(silent) = self.count(used.name(), &reason) {
            tracing::info!(
                action = used.name(), %reason, code, user = short(user), channel = short(channel), silent,
                detail = %refusal.detail, change = %refusal.fix, "client refused"
            );
        }
    }

    /// A rule said no. `change` says what to do about it, and is asked only where that is logged.
    pub fn permission(
        &self,
        action: &'static str,
        (user, channel): (&str, &str),
        rule: &str,
        code: u32,
        change: impl FnOnce() -> String,
    ) {
        if let Some(silent) = self.count(action, rule) {
            tracing::info!(
                action,
                reason = rule,
                code,
                user = short(user),
                channel = short(channel),
                silent,
                change = change(),
                "client refused"
            );
        }
    }

    /// A call of the HTTP API was refused before it had an effect. `detail` holds nothing of key and body.
    pub fn api(&self, method: &str, status: u16, reason: &'static str, detail: &dyn Display) {
        if let Some(silent) = self.count("api", reason) {
            tracing::info!(method = short(method), status, reason, silent, %detail, "API call refused");
        }
    }

    /// The same for one of the gRPC API, with the code of its status.
    pub fn grpc(&self, method: &str, code: u8, reason: &'static str, detail: &dyn Display) {
        if let Some(silent) = self.count("grpc_api", reason) {
            tracing::info!(method = short(method), code, reason, silent, %detail, "gRPC API call refused");
        }
    }

    /// A token has a claim `caps` that allows nothing, since it has another form than Spinward's. That is not a
    /// refusal, and may be so in every token: one line a minute says so.
    pub fn caps_ignored(&self, used: Use, user: &str) {
        let minute = self.clock.now().mono / 60_000;
        let mut state = self.state.lock();
        if state.caps_ignored == Some(minute) {
            return;
        }
        state.caps_ignored = Some(minute);
        drop(state);
        tracing::info!(
            action = used.name(),
            user = short(user),
            detail = CAPS_IGNORED,
            change = CAPS_FIX,
            "claim ignored"
        );
    }

    /// Counts one. `Some`: log it, and how many were not logged before it.
    fn count(&self, action: &'static str, reason: &str) -> Option<u64> {
        let second = self.clock.now().mono / 1000;
        let mut state = self.state.lock();
        let key = (action, reason.to_owned());
        if state.by_reason.len() < REASONS || state.by_reason.contains_key(&key) {
            *state.by_reason.entry(key).or_default() += 1;
        }
        if state.second != second {
            state.second = second;
            state.logged = 0;
        }
        if state.logged == LOGGED_PER_SECOND {
            state.silent += 1;
            return None;
        }
        state.logged += 1;
        Some(std::mem::take(&mut state.silent))
    }

    /// Returns the number of refusals for each action and reason.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, String, u64)> {
        let state = self.state.lock();
        state.by_reason.iter().map(|((action, reason), count)| (*action, reason.clone(), *count)).collect()
    }
}

/// At most this much of what a client says goes into a log line.
fn short(text: &str) -> &str {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

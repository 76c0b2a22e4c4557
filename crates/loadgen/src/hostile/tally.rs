//! Counts of an attack.

use crate::histogram::Histogram;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

/// Counts over all attackers.
#[derive(Default)]
pub(super) struct Tally {
    /// Connections that came so far that the attack could begin.
    pub(super) opened: u64,
    /// Those that did not.
    pub(super) refused: u64,
    pub(super) units: u64,
    pub(super) sent: u64,
    pub(super) read: u64,
    pub(super) replies: u64,
    pub(super) errors: BTreeMap<u32, u64>,
    pub(super) statuses: BTreeMap<u16, u64>,
    ended: BTreeMap<Cow<'static, str>, u64>,
    /// From the connect to the point where the attack could begin.
    pub(super) opening: Histogram,
}

impl Tally {
    pub(super) fn refuse(&mut self, error: &io::Error) {
        self.ended(error.kind().to_string().into(), false);
    }

    pub(super) fn ended(&mut self, how: Cow<'static, str>, open: bool) {
        self.refused += u64::from(!open);
        *self.ended.entry(how).or_default() += 1;
    }

    pub(super) fn report(&self, seconds: f64) -> Value {
        json!({
            "event": "attack",
            "opened": self.opened,
            "refused": self.refused,
            "units": self.units,
            "sent_bytes": self.sent,
            "read_bytes": self.read,
            "replies": self.replies,
            "errors": self.errors,
            "statuses": self.statuses,
            "ended": self.ended,
            "opening_p99_ms": self.opening.quantile(0.99) as f64 / 1e6,
            "opening_max_ms": self.opening.max() as f64 / 1e6,
            "seconds": seconds,
        })
    }
}

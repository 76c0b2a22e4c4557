//! An hourly reminder of open access: a warning at the start alone scrolls away.

use crate::config::{Level, Warning};
use spinward::Snapshot;
use spinward::clock::Clock;
use std::time::Duration;

/// Milliseconds between two reminders.
const EVERY: u64 = 3_600_000;

/// Tells when an hour has passed.
pub(super) struct Reminder {
    clock: Clock,
    next: u64,
}

impl Reminder {
    /// The start has just warned.
    pub(super) fn new(clock: Clock) -> Self {
        let next = clock.now().mono + EVERY;
        Self { clock, next }
    }

    /// Returns the time to wait before asking.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_millis(self.next.saturating_sub(self.clock.now().mono))
    }

    /// Returns true if an hour has passed since the start, or since this last returned true.
    pub(super) fn is_due(&mut self) -> bool {
        let now = self.clock.now().mono;
        let due = now >= self.next;
        if due {
            self.next = now + EVERY;
        }
        due
    }
}

/// Warns once of each option that leaves access open.
pub(super) fn tell(warnings: &[Warning]) {
    for warning in warnings.iter().filter(|warning| warning.level == Level::Insecure) {
        tracing::warn!(option = warning.option, "still {warning}");
    }
}

/// Tells how many connections speak an old version of the protocol.
pub(super) fn tell_old_clients(counters: &Snapshot) {
    if counters.legacy_accepted > 0 {
        let (clients, since_start) = (counters.legacy_clients, counters.legacy_accepted);
        tracing::info!(clients, since_start, "connections of protocol version 1, see client.legacy");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Vars, from_tree};
    use serde_json::json;
    use spinward::clock::Now;
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};

    #[test]
    fn each_hour_has_one_reminder() {
        let clock = Clock::manual(Now { mono: 5, wall: 5 });
        let mut reminder = Reminder::new(clock.clone());
        let mut at = Vec::new();
        for minute in 1..=200 {
            clock.advance(60_000);
            if reminder.is_due() {
                at.push(minute);
            }
        }
        assert_eq!(at, [60, 120, 180]);
        assert_eq!(reminder.wait(), Duration::from_secs(40 * 60));
        // A machine that slept for long is reminded once, not for each hour that it missed.
        clock.advance(10 * EVERY);
        assert_eq!(reminder.wait(), Duration::ZERO);
        assert!(reminder.is_due() && !reminder.is_due());
    }

    /// Logged lines.
    #[derive(Clone, Default)]
    struct Lines(#[allow(clippy::disallowed_types, reason = "a writer of the log")] Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(run: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, run);
        let bytes = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn old_clients_are_counted_where_there_were_any() {
        assert_eq!(logged(|| tell_old_clients(&Snapshot::default())), "");
        let counters = Snapshot { legacy_clients: 3, legacy_accepted: 12, ..Snapshot::default() };
        let text = logged(|| tell_old_clients(&counters));
        assert!(text.contains("clients=3 since_start=12"), "{text}");
    }

    #[test]
    fn every_insecure_option_has_its_line() {
        let tree = json!({
            "client": {
                "insecure": true, "insecure_skip_token_signature_verify": true,
                "token": { "hmac_secret_key": "secret" },
            },
            "http_api": { "insecure": true },
            "admin": { "insecure": true },
            "unknown": 1,
        });
        let loaded = from_tree(tree.as_object().unwrap().clone(), &Vars::default(), &[]).unwrap();
        let text = logged(|| tell(&loaded.warnings));
        for option in [
            "client.insecure",
            "client.insecure_skip_token_signature_verify",
            "client.token.hmac_secret_key",
            "http_api.insecure",
            "admin.insecure",
        ] {
            assert_eq!(text.matches(&format!("still INSECURE: {option}: ")).count(), 1, "{option}\n{text}");
        }
        assert_eq!(text.lines().count(), 5, "{text}");
    }
}

//! What clients did against the protocol, in the log: so many a second, whoever they are.

use crate::clock::Now;
use crate::id::ClientId;
use std::fmt::Display;

/// Lines that one shard writes in one second; the others are only counted.
const LOGGED_PER_SECOND: u32 = 20;

/// How much was logged lately.
#[derive(Default)]
pub(super) struct Breaches {
    second: u64,
    logged: u32,
    silent: u64,
}

impl Breaches {
    /// Logs that a connection ends with `code` for this cause. The cause must hold nothing of what was sent.
    pub(super) fn log(&mut self, client: ClientId, cause: &dyn Display, code: u32, now: Now) {
        if let Some(silent) = self.admit(now.mono / 1000) {
            tracing::info!(%cause, code, %client, silent, "client broke the protocol");
        }
    }

    /// Whether one more line is written in this second, and how many were not written before it.
    fn admit(&mut self, second: u64) -> Option<u64> {
        if self.second != second {
            self.second = second;
            self.logged = 0;
        }
        if self.logged == LOGGED_PER_SECOND {
            self.silent += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let mut breaches = Breaches::default();
        let written = (0..1000).filter(|_| breaches.admit(7).is_some()).count();
        assert_eq!(written, LOGGED_PER_SECOND as usize);
        assert_eq!(breaches.admit(8), Some(1000 - u64::from(LOGGED_PER_SECOND)));
        assert_eq!(breaches.admit(8), Some(0));
    }
}

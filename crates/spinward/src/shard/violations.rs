//! Protocol violations in the log: limited to a number per second, over all clients.

use crate::clock::Now;
use crate::id::ClientId;
use crate::log_rate::LogRate;
use std::fmt::Display;

/// Rate limit on the log lines of one shard.
#[derive(Default)]
pub(super) struct ViolationLog(LogRate);

impl ViolationLog {
    /// Logs that a connection ends with `code` for this cause. The cause must hold nothing of what was sent.
    pub(super) fn log(&mut self, client: ClientId, cause: &dyn Display, code: u32, now: Now) {
        if let Some(silent) = self.0.admit(now.mono / 1000) {
            tracing::info!(%cause, code, %client, silent, "protocol violation by a client");
        }
    }
}

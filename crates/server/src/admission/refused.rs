//! Refused connections: the answer, the counters, and a line in the log a second.

use super::overload::Reason;
use http::StatusCode;
use parking_lot::Mutex;
use spinward::clock::Now;
use std::sync::atomic::{AtomicU64, Ordering};

/// A connection that is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    IpConnections,
    IpRate,
    IpUnauthenticated,
    Unauthenticated,
    Connections,
    Rate,
    Overloaded(Reason),
}

/// Every reason there is.
pub(crate) const ALL: [Refused; 8] = [
    Refused::IpConnections,
    Refused::IpRate,
    Refused::IpUnauthenticated,
    Refused::Unauthenticated,
    Refused::Connections,
    Refused::Rate,
    Refused::Overloaded(Reason::Memory),
    Refused::Overloaded(Reason::LoopLag),
];

impl Refused {
    /// The option that sets the limit.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::IpConnections => "client.ip_connection_limit",
            Self::IpRate => "client.ip_connection_rate_limit",
            Self::IpUnauthenticated => "client.ip_unauthenticated_connection_limit",
            Self::Unauthenticated => "client.unauthenticated_connection_limit",
            Self::Connections => "client.connection_limit",
            Self::Rate => "client.connection_rate_limit",
            Self::Overloaded(reason) => reason.option(),
        }
    }

    /// The status of the answer, 429 where the client has too many and 503 where the node has; and when to try again,
    /// in seconds.
    pub(crate) const fn status(self) -> (StatusCode, u32) {
        match self {
            Self::IpConnections | Self::IpUnauthenticated => (StatusCode::TOO_MANY_REQUESTS, 10),
            Self::IpRate => (StatusCode::TOO_MANY_REQUESTS, 1),
            Self::Unauthenticated | Self::Connections | Self::Rate => (StatusCode::SERVICE_UNAVAILABLE, 1),
            Self::Overloaded(_) => (StatusCode::SERVICE_UNAVAILABLE, 5),
        }
    }

    fn index(self) -> usize {
        ALL.iter().position(|refused| *refused == self).unwrap_or_default()
    }
}

/// Counters of refusals by reason.
#[derive(Default)]
pub(super) struct Refusals {
    counts: [AtomicU64; ALL.len()],
    logged: Mutex<[Logged; ALL.len()]>,
}

#[derive(Clone, Copy, Default)]
struct Logged {
    /// The second of the last line, counted from 1.
    second: u64,
    silent: u64,
}

impl Refusals {
    pub(super) fn note(&self, refused: Refused, now: Now) {
        self.counts[refused.index()].fetch_add(1, Ordering::Relaxed);
        if let Some(silent) = self.logged.lock()[refused.index()].admit(now.mono / 1000 + 1) {
            tracing::warn!(option = refused.option(), silent, "connections are refused");
        }
    }

    pub(super) fn count(&self, refused: Refused) -> u64 {
        self.counts[refused.index()].load(Ordering::Relaxed)
    }
}

impl Logged {
    /// Decides if a line is written in this second, and returns how many were not written before it.
    fn admit(&mut self, second: u64) -> Option<u64> {
        if self.second == second {
            self.silent += 1;
            return None;
        }
        self.second = second;
        Some(std::mem::take(&mut self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_apart_and_logged_once_a_second() {
        let refusals = Refusals::default();
        for (at, refused) in ALL.into_iter().enumerate() {
            assert_eq!(refused.index(), at);
            for _ in 0..=at {
                refusals.note(refused, Now { mono: 0, wall: 0 });
            }
        }
        assert_eq!(ALL.map(|refused| refusals.count(refused)), [1, 2, 3, 4, 5, 6, 7, 8]);
        let mut logged = Logged::default();
        assert_eq!(
            [logged.admit(1), logged.admit(1), logged.admit(1), logged.admit(2)],
            [Some(0), None, None, Some(2)]
        );
    }
}

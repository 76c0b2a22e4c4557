//! Counts of handshakes and of certificates that were exchanged.

use std::sync::atomic::{AtomicU64, Ordering};

/// The end of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// A new session.
    Full,
    /// An earlier session.
    Resumed,
    /// The peer and this server found no agreement, or the peer left.
    Failed,
    /// The peer took too long.
    TimedOut,
}

/// Counts of one port.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    handshakes: [AtomicU64; 4],
    exchanged: AtomicU64,
    kept: AtomicU64,
}

impl Counters {
    pub(crate) fn shook(&self, handshake: Handshake) {
        self.handshakes[handshake as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an exchange of the certificate, or one that failed so that the former was kept.
    pub(crate) fn exchanged(&self, succeeded: bool) {
        let count = if succeeded { &self.exchanged } else { &self.kept };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Handshakes by result.
    pub(crate) fn handshakes(&self) -> [(&'static str, u64); 4] {
        let names = ["full", "resumed", "failed", "timed_out"];
        std::array::from_fn(|at| (names[at], self.handshakes[at].load(Ordering::Relaxed)))
    }

    /// Exchanges of the certificate by result.
    pub(crate) fn exchanges(&self) -> [(&'static str, u64); 2] {
        [("success", &self.exchanged), ("failure", &self.kept)]
            .map(|(result, count)| (result, count.load(Ordering::Relaxed)))
    }
}

//! Counts of the calls of the server API, by the way they came and by method.

use super::error::ApiError;
use super::method::METHODS;
use crate::histogram::{Durations, Histogram};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::Duration;

/// Upper bounds of durations that are counted together, in seconds: those of Centrifugo v6.9.
pub(crate) const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The way a call came. The names are those of Centrifugo v6.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Via {
    /// The HTTP API.
    Http,
    /// The gRPC API.
    Grpc,
    /// A consumer.
    Consumer,
}

impl Via {
    const ALL: [Self; 3] = [Self::Http, Self::Grpc, Self::Consumer];

    /// Its name in metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Consumer => "consuming",
        }
    }
}

/// Calls of one method that came in one way.
pub(crate) struct Calls {
    pub(crate) via: &'static str,
    pub(crate) method: &'static str,
    pub(crate) durations: Durations<{ BUCKETS.len() }>,
}

/// Errors of one code that calls of one method ended in.
pub(crate) struct Errors {
    pub(crate) via: &'static str,
    pub(crate) method: &'static str,
    pub(crate) code: u32,
    pub(crate) count: u64,
}

/// Counts since the start.
pub(crate) struct Stats {
    /// By way and by the place of the method in the list.
    durations: Vec<Histogram<{ BUCKETS.len() }>>,
    errors: Mutex<BTreeMap<(Via, usize, u32), u64>>,
}

impl Default for Stats {
    fn default() -> Self {
        let all = Via::ALL.len() * METHODS.len();
        Self { durations: (0..all).map(|_| Histogram::new(&BUCKETS)).collect(), errors: Mutex::default() }
    }
}

impl Stats {
    /// A call of the method at this place of the list has ended.
    pub(super) fn ended(&self, via: Via, method: usize, took: Duration, error: Option<&ApiError>) {
        if let Some(histogram) = self.durations.get(via as usize * METHODS.len() + method) {
            histogram.took(took);
        }
        if let Some(error) = error {
            *self.errors.lock().entry((via, method, error.code)).or_default() += 1;
        }
    }

    /// Methods that were called.
    pub(crate) fn calls(&self) -> Vec<Calls> {
        let places = Via::ALL.into_iter().flat_map(|via| METHODS.iter().map(move |method| (via, method)));
        let all = places.zip(&self.durations).map(|((via, method), histogram)| Calls {
            via: via.name(),
            method: method.name,
            durations: histogram.snapshot(),
        });
        all.filter(|calls| calls.durations.count > 0).collect()
    }

    /// Errors that calls ended in.
    pub(crate) fn errors(&self) -> Vec<Errors> {
        let errors = self.errors.lock();
        let named = errors.iter().filter_map(|((via, method, code), count)| {
            let method = METHODS.get(*method)?.name;
            Some(Errors { via: via.name(), method, code: *code, count: *count })
        });
        named.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_the_way_they_came_and_by_method() {
        let stats = Stats::default();
        let place = |name| METHODS.iter().position(|method| method.name == name).unwrap();
        stats.ended(Via::Http, place("publish"), Duration::from_millis(7), None);
        stats.ended(Via::Http, place("publish"), Duration::from_secs(60), Some(&ApiError::INTERNAL));
        stats.ended(Via::Consumer, place("info"), Duration::ZERO, Some(&ApiError::BAD_REQUEST));
        let calls: Vec<_> = stats
            .calls()
            .iter()
            .map(|calls| (calls.via, calls.method, calls.durations.count, calls.durations.buckets[1]))
            .collect();
        assert_eq!(calls, [("http", "publish", 2, 1), ("consuming", "info", 1, 1)]);
        let errors: Vec<_> = stats
            .errors()
            .iter()
            .map(|errors| (errors.via, errors.method, errors.code, errors.count))
            .collect();
        assert_eq!(errors, [("http", "publish", 100, 1), ("consuming", "info", 107, 1)]);
    }
}

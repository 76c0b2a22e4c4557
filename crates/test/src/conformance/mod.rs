//! The conformance suite of engines: the contract in the documentation of
//! [`Broker`](spinward::engine::broker::Broker), [`Presence`](spinward::engine::presence::Presence) and
//! [`Controller`](spinward::engine::controller::Controller), as tests.
//!
//! An engine brings a harness: something that connects nodes to a store, and lets time pass. [`broker`], [`presence`]
//! and [`controller`] try every rule on a new harness, and report.
//!
//! ```no_run
//! # use spinward_test::conformance::{self, BrokerHarness};
//! # async fn test<H: BrokerHarness>(connect_to_an_empty_store: fn() -> H) {
//! let report = conformance::broker(connect_to_an_empty_store).await;
//! report.assert();
//! # }
//! ```

mod broker;
mod controller;
mod presence;
mod recorder;

pub use broker::{BrokerHarness, broker};
pub use controller::{ControllerHarness, controller};
pub use presence::{PresenceHarness, presence};
pub use recorder::{Delivered, Recorder};

use std::fmt;

/// Result of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The engine keeps it.
    Kept,
    /// The harness cannot make what it takes to try it, such as a fail-over.
    NotTried,
    /// The engine violates it.
    Violated(String),
}

/// Results of a suite.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each rule, by name, in the order in which they were tried.
    pub rules: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// Names of the rules that the engine violates.
    #[must_use]
    pub fn violated(&self) -> Vec<&'static str> {
        let violated = self.rules.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Violated(_)));
        violated.map(|(name, _)| *name).collect()
    }

    /// Names of the rules that were not tried.
    #[must_use]
    pub fn not_tried(&self) -> Vec<&'static str> {
        let not_tried = self.rules.iter().filter(|(_, outcome)| *outcome == Outcome::NotTried);
        not_tried.map(|(name, _)| *name).collect()
    }

    /// Panics with the report if the engine violates a rule.
    ///
    /// # Panics
    /// See above.
    pub fn assert(&self) {
        assert!(self.violated().is_empty(), "the engine violates its contract:\n{self}");
    }

    fn add(&mut self, name: &'static str, result: Result<(), Failed>) {
        let outcome = match result {
            Ok(()) => Outcome::Kept,
            Err(Failed::NotTried) => Outcome::NotTried,
            Err(Failed::Violated(detail)) => Outcome::Violated(detail),
        };
        self.rules.push((name, outcome));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in &self.rules {
            match outcome {
                Outcome::Kept => writeln!(f, "  kept      {name}")?,
                Outcome::NotTried => writeln!(f, "  not tried {name}")?,
                Outcome::Violated(detail) => writeln!(f, "  VIOLATED  {name}: {detail}")?,
            }
        }
        Ok(())
    }
}

/// A rule that was not kept, or not tried.
#[derive(Debug)]
enum Failed {
    NotTried,
    Violated(String),
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Violated(format!("unexpected error: {error}"))
    }
}

/// Ends a rule unless both are equal.
macro_rules! same {
    ($left:expr, $right:expr, $($what:tt)+) => {
        match (&$left, &$right) {
            (left, right) if left != right => {
                let what = format!($($what)+);
                return Err($crate::conformance::Failed::Violated(format!(
                    "{what}: {left:?} where {right:?} is right"
                )));
            }
            _ => {}
        }
    };
}

/// Ends a rule unless this holds.
macro_rules! holds {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Failed::Violated(format!($($what)+)));
        }
    };
}

use {holds, same};

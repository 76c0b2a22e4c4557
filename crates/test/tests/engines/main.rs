//! The suite's first customers: the engines of this tree, and engines that violate their contract.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails here")]

mod controller;
mod harness;
mod presence;
mod violations;

use harness::{Memory, Simulated};
use spinward_test::conformance;

#[tokio::test]
async fn the_memory_engine_conforms() {
    let report = conformance::broker(Memory::default).await;
    report.assert();
    assert_eq!(report.not_tried(), ["an interruption is announced, and delivery goes on"], "{report}");
}

#[tokio::test]
async fn the_simulated_broker_conforms() {
    let report = conformance::broker(Simulated::punctual).await;
    report.assert();
    assert_eq!(report.not_tried(), ["history expires and the position stays"], "{report}");
}

/// Answers that take their time change nothing.
#[tokio::test]
async fn the_simulated_broker_conforms_however_late_it_answers() {
    for seed in 0..20 {
        conformance::broker(|| Simulated::late(seed)).await.assert();
    }
}

//! The contract of brokers, by core NATS.

use crate::harness::{Brokers, Servers};
use spinward_test::conformance;
use spinward_testkit::servers::nats::installed;

/// Rules about what core NATS does not have.
const NOT_TRIED: [&str; 12] = [
    "publications arrive in order, with consecutive offsets of one stream",
    "a publication keeps its fields",
    "a read sees every publish that was answered before",
    "reads of each kind return their slice",
    "a place of another epoch is not recoverable",
    "no more is kept than the size of the history",
    "history expires and the position stays",
    "forgetting drops publications and keeps the position",
    "a stream that was read before its first publication keeps its epoch",
    "a known idempotency key publishes nothing",
    "a version that is not new publishes nothing",
    "a replaced store has another incarnation",
];

#[tokio::test(flavor = "multi_thread")]
async fn core_nats_conforms() {
    if !installed() {
        return;
    }
    let servers = Servers::one(false);
    let report = conformance::broker(|| Brokers::core(&servers)).await;
    report.assert();
    assert_eq!(report.not_tried(), NOT_TRIED, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn core_nats_conforms_in_a_cluster() {
    if !installed() {
        return;
    }
    let servers = Servers::three();
    let report = conformance::broker(|| Brokers::core(&servers)).await;
    report.assert();
    assert_eq!(report.not_tried(), NOT_TRIED, "{report}");
}

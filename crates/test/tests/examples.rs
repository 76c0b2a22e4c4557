//! The example of a broker conforms to the contract, as far as its harness can try it.

#[path = "../examples/custom_broker.rs"]
mod custom_broker;

#[tokio::test(flavor = "multi_thread")]
async fn the_custom_broker_conforms() {
    let report = custom_broker::conformance().await;
    report.assert();
    assert!(report.not_tried().len() <= 3, "{report}");
}

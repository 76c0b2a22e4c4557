//! The example of a broker conforms to the contract, as far as its harness can try it.

#[path = "../examples/custom_broker.rs"]
mod custom_broker;

#[tokio::test(flavor = "multi_thread")]
async fn the_custom_broker_conforms() {
    let report = custom_broker::conformance().await;
    report.assert();
    let not_tried =
        ["a replaced store has another incarnation", "an interruption is announced, and delivery goes on"];
    assert_eq!(report.not_tried(), not_tried, "{report}");
}

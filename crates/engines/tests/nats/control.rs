//! The contract of controllers.

use crate::harness::{Servers, prefix, settled};
use parking_lot::Mutex;
use spinward::engine::controller::{ControlError, Controller, MAX_MESSAGE, To};
use spinward_engines::nats;
use spinward_test::conformance::{self, ControllerHarness};
use spinward_testkit::servers::nats::installed;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

struct Controllers {
    servers: Arc<Mutex<Servers>>,
    prefix: String,
    made: Mutex<Vec<Arc<nats::Controller>>>,
}

impl ControllerHarness for Controllers {
    fn controller(&self) -> Arc<dyn Controller> {
        let mut made = self.made.lock();
        let config = self.servers.lock().config(&self.prefix, made.len());
        let controller = Arc::new(nats::Controller::new(config).unwrap());
        made.push(Arc::clone(&controller));
        controller
    }

    async fn settle(&self) {
        settled(|| self.made.lock().iter().skip(1).map(|one| one.health()).collect()).await;
    }

    async fn interrupt(&self) -> bool {
        let servers = Arc::clone(&self.servers);
        tokio::task::spawn_blocking(move || servers.lock().restart(0)).await.unwrap();
        // Those that are connected to other servers of a cluster notice nothing.
        sleep(Duration::from_millis(500)).await;
        matches!(&*self.servers.lock(), Servers::One(_))
    }
}

async fn conforms(servers: &Arc<Mutex<Servers>>) -> conformance::Report {
    let harness = || Controllers { servers: Arc::clone(servers), prefix: prefix(), made: Mutex::default() };
    let report = conformance::controller(harness).await;
    report.assert();
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_conforms() {
    if installed() {
        let report = conforms(&Servers::one(false)).await;
        assert_eq!(report.not_tried(), [""; 0], "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_conforms_in_a_cluster() {
    if installed() {
        conforms(&Servers::three()).await;
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_or_has_no_server_is_refused() {
    let config = nats::Config { urls: vec!["nats://127.0.0.1:1".to_owned()], ..nats::Config::default() };
    let controller = nats::Controller::new(config).unwrap();
    let long = controller.send(To::All, vec![0; MAX_MESSAGE + 1].into()).wait().await;
    assert!(matches!(long, Err(ControlError::TooLong(_))), "{long:?}");
    let sent = controller.send(To::All, "m".into()).wait().await;
    assert!(matches!(sent, Err(ControlError::Failed(_))), "{sent:?}");
}

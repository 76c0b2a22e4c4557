//! The contract of controllers.

use crate::backend::{Backend, Kind, until};
use spinward::engine::EngineHealth;
use spinward::engine::controller::Controller as _;
use spinward_engines::redis::{Config, Controller, Layout};
use spinward_test::conformance::{self, ControllerHarness, Outcome};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Harness<'a> {
    backend: &'a Backend,
    config: Config,
    controllers: Mutex<Vec<Arc<Controller>>>,
}

impl Harness<'_> {
    fn controllers(&self) -> Vec<Arc<Controller>> {
        self.controllers.lock().unwrap().clone()
    }
}

impl ControllerHarness for Harness<'_> {
    fn controller(&self) -> Arc<dyn spinward::engine::controller::Controller> {
        let controller = Arc::new(Controller::new(self.config.clone()).unwrap());
        self.controllers.lock().unwrap().push(Arc::clone(&controller));
        controller
    }

    async fn settle(&self) {
        for controller in self.controllers() {
            let up = async || match controller.health() {
                EngineHealth::Up => true,
                // Nothing connects one that was closed.
                EngineHealth::Down { reason } => reason.contains("closed"),
                _ => false,
            };
            until("a connected controller", Duration::from_secs(10), up).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    async fn interrupt(&self) -> bool {
        let before: Vec<_> = self.controllers().iter().map(|one| one.counts().gaps).collect();
        self.backend.cut_clients();
        for (controller, before) in self.controllers().iter().zip(before) {
            let again = async || controller.counts().gaps > before;
            until("another connection", Duration::from_secs(10), again).await;
        }
        true
    }
}

async fn conforms(kind: Kind, layout: Layout) {
    let Some(backend) = Backend::start(kind) else { return };
    let config = || Config { layout, ..backend.config() };
    let harness = || Harness { backend: &backend, config: config(), controllers: Mutex::default() };
    let report = conformance::controller(harness).await;
    report.assert();
    let kept = report.rules.iter().all(|(_, outcome)| *outcome == Outcome::Kept);
    assert!(kept, "not everything was tried:\n{report}");
}

macro_rules! conforming {
    ($($name:ident: $kind:ident, $layout:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                conforms(Kind::$kind, Layout::$layout).await;
            }
        )+
    };
}

conforming! {
    controller_conforms_on_redis: Redis, Spinward;
    controller_conforms_on_valkey: Valkey, Spinward;
    controller_conforms_by_a_socket_with_a_user: Socket, Spinward;
    controller_conforms_under_sentinel: Sentinel, Spinward;
    controller_conforms_in_a_cluster: Cluster, Spinward;
    controller_conforms_on_shards: Shards, Spinward;
    controller_conforms_in_the_layout_of_centrifugo: Redis, Centrifugo;
    controller_conforms_in_the_layout_of_centrifugo_in_a_cluster: Cluster, Centrifugo;
}

//! The contract of presence stores.

use crate::backend::{Backend, Kind};
use spinward::engine::presence::Presence;
use spinward_engines::redis::{Config, Layout, PresenceConfig, PresenceStore};
use spinward_test::conformance::{self, Outcome, PresenceHarness};
use std::sync::Arc;
use std::time::Duration;

const LIFE: Duration = Duration::from_secs(2);

struct Harness(Arc<PresenceStore>);

impl PresenceHarness for Harness {
    fn store(&self) -> Arc<dyn Presence> {
        Arc::<PresenceStore>::clone(&self.0)
    }

    async fn pass(&self, time: Duration) -> bool {
        tokio::time::sleep(time).await;
        true
    }

    fn time_to_live(&self) -> Option<Duration> {
        Some(LIFE)
    }
}

pub(crate) fn store(config: Config, hash_field_ttl: bool, user_mapping: bool) -> Arc<PresenceStore> {
    let presence = PresenceConfig { time_to_live: LIFE, hash_field_ttl, user_mapping };
    Arc::new(PresenceStore::new(config, presence).unwrap())
}

async fn conforms(kind: Kind, hash_field_ttl: bool, layout: Layout) {
    let Some(backend) = Backend::start(kind) else { return };
    for user_mapping in [false, true] {
        let harness = || Harness(store(Config { layout, ..backend.config() }, hash_field_ttl, user_mapping));
        let report = conformance::presence(harness).await;
        report.assert();
        let kept = report.rules.iter().all(|(_, outcome)| *outcome == Outcome::Kept);
        assert!(kept, "not everything was tried:\n{report}");
    }
}

macro_rules! conforming {
    ($($name:ident: $kind:ident, $fields:literal, $layout:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                conforms(Kind::$kind, $fields, Layout::$layout).await;
            }
        )+
    };
}

conforming! {
    presence_conforms_on_redis: Redis, false, Spinward;
    presence_conforms_on_valkey: Valkey, false, Spinward;
    presence_conforms_on_valkey_with_fields_that_expire: Valkey, true, Spinward;
    presence_conforms_by_a_socket_with_a_user_and_resp2: Socket, false, Spinward;
    presence_conforms_under_sentinel: Sentinel, false, Spinward;
    presence_conforms_in_a_cluster: Cluster, false, Spinward;
    presence_conforms_on_shards: Shards, false, Spinward;
    presence_conforms_in_the_layout_of_centrifugo: Redis, false, Centrifugo;
    presence_conforms_in_the_layout_of_centrifugo_with_fields_that_expire: Valkey, true, Centrifugo;
    presence_conforms_in_the_layout_of_centrifugo_in_a_cluster: Cluster, false, Centrifugo;
}

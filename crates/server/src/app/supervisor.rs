//! Messages to systemd (`Type=notify`): ready, reloading, stopping, and a sign of life for its watchdog. Nothing is sent
//! where `NOTIFY_SOCKET` is not set.

#[cfg(target_os = "linux")]
mod systemd {
    use sd_notify::{NotifyState, notify, watchdog_enabled};
    use spinward::{Node, ShardState};
    use tokio::sync::watch;

    /// A supervisor that cannot be told anything is no reason to stop.
    fn tell(state: &[NotifyState<'_>]) {
        if let Err(error) = notify(state) {
            tracing::debug!(%error, "cannot notify the supervisor");
        }
    }

    /// The server serves. From now on the watchdog is told so, until `stop` changes, as long as no shard hangs.
    pub(in crate::app) fn begin(node: Node, mut stop: watch::Receiver<bool>) {
        ready();
        let Some(interval) = watchdog_enabled() else { return };
        tokio::spawn(async move {
            // Half of the time, as systemd recommends.
            let mut tick = tokio::time::interval(interval / 2);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = stop.changed() => break,
                }
                if node.health().shards.iter().all(|shard| shard.state != ShardState::Unresponsive) {
                    tell(&[NotifyState::Watchdog]);
                }
            }
        });
    }

    pub(in crate::app) fn ready() {
        tell(&[NotifyState::Ready]);
    }

    pub(in crate::app) fn reloading() {
        // Without the time, systemd would end the service.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    pub(in crate::app) fn stopping() {
        tell(&[NotifyState::Stopping]);
    }
}

/// There is no such supervisor elsewhere.
#[cfg(not(target_os = "linux"))]
mod systemd {
    use spinward::Node;
    use tokio::sync::watch;

    pub(in crate::app) fn begin(_: Node, _: watch::Receiver<bool>) {}

    pub(in crate::app) fn ready() {}

    pub(in crate::app) fn reloading() {}

    pub(in crate::app) fn stopping() {}
}

pub(super) use systemd::{begin, ready, reloading, stopping};

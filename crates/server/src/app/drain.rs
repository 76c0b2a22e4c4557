//! The drain before the end: clients move to other nodes one after another.

use super::ending::Ending;
use super::signals::Heard;
use crate::config::typed::Shutdown;
use spinward::{Drain, Node};

/// Drains the node as `shutdown` says. A second signal to stop cuts it short.
pub(super) async fn drain(node: &Node, shutdown: &Shutdown, ending: &mut Ending) {
    let mut drain = Drain::default();
    (drain.notice, drain.over) = (shutdown.drain_notice.get(), shutdown.drain_duration.get());
    if drain.notice.is_zero() && drain.over.is_zero() {
        return;
    }
    tracing::info!(notice = ?drain.notice, duration = ?drain.over, "draining");
    let stopped = async { while ending.next().await != Heard::Stop {} };
    tokio::select! {
        // It cannot be drained already: only this drains it.
        _ = node.drain(drain) => {}
        () = stopped => tracing::info!("drain cut short by a second signal"),
        () = node.failed() => {}
    }
}

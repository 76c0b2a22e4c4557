//! The runtime of slow answers.

#[cfg(feature = "simulation")]
pub(crate) mod tasks;

use std::future::Future;
use std::time::Duration;

/// Polls the futures that hooks, brokers and stores answer with.
#[derive(Clone)]
pub(crate) enum Runtime {
    Tokio(tokio::runtime::Handle),
    /// One thread steps everything, in an order drawn from a seed.
    #[cfg(feature = "simulation")]
    Simulated(tasks::Tasks),
}

impl Runtime {
    /// Runs a future to its end; nobody waits for it here.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Tokio(handle) => {
                handle.spawn(future);
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(tasks) => tasks.spawn(future),
        }
    }

    /// Waits for a future up to a limit, and drops it then; zero means no limit. A simulation has no limit: its driver
    /// decides when an answer comes.
    pub(crate) async fn within<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        match self {
            Self::Tokio(_) if !limit.is_zero() => tokio::time::timeout(limit, future).await.ok(),
            _ => Some(future.await),
        }
    }
}

//! Time limits of futures.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Waits for a future up to a limit, and drops it then. One that is ready at once, as most are, costs no timer.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(value) => Some(value),
        Poll::Pending => tokio::time::timeout(limit, future).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::within;
    use std::future::{pending, ready};
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn what_is_not_ready_has_the_limit() {
        assert_eq!(within(Duration::ZERO, ready(7)).await, Some(7));
        assert_eq!(within(LIMIT, sleep(Duration::from_secs(4))).await, Some(()));
        let began = Instant::now();
        assert_eq!(within(LIMIT, pending::<()>()).await, None);
        assert_eq!(began.elapsed(), LIMIT);
    }
}

//! Many calls at a time, with their results in order.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use tokio::task::coop::has_budget_remaining;
use tokio::task::yield_now;

/// Makes a call for each item, at most `limit` at a time, and returns the results in the order of the items.
///
/// Calls are started in order: each is polled once before the next one is made. One that is ready then, as with the
/// memory engine, is over before the next one starts, and all of those share one allocation.
pub(super) async fn in_order<I, T, F: Future<Output = T>>(
    items: impl ExactSizeIterator<Item = I>,
    limit: usize,
    mut call: impl FnMut(I) -> F,
) -> Vec<T> {
    let mut results: Vec<Option<T>> = Vec::with_capacity(items.len());
    let mut pending = FuturesUnordered::new();
    let mut spare: Option<Pin<Box<F>>> = None;
    for (at, item) in items.enumerate() {
        let mut future = match spare.take() {
            Some(mut future) => {
                future.set(call(item));
                future
            }
            None => Box::pin(call(item)),
        };
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        match polled {
            Poll::Ready(result) => {
                results.push(Some(result));
                spare = Some(future);
            }
            Poll::Pending => {
                results.push(None);
                pending.push(async move { (at, future.await) });
            }
        }
        while pending.len() >= limit
            && let Some((at, result)) = pending.next().await
        {
            results[at] = Some(result);
        }
        // Calls would be pending for no other reason than that this task has had its turn.
        if !has_budget_remaining() {
            yield_now().await;
        }
    }
    while let Some((at, result)) = pending.next().await {
        results[at] = Some(result);
    }
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn results_are_in_order_whichever_call_ends_first() {
        let results = in_order(0..100, 10, async |at| {
            // Later ones are over sooner, and every third one at once.
            for _ in 0..(if at % 3 == 0 { 0 } else { 100 - at }) {
                yield_now().await;
            }
            at
        });
        assert_eq!(results.await, (0..100).collect::<Vec<_>>());
        assert!(in_order(0..0, 10, async |at| at).await.is_empty());
    }

    #[tokio::test]
    async fn as_many_are_under_way_as_allowed() {
        let (under_way, most) = (Cell::new(0), Cell::new(0));
        let gate = Semaphore::new(0);
        let calls = in_order(0..50, 7, async |_| {
            under_way.set(under_way.get() + 1);
            most.set(under_way.get().max(most.get()));
            let _permit = gate.acquire().await;
            under_way.set(under_way.get() - 1);
        });
        let open = async {
            for _ in 0..20 {
                yield_now().await;
            }
            assert_eq!(under_way.get(), 7);
            gate.add_permits(1);
        };
        tokio::join!(calls, open);
        assert_eq!(most.get(), 7);
    }

    #[tokio::test]
    async fn calls_that_are_ready_at_once_are_made_one_after_the_other() {
        let log = RefCell::new(Vec::new());
        in_order(0..1000, 10, async |at| log.borrow_mut().push(at)).await;
        assert_eq!(log.into_inner(), (0..1000).collect::<Vec<_>>());
    }
}

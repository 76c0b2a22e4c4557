//! Bounds on the calls to one back end: the hooks, the broker, or the presence store.

use crate::answer::{Answer, BoxFuture};
use crate::runtime::Runtime;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Calls in flight to one back end, at most so many. A stalled back end takes no place from another.
///
/// Calls that somebody waits for take a place each, in the order in which they come; a connection has one command
/// under way, or as many as the configuration says, so there are no more of them than connections and callers. Calls that nobody waits for, such as joins and
/// leaves for other nodes, take half of the places at most, are made by as many tasks, and as many again may wait in a
/// queue. What exceeds that is dropped, and counted by the caller.
#[derive(Clone)]
pub(crate) struct Bulkhead {
    places: Arc<Semaphore>,
    unwaited: Arc<Unwaited>,
}

struct Unwaited {
    state: Mutex<State>,
    most_workers: usize,
    most_queued: usize,
}

#[derive(Default)]
struct State {
    workers: usize,
    queue: VecDeque<BoxFuture<()>>,
}

impl Bulkhead {
    /// For `calls` calls at once.
    pub(crate) fn new(calls: usize) -> Self {
        let calls = calls.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(calls)),
            unwaited: Arc::new(Unwaited {
                state: Mutex::default(),
                most_workers: calls.div_ceil(2),
                most_queued: calls,
            }),
        }
    }

    /// Polls an answer that comes later once there is a place for it.
    pub(crate) fn admit<T: Send + 'static>(&self, answer: Answer<T>) -> Answer<T> {
        match answer {
            Answer::Now(value) => Answer::Now(value),
            Answer::Later(future) => {
                let places = Arc::clone(&self.places);
                Answer::later(async move {
                    let _place = places.acquire_owned().await;
                    future.await
                })
            }
        }
    }

    /// Polls to its end what nobody waits for. Returns false if it was dropped.
    pub(crate) fn post(&self, runtime: &Runtime, job: BoxFuture<()>) -> bool {
        let unwaited = &self.unwaited;
        {
            let mut state = unwaited.state.lock();
            if state.workers < unwaited.most_workers {
                state.workers += 1;
            } else if state.queue.len() < unwaited.most_queued {
                state.queue.push_back(job);
                return true;
            } else {
                // Unlocked first: what the job holds may take locks when it is dropped.
                drop(state);
                return false;
            }
        }
        let (places, worker) = (Arc::clone(&self.places), Worker(Arc::clone(unwaited)));
        runtime.spawn(async move {
            let mut next = Some(job);
            while let Some(job) = next {
                let place = places.acquire().await;
                job.await;
                drop(place);
                next = worker.0.state.lock().queue.pop_front();
            }
        });
        true
    }
}

/// Counts a worker until it ends, even by a panic of its job.
struct Worker(Arc<Unwaited>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.state.lock().workers -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    #[tokio::test]
    async fn a_stalled_back_end_gets_no_more_than_its_places() {
        let runtime = Runtime::Tokio(tokio::runtime::Handle::current());
        let bulkhead = Bulkhead::new(10);
        let polled = Arc::new(AtomicUsize::new(0));
        let stalled = || {
            let polled = Arc::clone(&polled);
            async move {
                polled.fetch_add(1, SeqCst);
                std::future::pending::<()>().await;
            }
        };
        let metrics = tokio::runtime::Handle::current().metrics();
        let before = metrics.num_alive_tasks();
        let taken = (0..100).filter(|_| bulkhead.post(&runtime, Box::pin(stalled()))).count();
        assert_eq!(taken, 5 + 10, "half of the places, and the queue");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((polled.load(SeqCst), metrics.num_alive_tasks() - before), (5, 5));
        for _ in 0..20 {
            tokio::spawn(bulkhead.admit(Answer::later(stalled())).wait());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(polled.load(SeqCst), 10, "and the other half for calls that somebody waits for");
    }

    #[tokio::test]
    async fn everything_that_is_taken_is_done() {
        let runtime = Runtime::Tokio(tokio::runtime::Handle::current());
        let bulkhead = Bulkhead::new(4);
        let done = Arc::new(AtomicUsize::new(0));
        let mut taken = 0;
        for _ in 0..100 {
            let done = Arc::clone(&done);
            let job = async move {
                tokio::task::yield_now().await;
                done.fetch_add(1, SeqCst);
            };
            taken += usize::from(bulkhead.post(&runtime, Box::pin(job)));
        }
        assert_eq!(taken, 6, "nothing has run yet");
        while done.load(SeqCst) < taken {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let state = bulkhead.unwaited.state.lock();
        assert_eq!((state.workers, state.queue.len()), (0, 0));
    }
}

//! A list of futures, polled one at a time by the simulation.

use crate::answer::BoxFuture;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Futures under way. Clones share them.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Mutex<Vec<Task>>>);

struct Task {
    /// Absent while it is being polled.
    future: Option<BoxFuture<()>>,
    woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Tasks {
    /// Adds a future. It is first polled by [`Tasks::poll`].
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.0.lock().push(Task { future: Some(Box::pin(future)), woken });
    }

    /// Returns the number of futures that could go on.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.0.lock().iter().filter(|task| task.woken.0.load(Ordering::Relaxed)).count()
    }

    /// Returns the number of futures under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Returns true if no future is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Polls one of those that could go on: the one with this number among them. Returns true if there was one.
    pub fn poll(&self, number: usize) -> bool {
        let (mut future, woken) = {
            let mut tasks = self.0.lock();
            let mut ready = tasks.iter_mut().filter(|task| task.woken.0.load(Ordering::Relaxed));
            let Some(task) = ready.nth(number) else { return false };
            task.woken.0.store(false, Ordering::Relaxed);
            let Some(future) = task.future.take() else { return false };
            (future, Arc::clone(&task.woken))
        };
        // Unlocked: what is polled may spawn.
        let waker = Waker::from(Arc::clone(&woken));
        let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut tasks = self.0.lock();
        if let Some(at) = tasks.iter().position(|task| Arc::ptr_eq(&task.woken, &woken)) {
            if done {
                tasks.remove(at);
            } else {
                tasks[at].future = Some(future);
            }
        }
        true
    }
}

/// Gives way `times` times: whatever else is under way may come first.
pub async fn give_way(times: u32) {
    for _ in 0..times {
        let mut gone = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut gone, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

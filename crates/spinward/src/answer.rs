//! Answers of hooks, brokers and presence stores: now, or later.

use std::future::Future;
use std::pin::Pin;

/// A boxed future that may be polled on any thread.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// The answer to a question that may need I/O.
///
/// `Now` is given on a shard, between two reads of a socket: computing it must not block.
/// Anything that waits is `Later`: it runs on the runtime handed to the node, and its outcome comes back
/// to the connection through its shard's inbox.
pub enum Answer<T> {
    /// The answer is known.
    Now(T),
    /// The answer is this future's output.
    Later(BoxFuture<T>),
}

impl<T: Send + 'static> Answer<T> {
    /// Wraps a future.
    pub fn later(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }

    /// Changes the value, at once or when it comes.
    pub fn map<U: Send + 'static>(self, f: impl FnOnce(T) -> U + Send + 'static) -> Answer<U> {
        match self {
            Self::Now(value) => Answer::Now(f(value)),
            Self::Later(future) => Answer::later(async move { f(future.await) }),
        }
    }

    /// Asks the next question with the value of this one.
    pub fn then<U: Send + 'static>(self, f: impl FnOnce(T) -> Answer<U> + Send + 'static) -> Answer<U> {
        match self {
            Self::Now(value) => f(value),
            Self::Later(future) => Answer::later(async move { f(future.await).wait().await }),
        }
    }

    /// Waits for the value.
    pub async fn wait(self) -> T {
        match self {
            Self::Now(value) => value,
            Self::Later(future) => future.await,
        }
    }
}

impl<T> From<T> for Answer<T> {
    fn from(value: T) -> Self {
        Self::Now(value)
    }
}

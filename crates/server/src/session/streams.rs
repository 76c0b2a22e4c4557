//! Streams of publications that subscriptions rest on: see the subscribe stream proxy in `docs/manual/event-proxies.md`.
//!
//! A stream is opened before its subscription is granted, read from once the client is subscribed, and cancelled with
//! the subscription, whatever ends it.

use bytes::Bytes;
use parking_lot::Mutex;
use spinward::Client;
use spinward::answer::BoxFuture;
use spinward::id::ClientId;
use spinward::wire::code::UnsubscribeCode;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// A stream that a back end has opened. Dropping it cancels it.
pub struct OpenStream {
    /// Delivers its publications until it ends, and returns the code that the subscription ends with.
    pub run: Box<dyn FnOnce(Client, Arc<str>) -> BoxFuture<UnsubscribeCode> + Send>,
    /// Takes publications of the client, if the back end wants them.
    pub publications: Option<mpsc::Sender<Bytes>>,
}

type Key = (ClientId, Arc<str>);

/// The streams of the connections of this node.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: Mutex<HashMap<Key, Running>>,
    /// Their number, so that connections without streams do not take the lock.
    count: AtomicUsize,
}

/// A stream with its task.
struct Running {
    /// Sent to once the client is subscribed.
    begin: Option<oneshot::Sender<()>>,
    publications: Option<mpsc::Sender<Bytes>>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Streams {
    fn is_empty(&self) -> bool {
        self.0.count.load(Ordering::Acquire) == 0
    }

    /// Keeps the stream of a subscription that is granted. Must be called on a Tokio runtime.
    pub(super) fn add(&self, client: &Client, channel: &str, stream: OpenStream) {
        let key: Key = (client.id(), channel.into());
        let OpenStream { run, publications } = stream;
        let (begin, begun) = oneshot::channel();
        let (streams, client, own) = (self.clone(), client.clone(), key.clone());
        let task = tokio::spawn(async move {
            if begun.await.is_err() {
                return;
            }
            let code = run(client.clone(), Arc::clone(&own.1)).await;
            // Where it has ended meanwhile, there may be another subscription to the channel.
            if streams.take(&own) {
                client.unsubscribe(&own.1, code);
            }
        });
        let running = Running { begin: Some(begin), publications, task: task.abort_handle() };
        let replaced = self.0.open.lock().insert(key, running);
        if replaced.is_none() {
            self.0.count.fetch_add(1, Ordering::Release);
        }
    }

    /// The client is subscribed: its publications may come.
    pub(super) fn begin(&self, client: &Client, channel: &str) {
        if self.is_empty() {
            return;
        }
        let mut open = self.0.open.lock();
        let begin = open.get_mut(&(client.id(), Arc::from(channel))).and_then(|running| running.begin.take());
        drop(open);
        if let Some(begin) = begin {
            // A task that has ended needs none.
            let _ = begin.send(());
        }
    }

    /// The subscription is over.
    pub(super) fn end(&self, client: &Client, channel: &str) {
        if !self.is_empty() {
            self.take(&(client.id(), Arc::from(channel)));
        }
    }

    /// The way of a client's publications to the back end of its subscription.
    pub(super) fn publications(&self, client: &Client, channel: &str) -> Option<mpsc::Sender<Bytes>> {
        if self.is_empty() {
            return None;
        }
        self.0.open.lock().get(&(client.id(), Arc::from(channel)))?.publications.clone()
    }

    fn take(&self, key: &Key) -> bool {
        let taken = self.0.open.lock().remove(key);
        if taken.is_some() {
            self.0.count.fetch_sub(1, Ordering::Release);
        }
        taken.is_some()
    }
}

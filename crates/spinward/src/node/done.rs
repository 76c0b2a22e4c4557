//! The end of what the shards were asked to do.

use crate::mailbox::walk::Doing;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Ready once every connection concerned was handled, or the node has been shut down.
///
/// What was asked for is done whether or not this is awaited. Callers that ask again and again await it, so that
/// no more is under way than the shards can do.
#[derive(Debug)]
pub struct Done(oneshot::Receiver<Infallible>);

impl Done {
    pub(super) fn new() -> (Doing, Self) {
        let (doing, done) = oneshot::channel();
        (Arc::new(doing), Self(done))
    }
}

impl Future for Done {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Nothing is ever sent: the end is that the last sender is dropped.
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

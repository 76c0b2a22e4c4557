//! The end of what nodes were asked to do.

use crate::cluster::Applied;
use crate::node::cluster::Others;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// Ready once every connection concerned was handled on this node, or the node is shut down, and the other nodes of the
/// cluster have confirmed the same or the [wait](crate::cluster::Config::wait) for them is over. The output names the
/// nodes that did not confirm.
///
/// The operation is carried out whether or not this is awaited. Callers that ask again and again await it, so that
/// no more is under way than the shards can do.
#[derive(Debug)]
pub struct Done {
    here: Option<oneshot::Receiver<Infallible>>,
    others: Others,
}

impl Done {
    pub(super) fn of_walk(here: oneshot::Receiver<Infallible>, others: Others) -> Self {
        Self { here: Some(here), others }
    }

    /// Nothing is to be done here.
    pub(super) fn of_others(others: Others) -> Self {
        Self { here: None, others }
    }
}

impl Future for Done {
    type Output = Applied;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Applied> {
        if let Some(here) = &mut self.here {
            // Nothing is ever sent: the end is that the last sender is dropped.
            let _ = ready!(Pin::new(here).poll(cx));
            self.here = None;
        }
        if let Some(others) = &mut self.others {
            let outcome = ready!(Pin::new(others).poll(cx)).unwrap_or_default();
            self.others = None;
            return Poll::Ready(outcome.applied().0);
        }
        Poll::Ready(Applied::default())
    }
}

//! Operations applied to the connections of this node: the same for those of this node and of others.

use crate::answer::{Answer, BoxFuture};
use crate::cluster::{ClientFilter, Declined, Operation, Response, ServerSubscribe};
use crate::mailbox::inbox::{Control, Entry, Refused};
use crate::mailbox::walk::{Doing, Walk};
use crate::node::input::input;
use crate::node::{Node, SubscribeError};
use bytes::Bytes;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// An operation that is being applied.
pub(crate) enum Applying {
    /// Over when the sender of this is dropped.
    Walk(oneshot::Receiver<Infallible>),
    /// Subscriptions are being made.
    Subscribe(mpsc::Receiver<Refused>),
    /// The application does it, or something else that ends by itself.
    Handler(Answer<Result<(), Declined>>),
}

impl Node {
    /// Applies an operation here.
    pub(crate) fn apply(&self, operation: &Operation) -> Applying {
        match operation {
            Operation::Disconnect { user, filter, code } => {
                self.walk(user, filter, &Control::Disconnect(code.clone()))
            }
            Operation::Unsubscribe { user, filter, channel, code } => {
                let control =
                    Control::Unsubscribe { channel: channel.as_deref().map(Arc::from), code: code.clone() };
                self.walk(user, filter, &control)
            }
            Operation::Subscribe { user, filter, channel, subscribe } => {
                let ServerSubscribe { options, since } = subscribe.as_ref();
                let (taken, all_taken) = mpsc::channel(1);
                let control = Control::Subscribe {
                    channel: channel.as_str().into(),
                    options: Arc::new(options.clone()),
                    since: since.clone(),
                    taken: Some(taken),
                };
                drop(self.walk(user, filter, &control));
                Applying::Subscribe(all_taken)
            }
            Operation::Refresh { user, filter, expired, expire_at, info } => {
                let control =
                    Control::Refresh { expired: *expired, expire_at: *expire_at, info: info.clone() };
                self.walk(user, filter, &control)
            }
            Operation::Input { session, message } => {
                let (hub, session, message) = (Arc::clone(&self.inner.hub), session.clone(), message.clone());
                Applying::Handler(Answer::later(async move { input(&hub, &session, message).await }))
            }
            Operation::Application { op, data } => {
                let call = || self.inner.handler.notified(self, op, data.clone());
                Applying::Handler(self.guarded("notified", call))
            }
        }
    }

    /// Does something to the connections of a user, or of all users.
    pub(crate) fn walk(&self, user: &str, filter: &ClientFilter, control: &Control) -> Applying {
        let hub = &self.inner.hub;
        let narrowed = filter.narrows().then(|| Arc::new(filter.clone()));
        let (doing, done) = oneshot::channel();
        let doing: Doing = Arc::new(doing);
        if filter.all_users {
            for shard in 0..hub.inboxes.len() {
                let walk = Walk::all(narrowed.clone(), control.clone(), Arc::clone(&doing));
                hub.send(shard, Entry::Walk(Box::new(walk)));
            }
            return Applying::Walk(done);
        }
        let mut handles = hub.users.handles(user);
        handles.sort_unstable();
        for of_shard in handles.chunk_by(|one, other| one.shard() == other.shard()) {
            let walk = Walk::these(of_shard.to_vec(), narrowed.clone(), control.clone(), Arc::clone(&doing));
            hub.send(of_shard[0].shard(), Entry::Walk(Box::new(walk)));
        }
        Applying::Walk(done)
    }

    /// The answer of this node to a survey.
    pub(crate) fn answer(&self, op: &str, data: Bytes) -> BoxFuture<Result<Bytes, Declined>> {
        Box::pin(self.guarded("asked", || self.inner.handler.asked(self, op, data)).wait())
    }

    /// Asks the handler of the application, which may panic.
    fn guarded<T: Send + 'static>(
        &self,
        name: &'static str,
        call: impl FnOnce() -> Answer<Result<T, Declined>>,
    ) -> Answer<Result<T, Declined>> {
        let hub = Arc::clone(&self.inner.hub);
        let answer = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
            hub.panicked(name);
            Answer::Now(Err(Declined::Failed))
        });
        match answer {
            Answer::Now(result) => Answer::Now(result),
            Answer::Later(mut future) => Answer::later(std::future::poll_fn(move |cx| {
                let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
                polled.unwrap_or_else(|_| {
                    hub.panicked(name);
                    std::task::Poll::Ready(Err(Declined::Failed))
                })
            })),
        }
    }
}

impl Applying {
    /// Waits until the operation is applied.
    pub(crate) async fn wait(self) -> Result<Result<(), SubscribeError>, Declined> {
        match self {
            Self::Walk(done) => {
                // Nothing is ever sent: the end is that the last sender is dropped.
                let _ = done.await;
                Ok(Ok(()))
            }
            Self::Subscribe(mut all_taken) => {
                // Without a refusal this is over when the last connection has dropped its part.
                let refusal = all_taken.recv().await;
                while all_taken.recv().await.is_some() {}
                Ok(refusal.map_or(Ok(()), |Refused| Err(SubscribeError::Expired)))
            }
            Self::Handler(answer) => answer.wait().await.map(Ok),
        }
    }

    /// Waits until the operation is applied, for another node.
    pub(super) async fn response(self) -> Response {
        match self.wait().await {
            Ok(Ok(())) => Response::Applied,
            Ok(Err(SubscribeError::Expired)) => Response::Expired,
            Ok(Err(SubscribeError::Stopped)) | Err(Declined::Failed) => Response::Declined(Declined::Failed),
            Err(why) => Response::Declined(why),
        }
    }
}

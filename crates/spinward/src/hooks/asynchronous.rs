//! Hooks as asynchronous functions.

use super::{
    ConnectEvent, ConnectReply, Decision, HistoryEvent, Hooks, MessageEvent, PresenceEvent, PublishEvent,
    PublishReply, RefreshEvent, RefreshReply, Refusal, RpcEvent, SubRefreshEvent, SubRefreshReply,
    SubscribeEvent, SubscribeFailure, SubscribeOptions,
};
use crate::answer::Answer;
use crate::client::Client;
use crate::engine::broker::HistoryOptions;
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use std::future::{Future, ready};
use std::sync::Arc;

/// [`Hooks`] as asynchronous functions, for applications that decide with the help of a database or another service.
///
/// `Node::builder(hooks.into_hooks())` takes them. Each question is answered by a future that runs on the runtime of
/// the application, so even an answer from memory costs a task and a message between threads; [`Hooks`] answers from
/// memory without that cost, and takes futures where it needs them. By default everything is refused, as by
/// [`Hooks`], and the functions that only notify are the same.
///
/// ```
/// use spinward::prelude::*;
///
/// struct Rooms;
///
/// impl AsyncHooks for Rooms {
///     async fn subscribe(&self, client: &Client, event: SubscribeEvent) -> Result<SubscribeOptions, Refusal> {
///         if !may_enter(client.user(), &event.channel).await {
///             return Err(ErrorCode::PERMISSION_DENIED.into());
///         }
///         Ok(SubscribeOptions::default())
///     }
/// }
/// # async fn may_enter(_: &str, _: &str) -> bool { true }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let node = Node::builder(Rooms.into_hooks()).build()?;
/// # Ok(())
/// # }
/// ```
#[allow(unused_variables, reason = "default bodies name their parameters for the documentation")]
pub trait AsyncHooks: Send + Sync + 'static {
    /// Decides whether a client may log in: see [`Hooks::connect`].
    fn connect(&self, event: ConnectEvent) -> impl Future<Output = Result<ConnectReply, Refusal>> + Send {
        ready(match event.handshake.credentials.clone() {
            Some(credentials) => Ok(ConnectReply { credentials, ..ConnectReply::default() }),
            None => Err(DisconnectCode::BAD_REQUEST.into()),
        })
    }

    /// Decides whether a login may go on: see [`Hooks::refresh`].
    fn refresh(
        &self,
        client: &Client,
        event: RefreshEvent,
    ) -> impl Future<Output = Result<RefreshReply, Refusal>> + Send {
        ready(Err(ErrorCode::NOT_AVAILABLE.into()))
    }

    /// Decides whether a client may subscribe: see [`Hooks::subscribe`].
    fn subscribe(
        &self,
        client: &Client,
        event: SubscribeEvent,
    ) -> impl Future<Output = Result<SubscribeOptions, Refusal>> + Send {
        ready(Err(ErrorCode::PERMISSION_DENIED.into()))
    }

    /// Decides whether a subscription may go on: see [`Hooks::sub_refresh`].
    fn sub_refresh(
        &self,
        client: &Client,
        event: SubRefreshEvent,
    ) -> impl Future<Output = Result<SubRefreshReply, Refusal>> + Send {
        ready(Err(ErrorCode::NOT_AVAILABLE.into()))
    }

    /// Decides whether a client may publish: see [`Hooks::publish`].
    fn publish(
        &self,
        client: &Client,
        event: PublishEvent,
    ) -> impl Future<Output = Result<PublishReply, Refusal>> + Send {
        ready(Err(ErrorCode::PERMISSION_DENIED.into()))
    }

    /// Decides whether a client may see the members of a channel: see [`Hooks::presence`].
    fn presence(
        &self,
        client: &Client,
        event: PresenceEvent,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        ready(Err(ErrorCode::NOT_AVAILABLE.into()))
    }

    /// Decides whether a client may read history: see [`Hooks::history`].
    fn history(
        &self,
        client: &Client,
        event: HistoryEvent,
    ) -> impl Future<Output = Result<HistoryOptions, Refusal>> + Send {
        ready(Err(ErrorCode::NOT_AVAILABLE.into()))
    }

    /// Answers a method call: see [`Hooks::rpc`].
    fn rpc(&self, client: &Client, event: RpcEvent) -> impl Future<Output = Result<Bytes, Refusal>> + Send {
        ready(Err(ErrorCode::METHOD_NOT_FOUND.into()))
    }

    /// Takes a message that wants no answer: see [`Hooks::message`].
    fn message(
        &self,
        client: &Client,
        event: MessageEvent,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        ready(Err(DisconnectCode::NOT_AVAILABLE.into()))
    }

    /// Notifies of a login: see [`Hooks::connected`].
    fn connected(&self, client: &Client) {}

    /// Notifies of a refresh: see [`Hooks::refreshed`].
    fn refreshed(&self, client: &Client) {}

    /// Notifies of a subscription: see [`Hooks::subscribed`].
    fn subscribed(&self, client: &Client, channel: &str) {}

    /// Notifies of a grant that failed: see [`Hooks::subscribe_failed`].
    fn subscribe_failed(&self, client: &Client, channel: &str, failure: &SubscribeFailure) {}

    /// Notifies of a subscription that has begun: see [`Hooks::subscription_began`].
    fn subscription_began(&self, client: &Client, channel: &str) {}

    /// Notifies of a grant that took the place of another: see [`Hooks::subscription_replaced`].
    fn subscription_replaced(&self, client: &Client, channel: &str) {}

    /// Notifies of the refresh of a subscription: see [`Hooks::sub_refreshed`].
    fn sub_refreshed(&self, client: &Client, channel: &str) {}

    /// Notifies of the end of a subscription: see [`Hooks::unsubscribed`].
    fn unsubscribed(&self, client: &Client, channel: &str, code: &UnsubscribeCode) {}

    /// Notifies of the end of a connection: see [`Hooks::disconnected`].
    fn disconnected(&self, client: &Client, code: &DisconnectCode) {}

    /// Returns the name of the broker that serves a channel: see [`Hooks::engine`].
    fn engine(&self, channel: &str) -> Option<&str> {
        None
    }

    /// Notifies of the first subscriber of a channel: see [`Hooks::channel_occupied`].
    fn channel_occupied(&self, channel: &str) {}

    /// Notifies of the end of the last subscription of a channel: see [`Hooks::channel_vacated`].
    fn channel_vacated(&self, channel: &str) {}

    /// Returns these hooks in the form that [`Node::builder`](crate::Node::builder) takes.
    fn into_hooks(self) -> Async<Self>
    where
        Self: Sized,
    {
        Async(Arc::new(self))
    }
}

/// Asynchronous hooks in the form of [`Hooks`]: see [`AsyncHooks::into_hooks`].
pub struct Async<H>(Arc<H>);

/// Asks a hook in a task that owns what it needs.
macro_rules! ask {
    ($own:ident.$hook:ident($client:ident, $event:ident)) => {{
        let (hooks, client) = (Arc::clone(&$own.0), $client.clone());
        Answer::later(async move { hooks.$hook(&client, $event).await })
    }};
}

impl<H: AsyncHooks> Hooks for Async<H> {
    fn connect(&self, event: ConnectEvent) -> Decision<ConnectReply> {
        let hooks = Arc::clone(&self.0);
        Answer::later(async move { hooks.connect(event).await })
    }

    fn refresh(&self, client: &Client, event: RefreshEvent) -> Decision<RefreshReply> {
        ask!(self.refresh(client, event))
    }

    fn subscribe(&self, client: &Client, event: SubscribeEvent) -> Decision<SubscribeOptions> {
        ask!(self.subscribe(client, event))
    }

    fn sub_refresh(&self, client: &Client, event: SubRefreshEvent) -> Decision<SubRefreshReply> {
        ask!(self.sub_refresh(client, event))
    }

    fn publish(&self, client: &Client, event: PublishEvent) -> Decision<PublishReply> {
        ask!(self.publish(client, event))
    }

    fn presence(&self, client: &Client, event: PresenceEvent) -> Decision<()> {
        ask!(self.presence(client, event))
    }

    fn history(&self, client: &Client, event: HistoryEvent) -> Decision<HistoryOptions> {
        ask!(self.history(client, event))
    }

    fn rpc(&self, client: &Client, event: RpcEvent) -> Decision<Bytes> {
        ask!(self.rpc(client, event))
    }

    fn message(&self, client: &Client, event: MessageEvent) -> Decision<()> {
        ask!(self.message(client, event))
    }

    fn connected(&self, client: &Client) {
        self.0.connected(client);
    }

    fn refreshed(&self, client: &Client) {
        self.0.refreshed(client);
    }

    fn subscribed(&self, client: &Client, channel: &str) {
        self.0.subscribed(client, channel);
    }

    fn subscribe_failed(&self, client: &Client, channel: &str, failure: &SubscribeFailure) {
        self.0.subscribe_failed(client, channel, failure);
    }

    fn subscription_began(&self, client: &Client, channel: &str) {
        self.0.subscription_began(client, channel);
    }

    fn subscription_replaced(&self, client: &Client, channel: &str) {
        self.0.subscription_replaced(client, channel);
    }

    fn sub_refreshed(&self, client: &Client, channel: &str) {
        self.0.sub_refreshed(client, channel);
    }

    fn unsubscribed(&self, client: &Client, channel: &str, code: &UnsubscribeCode) {
        self.0.unsubscribed(client, channel, code);
    }

    fn disconnected(&self, client: &Client, code: &DisconnectCode) {
        self.0.disconnected(client, code);
    }

    fn engine(&self, channel: &str) -> Option<&str> {
        self.0.engine(channel)
    }

    fn channel_occupied(&self, channel: &str) {
        self.0.channel_occupied(channel);
    }

    fn channel_vacated(&self, channel: &str) {
        self.0.channel_vacated(channel);
    }
}

//! The decisions that an application makes: who may connect, subscribe and publish.

mod asynchronous;

pub use crate::event::{
    ConnectEvent, ConnectReply, Decision, FailureCause, Handshake, HistoryEvent, MessageEvent, PresenceEvent,
    PublishEvent, PublishReply, RefreshEvent, RefreshReply, Refusal, RpcEvent, SubRefreshEvent,
    SubRefreshReply, SubscribeEvent, SubscribeFailure, SubscribeOptions,
};
pub use asynchronous::{Async, AsyncHooks};

use crate::answer::Answer;
use crate::client::Client;
use crate::engine::broker::HistoryOptions;
use bytes::Bytes;
use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};

/// The decisions of an application. By default everything is refused.
///
/// Each is asked on the shard of the connection and must not block: answer from memory ([`Answer::allow`],
/// [`Answer::refuse`]), or with a future ([`Answer::later`]). An application whose hooks are all futures implements
/// [`AsyncHooks`] in place of this trait. A hook that panics costs the connection it was asked for (3004) and
/// nothing else.
///
/// Each subscription that an application grants, by [`Hooks::subscribe`], [`ConnectReply::subscriptions`] or
/// [`Client::subscribe`], ends in exactly one call: [`Hooks::subscribe_failed`] if it does not come about,
/// [`Hooks::subscription_replaced`] if the server makes it again, [`Hooks::unsubscribed`] otherwise. What an
/// application keeps for a grant can be dropped in these three. A login that fails is not a client yet: nothing is
/// reported of the subscriptions granted with it.
#[allow(unused_variables, reason = "default bodies name their parameters for the documentation")]
pub trait Hooks: Send + Sync + 'static {
    /// Decides whether a client may log in. By default only with [`Credentials`](crate::identity::Credentials) in the
    /// request's extensions.
    fn connect(&self, request: ConnectEvent) -> Decision<ConnectReply> {
        match request.handshake.credentials.clone() {
            Some(credentials) => Answer::allow(ConnectReply { credentials, ..ConnectReply::default() }),
            None => DisconnectCode::BAD_REQUEST.into(),
        }
    }

    /// Decides whether a login may go on.
    fn refresh(&self, client: &Client, request: RefreshEvent) -> Decision<RefreshReply> {
        ErrorCode::NOT_AVAILABLE.into()
    }

    /// Decides whether a client may subscribe, and with which options.
    fn subscribe(&self, client: &Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        ErrorCode::PERMISSION_DENIED.into()
    }

    /// Decides about the subscribe commands of one message, as [`Hooks::subscribe`] does about each. Called instead of that
    /// for two or more, where [`Config::subscribe_batch`](crate::Config::subscribe_batch) allows it: for applications
    /// that can ask about them all at once. The decisions have the order of the requests.
    fn subscribe_many(
        &self,
        client: &Client,
        requests: Vec<SubscribeEvent>,
    ) -> Vec<Decision<SubscribeOptions>> {
        requests.into_iter().map(|request| self.subscribe(client, request)).collect()
    }

    /// Decides whether a subscription may go on. The token is empty when the node asks by itself.
    fn sub_refresh(&self, client: &Client, request: SubRefreshEvent) -> Decision<SubRefreshReply> {
        ErrorCode::NOT_AVAILABLE.into()
    }

    /// Decides whether a client may publish.
    fn publish(&self, client: &Client, request: PublishEvent) -> Decision<PublishReply> {
        ErrorCode::PERMISSION_DENIED.into()
    }

    /// Decides whether a client may see the members of a channel.
    fn presence(&self, client: &Client, request: PresenceEvent) -> Decision<()> {
        ErrorCode::NOT_AVAILABLE.into()
    }

    /// Decides whether a client may read history. The answer contains the history limits of the channel.
    fn history(&self, client: &Client, request: HistoryEvent) -> Decision<HistoryOptions> {
        ErrorCode::NOT_AVAILABLE.into()
    }

    /// Answers a method call.
    fn rpc(&self, client: &Client, call: RpcEvent) -> Decision<Bytes> {
        ErrorCode::METHOD_NOT_FOUND.into()
    }

    /// Takes a message that wants no answer.
    fn message(&self, client: &Client, message: MessageEvent) -> Decision<()> {
        DisconnectCode::NOT_AVAILABLE.into()
    }

    /// The client is in: its connect reply is on the way.
    fn connected(&self, client: &Client) {}

    /// A granted refresh has taken effect: the client has its new state, and the reply is on the way. If the decision
    /// took time, this is the place to notice what has changed since.
    fn refreshed(&self, client: &Client) {}

    /// A subscription that the client asked for and was granted is there or on its way: an
    /// [`unsubscribe`](Client::unsubscribe) from now on finds it. Publishing and reading history as a subscriber
    /// come after this.
    fn subscribed(&self, client: &Client, channel: &str) {}

    /// A granted subscription did not come about. [`Hooks::subscribed`] may have been called for it: a broker may
    /// refuse what the application and the library have accepted. [`Hooks::disconnected`] may have been called as
    /// well: an answer of [`Hooks::subscribe`] may come after the end of the connection.
    fn subscribe_failed(&self, client: &Client, channel: &str, failure: &SubscribeFailure) {}

    /// A subscription has begun, whether the client asked for it or the server makes it. The subscriptions of a login begin
    /// before [`Hooks::connected`], and end with [`Hooks::unsubscribed`] like any other if the login fails after all.
    fn subscription_began(&self, client: &Client, channel: &str) {}

    /// The server subscribed the client again to a channel that it was subscribed to. Nothing of the former grant
    /// remains: the options, the expiry and what the application granted with it are those of the new one.
    fn subscription_replaced(&self, client: &Client, channel: &str) {}

    /// A granted refresh of a subscription has taken effect. A granted refresh that is not followed by this call had no
    /// effect: the subscription goes on as it was, or has ended.
    fn sub_refreshed(&self, client: &Client, channel: &str) {}

    /// A subscription ended, for whatever reason.
    fn unsubscribed(&self, client: &Client, channel: &str, code: &UnsubscribeCode) {}

    /// The connection ended. Asked only of clients that were in.
    fn disconnected(&self, client: &Client, code: &DisconnectCode) {}

    /// Returns the name of the broker that serves a channel: one given to
    /// [`NodeBuilder::named_broker`](crate::NodeBuilder::named_broker), or `memory`. `None` is the node's default.
    ///
    /// Called on any thread for a channel that is not in use on this node; never if no broker has a name. A channel in
    /// use keeps its broker whatever this returns, and every node has to return the same.
    fn engine(&self, channel: &str) -> Option<&str> {
        None
    }

    /// The first subscriber of this node came to a channel.
    ///
    /// The call is made on the shard of that subscriber. Calls for one channel by two shards may come in another order
    /// than the changes: [`Node::is_occupied`](crate::Node::is_occupied) tells the present state.
    fn channel_occupied(&self, channel: &str) {}

    /// The last subscriber of this node left a channel. For the order of calls see [`Hooks::channel_occupied`].
    fn channel_vacated(&self, channel: &str) {}
}

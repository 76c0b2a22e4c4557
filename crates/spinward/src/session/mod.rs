//! The state of one connection. Events go in; replies, calls and the end of the connection come out.
//!
//! Nothing here does I/O, reads a clock or draws a random number: all that comes with the [`Cx`]. The same
//! code runs under a socket and under the simulation.

pub(crate) mod ahead;
mod calls;
mod connect;
mod control;
mod dispatch;
pub(crate) mod expiry;
pub(crate) mod extras;
mod may_push;
mod subscribe;
mod timers;
mod v1;

use crate::backend::Channels;
use crate::channel::local::table::LocalTable;
use crate::clock::Now;
use crate::config::Config;
use crate::event::{FailureCause, Handshake, Refusal, SubscribeFailure};
use crate::fault::{self, Fault};
use crate::handle::{CallToken, Handle};
use crate::hub::Hub;
use crate::id::ClientId;
use crate::identity::{Identity, Transport};
use crate::lazy_vec::LazyVec;
use crate::mailbox::accepted::Accepted;
use crate::mailbox::call::{Call, Called, SessionCall};
use crate::metrics::ShardMetrics;
use expiry::Expiry;
use extras::Extras;
pub(crate) use may_push::MayPush;
use spinward_wire::Dialect;
use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use spinward_wire::message::{self, Push, Reply};
use std::collections::VecDeque;
use std::sync::Arc;
use subscribe::Entering;
use subscribe::list::Subscriptions;
use timers::NEVER;

/// Resources that a session may use while it handles an event.
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) handle: Handle,
    pub(crate) hub: &'a Hub,
    pub(crate) channels: &'a Channels,
    pub(crate) config: &'a Config,
    /// The channels of this shard.
    pub(crate) local: &'a mut LocalTable,
    pub(crate) calls: &'a mut VecDeque<Called>,
    /// Replies and pushes of this event, in order, still without a transport frame.
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) metrics: &'a ShardMetrics,
    /// Parts that few connections of this shard have.
    pub(crate) extras: &'a mut Extras,
    /// Work that the bytes of commands and replies say nothing of, in bytes that it took to do.
    pub(crate) cost: usize,
    /// The session ended with this.
    pub(crate) closed: Option<DisconnectCode>,
    /// Protocol violation of the client, if that ended the session.
    pub(crate) violation: Option<&'static str>,
    /// A ping of the framing itself is due.
    pub(crate) ping: bool,
    /// Replies with an error.
    pub(crate) errors: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// No connect command yet.
    New,
    /// The application is asked whether it may log in, or its subscriptions are being set up.
    Connecting,
    Connected,
    /// The login ended in an error. Further input of the client is ignored; it may try again on another connection, and
    /// this one ends when a login is due.
    Refused,
    Closed,
}

/// The state of one connection.
pub(crate) struct Session {
    id: ClientId,
    dialect: Dialect,
    transport: Transport,
    phase: Phase,
    /// The client is not sent its TTL; the application is asked at expiry instead.
    server_side_refresh: bool,
    /// Pings are those of the framing itself, and the connect reply does not speak of them.
    frame_pings: bool,
    /// A refresh that the node asked for by itself is under way.
    refreshing: bool,
    last_token: CallToken,
    identity: Option<Arc<Identity>>,
    /// The HTTP side; dropped once the client is logged in.
    handshake: Option<Arc<Handshake>>,
    /// The command under way, while something outside is asked about it.
    busy: Option<Box<Busy>>,
    subscriptions: Subscriptions,
    entering: LazyVec<Entering>,
    /// Time by which the login must be done; [`NEVER`] once it is.
    login_by: u64,
    /// Time of the next ping.
    ping_at: u64,
    /// Time by which the outstanding ping must be answered; [`NEVER`] if none is outstanding.
    pong_by: u64,
    /// Pings that are not answered yet.
    pongs_due: u8,
    forms: v1::Forms,
    expiry: Expiry,
}

/// A command that waits for an outcome.
struct Busy {
    token: CallToken,
    id: u32,
    what: Waiting,
}

enum Waiting {
    /// The outcome of a call, which has what its handler needs.
    Outcome,
    /// Subscriptions of the connect reply are being set up.
    ConnectSubscriptions { reply: Box<message::ConnectResult>, left: usize },
    /// A subscription is being entered.
    Enter,
    /// A join or leave of the client is to be queued.
    Announced,
    /// As many commands are under way as may be.
    Place,
}

impl Session {
    pub(crate) fn new(accepted: &Accepted, config: &Config, now: Now) -> Self {
        let stale = config.stale_close_delay.as_millis() as u64;
        Self {
            id: accepted.id,
            dialect: accepted.form.dialect(),
            transport: accepted.transport,
            phase: Phase::New,
            server_side_refresh: false,
            frame_pings: accepted.frame_pings,
            refreshing: false,
            last_token: CallToken::NOBODY,
            identity: None,
            handshake: Some(Arc::clone(&accepted.handshake)),
            busy: None,
            subscriptions: Subscriptions::default(),
            entering: LazyVec::default(),
            login_by: if stale == 0 { NEVER } else { now.mono + stale },
            ping_at: NEVER,
            pong_by: NEVER,
            pongs_due: 0,
            forms: v1::Forms::default(),
            expiry: Expiry::NEVER,
        }
    }

    pub(crate) const fn id(&self) -> ClientId {
        self.id
    }

    /// A command is under way: the next one has to wait.
    pub(crate) const fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Its login ended in an error: nothing that it sends counts.
    pub(crate) fn is_refused(&self) -> bool {
        self.phase == Phase::Refused
    }

    /// Nothing that the client says counts, well-formed or not: its login ended in an error, or it is a unidirectional
    /// client that has sent its connect request. (Centrifugo v6.9 ignores the same.)
    pub(crate) fn ignores_input(&self) -> bool {
        self.is_refused() || self.dialect.is_unidirectional() && self.phase != Phase::New
    }

    fn token(&mut self) -> CallToken {
        self.last_token = self.last_token.next();
        self.last_token
    }

    /// Asks something outside about a command; the next command waits for the outcome.
    fn ask(&mut self, cx: &mut Cx<'_>, id: u32, call: Call) {
        let token = self.token();
        self.wait_for(cx, token, id, &call);
        self.call(cx, token, call);
    }

    /// The outcome of a call is the answer to a command; the next command waits for it, or goes on beside it.
    fn wait_for(&mut self, cx: &mut Cx<'_>, token: CallToken, id: u32, call: &Call) {
        if cx.config.concurrency > 1 && self.phase == Phase::Connected {
            return self.goes_along(cx, token, id, call);
        }
        self.busy = Some(Box::new(Busy { token, id, what: Waiting::Outcome }));
    }

    /// Asks something outside without waiting.
    fn tell(&self, cx: &mut Cx<'_>, call: Call) {
        self.call(cx, CallToken::NOBODY, call);
    }

    fn call(&self, cx: &mut Cx<'_>, token: CallToken, call: Call) {
        let identity = self.identity.clone();
        cx.calls.push_back(Called::Session(SessionCall { handle: cx.handle, token, identity, call }));
    }

    /// A subscription that was granted does not come about.
    fn grant_failed(&self, cx: &mut Cx<'_>, channel: Arc<str>, server_side: bool, cause: FailureCause) {
        if !server_side && fault::holds(Fault::FailureUntold) {
            return;
        }
        if !server_side && fault::holds(Fault::FailureSubscribes) {
            return self.tell(cx, Call::Subscribed(channel));
        }
        self.tell(cx, Call::SubscribeFailed { channel, failure: SubscribeFailure { server_side, cause } });
    }

    fn reply(&self, cx: &mut Cx<'_>, reply: &Reply) {
        if self.dialect.is_v1() {
            return self.reply_v1(cx, reply);
        }
        let first = cx.out.is_empty();
        spinward_wire::append_reply(self.dialect, reply, cx.out, first);
    }

    fn push(&self, cx: &mut Cx<'_>, push: &Push) {
        let first = cx.out.is_empty();
        spinward_wire::append_push(self.dialect, push, cx.out, first);
    }

    /// Sends a ping: one of the framing itself where the client asked for those, else a reply with nothing in it.
    fn ping(&self, cx: &mut Cx<'_>) {
        // Unidirectional clients get both, as from Centrifugo v6.9. The heartbeats of SockJS are not answered.
        cx.ping = self.frame_pings || self.dialect.is_unidirectional() || self.transport == Transport::SockJs;
        if !self.frame_pings {
            self.reply(cx, &Reply::default());
        }
    }

    /// The peer has answered a ping of the framing itself. Unasked pongs are allowed (RFC 6455 §5.5.3).
    pub(crate) const fn on_pong_frame(&mut self) {
        if self.frame_pings || matches!(self.transport, Transport::UniWebSocket) {
            self.pongs_due = 0;
            self.pong_by = NEVER;
        }
    }

    /// The identity, once logged in.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_deref()
    }

    /// The user, once logged in.
    pub(crate) fn user(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| &*identity.user)
    }

    fn error(&self, cx: &mut Cx<'_>, id: u32, code: &ErrorCode) {
        cx.metrics.reply_error(code.code);
        cx.errors += 1;
        let error = message::Error {
            code: code.code,
            message: code.message.as_ref().to_owned(),
            temporary: code.temporary,
        };
        self.reply(cx, &Reply { id, error: Some(error), ..Reply::default() });
    }

    /// Tells a client what was decided against it.
    fn refuse(&mut self, cx: &mut Cx<'_>, id: u32, refusal: Refusal) {
        match refusal {
            Refusal::Error(code) => self.error(cx, id, &code),
            Refusal::Disconnect(code) => self.close(cx, code),
        }
    }

    /// Ends the connection of a client that does not keep to the protocol.
    fn violation(&mut self, cx: &mut Cx<'_>, cause: &'static str) {
        cx.violation = Some(cause);
        self.close(cx, DisconnectCode::BAD_REQUEST);
    }

    /// Ends the connection. Everything it holds is given back; nothing more is sent to it.
    pub(crate) fn close(&mut self, cx: &mut Cx<'_>, code: DisconnectCode) {
        if self.phase == Phase::Closed {
            return;
        }
        let was_in = self.identity.is_some();
        self.phase = Phase::Closed;
        self.busy = None;
        self.handshake = None;
        self.drop_ahead(cx);
        self.leave_all(cx);
        if let Some(identity) = &self.identity {
            cx.hub.users.unregister(&identity.user, cx.handle);
            cx.metrics.clients_down(self.transport, self.dialect.version());
        }
        if was_in {
            self.tell(cx, Call::Disconnected(code.clone()));
        }
        cx.metrics.disconnect(code.code);
        cx.closed = Some(code);
    }

    fn leave_all(&mut self, cx: &mut Cx<'_>) {
        while let Some(subscription) = self.subscriptions.pop() {
            self.leave(cx, subscription, &UnsubscribeCode::DISCONNECTED);
        }
        while let Some(join) = self.entering.pop() {
            self.abandon(cx, join, FailureCause::Disconnected);
        }
    }
}

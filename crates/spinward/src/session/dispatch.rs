//! Dispatch of commands, and the phases in which they are accepted.

use super::subscribe::list::Details;
use super::timers::NEVER;
use super::{Cx, Phase, Session};
use crate::event::{HistoryEvent, MessageEvent, PresenceEvent, PublishEvent, RpcEvent};
use crate::handle::CallToken;
use crate::mailbox::call::{Call, Outcome};
use spinward_wire::code::{DisconnectCode, ErrorCode};
use spinward_wire::message::{HistoryRequest, PublishRequest, Reply, SubRefreshRequest};
use spinward_wire::{Incoming, Request, SubscriptionType};

/// Violation: a command that names no channel.
pub(super) const NO_CHANNEL: &str = "a command without a channel";

/// The likely cause of a first command without a known name.
const OLD_SDK: &str = "no connect command: the client speaks the old protocol v1, as SDKs of before 2022 do \
                       (centrifuge-js 2, for example): use a current SDK, or allow old ones by client.legacy";

impl Session {
    /// Takes one command of the client. Must not be called while one is under way.
    pub(crate) fn on_command(&mut self, cx: &mut Cx<'_>, incoming: Incoming) {
        let Incoming { id, request, positions } = incoming;
        if self.ignores_input() {
            return;
        }
        let Some(request) = request else {
            return match self.phase {
                Phase::Connected if self.dialect.is_v1() && id != 0 => {
                    self.error(cx, id, &ErrorCode::METHOD_NOT_FOUND);
                }
                _ if id == 0 => self.on_pong(cx),
                // A first command of the old protocol has its method as a number or a name, which says nothing here.
                Phase::New => self.violation(cx, OLD_SDK),
                _ => self.violation(cx, "a command that does not exist"),
            };
        };
        match (&request, self.phase) {
            (_, Phase::Closed) => return,
            (Request::Connect(_), Phase::New) | (_, Phase::Connected) => {}
            (_, Phase::New | Phase::Connecting | Phase::Refused) => {
                return self.violation(cx, self.too_early());
            }
        }
        if id == 0 && !matches!(request, Request::Send(_)) {
            return self.violation(cx, "a command without an id");
        }
        cx.metrics.command(&request);
        if self.dialect.is_v1() {
            self.note_positions(&request, positions);
        }
        match request {
            Request::Connect(request) if self.phase == Phase::New => self.connect(cx, id, request),
            Request::Connect(_) => self.violation(cx, "a second connect"),
            Request::Ping if self.dialect.is_v1() => self.reply(cx, &Reply { id, ..Reply::default() }),
            Request::Ping => self.violation(cx, "a ping command, which this protocol has no more"),
            Request::Subscribe(request) => self.subscribe(cx, id, request),
            Request::Unsubscribe(request) => self.unsubscribe(cx, id, &request.channel),
            Request::Publish(request) => self.publish(cx, id, request),
            Request::Presence(request) => self.presence(cx, id, request.channel, false),
            Request::PresenceStats(request) => self.presence(cx, id, request.channel, true),
            Request::History(request) => self.history(cx, id, request),
            Request::Rpc(request) => {
                let call = RpcEvent { method: request.method, data: request.data };
                self.ask(cx, id, Call::Rpc(call));
            }
            Request::Send(request) => {
                let event = MessageEvent { data: request.data };
                self.ask(cx, id, Call::Message(event));
            }
            Request::Refresh(request) => self.refresh(cx, id, request.token),
            Request::SubRefresh(request) => self.sub_refresh(cx, id, *request),
        }
    }

    /// Cause of the end of a connection that sends a command before it has logged in.
    const fn too_early(&self) -> &'static str {
        if self.dialect.is_v1() {
            "a command before connect, in protocol v1 of old SDKs"
        } else {
            "a command before connect"
        }
    }

    /// Refuses a command of a client that sends too many.
    pub(crate) fn on_too_many(&mut self, cx: &mut Cx<'_>, id: u32) {
        match self.phase {
            // Other errors of the command go first.
            Phase::New | Phase::Connecting => self.violation(cx, self.too_early()),
            Phase::Connected if id == 0 => self.close(cx, DisconnectCode::TOO_MANY_REQUESTS),
            Phase::Connected => self.error(cx, id, &ErrorCode::TOO_MANY_REQUESTS),
            Phase::Refused | Phase::Closed => {}
        }
    }

    /// Takes the answer to a call. One that nobody waits for any more is dropped, and undone where it holds
    /// something.
    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, token: CallToken, outcome: Outcome) {
        match outcome {
            Outcome::PresenceAdded { channel, client, user, ok } => {
                self.on_presence_added(cx, token, channel, (client, user), ok);
            }
            Outcome::ServerSubRefresh { channel, outcome } => {
                self.on_server_sub_refresh(cx, token, &channel, outcome);
            }
            outcome => match self.busy.take_if(|busy| busy.token == token) {
                Some(busy) => self.on_answer(cx, busy.id, token, outcome),
                None => self.on_further_outcome(cx, token, outcome),
            },
        }
    }

    /// Takes an outcome that the command under way does not wait for.
    fn on_further_outcome(&mut self, cx: &mut Cx<'_>, token: CallToken, outcome: Outcome) {
        if let Some(id) = self.came_along(cx, token) {
            self.on_answer(cx, id, token, outcome);
        } else if let Some(outcome) = Self::keep_ahead(cx, token, outcome) {
            self.on_unasked_outcome(cx, outcome);
        }
    }

    /// Takes the outcome that a command waits for.
    pub(super) fn on_answer(&mut self, cx: &mut Cx<'_>, id: u32, token: CallToken, outcome: Outcome) {
        match outcome {
            Outcome::Connect { request, outcome } => self.on_connect(cx, id, *request, outcome),
            Outcome::Subscribe { channel, request, outcome, .. } => {
                self.on_subscribe(cx, id, channel, *request, outcome);
            }
            Outcome::Refresh(outcome) => self.on_refresh(cx, id, outcome),
            Outcome::SubRefresh { channel, outcome } => {
                self.on_sub_refresh(cx, id, token, &channel, outcome);
            }
            Outcome::Published(outcome) => self.on_published(cx, id, outcome),
            Outcome::Message(outcome) => {
                if let Err(refusal) = outcome
                    && !self.overlooks(&refusal)
                {
                    self.refuse(cx, id, refusal);
                }
            }
            Outcome::Members(outcome) => self.on_members(cx, id, outcome),
            Outcome::Stats(outcome) => self.on_stats(cx, id, outcome),
            Outcome::History(outcome) => self.on_history(cx, id, outcome),
            Outcome::Rpc(outcome) => self.on_rpc(cx, id, outcome),
            Outcome::Panicked => self.close(cx, DisconnectCode::SERVER_ERROR),
            // A login is not tried again on this connection.
            Outcome::TimedOut if self.phase == Phase::Connecting => {
                self.close(cx, DisconnectCode::SERVER_ERROR);
            }
            Outcome::TimedOut => self.error(cx, id, &ErrorCode::INTERNAL),
            // There is no reply to the first; no command waits for the others.
            Outcome::Announced | Outcome::PresenceAdded { .. } | Outcome::ServerSubRefresh { .. } => {}
        }
    }

    fn on_pong(&mut self, cx: &mut Cx<'_>) {
        // A pong that nobody asked for is a client that does not follow the protocol.
        if self.pongs_due == 0 || self.phase != Phase::Connected {
            return self.violation(cx, "an empty command, which is a pong, to no ping");
        }
        self.pongs_due -= 1;
        self.pong_by = NEVER;
    }

    fn publish(&mut self, cx: &mut Cx<'_>, id: u32, request: PublishRequest) {
        if request.channel.is_empty() {
            return self.violation(cx, NO_CHANNEL);
        }
        if self.dialect.is_v1() && request.data.is_empty() {
            return self.violation(cx, "a publish command without data");
        }
        let own = self.subscription(cx, &request.channel);
        let chan_info = own.and_then(|own| own.info().cloned());
        let subscribed = own.is_some();
        let kind = SubscriptionType::from_number(request.r#type);
        let request = PublishEvent { channel: request.channel, data: request.data, subscribed, kind };
        self.ask(cx, id, Call::Publish { request, chan_info });
    }

    fn presence(&mut self, cx: &mut Cx<'_>, id: u32, channel: String, stats: bool) {
        if channel.is_empty() {
            return self.violation(cx, NO_CHANNEL);
        }
        let subscribed = self.subscription(cx, &channel).is_some();
        self.ask(cx, id, Call::Presence(PresenceEvent { channel, subscribed, stats }));
    }

    fn history(&mut self, cx: &mut Cx<'_>, id: u32, request: HistoryRequest) {
        if request.channel.is_empty() {
            return self.violation(cx, NO_CHANNEL);
        }
        let subscribed = self.subscription(cx, &request.channel).is_some();
        let HistoryRequest { channel, limit, since, reverse } = request;
        let asked = HistoryEvent { channel, limit, since, reverse, subscribed };
        self.ask(cx, id, Call::History(asked));
    }

    fn refresh(&mut self, cx: &mut Cx<'_>, id: u32, token: String) {
        if token.is_empty() {
            return self.violation(cx, "a refresh command without a token");
        }
        let request = self.refreshing(cx, token);
        self.ask(cx, id, Call::Refresh(request));
    }

    fn sub_refresh(&mut self, cx: &mut Cx<'_>, id: u32, request: SubRefreshRequest) {
        if request.channel.is_empty() {
            return self.violation(cx, NO_CHANNEL);
        }
        let Some(own) = self.subscription(cx, &request.channel) else {
            return self.error(cx, id, &ErrorCode::PERMISSION_DENIED);
        };
        if own.is(Details::SERVER_SIDE) || own.is(Details::SERVER_REFRESH) {
            return self.violation(cx, "a sub_refresh command for a subscription that the server prolongs");
        }
        if request.token.is_empty() {
            return self.error(cx, id, &ErrorCode::BAD_REQUEST);
        }
        let Some(local) = cx.local.get(own.channel) else {
            return self.error(cx, id, &ErrorCode::INTERNAL);
        };
        let (number, channel) = (own.channel, local.record.clone());
        let token = self.asking(number);
        let call = Call::SubRefresh { channel, token: Some(request.token) };
        self.wait_for(cx, token, id, &call);
        self.call(cx, token, call);
    }

    fn unsubscribe(&mut self, cx: &mut Cx<'_>, id: u32, channel: &str) {
        if channel.is_empty() {
            return self.violation(cx, NO_CHANNEL);
        }
        self.tell_own_leave(cx, channel);
        self.leave_channel(cx, channel, &spinward_wire::code::UnsubscribeCode::CLIENT);
        self.reply(cx, &Reply { id, unsubscribe: Some(Default::default()), ..Reply::default() });
    }
}

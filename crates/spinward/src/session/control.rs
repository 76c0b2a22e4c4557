//! Actions of the server on a connection that the client did not ask for.

use super::expiry::Expiry;
use super::subscribe::{Purpose, Requested};
use super::{Cx, Phase, Session};
use crate::channel::local::special::SubscriberFlags;
use crate::enforce::Verdict;
use crate::event::{FailureCause, RefreshReply, SubscribeOptions};
use crate::lazy_vec::LazyVec;
use crate::mailbox::inbox::{Control, Delivered, Delivering, Refused};
use crate::publication::Position;
use crate::to_wire::{payload, to_wire};
use spinward_wire::code::{DisconnectCode, ErrorCode};
use spinward_wire::message::{Message, Push, Refresh};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

impl Session {
    pub(crate) fn on_control(&mut self, cx: &mut Cx<'_>, control: Control) {
        if self.identity.is_none() || self.phase == Phase::Closed {
            return;
        }
        match control {
            Control::Disconnect(code) => self.close(cx, code),
            Control::Unsubscribe { channel: Some(channel), code } => {
                // It is sent even if there was none, as in Centrifugo v6.9.
                self.leave_channel(cx, &channel, &code);
                self.tell_end(cx, &channel, &code);
            }
            Control::Unsubscribe { channel: None, code } => {
                let channels = self.subscriptions.channels().iter();
                let all: Vec<Box<str>> = channels
                    .filter_map(|channel| cx.local.get(*channel))
                    .map(|channel| channel.record.name.clone())
                    .collect();
                for channel in all {
                    self.end_subscription(cx, &channel, &code);
                }
            }
            Control::Subscribe { channel, options, since, taken } => {
                if Expiry::at(options.expire_at).is_past(cx.now) {
                    self.grant_failed(cx, channel, true, FailureCause::Error(ErrorCode::EXPIRED));
                    if let Some(taken) = taken {
                        // One refusal says it for all connections: where there is one already, this is dropped.
                        let _ = taken.try_send(Refused);
                    }
                    return;
                }
                self.subscribe_by_server(cx, channel, &options, since)
            }
            Control::Refresh { expired, expire_at, info } => {
                if expired || Expiry::at(expire_at).is_past(cx.now) {
                    return self.close(cx, DisconnectCode::EXPIRED);
                }
                self.prolong(cx, RefreshReply { expire_at, info, ..RefreshReply::default() });
                let ttl = self.expiry.ttl(cx.now);
                let refresh = Refresh { expires: ttl.is_some(), ttl: ttl.unwrap_or_default() };
                self.push(cx, &Push { refresh: Some(refresh), ..Push::default() });
            }
            Control::Enforce(judge) => {
                let Some(identity) = &self.identity else { return };
                let verdict = catch_unwind(AssertUnwindSafe(|| judge.ask(identity))).unwrap_or_else(|_| {
                    cx.hub.panicked("enforce");
                    Verdict::Disconnect(DisconnectCode::SERVER_ERROR)
                });
                match verdict {
                    Verdict::Keep => {}
                    Verdict::Disconnect(code) => self.close(cx, code),
                    Verdict::Unsubscribe(channels, code) => {
                        for channel in channels {
                            self.leave_channel(cx, &channel, &code);
                            self.tell_end(cx, &channel, &code);
                        }
                    }
                }
            }
            Control::Deliver(delivering) => self.deliver(cx, delivering),
            Control::Send(data) => {
                let message = Message { data: payload(&data, self.dialect.encoding()) };
                self.push(cx, &Push { message: Some(message), ..Push::default() });
            }
        }
    }

    /// Delivers a publication to this connection alone, once the client knows of the subscription.
    pub(in crate::session) fn deliver(&mut self, cx: &mut Cx<'_>, delivering: Box<Delivering>) {
        let mut entering = self.entering.iter_mut();
        if let Some(entering) = entering.find(|entering| entering.channel == delivering.channel) {
            return entering.held.push(delivering);
        }
        let Some(number) = cx.local.find(&delivering.channel) else { return };
        let known = self.phase == Phase::Connected && self.subscriptions.contains(number);
        let slot = cx.handle.slot();
        // The base of the next patch is the last publication that every subscriber was sent.
        let plain = cx.local.get(number).is_some_and(|local| !local.is(slot, SubscriberFlags::DELTA));
        if !known || !plain {
            return;
        }
        let Delivering { channel, publication, receipt } = *delivering;
        let publication = to_wire(&publication, "", self.dialect.encoding());
        let push = Push { channel: channel.to_string(), publication: Some(publication), ..Push::default() };
        self.push(cx, &push);
        // It has room for one; where nobody waits any longer, nothing is lost.
        let _ = receipt.try_send(Delivered);
    }

    /// The client knows of a subscription: what was held for it follows.
    pub(in crate::session) fn deliver_held(&mut self, cx: &mut Cx<'_>, mut held: LazyVec<Box<Delivering>>) {
        for delivering in held.take() {
            self.deliver(cx, delivering);
        }
    }

    fn subscribe_by_server(
        &mut self,
        cx: &mut Cx<'_>,
        channel: Arc<str>,
        options: &SubscribeOptions,
        since: Option<Position>,
    ) {
        // Also where it would take the place of another, as in Centrifugo v6.9.
        if self.is_full(cx) {
            self.close(cx, DisconnectCode::CHANNEL_LIMIT);
            return self.grant_failed(cx, channel, true, FailureCause::Disconnected);
        }
        // One that is on its way in goes on.
        if self.entering.iter().any(|entering| entering.channel == channel) {
            let code = ErrorCode::ALREADY_SUBSCRIBED;
            return self.grant_failed(cx, channel, true, FailureCause::Error(code));
        }
        let mut requested = Requested::default();
        let before = self.make_way(cx, &channel).map(|(record, mut replaced)| {
            if since.is_some() {
                replaced.cursor = None;
            }
            let number = replaced.own.channel;
            requested.replaces = Some(Box::new(replaced));
            (number, record)
        });
        if let Some(since) = since {
            (requested.recover, requested.since) = (true, since);
        }
        self.enter(cx, channel, Purpose::Server, Box::new(options.clone()), requested);
        // The node counted both.
        if let Some((number, record)) = before {
            self.leave_record(cx, number, &record);
        }
    }
}

//! The beginning of a subscription: the command, and the decision of the application.

use crate::event::{FailureCause, Refusal, SubscribeEvent, SubscribeOptions};
use crate::mailbox::call::Call;
use crate::publication::Position;
use crate::session::expiry::Expiry;
use crate::session::subscribe::{Purpose, Requested};
use crate::session::{Cx, Session, dispatch};
use spinward_wire::code::ErrorCode;
use spinward_wire::filter::Filter;
use spinward_wire::message::SubscribeRequest;
use spinward_wire::{DeltaType, SubscriptionType};
use std::sync::Arc;

impl Session {
    pub(in crate::session) fn subscribe(&mut self, cx: &mut Cx<'_>, id: u32, request: Box<SubscribeRequest>) {
        if request.channel.is_empty() {
            return self.violation(cx, dispatch::NO_CHANNEL);
        }
        // A shared poll is unknown here: the application judges it before all else.
        let kind = SubscriptionType::from_number(request.r#type);
        let polled = kind == SubscriptionType::SharedPoll;
        // For kinds other than streams permission comes first, as in Centrifugo v6.9.
        if request.r#type == 0 && !matches!(request.delta.as_str(), "" | "fossil") {
            return self.violation(cx, "a subscribe command with a delta encoding that does not exist");
        }
        let taken = self.has_channel(cx, &request.channel);
        if !polled && (taken || self.is_full(cx)) {
            let longest = cx.config.channel_max_length;
            return self.error(
                cx,
                id,
                &match taken {
                    _ if longest > 0 && request.channel.len() > longest => ErrorCode::BAD_REQUEST,
                    true => ErrorCode::ALREADY_SUBSCRIBED,
                    false => ErrorCode::LIMIT_EXCEEDED,
                },
            );
        }
        let (_, call) = Self::question(request);
        self.ask(cx, id, call);
    }

    /// The question to the application about a subscribe command, and the channel that it is about.
    pub(in crate::session) fn question(mut request: Box<SubscribeRequest>) -> (Arc<str>, Call) {
        let kind = SubscriptionType::from_number(request.r#type);
        let channel: Arc<str> = request.channel.as_str().into();
        let event = SubscribeEvent {
            channel: std::mem::take(&mut request.channel),
            token: std::mem::take(&mut request.token),
            data: std::mem::take(&mut request.data),
            positioned: request.positioned,
            recoverable: request.recoverable,
            join_leave: request.join_leave,
            recover: request.recover,
            delta: DeltaType::from_name(&request.delta),
            filter: request.tf.clone(),
            kind,
        };
        (Arc::clone(&channel), Call::Subscribe { channel, event: Box::new(event), request })
    }

    pub(in crate::session) fn has_channel(&self, cx: &Cx<'_>, channel: &str) -> bool {
        self.subscription(cx, channel).is_some()
            || self.entering.iter().any(|entering| &*entering.channel == channel)
            || self.is_asked_for(cx, channel)
    }

    pub(in crate::session) fn is_full(&self, cx: &Cx<'_>) -> bool {
        let limit = cx.config.channel_limit;
        limit > 0 && self.subscriptions.len() + self.entering.len() + self.asked_for(cx) >= limit
    }

    pub(in crate::session) fn on_subscribe(
        &mut self,
        cx: &mut Cx<'_>,
        id: u32,
        channel: Arc<str>,
        request: SubscribeRequest,
        outcome: Result<Box<SubscribeOptions>, Refusal>,
    ) {
        let options = match outcome {
            Ok(options) => options,
            Err(refusal) => return self.refuse(cx, id, refusal),
        };
        let filter = match self.admit(cx, &channel, &request, &options) {
            Ok(filter) => filter,
            Err(code) => {
                self.error(cx, id, &code);
                return self.grant_failed(cx, channel, false, FailureCause::Error(code));
            }
        };
        let delta = request.delta == "fossil";
        let requested = Requested {
            recover: request.recover,
            since: Position { offset: request.offset, epoch: request.epoch.as_str().into() },
            delta,
            // Agreed deltas go before a filter: the two exclude each other (as in Centrifugo v6.9).
            filter: filter.filter(|_| !(delta && options.delta)),
            flag: request.flag,
            replaces: None,
        };
        self.enter(cx, Arc::clone(&channel), Purpose::Command(id), options, requested);
        if self.has_channel(cx, &channel) {
            self.tell(cx, Call::Subscribed(channel));
        }
    }

    /// Checks a granted subscription against what the session knows. Returns its filter.
    fn admit(
        &self,
        cx: &Cx<'_>,
        channel: &str,
        request: &SubscribeRequest,
        options: &SubscribeOptions,
    ) -> Result<Option<Filter>, ErrorCode> {
        if Expiry::at(options.expire_at).is_past(cx.now) {
            return Err(ErrorCode::EXPIRED);
        }
        let filter = match &request.tf {
            None => None,
            Some(_) if !options.tags_filter => return Err(ErrorCode::BAD_REQUEST),
            Some(node) => match Filter::compile(node) {
                Ok(filter) if !self.may_have_filter(cx, &filter) => return Err(ErrorCode::LIMIT_EXCEEDED),
                Ok(filter) => Some(filter),
                Err(_) => return Err(ErrorCode::BAD_REQUEST),
            },
        };
        // The server may have subscribed the connection while the application was asked.
        if self.has_channel(cx, channel) {
            return Err(ErrorCode::ALREADY_SUBSCRIBED);
        }
        if self.is_full(cx) {
            return Err(ErrorCode::LIMIT_EXCEEDED);
        }
        Ok(filter)
    }
}

//! The steps after an entry: presence, the reply, and the join that others receive.

use crate::channel::delivery::patch;
use crate::channel::local::special::SubscriberFlags;
use crate::channel::local::start::StartState;
use crate::channel::record::Channel;
use crate::event::SubscribeOptions;
use crate::handle::CallToken;
use crate::id::ClientId;
use crate::mailbox::call::Call;
use crate::publication::Publication;
use crate::session::expiry::Expiry;
use crate::session::subscribe::list::Details;
use crate::session::subscribe::{Entering, Purpose, Requested, Stage};
use crate::session::{Busy, Cx, Phase, Session, Waiting};
use crate::to_wire::{payload, to_wire};
use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use spinward_wire::message::{self, Push, Reply, SubscribeResult};
use spinward_wire::{Protocol, json};
use std::sync::Arc;

impl Session {
    /// The presence store has answered.
    pub(in crate::session) fn on_presence_added(
        &mut self,
        cx: &mut Cx<'_>,
        token: CallToken,
        channel: Arc<Channel>,
        (client, user): (ClientId, Arc<str>),
        ok: bool,
    ) {
        let waits =
            |entering: &Entering| matches!(entering.stage, Stage::Listing { token: own, .. } if own == token);
        let Some(at) = self.entering.iter().position(waits) else {
            // The subscription has ended since: what was added is removed. A failure may have added it too.
            if self.subscription(cx, &channel.name).is_none_or(|own| !own.is(Details::PRESENCE)) {
                self.tell(cx, Call::PresenceRemove { channel, client, user });
            }
            return;
        };
        let entering = self.entering.swap_remove(at);
        self.busy.take_if(|busy| busy.token == token);
        let Stage::Listing { result, .. } = entering.stage else { return };
        if ok {
            self.complete(cx, &entering.channel, entering.purpose, *result);
            self.deliver_held(cx, entering.held);
        } else {
            self.leave_channel(cx, &entering.channel, &UnsubscribeCode::INSUFFICIENT_STATE);
            self.enter_failed(cx, entering.purpose, ErrorCode::INTERNAL);
        }
    }

    /// The subscription is made: sends the reply to the client, then the join to the channel.
    pub(in crate::session) fn complete(
        &mut self,
        cx: &mut Cx<'_>,
        channel: &str,
        purpose: Purpose,
        result: SubscribeResult,
    ) {
        match purpose {
            Purpose::Command(id) => {
                self.reply(cx, &Reply { id, subscribe: Some(result), ..Reply::default() })
            }
            Purpose::Connect => return self.connect_goes_on(cx, Some((channel, result))),
            Purpose::Server => {
                let SubscribeResult { recoverable, epoch, offset, positioned, data, publications, .. } =
                    result;
                let subscribe = message::Subscribe { recoverable, epoch, offset, positioned, data };
                let push = Push { channel: channel.to_owned(), ..Push::default() };
                self.push(cx, &Push { subscribe: Some(subscribe), ..push.clone() });
                // The push of a subscription has no room for what was missed: it follows as if it came just now.
                for publication in publications {
                    self.push(cx, &Push { publication: Some(publication), ..push.clone() });
                }
            }
        }
        self.announce(cx, channel);
    }

    /// Announces this client's join in the channel. Its next command waits until that is queued, and if the client
    /// receives the join itself, until it is sent.
    pub(in crate::session) fn announce(&mut self, cx: &mut Cx<'_>, channel: &str) {
        let Some(own) = self.subscription(cx, channel) else { return };
        let (true, Some(info)) = (own.is(Details::JOIN_LEAVE), own.info().cloned()) else { return };
        let Some(local) = cx.local.get(own.channel) else { return };
        let free = self.busy.as_ref().is_none_or(|busy| matches!(busy.what, Waiting::Announced));
        let told = free && local.is(cx.handle.slot(), SubscriberFlags::JOIN_LEAVE);
        let record = local.record.clone();
        let token = self.announcing();
        self.call(cx, token, Call::JoinLeave { channel: record, info, join: true, told });
    }

    /// A join or leave of this client is to be queued: its next command waits for that, unless one is under way.
    pub(in crate::session) fn announcing(&mut self) -> CallToken {
        if self.busy.as_ref().is_some_and(|busy| !matches!(busy.what, Waiting::Announced)) {
            return CallToken::NOBODY;
        }
        let token = self.token();
        self.busy = Some(Box::new(Busy { token, id: 0, what: Waiting::Announced }));
        token
    }

    pub(in crate::session) fn enter_failed(&mut self, cx: &mut Cx<'_>, purpose: Purpose, code: ErrorCode) {
        match purpose {
            Purpose::Command(id) => self.error(cx, id, &code),
            Purpose::Connect => self.close(cx, DisconnectCode::SERVER_ERROR),
            Purpose::Server => self.close(cx, DisconnectCode::INSUFFICIENT_STATE),
        }
    }

    /// Subscriptions of the connect reply are entered one by one, and one more is settled; `busy` counts them.
    pub(in crate::session) fn connect_goes_on(
        &mut self,
        cx: &mut Cx<'_>,
        joined: Option<(&str, SubscribeResult)>,
    ) {
        debug_assert!(self.phase == Phase::Connecting);
        let Some(busy) = &mut self.busy else { return };
        let Waiting::ConnectSubscriptions { reply, left } = &mut busy.what else { return };
        reply.subs.extend(joined.map(|(channel, result)| (channel.to_owned(), result)));
        *left -= 1;
        if *left == 0 {
            self.finish_connect(cx);
        }
    }

    pub(in crate::session) fn result(
        &self,
        cx: &Cx<'_>,
        options: &SubscribeOptions,
        requested: &Requested,
        start: &StartState,
        delta: bool,
    ) -> SubscribeResult {
        let positioned = options.positioning || options.recovery;
        let recovered = options.recovery && start.recovered;
        let expiry = Expiry::at(options.expire_at);
        let ttl = if options.server_side_refresh { None } else { expiry.left(cx.now) };
        SubscribeResult {
            expires: ttl.is_some(),
            ttl: ttl.unwrap_or_default(),
            recoverable: options.recovery,
            positioned,
            epoch: start.top.epoch.as_ref().to_owned(),
            // A client that is brought up to date counts on from where it was. An old one is told the top.
            offset: if recovered && !self.dialect.is_v1() {
                requested.since.offset
            } else {
                start.top.offset
            },
            publications: if recovered { self.publications(start, delta) } else { Vec::new() },
            recovered,
            was_recovering: requested.recover || options.recovery && options.cache && options.auto_recover,
            data: payload(&options.data, self.dialect.encoding()),
            delta,
            ..SubscribeResult::default()
        }
    }

    /// Returns the publications the client missed; under deltas the first is whole and each next a patch of the one
    /// before.
    pub(in crate::session) fn publications(
        &self,
        start: &StartState,
        delta: bool,
    ) -> Vec<message::Publication> {
        let mut base: Option<&Arc<Publication>> = None;
        let mut out = Vec::with_capacity(start.publications.len());
        for publication in &start.publications {
            let mut wire = to_wire(publication, &start.top.epoch, self.dialect.encoding());
            if delta {
                let patched = base.and_then(|base| patch(&base.data, &publication.data)).filter(|patch| {
                    self.dialect.encoding() == Protocol::Protobuf || std::str::from_utf8(patch).is_ok()
                });
                wire.delta = patched.is_some();
                wire.data = patched.unwrap_or_else(|| publication.data.clone());
                if self.dialect.encoding() == Protocol::Json {
                    wire.data = json::escape_string(&wire.data);
                }
                if self.dialect.encoding() == Protocol::Json || base.is_some() {
                    // The reply has the epoch; deltas omit it, and versions, as pushes do.
                    (wire.epoch, wire.version) = (String::new(), 0);
                }
                base = Some(publication);
            }
            out.push(wire);
        }
        out
    }
}

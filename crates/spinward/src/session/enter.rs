//! The entering of a subscription: made, announced, or given up.

use super::expiry::Expiry;
use super::subscribe::{Asked, Join, Purpose, Stage};
use super::subscriptions::Details;
use super::{Busy, Cx, Phase, Session, Waiting};
use crate::channel::delivery::{patch, payload, to_wire};
use crate::channel::directory::Channel;
use crate::channel::join::Start;
use crate::channel::local::{Joiner, Wants};
use crate::hooks::{FailureCause, SubscribeOptions};
use crate::id::ClientId;
use crate::mailbox::call::Call;
use crate::publication::Publication;
use spinward_wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use spinward_wire::message::{self, Push, Reply, SubscribeResult};
use spinward_wire::{Protocol, json};
use std::sync::Arc;

/// Subscribe flag: answer error 112 in place of `recovered: false`.
const REJECT_UNRECOVERED: i64 = 2;

impl Session {
    /// A remote broker has answered for a subscription that is entering.
    pub(crate) fn on_entered(
        &mut self,
        cx: &mut Cx<'_>,
        number: u32,
        start: Result<Start, ErrorCode>,
        seq: u64,
    ) {
        let waits = |join: &Join| join.number == number && matches!(join.stage, Stage::Entering { .. });
        let Some(at) = self.joins.iter().position(waits) else { return };
        let join = self.joins.swap_remove(at);
        self.busy.take_if(|busy| busy.token == number);
        self.entered(cx, join, start, seq);
    }

    /// The start is known: takes the place in the channel, or gives it back.
    pub(super) fn entered(&mut self, cx: &mut Cx<'_>, join: Join, start: Result<Start, ErrorCode>, seq: u64) {
        let reject = join.asked.flag & REJECT_UNRECOVERED != 0
            && join.asked.recover
            && join.options.recovery
            && !join.options.cache;
        let start = match start {
            Ok(start) if reject && !start.recovered => Err(ErrorCode::UNRECOVERABLE_POSITION),
            // Without its filter it would be sent what it did not ask for.
            Ok(_) if join.asked.filter.is_some() && !cx.has_room_for_filter(&join.stage) => {
                Err(ErrorCode::LIMIT_EXCEEDED)
            }
            other => other,
        };
        let mut start = match start {
            Ok(start) => start,
            Err(code) => {
                let purpose = join.purpose;
                self.abandon(cx, join, FailureCause::Error(code.clone()));
                return self.join_failed(cx, purpose, code);
            }
        };
        let Stage::Entering { record, local } = join.stage else { return };
        let Join { number, channel, purpose, options, mut asked, .. } = join;
        let mut seq = seq;
        let mut replaced = asked.replaces.take();
        if let Some(stand) = replaced.as_mut().and_then(|replaced| replaced.stand.take()) {
            // Deliveries on their way to this shard were for the former subscription, and are now for this one.
            seq = seq.min(stand.seq);
            if options.positioning || options.recovery {
                start.top = stand.position.unwrap_or(start.top);
            }
        }
        let Some(entry) = cx.channels.get_mut(local) else {
            if let Some(replaced) = replaced {
                self.withdraw(cx, replaced.own, &record, 0, 0);
            }
            let server_side = !matches!(purpose, Purpose::Command(_));
            self.grant_failed(cx, channel, server_side, FailureCause::Error(ErrorCode::INTERNAL));
            return self.join_failed(cx, purpose, ErrorCode::INTERNAL);
        };
        let delta = options.delta && asked.delta;
        let mut flags = 0;
        for (wanted, flag) in [
            (options.positioning || options.recovery, Wants::POSITIONED),
            (options.push_join_leave, Wants::JOIN_LEAVE),
            (delta, Wants::DELTA),
        ] {
            flags |= if wanted { flag } else { 0 };
        }
        let base = if asked.filter.is_none() {
            start.last.clone().filter(|_| !start.publications.is_empty())
        } else {
            None
        };
        let filter = asked.filter.take();
        let start_at = (options.positioning || options.recovery).then(|| start.top.clone());
        entry.add(Joiner { slot: cx.handle.slot(), flags, filter, joined_at: seq, start: start_at, base });
        cx.metrics.subscriptions_up();
        if asked.recover && options.recovery {
            cx.metrics.recovered(start.recovered, !start.publications.is_empty());
        }
        let mut flags = 0;
        for (wanted, flag) in [
            (!matches!(purpose, Purpose::Command(_)), Details::SERVER_SIDE),
            (options.presence, Details::PRESENCE),
            (options.join_leave, Details::JOIN_LEAVE),
            (options.server_side_refresh, Details::SERVER_REFRESH),
            (options.by_login, Details::BY_LOGIN),
        ] {
            flags |= if wanted { flag } else { 0 };
        }
        if let Some(replaced) = replaced {
            self.withdraw(cx, replaced.own, &record, flags, 0);
        }
        let seen = options.presence || options.join_leave || !options.info.is_empty();
        let info = self
            .identity
            .as_ref()
            .filter(|_| seen)
            .map(|identity| Arc::new(identity.client_info(options.info.clone())));
        let expiry = Expiry::at(options.expire_at);
        self.subscriptions.add(Details { channel: local, flags, asked: 0, expiry, info: info.clone() });
        // Reading them, and making patches of them, is work whether they are large in the reply or not.
        cx.cost += start.publications.iter().map(|publication| publication.data.len()).sum::<usize>();
        let result = self.result(cx, &options, &asked, &start, delta);
        match info {
            Some(info) if options.presence => {
                let token = self.token();
                let call = Call::PresenceAdd { channel: record, client: self.id, info };
                let stage = Stage::Listing { token, local, result: Box::new(result) };
                self.joins.push(Join { number, channel, purpose, options, asked, stage });
                if let Purpose::Command(id) = purpose {
                    self.busy = Some(Box::new(Busy { token, id, what: Waiting::Join }));
                }
                self.call(cx, token, call);
            }
            _ => self.joined(cx, &channel, purpose, result),
        }
    }

    /// The presence store has answered.
    pub(super) fn on_presence_added(
        &mut self,
        cx: &mut Cx<'_>,
        token: u32,
        channel: Arc<Channel>,
        client: ClientId,
        ok: bool,
    ) {
        let waits = |join: &Join| matches!(join.stage, Stage::Listing { token: own, .. } if own == token);
        let Some(at) = self.joins.iter().position(waits) else {
            // The subscription has ended since: what was added is removed. A failure may have added it too.
            if self.subscription(cx, &channel.name).is_none_or(|own| !own.is(Details::PRESENCE)) {
                self.tell(cx, Call::PresenceRemove { channel, client });
            }
            return;
        };
        let join = self.joins.swap_remove(at);
        self.busy.take_if(|busy| busy.token == token);
        let Stage::Listing { result, .. } = join.stage else { return };
        if ok {
            self.joined(cx, &join.channel, join.purpose, *result);
        } else {
            self.leave_channel(cx, &join.channel, &UnsubscribeCode::INSUFFICIENT_STATE);
            self.join_failed(cx, join.purpose, ErrorCode::INTERNAL);
        }
    }

    /// The subscription is made: sends the reply to the client, then the join to the channel.
    pub(super) fn joined(
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
    pub(super) fn announce(&mut self, cx: &mut Cx<'_>, channel: &str) {
        let Some(own) = self.subscription(cx, channel) else { return };
        let (true, Some(info)) = (own.is(Details::JOIN_LEAVE), own.info().cloned()) else { return };
        let Some(local) = cx.channels.get(own.channel) else { return };
        let free = self.busy.as_ref().is_none_or(|busy| matches!(busy.what, Waiting::Announced));
        let told = free && local.is(cx.handle.slot(), Wants::JOIN_LEAVE);
        let record = local.record.clone();
        let token = self.announcing();
        self.call(cx, token, Call::JoinLeave { channel: record, info, join: true, told });
    }

    /// A join or leave of this client is to be queued: its next command waits for that, unless one is under way.
    pub(super) fn announcing(&mut self) -> u32 {
        if self.busy.as_ref().is_some_and(|busy| !matches!(busy.what, Waiting::Announced)) {
            return 0;
        }
        let token = self.token();
        self.busy = Some(Box::new(Busy { token, id: 0, what: Waiting::Announced }));
        token
    }

    pub(super) fn join_failed(&mut self, cx: &mut Cx<'_>, purpose: Purpose, code: ErrorCode) {
        match purpose {
            Purpose::Command(id) => self.error(cx, id, &code),
            Purpose::Connect => self.close(cx, DisconnectCode::SERVER_ERROR),
            Purpose::Server => self.close(cx, DisconnectCode::INSUFFICIENT_STATE),
        }
    }

    /// The server ends a subscription that is on its way.
    pub(super) fn cut_short(&mut self, cx: &mut Cx<'_>, join: Join, code: &UnsubscribeCode) {
        let token = match join.stage {
            Stage::Entering { .. } => join.number,
            Stage::Listing { token, .. } => token,
        };
        let purpose = join.purpose;
        self.abandon(cx, join, FailureCause::Unsubscribed(code.clone()));
        match purpose {
            Purpose::Command(id) => {
                self.busy.take_if(|busy| busy.token == token);
                // As with the unsubscribe codes: from 2500 on the client is to try again.
                let error = if code.code < 2500 { ErrorCode::PERMISSION_DENIED } else { ErrorCode::INTERNAL };
                self.error(cx, id, &error);
            }
            Purpose::Connect => self.connect_goes_on(cx, None),
            Purpose::Server => {}
        }
    }

    /// Gives back what a subscription on its way holds.
    pub(super) fn abandon(&self, cx: &mut Cx<'_>, join: Join, cause: FailureCause) {
        // One that is only being listed is in its channel, and ends as every other one does.
        let Stage::Entering { record, local } = join.stage else { return };
        if let Some(replaced) = join.asked.replaces {
            self.withdraw(cx, replaced.own, &record, 0, 0);
        }
        self.grant_failed(cx, join.channel, !matches!(join.purpose, Purpose::Command(_)), cause);
        let mut done = false;
        if let Some(joining) = cx.channels.get_mut(local).and_then(|channel| channel.joining()) {
            joining.waiting.retain(|ticket| (ticket.handle, ticket.join) != (cx.handle, join.number));
            for read in &mut joining.reads {
                read.tickets.retain(|ticket| (ticket.handle, ticket.join) != (cx.handle, join.number));
            }
            joining.reads.retain(|read| !read.tickets.is_empty());
            done = joining.is_done();
        }
        if done && let Some(channel) = cx.channels.get_mut(local) {
            channel.stop_joining();
        }
        self.leave_record(cx, local, &record);
    }

    pub(super) fn result(
        &self,
        cx: &Cx<'_>,
        options: &SubscribeOptions,
        asked: &Asked,
        start: &Start,
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
            // A client that is brought up to date counts on from where it was.
            offset: if recovered { asked.since.offset } else { start.top.offset },
            publications: if recovered { self.publications(start, delta) } else { Vec::new() },
            recovered,
            was_recovering: asked.recover || options.recovery && options.cache && options.auto_recover,
            data: payload(&options.data, self.protocol),
            delta,
            ..SubscribeResult::default()
        }
    }

    /// Returns the publications the client missed; under deltas the first is whole and each next a patch of the one
    /// before.
    pub(super) fn publications(&self, start: &Start, delta: bool) -> Vec<message::Publication> {
        let mut base: Option<&Arc<Publication>> = None;
        let mut out = Vec::with_capacity(start.publications.len());
        for publication in &start.publications {
            let mut wire = to_wire(publication, &start.top.epoch, self.protocol);
            if delta {
                let patched = base.and_then(|base| patch(&base.data, &publication.data)).filter(|patch| {
                    self.protocol == Protocol::Protobuf || std::str::from_utf8(patch).is_ok()
                });
                wire.delta = patched.is_some();
                wire.data = patched.unwrap_or_else(|| publication.data.clone());
                if self.protocol == Protocol::Json {
                    wire.data = json::escape_string(&wire.data);
                }
                if self.protocol == Protocol::Json || base.is_some() {
                    // The reply has the epoch; deltas omit it, and versions, as pushes do.
                    (wire.epoch, wire.version) = (String::new(), 0);
                }
                base = Some(publication);
            }
            out.push(wire);
        }
        out
    }

    /// Subscriptions of the connect reply are entered one by one, and one more is settled; `busy` counts them.
    pub(super) fn connect_goes_on(&mut self, cx: &mut Cx<'_>, joined: Option<(&str, SubscribeResult)>) {
        debug_assert!(self.phase == Phase::Connecting);
        let Some(busy) = &mut self.busy else { return };
        let Waiting::ConnectJoins { reply, left } = &mut busy.what else { return };
        reply.subs.extend(joined.map(|(channel, result)| (channel.to_owned(), result)));
        *left -= 1;
        if *left == 0 {
            self.finish_connect(cx);
        }
    }
}

//! The entry of a subscription into its channel.

use crate::backend::{Entered, Start};
use crate::channel::local::NewSubscriber;
use crate::channel::local::entrants::Entrant;
use crate::channel::local::special::SubscriberFlags;
use crate::channel::local::start::StartState;
use crate::channel::local::stream::Cursor;
use crate::channel::params::{Recover, SubscribeParams};
use crate::event::{FailureCause, SubscribeOptions};
use crate::handle::CallToken;
use crate::lazy_vec::LazyVec;
use crate::mailbox::call::{Call, Called, ShardCall};
use crate::publication::ClientInfo;
use crate::session::expiry::Expiry;
use crate::session::subscribe::list::Details;
use crate::session::subscribe::{Entering, Purpose, Requested, Stage};
use crate::session::{Busy, Cx, Session, Waiting};
use bytes::Bytes;
use spinward_wire::code::ErrorCode;
use std::sync::Arc;

impl Session {
    /// Enters a channel. A command waits for it.
    pub(in crate::session) fn enter(
        &mut self,
        cx: &mut Cx<'_>,
        channel: Arc<str>,
        purpose: Purpose,
        options: Box<SubscribeOptions>,
        requested: Requested,
    ) {
        let number = self.token();
        let params = params(&options, &requested, cx.config.recovery_max_publication_limit);
        let shard = cx.handle.shard() as u8;
        let Entered { record, seq, occupied, start } = cx.channels.enter(&channel, shard, &params, cx.now);
        let (local, fresh) = match cx.local.find_id(record.id) {
            Some(local) => (local, false),
            None => (cx.local.insert(Arc::clone(&record), seq), true),
        };
        if occupied {
            self.tell(cx, Call::Occupied(Arc::clone(&record)));
        }
        let stage = Stage::Entering { record: Arc::clone(&record), local };
        let held = LazyVec::default();
        let entering = Entering { number, channel, purpose, options, requested, stage, held };
        match start {
            Start::Now(start) => {
                // A shard that has nobody else in the channel is where its first subscriber is. Otherwise it may be
                // behind that: the subscriber is ahead of the channel then.
                if let Some(local) = cx.local.get_mut(local)
                    && params.positioned
                    && (fresh || (local.epoch().is_none() && local.seen == seq))
                {
                    local.set_position(start.top.offset, &start.top.epoch);
                }
                self.entered(cx, entering, Ok(start), seq);
            }
            Start::Later { delivered, ask } => {
                let read = if delivered { cx.channels.plan_read(&record, shard, &params) } else { None };
                let entrant = Entrant { handle: cx.handle, number, params, tries: 0 };
                if let Some(read) = read {
                    let channel = cx.local.read(local, entrant, read);
                    cx.calls.extend(channel.map(|channel| Called::Shard(ShardCall::Read(channel))));
                } else {
                    cx.local.wait(local, entrant);
                }
                if let Some(ask) = ask {
                    cx.calls.push_back(Called::Shard(ShardCall::Interest { channel: record, ask }));
                }
                self.entering.push(entering);
                if let Purpose::Command(id) = purpose {
                    self.busy = Some(Box::new(Busy { token: number, id, what: Waiting::Enter }));
                }
            }
        }
    }
}

fn params(options: &SubscribeOptions, requested: &Requested, limit: usize) -> SubscribeParams {
    let auto = options.cache && options.auto_recover;
    let recover = (options.recovery && (requested.recover || auto)).then(|| Recover {
        since: requested.since.clone(),
        cache: options.cache,
        limit,
        over: false,
    });
    SubscribeParams {
        positioned: options.positioning || options.recovery,
        history: options.history,
        recover,
        filter: requested.filter.clone(),
    }
}

/// Subscribe flag: answer error 112 in place of `recovered: false`.
const REJECT_UNRECOVERED: i64 = 2;

impl Session {
    /// A remote broker has answered for a subscription that is entering.
    pub(crate) fn on_entered(
        &mut self,
        cx: &mut Cx<'_>,
        number: CallToken,
        start: Result<StartState, ErrorCode>,
        seq: u64,
    ) {
        let waits = |entering: &Entering| {
            entering.number == number && matches!(entering.stage, Stage::Entering { .. })
        };
        let Some(at) = self.entering.iter().position(waits) else { return };
        let entering = self.entering.swap_remove(at);
        self.busy.take_if(|busy| busy.token == number);
        self.entered(cx, entering, start, seq);
    }

    /// The start is known: takes the place in the channel, or gives it back.
    pub(in crate::session) fn entered(
        &mut self,
        cx: &mut Cx<'_>,
        entering: Entering,
        start: Result<StartState, ErrorCode>,
        seq: u64,
    ) {
        let reject = entering.requested.flag & REJECT_UNRECOVERED != 0
            && entering.requested.recover
            && entering.options.recovery
            && !entering.options.cache;
        let start = match start {
            Ok(start) if reject && !start.recovered => Err(ErrorCode::UNRECOVERABLE_POSITION),
            // Without its filter it would be sent what it did not ask for.
            Ok(_) if entering.requested.filter.is_some() && !cx.takes_filter(&entering.stage) => {
                Err(ErrorCode::LIMIT_EXCEEDED)
            }
            other => other,
        };
        let mut start = match start {
            Ok(start) => start,
            Err(code) => {
                let purpose = entering.purpose;
                self.abandon(cx, entering, FailureCause::Error(code.clone()));
                return self.enter_failed(cx, purpose, code);
            }
        };
        let Stage::Entering { record, local } = entering.stage else { return };
        let Entering { number, channel, purpose, options, mut requested, held, .. } = entering;
        let positioned = options.positioning || options.recovery;
        let mut seq = seq;
        let mut replaced = requested.replaces.take();
        if let Some(cursor) = replaced.as_mut().and_then(|replaced| replaced.cursor.take()) {
            // Deliveries between cursor.seq and seq are in this shard's inbox already, and were on their way to the
            // former subscription. The new one takes them over, so it starts at the smaller of the two.
            seq = seq.min(cursor.seq);
            if positioned {
                start.top = cursor.position.unwrap_or(start.top);
            }
        }
        let Some(local_channel) = cx.local.get_mut(local) else {
            if let Some(replaced) = replaced {
                self.withdraw(cx, replaced.own, &record, 0, CallToken::NOBODY);
            }
            let server_side = !matches!(purpose, Purpose::Command(_));
            self.grant_failed(cx, channel, server_side, FailureCause::Error(ErrorCode::INTERNAL));
            return self.enter_failed(cx, purpose, ErrorCode::INTERNAL);
        };
        let delta = options.delta && requested.delta;
        let mut flags = 0;
        for (wanted, flag) in [
            (positioned, SubscriberFlags::POSITIONED),
            (options.push_join_leave, SubscriberFlags::JOIN_LEAVE),
            (delta, SubscriberFlags::DELTA),
        ] {
            flags |= if wanted { flag } else { 0 };
        }
        // The last publication that it was given is a base for patches. With a filter it may not have been given it.
        let base = if requested.filter.is_none() {
            start.last.clone().filter(|_| !start.publications.is_empty())
        } else {
            None
        };
        let filter = requested.filter.take();
        let cursor = Cursor { seq, position: positioned.then(|| start.top.clone()) };
        local_channel.add(NewSubscriber { slot: cx.handle.slot(), flags, filter, cursor, base });
        cx.metrics.subscriptions_up();
        if requested.recover && options.recovery {
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
            self.withdraw(cx, replaced.own, &record, flags, CallToken::NOBODY);
        }
        let seen = options.presence || options.join_leave || !options.info.is_empty();
        let info = if seen { self.shown(&options.info) } else { None };
        let expiry = Expiry::at(options.expire_at);
        self.subscriptions.add(Details {
            channel: local,
            flags,
            asked: CallToken::NOBODY,
            expiry,
            info: info.clone(),
        });
        self.tell(cx, Call::Began(Arc::clone(&record)));
        // Reading them, and making patches of them, is work whether they are large in the reply or not.
        cx.cost += start.publications.iter().map(|publication| publication.data.len()).sum::<usize>();
        let result = self.result(cx, &options, &requested, &start, delta);
        match info {
            Some(info) if options.presence => {
                let token = self.token();
                let call = Call::PresenceAdd { channel: record, client: self.id, info };
                let stage = Stage::Listing { token, local, result: Box::new(result) };
                self.entering.push(Entering { number, channel, purpose, options, requested, stage, held });
                if let Purpose::Command(id) = purpose {
                    self.busy = Some(Box::new(Busy { token, id, what: Waiting::Enter }));
                }
                self.call(cx, token, call);
            }
            _ => {
                self.complete(cx, &channel, purpose, result);
                self.deliver_held(cx, held);
            }
        }
    }

    /// Returns this client as others see it with a subscription of this info. Subscriptions with the same info share
    /// it.
    fn shown(&self, chan_info: &Bytes) -> Option<Arc<ClientInfo>> {
        let identity = self.identity.as_ref()?;
        let mut known = self.subscriptions.special().iter().filter_map(|own| own.info.as_ref());
        let same = known.find(|known| known.chan_info == *chan_info && known.conn_info == identity.info);
        Some(same.map_or_else(|| Arc::new(identity.client_info(chan_info.clone())), Arc::clone))
    }
}

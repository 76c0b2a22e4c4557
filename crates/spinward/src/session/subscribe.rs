//! The beginning of a subscription: asked for, decided, entered, announced.

use super::expiry::Expiry;
use super::subscription::Replaced;
use super::{Busy, Cx, Session, Waiting};
use crate::channel::directory::Channel;
use crate::channel::join::{Entered, Recover, Start, Ticket, Wish};
use crate::hooks::{FailureCause, Refusal, SubscribeOptions, Subscribing};
use crate::hub::Engine;
use crate::mailbox::call::Call;
use crate::publication::Position;
use spinward_wire::code::ErrorCode;
use spinward_wire::filter::Filter;
use spinward_wire::message::{SubscribeRequest, SubscribeResult};
use std::sync::Arc;

/// The type of a subscription to a shared poll.
const SHARED_POLL: i32 = 4;

/// A subscription on its way into a channel.
pub(super) struct Join {
    pub(super) number: u32,
    pub(super) channel: Arc<str>,
    pub(super) purpose: Purpose,
    pub(super) options: Box<SubscribeOptions>,
    pub(super) asked: Asked,
    pub(super) stage: Stage,
}

impl Join {
    /// It is in this channel, and only the presence store has yet to answer.
    pub(super) const fn is_listing(&self, channel: u32) -> bool {
        matches!(self.stage, Stage::Listing { local, .. } if local == channel)
    }
}

pub(super) enum Stage {
    /// A remote broker is asked. The place in the channel is held.
    Entering { record: Arc<Channel>, local: u32 },
    /// It is in; the presence store is asked, under this token.
    Listing { token: u32, local: u32, result: Box<SubscribeResult> },
}

/// Origin of the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A subscribe command with this id.
    Command(u32),
    /// The connect reply.
    Connect,
    /// The server, while the connection lives.
    Server,
}

/// Request of the client.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) recover: bool,
    pub(super) since: Position,
    pub(super) delta: bool,
    pub(super) filter: Option<Filter>,
    pub(super) flag: i64,
    /// The subscription that it takes the place of.
    pub(super) replaces: Option<Box<Replaced>>,
}

impl Session {
    pub(super) fn subscribe(&mut self, cx: &mut Cx<'_>, id: u32, mut request: Box<SubscribeRequest>) {
        if request.channel.is_empty() {
            return self.breach(cx, super::dispatch::NO_CHANNEL);
        }
        // A shared poll is unknown here: the application judges it before all else.
        let polled = request.r#type == SHARED_POLL;
        // For kinds other than streams permission comes first, as in Centrifugo v6.9.
        if request.r#type == 0 && !matches!(request.delta.as_str(), "" | "fossil") {
            return self.breach(cx, "a subscribe command with a delta encoding that does not exist");
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
        let channel: Arc<str> = request.channel.as_str().into();
        let asked = Subscribing {
            channel: std::mem::take(&mut request.channel),
            token: std::mem::take(&mut request.token),
            data: std::mem::take(&mut request.data),
            positioned: request.positioned,
            recoverable: request.recoverable,
            join_leave: request.join_leave,
            recover: request.recover,
            delta: request.delta.clone(),
            filter: request.tf.clone(),
            kind: request.r#type,
        };
        let call = Call::Subscribe { channel: Arc::clone(&channel), request: Box::new(asked) };
        self.ask(cx, id, Waiting::Subscribe { channel, request }, call);
    }

    fn has_channel(&self, cx: &Cx<'_>, channel: &str) -> bool {
        self.subscription(cx, channel).is_some() || self.joins.iter().any(|join| &*join.channel == channel)
    }

    pub(super) fn is_full(&self, cx: &Cx<'_>) -> bool {
        let limit = cx.config.channel_limit;
        limit > 0 && self.subscriptions.len() + self.joins.len() >= limit
    }

    pub(super) fn on_subscribe(
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
        let asked = Asked {
            recover: request.recover,
            since: Position { offset: request.offset, epoch: request.epoch.as_str().into() },
            delta,
            // Agreed deltas go before a filter: the two exclude each other (as in Centrifugo v6.9).
            filter: filter.filter(|_| !(delta && options.delta)),
            flag: request.flag,
            replaces: None,
        };
        self.enter(cx, Arc::clone(&channel), Purpose::Command(id), options, asked);
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

    /// Enters a channel. A command waits for it.
    pub(super) fn enter(
        &mut self,
        cx: &mut Cx<'_>,
        channel: Arc<str>,
        purpose: Purpose,
        options: Box<SubscribeOptions>,
        asked: Asked,
    ) {
        let number = self.token();
        let wish = wish(&options, &asked, cx.config.recovery_max_publication_limit);
        let shard = cx.handle.shard() as u8;
        match &cx.hub.engine {
            Engine::Memory(memory) => {
                let Entered { record, seq, occupied, start } =
                    cx.hub.enter_memory(memory, &channel, shard, &wish, cx.now);
                let (local, fresh) = match cx.channels.find_id(record.id) {
                    Some(local) => (local, false),
                    None => (cx.channels.insert(record.clone(), seq), true),
                };
                if occupied {
                    self.tell(cx, Call::Occupied(record.clone()));
                }
                if let Some(channel) = cx.channels.get_mut(local)
                    && wish.positioned
                    && (fresh || (channel.epoch().is_none() && channel.seen == seq))
                {
                    channel.set_position(start.top.offset, &start.top.epoch);
                }
                let join = Join {
                    number,
                    channel,
                    purpose,
                    options,
                    asked,
                    stage: Stage::Entering { record, local },
                };
                self.entered(cx, join, Ok(start), seq);
            }
            Engine::Remote(_) => {
                let (entered, ask, held) = cx.hub.enter_remote(&channel, shard);
                let record = entered.record;
                let local = match cx.channels.find_id(record.id) {
                    Some(local) => local,
                    None => cx.channels.insert(record.clone(), entered.seq),
                };
                if entered.occupied {
                    self.tell(cx, Call::Occupied(record.clone()));
                }
                if held && !wish.positioned {
                    // The broker delivers, and a plain subscription starts with the next publication: nothing to read.
                    let stage = Stage::Entering { record, local };
                    let join = Join { number, channel, purpose, options, asked, stage };
                    return self.entered(cx, join, Ok(Start::default()), entered.seq);
                }
                let history = cx.hub.with_meta_ttl(wish.history);
                let ticket = Ticket { handle: cx.handle, join: number, wish, tries: 0 };
                let mut read = None;
                if held {
                    let filter = read_filter(&ticket.wish);
                    read = cx.channels.read(local, ticket).map(|read| (read, filter));
                } else if let Some(channel) = cx.channels.get_mut(local) {
                    channel.start_joining().waiting.push(ticket);
                }
                if let Some((read, filter)) = read {
                    self.tell(cx, Call::Slice { channel: record.clone(), read, filter, options: history });
                }
                if let Some(ask) = ask {
                    self.tell(cx, Call::Interest { channel: record.clone(), ask });
                }
                self.joins.push(Join {
                    number,
                    channel,
                    purpose,
                    options,
                    asked,
                    stage: Stage::Entering { record, local },
                });
                if let Purpose::Command(id) = purpose {
                    self.busy = Some(Box::new(Busy { token: number, id, what: Waiting::Join }));
                }
            }
        }
    }
}

fn wish(options: &SubscribeOptions, asked: &Asked, limit: usize) -> Wish {
    let auto = options.cache && options.auto_recover;
    let recover = (options.recovery && (asked.recover || auto)).then(|| Recover {
        since: asked.since.clone(),
        cache: options.cache,
        limit,
    });
    Wish {
        positioned: options.positioning || options.recovery,
        history: options.history,
        recover,
        filter: asked.filter.clone(),
    }
}

/// Returns the slice to read of a remote stream for a subscriber.
pub(crate) fn read_filter(wish: &Wish) -> crate::engine::broker::HistoryFilter {
    use crate::engine::broker::HistoryFilter;
    match &wish.recover {
        None => HistoryFilter { limit: 0, since: None, reverse: false },
        Some(recover) if recover.cache => {
            HistoryFilter { limit: if wish.filter.is_some() { -1 } else { 1 }, since: None, reverse: true }
        }
        Some(recover) => {
            // One more than the limit shows that there are too many.
            let limit =
                if recover.limit == 0 { -1 } else { i64::try_from(recover.limit + 1).unwrap_or(i64::MAX) };
            HistoryFilter { limit, since: Some(recover.since.clone()), reverse: false }
        }
    }
}

//! The calls of sessions: questions to the application, and what follows from its answers.

use crate::answer::{Answer, BoxFuture};
use crate::client::Client;
use crate::engine::broker::HistoryFilter;
use crate::handle::{CallToken, Handle};
use crate::hooks::{HistoryEvent, PresenceEvent, PublishEvent, PublishReply, Refusal, SubRefreshEvent};
use crate::mailbox::call::{Call, Late, Outcome, Question, SessionCall, ShardCall};
use crate::mailbox::inbox::Entry;
use crate::node::Inner;
use crate::publication::{ClientInfo, Position};
use crate::shard::core::Execute;
use spinward_wire::code::ErrorCode;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

/// Makes the calls of shards.
#[derive(Clone)]
pub(crate) struct Executor {
    inner: Arc<Inner>,
}

/// A call whose answer comes later.
struct Asked {
    handle: Handle,
    token: CallToken,
    hook: &'static str,
    late: Late,
}

impl Executor {
    pub(crate) const fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Sends the outcome of a future into the shard's inbox. A connection waits for each of these, so that there are no
    /// more than connections have commands (one, unless the configuration says otherwise) and subscriptions under way;
    /// those that are polled are bounded by
    /// [`Bulkhead`](crate::bulkhead::Bulkhead)s.
    fn spawn(&self, asked: Asked, mut future: BoxFuture<Outcome>) {
        let (hub, runtime) = (Arc::clone(&self.inner.hub), self.inner.runtime.clone());
        self.inner.runtime.spawn(async move {
            let Asked { handle, token, hook, late } = asked;
            // A future that panics costs the connection that it was made for.
            let answer = poll_fn(|cx| {
                let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
                polled.unwrap_or_else(|_| {
                    hub.panicked(hook);
                    Poll::Ready(Outcome::Panicked)
                })
            });
            let outcome = match runtime.within(hub.config.hook_timeout, answer).await {
                Some(outcome) => outcome,
                None => {
                    hub.timed_out(hook);
                    late.into()
                }
            };
            hub.send(handle.shard(), Entry::Outcome { handle, token, outcome: Box::new(outcome) });
        });
    }

    /// The interval of refreshing presence entries, if the store lets them expire.
    #[cfg(feature = "simulation")]
    pub(crate) fn presence_refresh(&self) -> Option<std::time::Duration> {
        self.inner.presence.refresh_interval()
    }
}

impl Execute for Executor {
    fn execute(&mut self, call: SessionCall) -> Option<Outcome> {
        let SessionCall { handle, token, identity, call } = call;
        let client = identity.map(|identity| Client { identity, handle, hub: Arc::clone(&self.inner.hub) });
        // A subscriber that publishes gets its own publication before the reply: both go through the inbox. So does
        // the join that a client receives of itself.
        let queued = match &call {
            Call::Publish { request, .. } => request.subscribed,
            Call::JoinLeave { told, .. } => *told,
            _ => false,
        };
        let (hook, late) = (call.name(), call.late());
        let answer = catch_unwind(AssertUnwindSafe(|| self.inner.ask(client.as_ref(), handle, token, call)));
        match answer {
            Err(_) => {
                self.inner.hub.panicked(hook);
                Some(Outcome::Panicked)
            }
            Ok(None) => None,
            Ok(Some(Answer::Now(outcome))) if queued => {
                let outcome = Box::new(outcome);
                self.inner.hub.send(handle.shard(), Entry::Outcome { handle, token, outcome });
                None
            }
            Ok(Some(Answer::Now(outcome))) => Some(outcome),
            Ok(Some(Answer::Later(future))) => {
                self.spawn(Asked { handle, token, hook, late }, future);
                None
            }
        }
    }

    fn run(&mut self, call: ShardCall) {
        let (inner, name) = (&self.inner, call.name());
        let done = catch_unwind(AssertUnwindSafe(|| match call {
            ShardCall::Read(channel) => inner.channels.read_planned(&channel),
            ShardCall::Interest { channel, ask } => inner.channels.ask(channel, ask),
            ShardCall::Compare(channel) => inner.channels.compare(channel),
            ShardCall::PresenceRefresh(members) => inner.refresh_presence(&members),
        }));
        if done.is_err() {
            inner.hub.panicked(name);
        }
    }
}

impl Inner {
    /// Asks; `None` where no outcome is of interest.
    fn ask(
        self: &Arc<Self>,
        client: Option<&Client>,
        handle: Handle,
        token: CallToken,
        call: Call,
    ) -> Option<Answer<Outcome>> {
        let call = match call {
            Call::Connect { event, request } => {
                let decision = self.bulkheads.hooks.admit(self.hooks.connect(*event));
                return Some(
                    decision.map(|outcome| Outcome::Connect { request, outcome: outcome.map(Box::new) }),
                );
            }
            Call::PresenceAdd { channel, client, info } => {
                return Some(self.add_presence(channel, client, info));
            }
            Call::PresenceRemove { channel, client, user } => {
                self.remove_presence(&channel.name, client, &user);
                return None;
            }
            Call::JoinLeave { channel, info, join, .. } => {
                let then = token.is_awaited().then_some((handle, token));
                let later = self.channels.announce(&channel, info, join, then);
                return (then.is_some() && !later).then_some(Answer::Now(Outcome::Announced));
            }
            Call::Occupied(channel) => {
                self.hooks.channel_occupied(&channel.name);
                return None;
            }
            Call::Vacated(channel) => {
                self.hooks.channel_vacated(&channel.name);
                return None;
            }
            other => other,
        };
        // Only a login is asked about without a client.
        let Some(client) = client else { return Some(Answer::Now(Outcome::Panicked)) };
        let bulkhead = &self.bulkheads.hooks;
        Some(match call {
            Call::Refresh(request) => bulkhead
                .admit(self.hooks.refresh(client, request))
                .map(|outcome| Outcome::Refresh(outcome.map(Box::new))),
            Call::Subscribe { channel, event, request } => {
                let identity = Arc::clone(&client.identity);
                bulkhead.admit(self.hooks.subscribe(client, *event)).map(|outcome| Outcome::Subscribe {
                    channel,
                    identity,
                    request,
                    outcome: outcome.map(Box::new),
                })
            }
            Call::SubscribeMany(questions) => {
                self.ask_many(client, handle, questions);
                return None;
            }
            Call::SubRefresh { channel, token } => {
                let by_node = token.is_none();
                let token = token.unwrap_or_default();
                let event = SubRefreshEvent { channel: channel.name.to_string(), token };
                bulkhead.admit(self.hooks.sub_refresh(client, event)).map(move |outcome| {
                    if by_node {
                        Outcome::ServerSubRefresh { channel, outcome }
                    } else {
                        Outcome::SubRefresh { channel, outcome }
                    }
                })
            }
            Call::Publish { request, chan_info } => self.publish_for(client, request, chan_info),
            Call::Presence(request) => self.presence_for(client, request),
            Call::History(request) => self.history_for(client, request),
            Call::Rpc(request) => bulkhead.admit(self.hooks.rpc(client, request)).map(Outcome::Rpc),
            Call::Message(event) => bulkhead.admit(self.hooks.message(client, event)).map(Outcome::Message),
            told => {
                self.tell(client, told);
                return None;
            }
        })
    }

    /// Asks about several subscribe commands. Their outcomes come through the inbox, whenever they are there.
    fn ask_many(self: &Arc<Self>, client: &Client, handle: Handle, questions: Vec<Question>) {
        let (mut events, mut asked) = (Vec::new(), Vec::new());
        for Question { token, channel, event, request } in questions {
            events.push(*event);
            asked.push((token, channel, request));
        }
        let mut decisions = self.hooks.subscribe_many(client, events).into_iter();
        for (token, channel, request) in asked {
            let decision = decisions.next().unwrap_or_else(|| ErrorCode::INTERNAL.into());
            let identity = Arc::clone(&client.identity);
            let answer = self.bulkheads.hooks.admit(decision).map(|outcome| Outcome::Subscribe {
                channel,
                identity,
                request,
                outcome: outcome.map(Box::new),
            });
            match answer {
                Answer::Now(outcome) => {
                    let outcome = Box::new(outcome);
                    self.hub.send(handle.shard(), Entry::Outcome { handle, token, outcome });
                }
                Answer::Later(future) => {
                    Executor::new(Arc::clone(self))
                        .spawn(Asked { handle, token, hook: "subscribe", late: Late::Other }, future);
                }
            }
        }
    }

    /// Tells the application; no answer is of interest.
    fn tell(&self, client: &Client, call: Call) {
        match call {
            Call::Connected => self.hooks.connected(client),
            Call::Refreshed => self.hooks.refreshed(client),
            Call::Subscribed(channel) => self.hooks.subscribed(client, &channel),
            Call::SubscribeFailed { channel, failure } => {
                self.hooks.subscribe_failed(client, &channel, &failure);
            }
            Call::Began(channel) => self.hooks.subscription_began(client, &channel.name),
            Call::Replaced(channel) => self.hooks.subscription_replaced(client, &channel.name),
            Call::SubRefreshed(channel) => self.hooks.sub_refreshed(client, &channel.name),
            Call::Unsubscribed { channel, code } => self.hooks.unsubscribed(client, &channel.name, &code),
            Call::Disconnected(code) => self.hooks.disconnected(client, &code),
            _ => debug_assert!(false, "{} is a question", call.name()),
        }
    }

    fn publish_for(
        self: &Arc<Self>,
        client: &Client,
        request: PublishEvent,
        chan_info: Option<Arc<ClientInfo>>,
    ) -> Answer<Outcome> {
        let channel = request.channel.clone();
        let (inner, client_clone) = (Arc::clone(self), client.clone());
        let publish = move |decision: Result<PublishReply, Refusal>| match decision {
            Err(refusal) => Answer::Now(Outcome::Published(Err(refusal))),
            Ok(PublishReply { handled: true, .. }) => Answer::Now(Outcome::Published(Ok(()))),
            Ok(PublishReply { data, mut options, .. }) => {
                let identity = &client_clone.identity;
                options.info =
                    Some(chan_info.unwrap_or_else(|| Arc::new(identity.client_info(bytes::Bytes::new()))));
                inner
                    .channels
                    .publish(&channel, data, options)
                    .map(|published| Outcome::Published(published.map(|_| ()).map_err(Refusal::from)))
            }
        };
        self.bulkheads.hooks.admit(self.hooks.publish(client, request)).then(publish)
    }

    fn presence_for(self: &Arc<Self>, client: &Client, request: PresenceEvent) -> Answer<Outcome> {
        let (channel, stats) = (request.channel.clone(), request.stats);
        let inner = Arc::clone(self);
        self.bulkheads.hooks.admit(self.hooks.presence(client, request)).then(move |decision| {
            let failed = |_| Refusal::from(ErrorCode::INTERNAL);
            match decision {
                Err(refusal) if stats => Answer::Now(Outcome::Stats(Err(refusal))),
                Err(refusal) => Answer::Now(Outcome::Members(Err(refusal))),
                Ok(()) if stats => {
                    inner.presence_stats(&channel).map(move |stats| Outcome::Stats(stats.map_err(failed)))
                }
                Ok(()) => {
                    inner.members(&channel).map(move |members| Outcome::Members(members.map_err(failed)))
                }
            }
        })
    }

    fn history_for(self: &Arc<Self>, client: &Client, request: HistoryEvent) -> Answer<Outcome> {
        let channel = request.channel.clone();
        let filter = HistoryFilter {
            limit: self.capped(request.limit),
            since: request
                .since
                .as_ref()
                .map(|since| Position { offset: since.offset, epoch: since.epoch.as_str().into() }),
            reverse: request.reverse,
        };
        let inner = Arc::clone(self);
        self.bulkheads.hooks.admit(self.hooks.history(client, request)).then(move |decision| match decision {
            Err(refusal) => Answer::Now(Outcome::History(Err(refusal))),
            Ok(_) if filter.is_backwards_from_nothing() => {
                Answer::Now(Outcome::History(Err(ErrorCode::BAD_REQUEST.into())))
            }
            Ok(options) => inner
                .channels
                .history(&channel, filter, options)
                .map(|history| Outcome::History(history.map(Box::new).map_err(Refusal::from))),
        })
    }

    /// Returns the limit of a client's history call, capped by the configuration.
    fn capped(&self, limit: i32) -> i64 {
        let max = i64::try_from(self.hub.config.history_max_publication_limit).unwrap_or(i64::MAX);
        let limit = i64::from(limit);
        if max > 0 && (limit < 0 || limit > max) { max } else { limit }
    }
}

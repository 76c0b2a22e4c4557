//! Makes the calls of sessions: asks the application, the broker and the presence store.

use crate::answer::{Answer, BoxFuture};
use crate::client::Client;
use crate::engine::broker::{BrokerError, History, HistoryFilter, HistoryOptions, PublishOptions};
use crate::engine::interest::Ask;
use crate::handle::Handle;
use crate::hooks::{HistoryEvent, PresenceEvent, PublishEvent, PublishReply, Refusal, SubRefreshEvent};
use crate::hub::{Engine, Held};
use crate::mailbox::admission::Announcement;
use crate::mailbox::call::{Call, Called, Late, Outcome};
use crate::mailbox::inbox::Entry;
use crate::node::Inner;
use crate::node::runtime::Runtime;
use crate::publication::{ClientInfo, Position};
use crate::shard::core::Execute;
use spinward_wire::code::{DisconnectCode, ErrorCode};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Makes the calls of one shard.
#[derive(Clone)]
pub(crate) struct Executor {
    inner: Arc<Inner>,
    runtime: Runtime,
    /// Answers that may be outstanding at once.
    in_flight: Arc<Semaphore>,
}

impl Executor {
    pub(crate) fn new(inner: Arc<Inner>, runtime: Runtime) -> Self {
        let in_flight = Arc::new(Semaphore::new(inner.hub.config.max_calls_in_flight));
        Self { inner, runtime, in_flight }
    }

    /// Sends the outcome of a future into the shard's inbox.
    fn spawn(&self, asked: Asked, mut future: BoxFuture<Outcome>) {
        let (hub, in_flight) = (Arc::clone(&self.inner.hub), Arc::clone(&self.in_flight));
        let runtime = self.runtime.clone();
        self.runtime.spawn(async move {
            let Asked { handle, token, hook, late } = asked;
            let answer = async {
                let _permit = in_flight.acquire_owned().await;
                // A future that panics costs the connection that it was made for.
                poll_fn(|cx| {
                    let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
                    polled.unwrap_or_else(|_| {
                        hub.panicked(hook);
                        Poll::Ready(Outcome::Panicked)
                    })
                })
                .await
            };
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
}

/// Calls to broker and presence store that no command waits for. Each kind has its own limit, so that none takes the
/// place of another, and none holds one place while it waits for another.
pub(crate) struct Bulkheads {
    /// Presence entries to remove, and joins and leaves for other nodes.
    forgotten: Arc<Semaphore>,
    interest: Arc<Semaphore>,
    slices: Arc<Semaphore>,
    positions: Arc<Semaphore>,
}

impl Bulkheads {
    /// Each for `calls` calls at once.
    pub(crate) fn new(calls: usize) -> Self {
        let bulkhead = || Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS)));
        Self { forgotten: bulkhead(), interest: bulkhead(), slices: bulkhead(), positions: bulkhead() }
    }
}

/// Polls a future once there is a place for it.
fn within_bulkhead<T>(bulkhead: &Arc<Semaphore>, future: BoxFuture<T>) -> impl Future<Output = T> + use<T> {
    let bulkhead = Arc::clone(bulkhead);
    async move {
        let _place = bulkhead.acquire_owned().await;
        future.await
    }
}

/// A call whose answer comes later.
struct Asked {
    handle: Handle,
    token: u32,
    hook: &'static str,
    late: Late,
}

impl Executor {
    /// The interval of refreshing presence entries, if the store lets them expire.
    pub(crate) fn presence_refresh(&self) -> Option<Duration> {
        self.inner.presence.refresh_interval()
    }
}

impl Execute for Executor {
    fn execute(&mut self, called: Called) -> Option<Outcome> {
        let Called { handle, token, identity, call } = called;
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
                self.inner
                    .hub
                    .send(handle.shard(), Entry::Outcome { handle, token, outcome: Box::new(outcome) });
                None
            }
            Ok(Some(Answer::Now(outcome))) => Some(outcome),
            Ok(Some(Answer::Later(future))) => {
                self.spawn(Asked { handle, token, hook, late }, future);
                None
            }
        }
    }
}

fn no_client() -> Outcome {
    Outcome::Done(Err(Refusal::Disconnect(DisconnectCode::SERVER_ERROR)))
}

impl Inner {
    /// Asks; `None` where no outcome is of interest.
    fn ask(
        self: &Arc<Self>,
        client: Option<&Client>,
        handle: Handle,
        token: u32,
        call: Call,
    ) -> Option<Answer<Outcome>> {
        let call = match call {
            Call::Connect(request) => {
                return Some(
                    self.hooks.connect(*request).map(|outcome| Outcome::Connect(outcome.map(Box::new))),
                );
            }
            Call::Interest { channel, ask } => {
                self.ask_interest(channel, ask);
                return None;
            }
            Call::Slice { channel, read, filter, options } => {
                self.read_slice(channel, handle, read, filter, options);
                return None;
            }
            Call::Position(channel) => {
                self.compare_position(channel);
                return None;
            }
            Call::PresenceAdd { channel, client, info } => {
                let added = self.presence.add(&channel.name, client, info);
                return Some(added.map(move |added| Outcome::PresenceAdded {
                    channel,
                    client,
                    ok: added.is_ok(),
                }));
            }
            Call::PresenceRemove { channel, client } => {
                self.forget("presence remove", self.presence.remove(&channel.name, client));
                return None;
            }
            Call::PresenceRefresh(members) => {
                self.forget("presence refresh", self.presence.refresh(&members));
                return None;
            }
            Call::JoinLeave { channel, info, join, .. } => {
                let then = (token != 0).then_some((handle, token));
                let later = self.join_leave(&channel.name, info, join, then);
                return (then.is_some() && !later).then_some(Answer::Now(Outcome::Done(Ok(()))));
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
        let Some(client) = client else { return Some(Answer::Now(no_client())) };
        Some(match call {
            Call::Refresh(request) => {
                self.hooks.refresh(client, request).map(|outcome| Outcome::Refresh(outcome.map(Box::new)))
            }
            Call::Subscribe { channel, request } => {
                let identity = Arc::clone(&client.identity);
                self.hooks.subscribe(client, *request).map(|outcome| Outcome::Subscribe {
                    channel,
                    identity,
                    outcome: outcome.map(Box::new),
                })
            }
            Call::SubRefresh { channel, token } if token.is_empty() => self
                .hooks
                .sub_refresh(client, SubRefreshEvent { channel: channel.name.to_string(), token })
                .map(move |outcome| Outcome::ServerSubRefresh { channel, outcome }),
            Call::SubRefresh { channel, token } => {
                let event = SubRefreshEvent { channel: channel.name.to_string(), token };
                self.hooks.sub_refresh(client, event).map(Outcome::SubRefresh)
            }
            Call::Publish { request, chan_info } => self.publish_for(client, request, chan_info),
            Call::Presence(request) => self.presence_for(client, request),
            Call::History(request) => self.history_for(client, request),
            Call::Rpc(request) => self.hooks.rpc(client, request).map(Outcome::Rpc),
            Call::Message(event) => self.hooks.message(client, event).map(Outcome::Done),
            Call::Connected => {
                self.hooks.connected(client);
                return None;
            }
            Call::Refreshed => {
                self.hooks.refreshed(client);
                return None;
            }
            Call::Subscribed(channel) => {
                self.hooks.subscribed(client, &channel);
                return None;
            }
            Call::SubscribeFailed { channel, failure } => {
                self.hooks.subscribe_failed(client, &channel, &failure);
                return None;
            }
            Call::Replaced(channel) => {
                self.hooks.subscription_replaced(client, &channel.name);
                return None;
            }
            Call::SubRefreshed(channel) => {
                self.hooks.sub_refreshed(client, &channel.name);
                return None;
            }
            Call::Unsubscribed { channel, code } => {
                self.hooks.unsubscribed(client, &channel.name, &code);
                return None;
            }
            Call::Disconnected(code) => {
                self.hooks.disconnected(client, &code);
                return None;
            }
            _ => return None,
        })
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
            Err(refusal) => Answer::Now(Outcome::Done(Err(refusal))),
            Ok(PublishReply { data, mut options }) => {
                let identity = &client_clone.identity;
                options.info =
                    Some(chan_info.unwrap_or_else(|| Arc::new(identity.client_info(bytes::Bytes::new()))));
                inner
                    .publish(&channel, data, options)
                    .map(|published| Outcome::Done(published.map(|_| ()).map_err(Refusal::from)))
            }
        };
        self.hooks.publish(client, request).then(publish)
    }

    fn presence_for(self: &Arc<Self>, client: &Client, request: PresenceEvent) -> Answer<Outcome> {
        let (channel, stats) = (request.channel.clone(), request.stats);
        let inner = Arc::clone(self);
        self.hooks.presence(client, request).then(move |decision| {
            let failed = |_| Refusal::from(ErrorCode::INTERNAL);
            match decision {
                Err(refusal) if stats => Answer::Now(Outcome::Stats(Err(refusal))),
                Err(refusal) => Answer::Now(Outcome::Members(Err(refusal))),
                Ok(()) if stats => {
                    inner.presence.stats(&channel).map(move |stats| Outcome::Stats(stats.map_err(failed)))
                }
                Ok(()) => inner
                    .presence
                    .members(&channel)
                    .map(move |members| Outcome::Members(members.map_err(failed))),
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
        self.hooks.history(client, request).then(move |decision| match decision {
            Err(refusal) => Answer::Now(Outcome::History(Err(refusal))),
            Ok(_) if filter.is_backwards_from_nothing() => {
                Answer::Now(Outcome::History(Err(ErrorCode::BAD_REQUEST.into())))
            }
            Ok(options) => inner
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

    /// Publishes; the memory broker answers at once unless subscribers are behind.
    pub(crate) fn publish(
        self: &Arc<Self>,
        channel: &str,
        data: bytes::Bytes,
        options: PublishOptions,
    ) -> Answer<Result<crate::engine::broker::Published, BrokerError>> {
        if self.hub.is_stopping() {
            return Answer::Now(Err(BrokerError::Stopped));
        }
        crate::metrics::bump(&self.hub.metrics.published);
        match &self.hub.engine {
            Engine::Remote(broker) => broker.publish(channel, data, options),
            Engine::Memory(memory) => {
                let now = self.hub.clock.now();
                match self.hub.publish_memory(memory, channel, data, options, None, now) {
                    Ok(published) => Answer::Now(Ok(published)),
                    Err(held) => self.publish_in_turn(channel, *held),
                }
            }
        }
    }

    /// Publishes what was not admitted, once it is its turn.
    fn publish_in_turn(
        self: &Arc<Self>,
        channel: &str,
        held: Held,
    ) -> Answer<Result<crate::engine::broker::Published, BrokerError>> {
        let Held { ticket, data, options } = held;
        let Ok(ticket) = ticket else { return Answer::Now(Err(BrokerError::Overloaded)) };
        let (inner, channel) = (Arc::clone(self), channel.to_owned());
        Answer::later(async move {
            let (Ok(permit), Engine::Memory(memory)) = (ticket.await, &inner.hub.engine) else {
                return Err(BrokerError::Stopped);
            };
            let now = inner.hub.clock.now();
            let published = inner.hub.publish_memory(memory, &channel, data, options, Some(permit), now);
            published.map_err(|_| BrokerError::Overloaded)
        })
    }

    /// Reads a stream.
    pub(crate) fn history(
        self: &Arc<Self>,
        channel: &str,
        filter: HistoryFilter,
        options: HistoryOptions,
    ) -> Answer<Result<History, BrokerError>> {
        match &self.hub.engine {
            Engine::Remote(broker) => broker.history(channel, filter, options),
            Engine::Memory(memory) => {
                let now = self.hub.clock.now();
                let history = self.hub.history_memory(memory, channel, &filter, options, now);
                Answer::Now(history)
            }
        }
    }

    /// Sends a join or leave to the subscribers of a channel. Returns true if `then` is notified of it later.
    fn join_leave(
        self: &Arc<Self>,
        channel: &str,
        info: Arc<ClientInfo>,
        join: bool,
        then: Option<(Handle, u32)>,
    ) -> bool {
        crate::metrics::bump(if join { &self.hub.metrics.joined } else { &self.hub.metrics.left });
        match &self.hub.engine {
            Engine::Remote(broker) => {
                self.forget("join and leave", broker.publish_join_leave(channel, info, join));
                false
            }
            Engine::Memory(_) => {
                let announced = self.hub.directory.with_existing(channel, |record, state| {
                    let announcement = Announcement { info, join, then };
                    self.hub.admission.announce(record, state, announcement)
                });
                announced.unwrap_or(false)
            }
        }
    }

    /// Does what nobody waits for.
    fn forget<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
        &self,
        hook: &'static str,
        answer: Answer<Result<T, E>>,
    ) {
        match answer {
            Answer::Now(Ok(_)) => {}
            Answer::Now(Err(error)) => tracing::warn!(%error, "broker or presence store failed"),
            Answer::Later(future) => {
                let (runtime, hub) = (self.runtime.clone(), Arc::clone(&self.hub));
                let future = within_bulkhead(&self.bulkheads.forgotten, future);
                self.runtime.spawn(async move {
                    match runtime.within(hub.config.hook_timeout, future).await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => tracing::warn!(%error, "broker or presence store failed"),
                        None => hub.timed_out(hook),
                    }
                });
            }
        }
    }

    fn ask_interest(self: &Arc<Self>, channel: Arc<crate::channel::record::Channel>, ask: Ask) {
        let Engine::Remote(broker) = &self.hub.engine else { return };
        let answer = match ask {
            Ask::Subscribe => broker.subscribe(&channel.name),
            Ask::Unsubscribe => broker.unsubscribe(&channel.name),
        };
        let inner = Arc::clone(self);
        let answered = move |result: Result<(), BrokerError>| {
            if let Err(error) = &result {
                tracing::warn!(%error, "broker refused a subscription request");
            }
            if let Some(next) = inner.hub.interest_answered(&channel, ask, result.is_ok()) {
                inner.ask_interest(channel, next);
            }
        };
        match answer {
            Answer::Now(result) => answered(result),
            Answer::Later(future) => {
                let future = within_bulkhead(&self.bulkheads.interest, future);
                let answer = self.answer_of_broker("interest", future);
                self.runtime.spawn(async move { answered(answer.await) });
            }
        }
    }

    /// Waits for what a broker answers later, as long as it may take.
    fn answer_of_broker<T, F: Future<Output = Result<T, BrokerError>>>(
        &self,
        hook: &'static str,
        future: F,
    ) -> impl Future<Output = Result<T, BrokerError>> + use<T, F> {
        let (runtime, hub) = (self.runtime.clone(), Arc::clone(&self.hub));
        async move {
            runtime.within(hub.config.hook_timeout, future).await.unwrap_or_else(|| {
                hub.timed_out(hook);
                Err(BrokerError::Failed("no answer in time".into()))
            })
        }
    }

    fn compare_position(self: &Arc<Self>, channel: Arc<crate::channel::record::Channel>) {
        let filter = HistoryFilter { limit: 0, since: None, reverse: false };
        let options = self.hub.with_meta_ttl(HistoryOptions::default());
        let answer = self.history(&channel.name, filter, options);
        let hub = Arc::clone(&self.hub);
        // Without an answer nothing is known; the next period asks again.
        let tell = move |read: Result<History, BrokerError>| {
            if let Ok(history) = read {
                hub.position_told(&channel, &history.top);
            }
        };
        match answer {
            Answer::Now(read) => tell(read),
            Answer::Later(future) => {
                let future = within_bulkhead(&self.bulkheads.positions, future);
                let answer = self.answer_of_broker("position", future);
                self.runtime.spawn(async move { tell(answer.await) });
            }
        }
    }

    fn read_slice(
        self: &Arc<Self>,
        channel: Arc<crate::channel::record::Channel>,
        handle: Handle,
        read: u32,
        filter: HistoryFilter,
        options: HistoryOptions,
    ) {
        let answer = self.history(&channel.name, filter, options);
        let hub = Arc::clone(&self.hub);
        let send = move |slice| {
            let entry = Entry::Slice { channel: channel.id, read, slice: Box::new(slice) };
            hub.send(handle.shard(), entry);
        };
        match answer {
            Answer::Now(slice) => send(slice),
            Answer::Later(future) => {
                let future = within_bulkhead(&self.bulkheads.slices, future);
                let answer = self.answer_of_broker("slice", future);
                self.runtime.spawn(async move { send(answer.await) });
            }
        }
    }
}

//! Health of a broker as its users see it: a publication that goes out and comes back.

use bytes::Bytes;
use parking_lot::Mutex;
use spinward::answer::{Answer, BoxFuture};
use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    Broker, BrokerError, Event, Guarantee, HistoryOptions, Interest, JoinLeave, PublishOptions, Read,
    Receipt, Receive, Scope, Sink, Slice, StreamId,
};
use spinward::id::Entropy;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Timings of a [`Probed`] broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeConfig {
    /// Time between probe publications.
    pub interval: Duration,
    /// Time after which a publication that has not come back makes the broker [down](EngineHealth::Down).
    pub timeout: Duration,
}

impl Default for ProbeConfig {
    /// A probe each second, and five seconds until the broker is down.
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), timeout: Duration::from_secs(5) }
    }
}

impl ProbeConfig {
    /// Timings.
    #[must_use]
    pub const fn new(interval: Duration, timeout: Duration) -> Self {
        Self { interval, timeout }
    }
}

/// A broker whose health is tried: about once a second it publishes to a channel of its own and waits for the delivery.
/// A connection that is open says little; this says that publications arrive.
///
/// It passes everything else on to the broker within.
pub struct Probed {
    broker: Arc<dyn Broker>,
    config: ProbeConfig,
    channel: Arc<str>,
    /// The broker's calls for interest come one after the other, those for the probe among them.
    asking: Arc<Mutex<()>>,
    /// Kept here: the broker has a weak reference to it.
    passage: Mutex<Option<Arc<Passage>>>,
    state: Arc<Mutex<State>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// State of the broker's interest in the channel of the probe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Not asked for, or refused.
    No,
    /// Asked for, and not answered yet. A channel has no second change until then.
    Waiting,
    Confirmed,
}

/// State of the probe.
struct State {
    interest: Asked,
    /// Number of the last probe, and the time at which it was published.
    sent: (u64, Instant),
    /// Time of the last delivery, or of the start.
    heard: Instant,
    lag: Option<Duration>,
    /// The last answer to a probe, if that was an error.
    error: Option<String>,
}

/// The way from the broker into its node, on which the deliveries of the probe are taken out.
struct Passage {
    sink: Sink,
    channel: Arc<str>,
    state: Arc<Mutex<State>>,
}

impl Probed {
    /// A broker whose health is tried.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, config: ProbeConfig) -> Self {
        let now = Instant::now();
        let state = State { interest: Asked::No, sent: (0, now), heard: now, lag: None, error: None };
        Self {
            broker,
            config,
            // Of this node alone. Another publisher here would prove the same.
            channel: format!("$spinward-probe-{}", Entropy::system().node_id()).into(),
            asking: Arc::default(),
            passage: Mutex::new(None),
            state: Arc::new(Mutex::new(state)),
            task: Mutex::new(None),
        }
    }

    /// The time that the last probe took to come back. `None` before the first one did.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        self.state.lock().lag
    }
}

impl fmt::Debug for Probed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probed").field("broker", &self.broker.name()).finish_non_exhaustive()
    }
}

/// Publishes probes until the task is ended.
async fn probe(
    broker: Arc<dyn Broker>,
    channel: Arc<str>,
    state: Arc<Mutex<State>>,
    asking: Arc<Mutex<()>>,
    config: ProbeConfig,
    sink: Sink,
) {
    let mut ticks = interval(config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !sink.is_closed() {
        ticks.tick().await;
        let number = {
            let mut state = state.lock();
            match state.interest {
                Asked::Confirmed => {}
                Asked::Waiting => continue,
                Asked::No => {
                    state.interest = Asked::Waiting;
                    // The answer may come within the call.
                    drop(state);
                    let _one_at_a_time = asking.lock();
                    broker.interest(&[(Arc::clone(&channel), Interest::Wanted)]);
                    continue;
                }
            }
            state.sent = (state.sent.0 + 1, Instant::now());
            state.sent.0
        };
        let data = Bytes::from(number.to_string());
        let published = broker.publish(&channel, data, PublishOptions::default()).wait();
        let result = match timeout(config.timeout, published).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("a publish was not answered".to_owned()),
        };
        state.lock().error = result;
    }
}

impl Broker for Probed {
    fn name(&self) -> &'static str {
        self.broker.name()
    }

    fn start(&self, sink: Sink) -> Result<(), BrokerError> {
        let passage = Arc::new(Passage {
            sink: sink.clone(),
            channel: Arc::clone(&self.channel),
            state: Arc::clone(&self.state),
        });
        self.state.lock().heard = Instant::now();
        self.broker.start(Sink::new(&passage))?;
        *self.passage.lock() = Some(passage);
        let (broker, channel) = (Arc::clone(&self.broker), Arc::clone(&self.channel));
        let task =
            probe(broker, channel, Arc::clone(&self.state), Arc::clone(&self.asking), self.config, sink);
        *self.task.lock() = Some(tokio::spawn(task));
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        self.broker.guarantee()
    }

    fn incarnation(&self, channel: &str) -> Arc<str> {
        self.broker.incarnation(channel)
    }

    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Receipt, BrokerError>> {
        self.broker.publish(channel, data, options)
    }

    fn announce(&self, channel: &str, change: JoinLeave) -> Answer<Result<(), BrokerError>> {
        self.broker.announce(channel, change)
    }

    fn read(&self, channel: &str, read: Read, history: HistoryOptions) -> Answer<Result<Slice, BrokerError>> {
        self.broker.read(channel, read, history)
    }

    fn forget(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        self.broker.forget(channel)
    }

    fn interest(&self, changes: &[(Arc<str>, Interest)]) {
        let _one_at_a_time = self.asking.lock();
        self.broker.interest(changes);
    }

    fn health(&self) -> EngineHealth {
        let health = self.broker.health();
        if health != EngineHealth::Up {
            return health;
        }
        let state = self.state.lock();
        let silent = state.heard.elapsed();
        if silent <= self.config.timeout + self.config.interval {
            return EngineHealth::Up;
        }
        let mut reason = format!("no publication has come back for {:.1} s", silent.as_secs_f64());
        if let Some(error) = &state.error {
            reason.push_str(": ");
            reason.push_str(error);
        }
        EngineHealth::Down { reason }
    }

    fn close(&self) -> Answer<()> {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        // The broker's tasks see a closed sink.
        drop(self.passage.lock().take());
        self.broker.close()
    }
}

impl Receive for Passage {
    fn deliver(&self, channel: &str, stream: Option<&StreamId>, event: Event) {
        if channel != &*self.channel {
            return self.sink.deliver(channel, stream, event);
        }
        let Event::Publication(publication) = event else { return };
        let number = std::str::from_utf8(&publication.data).ok().and_then(|text| text.parse::<u64>().ok());
        let mut state = self.state.lock();
        let now = Instant::now();
        state.heard = now;
        // One that comes late does not say what a publication takes now.
        if number == Some(state.sent.0) {
            state.lag = Some(now - state.sent.1);
        }
    }

    fn interest(&self, channel: &str, asked: Interest, result: Result<(), BrokerError>) {
        if channel != &*self.channel {
            return self.sink.interest(channel, asked, result);
        }
        let confirmed = asked == Interest::Wanted && result.is_ok();
        self.state.lock().interest = if confirmed { Asked::Confirmed } else { Asked::No };
    }

    fn interrupted(&self, scope: Scope<'_>) {
        self.sink.interrupted(scope);
    }

    fn replaced(&self, scope: Scope<'_>, incarnation: &str) {
        self.sink.replaced(scope, incarnation);
    }

    fn wanted(&self) -> Vec<Arc<str>> {
        let mut wanted = self.sink.wanted();
        if self.state.lock().interest == Asked::Confirmed {
            wanted.push(Arc::clone(&self.channel));
        }
        wanted
    }

    fn has_room(&self, channel: &str) -> bool {
        channel == &*self.channel || self.sink.has_room(channel)
    }

    fn room(self: Arc<Self>, channel: &str) -> BoxFuture<()> {
        if channel == &*self.channel {
            return Box::pin(std::future::ready(()));
        }
        let (sink, channel) = (self.sink.clone(), Arc::<str>::from(channel));
        // The passage is let go of here, so that it does not live as long as somebody waits.
        drop(self);
        Box::pin(async move {
            sink.room(&channel).await;
        })
    }
}

//! The rules of brokers.

mod delivery;
mod streams;

use super::recorder::Recorder;
use super::{Failed, Report, holds, same};
use spinward::Publication;
use spinward::answer::Answer;
use spinward::engine::broker::{
    Broker, BrokerError, HistoryOptions, Interest, Limit, Place, PublishOptions, Read, Receipt, Slice,
};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// A broker under test: one store, empty at first, and the nodes that are connected to it.
#[allow(async_fn_in_trait, reason = "the suite awaits it where it is called")]
pub trait BrokerHarness {
    /// Returns false if the broker keeps no history. Rules about streams are not tried then.
    fn keeps_history(&self) -> bool {
        true
    }
    /// Connects another node to the store; the first call is node 0. The broker is not started yet. `None` where the
    /// store has no room for another one.
    fn connect(&self) -> Option<Arc<dyn Broker>>;
    /// Lets the broker work until everything that is on its way has arrived, or nothing more of it will.
    async fn settle(&self);
    /// Lets time pass. Returns false if that is not possible.
    async fn pass(&self, time: Duration) -> bool;
    /// Replaces the store by one that lacks at least the last of the publications that it had acknowledged. Returns
    /// false if that is not possible.
    async fn fail_over(&self) -> bool;
    /// Breaks the connection by which a node is delivered to, and loses what is on its way to it. Returns false if that
    /// is not possible.
    async fn interrupt(&self, node: usize) -> bool;
}

/// Tries every rule of brokers, each on a new harness.
pub async fn broker<H: BrokerHarness>(mut harness: impl FnMut() -> H) -> Report {
    let mut report = Report::default();
    report.add(
        "publications arrive in order, with consecutive offsets of one stream",
        streams::order(&harness()).await,
    );
    report.add("a publication keeps its fields", streams::fields(&harness()).await);
    report.add(
        "without history nothing is stored, and everything is delivered",
        streams::unstored(&harness()).await,
    );
    report.add(
        "a read sees every publish that was answered before",
        streams::read_after_publish(&harness()).await,
    );
    report.add("reads of each kind return their slice", streams::reads(&harness()).await);
    report.add("a place of another epoch is not recoverable", streams::other_epoch(&harness()).await);
    report.add("no more is kept than the size of the history", streams::size(&harness()).await);
    report.add("history expires and the position stays", streams::time_to_live(&harness()).await);
    report.add("forgetting drops publications and keeps the position", streams::forget(&harness()).await);
    report.add(
        "a stream that was read before its first publication keeps its epoch",
        streams::unwritten(&harness()).await,
    );
    report.add("a known idempotency key publishes nothing", streams::idempotency(&harness()).await);
    report.add("a version that is not new publishes nothing", streams::versions(&harness()).await);
    report.add(
        "delivery follows interest, and every change is answered once",
        delivery::interest(&harness()).await,
    );
    report.add(
        "joins and leaves are delivered to those interested, and not stored",
        delivery::joins(&harness()).await,
    );
    report.add("a replaced store has another incarnation", delivery::replaced(&harness()).await);
    report.add("an interruption is announced, and delivery goes on", delivery::interrupted(&harness()).await);
    report.add("without room nothing is delivered, and nothing is lost", delivery::room(&harness()).await);
    report.add(
        "a broker that is closed delivers nothing, and is healthy before",
        delivery::closed(&harness()).await,
    );
    report
}

/// A node and its broker.
struct Node {
    broker: Arc<dyn Broker>,
    recorder: Arc<Recorder>,
    keeps_history: bool,
}

const HISTORY: HistoryOptions =
    HistoryOptions { size: 100, ttl: Duration::from_secs(300), meta_ttl: Duration::from_secs(3600) };

fn kept() -> PublishOptions {
    PublishOptions { history: HISTORY, ..PublishOptions::default() }
}

async fn done<T: Send + 'static>(answer: Answer<Result<T, BrokerError>>) -> Result<T, Failed> {
    Ok(answer.wait().await?)
}

impl Node {
    async fn connect<H: BrokerHarness>(harness: &H) -> Result<Self, Failed> {
        let broker = harness.connect().ok_or(Failed::NotTried)?;
        let recorder = Recorder::new();
        broker.start(recorder.sink())?;
        harness.settle().await;
        Ok(Self { broker, recorder, keeps_history: harness.keeps_history() })
    }

    /// A node of a broker that keeps history.
    async fn with_history<H: BrokerHarness>(harness: &H) -> Result<Self, Failed> {
        if harness.keeps_history() { Self::connect(harness).await } else { Err(Failed::NotTried) }
    }

    /// A node that is delivered a channel.
    async fn interested<H: BrokerHarness>(harness: &H, channel: &str) -> Result<Self, Failed> {
        let node = Self::connect(harness).await?;
        node.want(harness, channel, Interest::Wanted).await?;
        Ok(node)
    }

    /// The same, of a broker that keeps history.
    async fn interested_in_history<H: BrokerHarness>(harness: &H, channel: &str) -> Result<Self, Failed> {
        if harness.keeps_history() { Self::interested(harness, channel).await } else { Err(Failed::NotTried) }
    }

    async fn want<H: BrokerHarness>(
        &self,
        harness: &H,
        channel: &str,
        asked: Interest,
    ) -> Result<(), Failed> {
        self.recorder.set_wanted(channel, asked == Interest::Wanted);
        let before = self.recorder.answers(channel).len();
        self.broker.interest(&[(channel.into(), asked)]);
        harness.settle().await;
        same!(self.recorder.answers(channel)[before..], [(asked, true)], "answers to {asked:?} of {channel}");
        Ok(())
    }

    async fn publish(&self, channel: &str, data: &str, options: PublishOptions) -> Result<Receipt, Failed> {
        done(self.broker.publish(channel, data.to_owned().into(), options)).await
    }

    async fn store(&self, channel: &str, data: &str, options: PublishOptions) -> Result<Place, Failed> {
        match self.publish(channel, data, options).await? {
            Receipt::Stored(place) => Ok(place),
            other => Err(Failed::Violated(format!("{other:?} for a publication to store"))),
        }
    }

    /// Publishes, with history where the broker keeps it.
    async fn send(&self, channel: &str, data: &str) -> Result<(), Failed> {
        if self.keeps_history {
            self.store(channel, data, kept()).await?;
        } else {
            let receipt = self.publish(channel, data, PublishOptions::default()).await?;
            same!(receipt, Receipt::Sent, "receipt");
        }
        Ok(())
    }

    async fn send_numbers(
        &self,
        channel: &str,
        numbers: std::ops::RangeInclusive<u64>,
    ) -> Result<(), Failed> {
        for number in numbers {
            self.send(channel, &number.to_string()).await?;
        }
        Ok(())
    }

    async fn store_numbers(
        &self,
        channel: &str,
        numbers: std::ops::RangeInclusive<u64>,
    ) -> Result<Place, Failed> {
        let mut place = None;
        for number in numbers {
            place = Some(self.store(channel, &number.to_string(), kept()).await?);
        }
        place.ok_or(Failed::NotTried)
    }

    async fn read(&self, channel: &str, read: Read) -> Result<Slice, Failed> {
        done(self.broker.read(channel, read, HISTORY)).await
    }

    async fn top(&self, channel: &str) -> Result<Place, Failed> {
        let slice = self.read(channel, Read::Top).await?;
        holds!(slice.publications.is_empty(), "{} publications with the top", slice.publications.len());
        same!(slice.top.stream.incarnation, self.broker.incarnation(channel), "incarnation of an answer");
        Ok(slice.top)
    }

    async fn offsets(&self, channel: &str, read: Read) -> Result<Vec<u64>, Failed> {
        Ok(offsets(&self.read(channel, read).await?.publications))
    }

    /// Offsets that were delivered, each once; an error if they were not in order.
    fn delivered(&self, channel: &str) -> Result<Vec<u64>, Failed> {
        let mut seen: Vec<u64> = Vec::new();
        for (_, publication) in self.recorder.publications(channel) {
            let last = seen.last().copied().unwrap_or(0);
            holds!(publication.offset >= last, "offset {} was delivered after {last}", publication.offset);
            if publication.offset > last {
                seen.push(publication.offset);
            }
        }
        Ok(seen)
    }
}

/// Payloads that were delivered, a repetition of the one before left out.
fn payloads(recorder: &Recorder, channel: &str) -> Vec<String> {
    let mut payloads: Vec<_> = recorder
        .publications(channel)
        .into_iter()
        .map(|(_, one)| String::from_utf8_lossy(&one.data).into_owned())
        .collect();
    payloads.dedup();
    payloads
}

fn offsets(publications: &[Arc<Publication>]) -> Vec<u64> {
    publications.iter().map(|publication| publication.offset).collect()
}

fn most(count: usize) -> Limit {
    NonZeroUsize::new(count).map_or(Limit::All, Limit::Most)
}

const ALL: Read = Read::Oldest { limit: Limit::All };

//! The source: takes entries, has them carried out, and acknowledges them.

use super::answer::{Entry, claimed, read};
use super::config::{Config, Error};
use crate::consumer::{Running, Source};
use crate::decode::Message;
use crate::end;
use crate::worker::{Attempt, Worker};
use bytes::Bytes;
use redis::{Cmd, cmd};
use spinward_engines::Backoff;
use spinward_engines::redis::Client;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Most entries per request.
const TAKEN: usize = 100;

/// Time that a request waits for entries. It blocks its connection, which is to answer probes too.
const BLOCK: Duration = Duration::from_millis(500);

/// Streams of one server or cluster.
pub struct Streams {
    config: Config,
}

/// End of taking entries.
type End = end::End<Error>;

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<spinward_engines::redis::Error> for End {
    fn from(error: spinward_engines::redis::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Place of an entry, for the log.
struct Place<'a>(&'a str, &'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of stream {}", self.1, self.0)
    }
}

impl Streams {
    /// A source that is not connected yet.
    ///
    /// # Errors
    /// An option is not valid.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        Ok(Self { config })
    }

    /// Takes entries until the worker is stopped.
    async fn work(self: Arc<Self>, worker: Worker, index: usize, number: u32) {
        let mut backoff = Backoff::default();
        let stream = self.config.streams.get(index).cloned().unwrap_or_default();
        let name = match number {
            0 => self.config.node.clone(),
            number => format!("{}-{number}", self.config.node),
        };
        let lag = u64::try_from(index).unwrap_or(0) << 8 | u64::from(number);
        loop {
            let ended = async {
                // A client of its own: a request that waits blocks the connection.
                let client = Client::start(&self.config.connection).map_err(Error::Start)?;
                let taking = Taking {
                    config: &self.config,
                    client,
                    worker: &worker,
                    stream: &stream,
                    name: &name,
                    lag,
                };
                taking.run(&mut backoff).await
            };
            match Box::pin(ended).await {
                Ok(()) | Err(End::Stopped) => return,
                Err(End::Failed(error)) => worker.source_failed(&error),
            }
            if worker.pause(backoff.pause()).await.is_err() {
                return;
            }
        }
    }
}

impl Source for Streams {
    fn run(self: Arc<Self>, worker: Worker) -> Running {
        Box::pin(async move {
            let mut tasks = JoinSet::new();
            for index in 0..self.config.streams.len() {
                for number in 0..self.config.workers {
                    tasks.spawn(Arc::clone(&self).work(worker.clone(), index, number));
                }
            }
            while let Some(ended) = tasks.join_next().await {
                if let Err(error) = ended
                    && error.is_panic()
                {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        })
    }
}

/// Entries of one stream, taken by one worker.
struct Taking<'a> {
    config: &'a Config,
    client: Client,
    worker: &'a Worker,
    stream: &'a str,
    name: &'a str,
    lag: u64,
}

impl Taking<'_> {
    /// Takes entries until a call fails or the worker is stopped.
    async fn run(&self, backoff: &mut Backoff) -> Result<(), End> {
        self.worker.ready().await?;
        self.create().await?;
        self.worker.source_up();
        // What this worker had taken and not acknowledged, in its order, before anything new.
        let mut after = "0".to_owned();
        loop {
            let entries = self.read(&after, None).await?;
            let Some(last) = entries.last() else { break };
            after.clone_from(&last.id);
            self.carry_out(entries).await?;
        }
        let every = (self.config.visibility_timeout / 2).min(Duration::from_secs(10));
        let mut claim = Instant::now();
        loop {
            self.worker.ready().await?;
            if Instant::now() >= claim {
                self.claim().await?;
                claim = Instant::now() + every;
            }
            let entries = self.read(">", Some(BLOCK)).await?;
            backoff.reset();
            if entries.is_empty() {
                self.worker.lag(self.lag, Duration::ZERO);
            }
            self.carry_out(entries).await?;
        }
    }

    /// Creates the group, unless it is there.
    async fn create(&self) -> Result<(), Error> {
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(self.stream).arg(&self.config.group).arg("0").arg("MKSTREAM");
        match self.client.call(self.stream, create).await {
            Err(error) if !error.is_refusal("BUSYGROUP") => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads entries: new ones, or own ones after an id.
    async fn read(&self, after: &str, block: Option<Duration>) -> Result<Vec<Entry>, End> {
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.config.group).arg(self.name).arg("COUNT").arg(TAKEN);
        if let Some(block) = block {
            let most = self.config.connection.io_timeout / 2;
            command.arg("BLOCK").arg(u64::try_from(block.min(most).as_millis()).unwrap_or(1).max(1));
        }
        command.arg("STREAMS").arg(self.stream).arg(after);
        // Not dropped half way when the worker is stopped: entries would be taken and wait for their timeout.
        Ok(read(self.client.call(self.stream, command).await?)?)
    }

    /// Takes over entries that other consumers have left alone.
    async fn claim(&self) -> Result<(), End> {
        let idle = u64::try_from(self.config.visibility_timeout.as_millis()).unwrap_or(u64::MAX);
        let mut cursor = "0-0".to_owned();
        loop {
            let mut command = cmd("XAUTOCLAIM");
            command.arg(self.stream).arg(&self.config.group).arg(self.name).arg(idle).arg(&cursor);
            command.arg("COUNT").arg(TAKEN);
            let (next, entries) = claimed(self.client.call(self.stream, command).await?)?;
            self.carry_out(entries).await?;
            if next == "0-0" {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Carries out entries in their order, and acknowledges them.
    async fn carry_out(&self, entries: Vec<Entry>) -> Result<(), End> {
        if let Some(time) = entries.first().and_then(Entry::time) {
            self.worker.lag_since(self.lag, time);
        }
        let mut settled = Vec::with_capacity(entries.len());
        let mut kept = Instant::now();
        let mut outcome = Ok(());
        'entries: for (at, entry) in entries.iter().enumerate() {
            let mut backoff = Backoff::default();
            while let Attempt::Again = self.attempt(entry).await {
                // What is done is not done again, however long this takes.
                self.acknowledge(&mut settled).await?;
                if let Err(stopped) = self.worker.pause(backoff.pause()).await {
                    outcome = Err(stopped.into());
                    break 'entries;
                }
                self.keep(&entries[at..], &mut kept).await?;
            }
            settled.push(entry.id.as_str());
            self.keep(&entries[at + 1..], &mut kept).await?;
            if self.worker.is_stopped() {
                outcome = Err(End::Stopped);
                break;
            }
        }
        self.acknowledge(&mut settled).await?;
        outcome
    }

    async fn attempt(&self, entry: &Entry) -> Attempt {
        let fields = entry.fields.as_deref().unwrap_or_default();
        // Of two fields with the same name the last counts, as in Centrifugo v6.9.
        let last_first = || fields.iter().rev();
        let payload = last_first().find(|(name, _)| *name == self.config.payload_field.as_bytes());
        let attributes = last_first()
            .filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?)))
            .collect();
        let payload = payload.map_or_else(Bytes::new, |(_, value)| Bytes::copy_from_slice(value));
        // An entry that was trimmed away is skipped as any other without a payload.
        let message = Message { attributes, payload };
        self.worker.attempt(&Place(self.stream, &entry.id), &message).await
    }

    async fn acknowledge(&self, ids: &mut Vec<&str>) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        self.of_group("XACK", ids).await?;
        ids.clear();
        Ok(())
    }

    /// Tells the server that entries are still worked on, if that has not been said for a while.
    async fn keep(&self, entries: &[Entry], kept: &mut Instant) -> Result<(), Error> {
        if entries.is_empty() || kept.elapsed() < self.config.visibility_timeout / 3 {
            return Ok(());
        }
        *kept = Instant::now();
        let mut command = cmd("XCLAIM");
        command.arg(self.stream).arg(&self.config.group).arg(self.name).arg(0);
        for entry in entries {
            command.arg(&entry.id);
        }
        command.arg("JUSTID");
        self.client.call(self.stream, command).await?;
        Ok(())
    }

    async fn of_group(&self, name: &str, ids: &[&str]) -> Result<(), Error> {
        let mut command: Cmd = cmd(name);
        command.arg(self.stream).arg(&self.config.group).arg(ids);
        self.client.call(self.stream, command).await?;
        Ok(())
    }
}

//! The broker's calls, and what they make of the answers.

use super::super::centrifugo;
use super::super::config::Config;
use super::super::error::Error;
use super::super::keys::{Keys, Kind};
use super::super::pool::{Pool, Shard};
use super::super::pubsub::message;
use super::super::script::{Call, Reply};
use super::answers::Answer;
use super::home;
use super::scripts::{
    LISTS, MOST, SEND_ONCE, SHARED_LISTS, SHARED_SEND_ONCE, SHARED_STREAMS, STREAMS, Scripts,
};
use crate::codec;
use crate::fault::{Fault, holds};
use bytes::Bytes;
use redis::cmd;
use spinward::Publication;
use spinward::clock::Clock;
use spinward::engine::broker::{
    BrokerError, Event, HistoryOptions, IDEMPOTENCY_TTL, JoinLeave, Place, PublishOptions, Read, Receipt,
    Slice, StreamId,
};
use spinward::id::Entropy;
use std::sync::Arc;
use std::time::Duration;

/// Lifetime of offset and epoch if none is given.
const META_TTL: Duration = Duration::from_secs(720 * 3600);

/// The means of calls.
pub(super) struct Calls {
    pool: Pool,
    /// Connections for calls that wait for replicas.
    writers: Option<Pool>,
    keys: Keys,
    scripts: &'static Scripts,
    publications: Kind,
    clock: Clock,
    entropy: Entropy,
    wait_replicas: u32,
    wait_timeout: Duration,
}

impl Calls {
    pub(super) fn new(config: &Config, keys: Keys, pool: Pool, writers: Option<Pool>) -> Self {
        let lists = config.history_use_lists;
        Self {
            pool,
            writers,
            scripts: match (keys.is_shared(), lists) {
                (false, false) => &STREAMS,
                (false, true) => &LISTS,
                (true, false) => &SHARED_STREAMS,
                (true, true) => &SHARED_LISTS,
            },
            keys,
            publications: if lists { Kind::List } else { Kind::Stream },
            clock: Clock::system(),
            entropy: Entropy::system(),
            wait_replicas: config.wait_replicas,
            wait_timeout: config.wait_timeout.min(config.io_timeout / 2),
        }
    }

    pub(super) const fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn close(&self) {
        self.pool.close();
        if let Some(writers) = &self.writers {
            writers.close();
        }
    }

    pub(super) fn incarnation(&self, channel: &str) -> Arc<str> {
        if self.keys.is_shared() {
            return "".into();
        }
        let shard = self.pool.shard(channel);
        shard.map_or_else(|_| "".into(), |shard| shard.incarnation(&home(&self.keys, channel)))
    }

    pub(super) async fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Result<Receipt, BrokerError> {
        let shard = self.pool.shard(channel)?;
        let publication = Publication {
            data,
            info: options.info,
            tags: options.tags,
            time: self.clock.now().wall,
            version: options.version,
            delta: options.delta,
            ..Publication::default()
        };
        let delta = publication.delta;
        let command = Bytes::from_static(self.sender(&shard).await?);
        let stored = match self.keys.is_shared() {
            true => centrifugo::stored(&publication),
            false => Vec::new(),
        };
        let event = Event::Publication(Arc::new(publication));
        let key = Some(&options.idempotency_key).filter(|key| !key.is_empty());
        let key = key.filter(|_| !holds(Fault::IgnoredKeys));
        let result = key.map(|key| self.keys.result(channel, key));
        let name = self.keys.of(Kind::Channel, channel);
        if !options.history.enabled() {
            let message = self.unstored(&event);
            return match result {
                None => self.send(&shard, command, name, &message).await.map(|()| Receipt::Sent),
                Some(result) => {
                    let args = vec![message, command, name, millis(IDEMPOTENCY_TTL)];
                    let script = if self.keys.is_shared() { &SHARED_SEND_ONCE } else { &SEND_ONCE };
                    let reply = shard.call(&Call::script(script, vec![result], args)).await?;
                    self.answer(&reply, |answer| answer.receipt())
                }
            };
        }
        let HistoryOptions { size, ttl, meta_ttl } = options.history;
        let mut keys = vec![self.keys.of(self.publications, channel), self.keys.of(Kind::Meta, channel)];
        keys.extend(result);
        let args = vec![
            self.epoch(),
            meta_lifetime(meta_ttl, ttl),
            if self.keys.is_shared() { stored.into() } else { codec::event(&event).into() },
            (size as u64).min(MOST).to_string().into(),
            millis(ttl),
            command,
            name,
            options.version.to_string().into(),
            options.version_epoch.into(),
            millis(IDEMPOTENCY_TTL),
            Bytes::from_static(if delta { b"1" } else { b"0" }),
        ];
        let call = Call::script(&self.scripts.publish, keys, args);
        let Some(writers) = &self.writers else {
            let reply = match shard.call(&call).await {
                Err(_) if holds(Fault::FalseAck) => return Ok(never_stored()),
                reply => reply?,
            };
            return self.answer(&reply, |answer| answer.receipt());
        };
        let call = call.waiting(self.wait_replicas, self.wait_timeout);
        let mut reply = writers.shard(channel)?.call(&call).await?;
        // A new life counts for all connections at once.
        if let Some(lives) = shard.lives(call.key()) {
            reply.lives = lives;
        }
        let receipt = self.answer(&reply, |answer| answer.receipt())?;
        let (reached, wanted) = (reply.replicas.unwrap_or(0), self.wait_replicas);
        match receipt {
            Receipt::Stored(_) if reached < wanted => Err(Error::NotReplicated { reached, wanted }.into()),
            receipt => Ok(receipt),
        }
    }

    pub(super) async fn announce(&self, channel: &str, change: JoinLeave) -> Result<(), BrokerError> {
        let shard = self.pool.shard(channel)?;
        let message = self.unstored(&Event::JoinLeave(change));
        let command = Bytes::from_static(self.sender(&shard).await?);
        self.send(&shard, command, self.keys.of(Kind::Channel, channel), &message).await
    }

    async fn send(
        &self,
        shard: &Shard,
        command: Bytes,
        name: Bytes,
        message: &[u8],
    ) -> Result<(), BrokerError> {
        let mut send = cmd(&String::from_utf8_lossy(&command));
        send.arg(&*name).arg(message);
        shard.call(&Call::command(name, send)).await?;
        Ok(())
    }

    pub(super) async fn read(
        &self,
        channel: &str,
        what: Read,
        history: HistoryOptions,
    ) -> Result<Slice, BrokerError> {
        let shard = self.pool.shard(channel)?;
        self.settle(&shard).await?;
        let (direction, first) = match &what {
            Read::Top => ("t", 0),
            Read::Oldest { .. } => ("f", 0),
            Read::After { since, .. } => ("f", since.offset.saturating_add(1).min(MOST)),
            Read::Latest { .. } => ("b", MOST),
            // There is nothing before the first one.
            Read::Before { since, .. } if since.offset <= 1 => ("t", 0),
            Read::Before { since, .. } => ("b", (since.offset - 1).min(MOST)),
        };
        let limit = match &what {
            Read::Top => 0,
            Read::Oldest { limit } | Read::Latest { limit } => limit.count(),
            Read::After { limit, .. } | Read::Before { limit, .. } => limit.count(),
        };
        let epoch = what.since().and_then(|since| since.epoch.as_deref());
        // An empty epoch is never one of ours.
        if epoch == Some("") {
            return Err(BrokerError::UnrecoverablePosition);
        }
        let keys = vec![self.keys.of(self.publications, channel), self.keys.of(Kind::Meta, channel)];
        let args = vec![
            self.epoch(),
            meta_lifetime(history.meta_ttl, history.ttl),
            epoch.unwrap_or_default().to_owned().into(),
            Bytes::from_static(direction.as_bytes()),
            first.to_string().into(),
            (limit as u64).min(MOST).to_string().into(),
        ];
        let reply = shard.call(&Call::script(&self.scripts.read, keys, args)).await?;
        self.answer(&reply, |answer| answer.slice(direction == "f"))?
    }

    pub(super) async fn forget(&self, channel: &str) -> Result<(), BrokerError> {
        let shard = self.pool.shard(channel)?;
        self.settle(&shard).await?;
        let key = self.keys.of(self.publications, channel);
        let mut forget = cmd("UNLINK");
        forget.arg(&*key);
        shard.call(&Call::command(key, forget)).await?;
        Ok(())
    }

    /// Finds out about the kind of the servers, if names depend on it.
    async fn settle(&self, shard: &Shard) -> Result<(), Error> {
        if self.keys.is_shared() {
            self.keys.settle(shard.is_cluster().await?);
        }
        Ok(())
    }

    /// The command that reaches the subscribers of a shard. Names are made afterwards.
    async fn sender(&self, shard: &Shard) -> Result<&'static [u8], Error> {
        let cluster = shard.is_cluster().await?;
        self.keys.settle(cluster);
        Ok(if cluster && !self.keys.is_shared() { b"SPUBLISH" } else { b"PUBLISH" })
    }

    fn unstored(&self, event: &Event) -> Bytes {
        let message =
            if self.keys.is_shared() { centrifugo::unstored(event) } else { message::unstored(event) };
        message.into()
    }

    /// Reads an answer, whose life is noted first.
    fn answer<T>(
        &self,
        reply: &Reply,
        part: impl FnOnce(&Answer<'_>) -> Option<T>,
    ) -> Result<T, BrokerError> {
        let answer = Answer::read(&reply.value, &reply.lives, self.keys.is_shared());
        let read = answer.as_ref().and_then(part);
        read.ok_or_else(|| Error::unexpected(&"script", "not what the script returns").into())
    }

    /// The name of a stream, if one has to be made.
    fn epoch(&self) -> Bytes {
        if holds(Fault::ConstantEpoch) {
            return Bytes::from_static(b"0000000000000000");
        }
        format!("{:016x}", self.entropy.number()).into()
    }
}

/// The acknowledgement of [`Fault::FalseAck`].
fn never_stored() -> Receipt {
    let stream = StreamId { incarnation: "none".into(), epoch: "none".into() };
    Receipt::Stored(Place { stream, offset: 1 })
}

/// Offset and epoch stay at least as long as the publications.
fn meta_lifetime(meta: Duration, publications: Duration) -> Bytes {
    millis(if meta.is_zero() { META_TTL } else { meta }.max(publications))
}

fn millis(time: Duration) -> Bytes {
    // Redis adds it to the present time, in 63 bits.
    time.as_millis().clamp(1, 1 << 52).to_string().into()
}

//! Presence in Redis: who is in a channel, on any node.
//!
//! Every entry has an end of its own, by the clock of the server: those of a node that was killed are gone after the
//! time to live, and the clocks of nodes do not matter. All keys of a channel are in one hash slot.
//!
//! ```text
//! sorted sets  x: end by client   e: entry by client   u: user by client   n: number of clients by user
//! hash fields  f: entry by client   g: user by client, each field with its end
//! ```
//!
//! `u`, `n` and `g` are there with [`PresenceConfig::user_mapping`]. With [`Layout::Centrifugo`] it is
//! `.presence.expire.`, `.presence.data.`, `.presence.user.expire.` and `.presence.user.clients.`.

mod scripts;

use self::scripts::{FIELDS, Names, SHARED, SORTED, Scripts};
use super::config::{Config, ConfigError, Layout};
use super::counters::{Counts, bump};
use super::error::Error;
use super::keys::Keys;
use super::pool::{Pool, StartError};
use super::script::{Call, Script};
use crate::codec;
use bytes::Bytes;
use parking_lot::Mutex;
use redis::{Value, cmd};
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::presence::{Member, Members, Presence, PresenceError, PresenceStats};
use spinward::id::ClientId;
use spinward::publication::ClientInfo;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error as ThisError;
use tokio::task::JoinSet;

/// Clients of one call. A script holds up everything else on its server.
const BATCH: usize = 128;

/// Calls of one refresh that wait for their answers at once.
const IN_FLIGHT: usize = 64;

/// Part of the time to live after which entries are refreshed: 27 s of 60 s, as in Centrifugo.
const REFRESH: f64 = 0.45;

/// Settings of presence.
#[derive(Clone, Debug)]
pub struct PresenceConfig {
    /// Time that an entry lives without being refreshed (`presence_ttl`), from one second on.
    pub time_to_live: Duration,
    /// Lets the server end the fields of hashes (`presence_hash_field_ttl`), in place of a sorted set that scripts look
    /// through. It takes Redis 7.4 or Valkey 9. All nodes need the same value.
    pub hash_field_ttl: bool,
    /// Keeps the user of each client (`presence_user_mapping`), so that numbers are counted by the server, where
    /// otherwise all entries are read.
    pub user_mapping: bool,
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self { time_to_live: Duration::from_secs(60), hash_field_ttl: false, user_mapping: false }
    }
}

/// Presence cannot be kept with these settings.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum PresenceSetupError {
    /// The settings of the connection.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Less than a second.
    #[error("`presence_ttl` is shorter than a second")]
    TimeToLive,
    /// The servers of the shard with this number, from 1, do not know `HPEXPIRE`.
    #[error(
        "`presence_hash_field_ttl` needs Redis 7.4 or Valkey 9, and shard {0} is older: update it, or remove the option"
    )]
    NoFieldTtl(usize),
}

/// A presence store in Redis.
pub struct PresenceStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Mutex<State>,
    keys: Keys,
    prefix: String,
    config: PresenceConfig,
    scripts: &'static Scripts,
}

enum State {
    /// Not made on a runtime: connects with the first call.
    Idle(Box<Config>),
    Open(Arc<Pool>),
    Closed,
}

impl PresenceStore {
    /// A store with connections of its own. It connects in the background if this is called on a runtime of tokio, and
    /// with the first call otherwise.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn new(config: Config, presence: PresenceConfig) -> Result<Self, PresenceSetupError> {
        config.check()?;
        if presence.time_to_live < Duration::from_secs(1) {
            return Err(PresenceSetupError::TimeToLive);
        }
        let inner = Inner {
            keys: Keys::new(&config.prefix),
            prefix: config.prefix.clone(),
            scripts: match config.layout {
                Layout::Centrifugo => &SHARED,
                Layout::Spinward if presence.hash_field_ttl => &FIELDS,
                Layout::Spinward => &SORTED,
            },
            config: presence,
            pool: Mutex::new(State::Idle(Box::new(config))),
        };
        // Without a runtime, the first call tries again on its own.
        let _ = inner.pool();
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Asks each shard for what the settings need, for the start of a server. A shard that does not answer is not an
    /// error here: [`Presence::health`] tells.
    ///
    /// # Errors
    /// [`PresenceSetupError::NoFieldTtl`].
    pub async fn check(&self) -> Result<(), PresenceSetupError> {
        if !self.inner.config.hash_field_ttl {
            return Ok(());
        }
        let Ok(pool) = self.inner.pool() else { return Ok(()) };
        let mut question = cmd("COMMAND");
        question.arg("INFO").arg("HPEXPIRE");
        for (index, shard) in pool.shards().iter().enumerate() {
            let answer = shard.call(&Call::command(Bytes::from_static(b"check"), question.clone())).await;
            match answer.map(|reply| reply.value) {
                // A list with nothing for a command that is not known.
                Ok(Value::Array(list)) if list.iter().all(|one| matches!(one, Value::Nil)) => {
                    return Err(PresenceSetupError::NoFieldTtl(index + 1));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "Redis was not asked for the expiry of hash fields"),
            }
        }
        Ok(())
    }

    /// Counts for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.pool().map(|pool| pool.counters().counts()).unwrap_or_default()
    }
}

impl Inner {
    fn pool(&self) -> Result<Arc<Pool>, Error> {
        let mut state = self.pool.lock();
        let config = match &*state {
            State::Open(pool) => return Ok(Arc::clone(pool)),
            State::Closed => return Err(Error::Closed),
            State::Idle(config) => config,
        };
        let pool = Arc::new(Pool::start(config).map_err(|error| match error {
            StartError::NoRuntime(error) => error,
            // It was checked.
            StartError::Config(_) => Error::Closed,
        })?);
        *state = State::Open(Arc::clone(&pool));
        Ok(pool)
    }

    /// Runs a script on the keys of a channel.
    async fn run(&self, script: &'static Script, channel: &str, args: Vec<Bytes>) -> Result<Value, Failure> {
        let pool = self.pool()?;
        let shard = pool.shard(channel)?;
        let keys = match &self.scripts.keys {
            Names::Letters(letters) => {
                letters.iter().map(|letter| self.keys.with(*letter, channel, channel)).collect()
            }
            Names::Words(words) => {
                // The braces are there in clusters only.
                let (open, close) = if shard.is_cluster().await? { ("{", "}") } else { ("", "") };
                let name = |word| format!("{}{word}{open}{channel}{close}", self.prefix).into();
                words.iter().map(name).collect()
            }
        };
        match shard.call(&Call::script(script, keys, args)).await {
            Ok(reply) => Ok(reply.value),
            Err(error) => Err(Failure::of(error, self.config.hash_field_ttl)),
        }
    }

    /// True with the layout of Centrifugo.
    const fn shared(&self) -> bool {
        matches!(self.scripts.keys, Names::Words(_))
    }

    /// Arguments that scripts begin with: time to live and user mapping.
    fn arguments(&self) -> Vec<Bytes> {
        let life = u64::try_from(self.config.time_to_live.as_millis()).unwrap_or(u64::MAX);
        let flag = |is| Bytes::from_static(if is { b"1" } else { b"0" });
        let mut arguments = vec![life.to_string().into(), flag(self.config.user_mapping)];
        if self.shared() {
            arguments.push(flag(self.config.hash_field_ttl));
        }
        arguments
    }

    async fn add(&self, channel: &str, members: &[(String, Arc<ClientInfo>)]) -> Result<(), Failure> {
        let mut args = self.arguments();
        for (client, info) in members {
            let user = Bytes::copy_from_slice(info.user.as_bytes());
            args.extend([client.clone().into(), user, codec::info(info).into()]);
        }
        self.run(&self.scripts.add, channel, args).await.map(drop)
    }

    /// Extends the life of entries of a channel, and adds those that are missing.
    async fn refresh(&self, channel: &str, members: &[(String, Arc<ClientInfo>)]) -> Result<(), Failure> {
        let mut args = self.arguments();
        for (client, info) in members {
            args.push(client.clone().into());
            if self.shared() {
                args.push(Bytes::copy_from_slice(info.user.as_bytes()));
            }
        }
        let Value::Array(missing) = self.run(&self.scripts.refresh, channel, args).await? else {
            return Err(Failure::Unexpected("not a list of positions"));
        };
        let missing = missing.iter().filter_map(|position| match position {
            Value::Int(position) => members.get(usize::try_from(*position).ok()?).cloned(),
            _ => None,
        });
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() { Ok(()) } else { self.add(channel, &missing).await }
    }

    async fn members(&self, channel: &str) -> Result<Vec<Arc<ClientInfo>>, Failure> {
        let Value::Array(entries) = self.run(&self.scripts.members, channel, self.arguments()).await? else {
            return Err(Failure::Unexpected("not a list of entries"));
        };
        let mut members = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Value::BulkString(bytes) => match codec::read_info(bytes.into()) {
                    Ok(info) => members.push(Arc::new(info)),
                    // Of a later version, or not of a node at all.
                    Err(_) => bump(&self.pool()?.counters().malformed),
                },
                _ => return Err(Failure::Unexpected("an entry that is no bytes")),
            }
        }
        Ok(members)
    }

    async fn stats(&self, channel: &str) -> Result<PresenceStats, Failure> {
        if let Some(script) = self.scripts.stats.as_ref().filter(|_| self.config.user_mapping) {
            let answer = self.run(script, channel, Vec::new()).await?;
            let counted = match &answer {
                Value::Array(numbers) => match &**numbers {
                    [Value::Int(clients), Value::Int(users)] => Some((*clients, *users)),
                    _ => None,
                },
                _ => None,
            };
            let (clients, users) = counted.ok_or(Failure::Unexpected("not two numbers"))?;
            // Negative: a node without the mapping has added some.
            if let (Ok(clients), Ok(users)) = (u32::try_from(clients), u32::try_from(users)) {
                return Ok(PresenceStats { clients, users });
            }
        }
        let members = self.members(channel).await?;
        let users: HashSet<&str> = members.iter().map(|info| &*info.user).collect();
        let number = |length| u32::try_from(length).unwrap_or(u32::MAX);
        Ok(PresenceStats { clients: number(members.len()), users: number(users.len()) })
    }
}

impl Presence for PresenceStore {
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>> {
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        later(async move { inner.add(&channel, &[(client.to_string(), info)]).await })
    }

    fn remove(&self, channel: &str, client: ClientId, user: &str) -> Answer<Result<(), PresenceError>> {
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        let mut args = if inner.shared() { inner.arguments() } else { Vec::new() };
        args.push(client.to_string().into());
        if inner.shared() {
            args.push(Bytes::copy_from_slice(user.as_bytes()));
        }
        later(async move { inner.run(&inner.scripts.remove, &channel, args).await.map(drop) })
    }

    fn members(&self, channel: &str) -> Answer<Result<Members, PresenceError>> {
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        later(async move { inner.members(&channel).await.map(Members::from) })
    }

    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        later(async move { inner.stats(&channel).await })
    }

    fn refresh_interval(&self) -> Option<Duration> {
        Some(self.inner.config.time_to_live.mul_f64(REFRESH))
    }

    fn refresh(&self, members: &[Member]) -> Answer<Result<(), PresenceError>> {
        let mut channels: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
        for Member { channel, client, info } in members {
            let of = channels.entry(Arc::clone(channel)).or_default();
            of.push((client.to_string(), Arc::clone(info)));
        }
        let inner = Arc::clone(&self.inner);
        later(async move {
            let mut calls: JoinSet<Result<(), Failure>> = JoinSet::new();
            let mut result = Ok(());
            let mut note = |done: Result<Result<(), Failure>, tokio::task::JoinError>| {
                if let Ok(Err(error)) = done {
                    result = Err(error);
                }
            };
            for (channel, members) in channels {
                for batch in members.chunks(BATCH) {
                    while calls.len() >= IN_FLIGHT {
                        calls.join_next().await.map(&mut note);
                    }
                    let (inner, channel, batch) = (Arc::clone(&inner), Arc::clone(&channel), batch.to_vec());
                    calls.spawn(async move { inner.refresh(&channel, &batch).await });
                }
            }
            while let Some(done) = calls.join_next().await {
                note(done);
            }
            result
        })
    }

    fn health(&self) -> EngineHealth {
        match self.inner.pool() {
            Ok(pool) => pool.health(),
            Err(Error::NoRuntime) => EngineHealth::Down { reason: "not connected yet".to_owned() },
            Err(error) => EngineHealth::Down { reason: error.to_string() },
        }
    }

    fn close(&self) -> Answer<()> {
        if let State::Open(pool) = std::mem::replace(&mut *self.inner.pool.lock(), State::Closed) {
            pool.close();
        }
        Answer::Now(())
    }
}

/// A call that failed.
#[derive(Debug, ThisError)]
enum Failure {
    #[error(transparent)]
    Call(#[from] Error),
    #[error("unexpected answer from Redis: {0}")]
    Unexpected(&'static str),
    #[error("`presence_hash_field_ttl` needs Redis 7.4 or Valkey 9: {0}")]
    NoFieldTtl(#[source] Error),
}

impl Failure {
    fn of(error: Error, hash_field_ttl: bool) -> Self {
        let unknown = matches!(&error, Error::Refused { detail, .. }
            if detail.to_ascii_lowercase().contains("unknown") && detail.to_ascii_lowercase().contains("command"));
        if hash_field_ttl && unknown { Self::NoFieldTtl(error) } else { Self::Call(error) }
    }
}

fn later<T: Send + 'static>(
    future: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Answer<Result<T, PresenceError>> {
    Answer::later(async move { future.await.map_err(|failure| PresenceError(Box::new(failure))) })
}

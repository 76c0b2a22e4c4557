//! The presence store.

use super::config::PresenceConfig;
use super::counters::Counts;
use super::error::Error;
use super::maintenance::{Maintenance, Task};
use super::rows::column;
use super::schema::Part;
use super::store::Store;
use crate::backoff::Backoff;
use crate::codec;
use crate::fault::{Fault, holds};
use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::presence::{Member, Members, Presence as PresenceTrait, PresenceError, PresenceStats};
use spinward::id::ClientId;
use spinward::publication::ClientInfo;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Most entries of one statement.
const BATCH: usize = 1_000;

/// Interval at which the server is asked whether it is there.
const PULSE: Duration = Duration::from_secs(2);

/// A presence store on PostgreSQL.
///
/// Entries are rows of a table that is not written to the log of the server: after a crash or a fail-over it is empty,
/// and is filled again by the next refreshes. Entries expire by the clock of the server.
pub struct Presence {
    inner: Arc<Inner>,
    tasks: Mutex<JoinSet<()>>,
}

struct Inner {
    config: PresenceConfig,
    store: Arc<Store>,
    put: String,
    remove: String,
    members: String,
    stats: String,
}

/// An entry to write.
struct Entry {
    channel: Arc<str>,
    client: String,
    info: Arc<ClientInfo>,
}

impl Presence {
    /// A presence store that connects in the background.
    ///
    /// # Errors
    /// An option is not valid, or there is no tokio runtime.
    pub fn new(config: PresenceConfig) -> Result<Self, Error> {
        config.check()?;
        let runtime = tokio::runtime::Handle::try_current()?;
        let prefix = config.connection.table_prefix.clone();
        let store = Store::new(config.connection.clone(), Part::presence(), "")?;
        let inner = Arc::new(Inner {
            // In the order of the key, so that two nodes lock rows in the same order.
            put: format!(
                "INSERT INTO {prefix}_presence (channel, client, usr, info, until) \
                 SELECT DISTINCT ON (c, k) c, k, u, i, clock_timestamp() + $5::bigint * interval '1 millisecond' \
                 FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[]) AS entry (c, k, u, i) ORDER BY c, k \
                 ON CONFLICT (channel, client) DO UPDATE \
                 SET usr = EXCLUDED.usr, info = EXCLUDED.info, until = EXCLUDED.until"
            ),
            remove: format!("DELETE FROM {prefix}_presence WHERE channel = $1 AND client = $2"),
            members: format!(
                "SELECT info FROM {prefix}_presence WHERE channel = $1 AND until > clock_timestamp()"
            ),
            stats: format!(
                "SELECT count(*), count(DISTINCT usr) FROM {prefix}_presence \
                 WHERE channel = $1 AND until > clock_timestamp()"
            ),
            config,
            store,
        });
        let removal = Task::Batches(format!(
            "DELETE FROM {prefix}_presence WHERE ctid = ANY (ARRAY(SELECT ctid FROM {prefix}_presence \
             WHERE until < clock_timestamp() LIMIT 10000 FOR UPDATE SKIP LOCKED))"
        ));
        let maintenance = Maintenance {
            store: Arc::clone(&inner.store),
            interval: inner.config.cleanup_interval,
            tasks: vec![removal],
        };
        let mut tasks = JoinSet::new();
        let alive = Arc::downgrade(&inner);
        tasks.spawn_on(maintenance.run(move || alive.strong_count() == 0), &runtime);
        tasks.spawn_on(pulse(Arc::downgrade(&inner)), &runtime);
        Ok(Self { inner, tasks: Mutex::new(tasks) })
    }

    /// Counters since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.store.counters.counts()
    }
}

/// Prepares the tables, then asks now and then whether the server is there.
async fn pulse(inner: Weak<Inner>) {
    let mut backoff = Backoff::default();
    while let Some(inner) = inner.upgrade() {
        let asked = async {
            inner.store.prepare().await?;
            inner.store.query("SELECT 1", &[]).await
        };
        let pause = match asked.await {
            Ok(_) => {
                inner.store.up();
                backoff.reset();
                PULSE
            }
            Err(error) => {
                inner.store.down(&error);
                backoff.pause()
            }
        };
        drop(inner);
        sleep(pause).await;
    }
}

impl Inner {
    async fn put(&self, entries: &[Entry]) -> Result<(), Error> {
        let ttl = i64::try_from(self.config.ttl.as_millis()).unwrap_or(i64::MAX);
        for entries in entries.chunks(BATCH) {
            let channels: Vec<_> = entries.iter().map(|entry| entry.channel.as_bytes()).collect();
            let clients: Vec<_> = entries.iter().map(|entry| entry.client.as_bytes()).collect();
            let users: Vec<_> = entries.iter().map(|entry| entry.info.user.as_bytes()).collect();
            let infos: Vec<_> = entries.iter().map(|entry| codec::info(&entry.info)).collect();
            self.store.query(&self.put, &[&channels, &clients, &users, &infos, &ttl]).await?;
        }
        Ok(())
    }
}

impl PresenceTrait for Presence {
    fn add(
        &self,
        channel: &str,
        client: ClientId,
        info: Arc<ClientInfo>,
    ) -> Answer<Result<(), PresenceError>> {
        let inner = Arc::clone(&self.inner);
        let entry = Entry { channel: channel.into(), client: client.to_string(), info };
        Answer::later(async move { Ok(inner.put(&[entry]).await?) })
    }

    fn remove(&self, channel: &str, client: ClientId, _: &str) -> Answer<Result<(), PresenceError>> {
        let (inner, channel, client) = (Arc::clone(&self.inner), channel.to_owned(), client.to_string());
        Answer::later(async move {
            let (channel, client) = (channel.as_bytes(), client.as_bytes());
            Ok(inner.store.query(&inner.remove, &[&channel, &client]).await.map(drop)?)
        })
    }

    fn members(&self, channel: &str) -> Answer<Result<Members, PresenceError>> {
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        Answer::later(async move {
            let channel = channel.as_bytes();
            let rows = inner.store.query(&inner.members, &[&channel]).await?;
            let mut members = Vec::with_capacity(rows.len());
            for row in &rows {
                let info: Vec<u8> = column(row, 0)?;
                let info = codec::read_info(info.into()).map_err(|error| Error::Answer(error.to_string()))?;
                members.push(Arc::new(info));
            }
            Ok(members.into())
        })
    }

    fn stats(&self, channel: &str) -> Answer<Result<PresenceStats, PresenceError>> {
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        Answer::later(async move {
            let channel = channel.as_bytes();
            let rows = inner.store.query(&inner.stats, &[&channel]).await?;
            let row = rows.first().ok_or_else(|| Error::Answer("no row".to_owned()))?;
            let count = |index| Ok::<_, Error>(u32::try_from(column::<i64>(row, index)?).unwrap_or(u32::MAX));
            Ok(PresenceStats { clients: count(0)?, users: count(1)? })
        })
    }

    fn refresh_interval(&self) -> Option<Duration> {
        Some(self.inner.config.ttl / 3)
    }

    fn refresh(&self, members: &[Member]) -> Answer<Result<(), PresenceError>> {
        if holds(Fault::StuckPresence) {
            return Answer::Now(Ok(()));
        }
        let inner = Arc::clone(&self.inner);
        let entry = |member: &Member| Entry {
            channel: Arc::clone(&member.channel),
            client: member.client.to_string(),
            info: Arc::clone(&member.info),
        };
        let entries: Vec<_> = members.iter().map(entry).collect();
        Answer::later(async move { Ok(inner.put(&entries).await?) })
    }

    fn health(&self) -> EngineHealth {
        self.inner.store.health(PULSE)
    }

    fn close(&self) -> Answer<()> {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let inner = Arc::clone(&self.inner);
        Answer::later(async move {
            tasks.shutdown().await;
            inner.store.close();
        })
    }
}

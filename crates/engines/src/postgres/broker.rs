//! The broker.

use super::config::Config;
use super::counters::Counts;
use super::error::Error;
use super::lives::Lives;
use super::maintenance::{Maintenance, Task};
use super::reader::{Reader, Statements};
use super::rows::{self, column, number};
use super::schema::Part;
use super::store::Store;
use super::wanted::Wanted;
use bytes::Bytes;
use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::broker::{
    Broker as BrokerTrait, BrokerError, Guarantee, HistoryOptions, Interest, JoinLeave, Limit, Place,
    PublishOptions, Read, Receipt, Sink, Slice, StreamId,
};
use spinward::publication::ClientInfo;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;

/// A broker on PostgreSQL.
///
/// Streams are rows of a table that is partitioned by day. An application publishes in its own transaction by the
/// function `cf_stream_publish`; what it publishes is delivered once the transaction has committed. Deliveries are
/// gapless: a node reads what was committed since it last read, also after it was away.
pub struct Broker {
    inner: Arc<Inner>,
    tasks: Mutex<JoinSet<()>>,
}

struct Inner {
    config: Config,
    store: Arc<Store>,
    lives: Arc<Lives>,
    wanted: Arc<Wanted>,
    wake: Arc<Notify>,
    sink: OnceLock<Sink>,
    put: String,
    read: String,
    forget: String,
}

impl Broker {
    /// A broker that is not connected yet.
    ///
    /// # Errors
    /// An option is not valid.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        let prefix = config.connection.table_prefix.clone();
        let check = format!("SELECT {prefix}_stream_check()");
        let store = Store::new(config.connection.clone(), Part::stream(config.num_shards), &check)?;
        let inner = Inner {
            put: format!(
                "SELECT r_top, r_epoch, r_suppressed, r_incarnation FROM {prefix}_stream_put(\
                 $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
            ),
            read: format!("SELECT * FROM {prefix}_stream_read($1, $2, $3, $4, $5, $6, $7, $8)"),
            forget: format!("SELECT 1 FROM {prefix}_stream_forget($1)"),
            config,
            store,
            lives: Arc::default(),
            wanted: Arc::default(),
            wake: Arc::default(),
            sink: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner), tasks: Mutex::default() })
    }

    /// Counters since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.store.counters.counts()
    }

    fn begin(&self, sink: Sink) -> Result<(), Error> {
        let runtime = tokio::runtime::Handle::try_current()?;
        let inner = &self.inner;
        inner.sink.set(sink.clone()).map_err(|_| Error::Started)?;
        let Config { connection, outbox, .. } = &inner.config;
        let reader = Arc::new(Reader {
            store: Arc::clone(&inner.store),
            lives: Arc::clone(&inner.lives),
            wanted: Arc::clone(&inner.wanted),
            sink: sink.clone(),
            wake: Arc::clone(&inner.wake),
            poll_interval: outbox.poll_interval,
            batch: i64::from(outbox.batch_size),
            shards: inner.config.num_shards,
            kept: days(inner.keep_days()),
            statements: Statements::new(&connection.table_prefix),
        });
        let maintenance = Maintenance {
            store: Arc::clone(&inner.store),
            interval: inner.config.cleanup_interval,
            tasks: inner.cleanups(),
        };
        let mut tasks = self.tasks.lock();
        tasks.spawn_on(Arc::clone(&reader).run(), &runtime);
        tasks.spawn_on(Arc::clone(&reader).confirm(), &runtime);
        if connection.use_notify && !connection.notify_dsn.is_empty() {
            tasks.spawn_on(reader.listen(), &runtime);
        }
        tasks.spawn_on(maintenance.run(move || sink.is_closed()), &runtime);
        Ok(())
    }
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 3_600)
}

impl Inner {
    /// Days that partitions are kept after their own.
    fn keep_days(&self) -> u32 {
        let retention = self.config.stream_retention.as_secs().div_ceil(24 * 3_600);
        self.config.partition_retention_days.max(u32::try_from(retention).unwrap_or(u32::MAX))
    }

    fn cleanups(&self) -> Vec<Task> {
        let prefix = &self.config.connection.table_prefix;
        let mut tasks = Task::of_log(
            prefix,
            "stream",
            self.config.partition_lookahead_days,
            self.keep_days(),
            self.config.connection.use_notify,
        );
        for table in ["top", "key"] {
            tasks.push(Task::Batches(format!(
                "DELETE FROM {prefix}_stream_{table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {prefix}_stream_{table} \
                 WHERE until < clock_timestamp() LIMIT 1000 FOR UPDATE SKIP LOCKED))"
            )));
        }
        tasks.push(Task::Oldest(format!(
            "SELECT (extract(epoch FROM max(clock_timestamp() - a.xact_start)) * 1000)::bigint \
             FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
             WHERE l.relation = '{prefix}_stream_log'::regclass AND l.mode = 'RowExclusiveLock'"
        )));
        tasks
    }

    fn place(&self, question: u64, incarnation: &str, epoch: &str, offset: u64) -> Place {
        let (incarnation, changed) = self.lives.heard(question, incarnation, self.sink.get());
        if changed {
            self.store.renew_pool();
        }
        Place { stream: StreamId { incarnation, epoch: epoch.into() }, offset }
    }

    async fn put(&self, channel: &str, row: New) -> Result<Receipt, Error> {
        let question = self.lives.ask();
        let info = row.info.as_deref();
        let client = info.map(|info| info.client.as_bytes());
        let user = info.map(|info| info.user.as_bytes());
        let conn_info = info.map(|info| &*info.conn_info);
        let chan_info = info.map(|info| &*info.chan_info);
        let tags: Option<Vec<&[u8]>> =
            row.options.tags.as_ref().map(|tags| {
                tags.iter().flat_map(|(key, value)| [key.as_bytes(), value.as_bytes()]).collect()
            });
        let PublishOptions { history, version, version_epoch, idempotency_key, delta, .. } = &row.options;
        let version = i64::try_from(*version).map_err(|_| Error::TooLarge("the version"))?;
        let size = history.enabled().then(|| i64::try_from(history.size).unwrap_or(i64::MAX));
        let (ttl, meta_ttl) = (millis(history.ttl), millis(history.meta_ttl));
        let key_ttl = millis(self.config.idempotent_result_ttl);
        let (version_epoch, key) = (version_epoch.as_bytes(), idempotency_key.as_bytes());
        let (channel, data) = (channel.as_bytes(), row.data.as_deref());
        let values: [&(dyn ToSql + Sync); 16] = [
            &channel,
            &row.kind,
            &data,
            &tags,
            &size,
            &ttl,
            &meta_ttl,
            &version,
            &version_epoch,
            &key,
            &key_ttl,
            delta,
            &client,
            &user,
            &conn_info,
            &chan_info,
        ];
        let rows = self.store.query(&self.put, &values).await?;
        self.wake.notify_one();
        let row = rows.first().ok_or_else(|| Error::Answer("no row".to_owned()))?;
        let place = match column::<Option<&str>>(row, 1)? {
            Some(epoch) => Some(self.place(question, column(row, 3)?, epoch, number(row, 0)?)),
            None => None,
        };
        Ok(match (column::<Option<&str>>(row, 2)?, place) {
            (Some(_), place) => Receipt::Suppressed(place),
            (None, Some(place)) => Receipt::Stored(place),
            (None, None) => Receipt::Sent,
        })
    }

    async fn slice(&self, channel: &str, read: Read, history: HistoryOptions) -> Result<Slice, BrokerError> {
        let question = self.lives.ask();
        let since = read.since();
        let epoch = since.and_then(|since| since.epoch.clone());
        let offset = since.map_or(0, |since| i64::try_from(since.offset).unwrap_or(i64::MAX));
        let (after, before, reverse, limit) = match &read {
            Read::Top => (0, i64::MAX, false, 0),
            Read::Oldest { limit } => (0, i64::MAX, false, most(*limit)),
            Read::Latest { limit } => (0, i64::MAX, true, most(*limit)),
            Read::After { limit, .. } => (offset, i64::MAX, false, most(*limit)),
            Read::Before { limit, .. } => (0, offset, true, most(*limit)),
        };
        let (meta_ttl, retention) = (millis(history.meta_ttl), millis(self.config.stream_retention));
        let (channel, asked) = (channel.as_bytes(), epoch.as_deref());
        let values: [&(dyn ToSql + Sync); 8] =
            [&channel, &asked, &after, &before, &reverse, &limit, &meta_ttl, &retention];
        let rows = self.store.query(&self.read, &values).await?;
        let first = rows.first().ok_or_else(|| Error::Answer("no row".to_owned()))?;
        let present: &str = column(first, 1)?;
        let top = self.place(question, column(first, 0)?, present, number(first, 2)?);
        if epoch.is_some_and(|epoch| *epoch != *present) {
            return Err(BrokerError::UnrecoverablePosition);
        }
        let mut publications = Vec::with_capacity(rows.len());
        for row in &rows {
            if column::<Option<i64>>(row, 3)?.is_some() {
                publications.push(Arc::new(rows::publication(row, 3)?));
            }
        }
        Ok(Slice { publications, top })
    }
}

/// A row to write.
struct New {
    kind: i16,
    data: Option<Bytes>,
    info: Option<Arc<ClientInfo>>,
    options: PublishOptions,
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).min(MOST_MILLIS)
}

/// A hundred years: the server cannot add much more to a date.
const MOST_MILLIS: i64 = 100 * 366 * 24 * 3_600 * 1_000;

fn most(limit: Limit) -> i64 {
    i64::try_from(limit.count()).unwrap_or(i64::MAX)
}

impl BrokerTrait for Broker {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn start(&self, sink: Sink) -> Result<(), BrokerError> {
        Ok(self.begin(sink)?)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Gapless
    }

    fn incarnation(&self, _: &str) -> Arc<str> {
        self.inner.lives.present()
    }

    fn publish(
        &self,
        channel: &str,
        data: Bytes,
        options: PublishOptions,
    ) -> Answer<Result<Receipt, BrokerError>> {
        if !self.inner.config.binary_data && std::str::from_utf8(&data).is_err() {
            return Answer::Now(Err(Error::NotText.into()));
        }
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        let row = New { kind: rows::PUBLICATION, data: Some(data), info: options.info.clone(), options };
        Answer::later(async move { Ok(inner.put(&channel, row).await?) })
    }

    fn announce(&self, channel: &str, change: JoinLeave) -> Answer<Result<(), BrokerError>> {
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        let (kind, info) = match change {
            JoinLeave::Join(info) => (rows::JOIN, info),
            JoinLeave::Leave(info) => (rows::LEAVE, info),
        };
        let row = New { kind, data: None, info: Some(info), options: PublishOptions::default() };
        Answer::later(async move { Ok(inner.put(&channel, row).await.map(drop)?) })
    }

    fn read(&self, channel: &str, read: Read, history: HistoryOptions) -> Answer<Result<Slice, BrokerError>> {
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        Answer::later(async move { inner.slice(&channel, read, history).await })
    }

    fn forget(&self, channel: &str) -> Answer<Result<(), BrokerError>> {
        let (inner, channel) = (Arc::clone(&self.inner), channel.to_owned());
        Answer::later(async move {
            let channel = channel.as_bytes();
            Ok(inner.store.query(&inner.forget, &[&channel]).await.map(drop)?)
        })
    }

    fn interest(&self, changes: &[(Arc<str>, Interest)]) {
        let unwanted = self.inner.wanted.change(changes);
        if let Some(sink) = self.inner.sink.get() {
            unwanted.iter().for_each(|channel| sink.interest(channel, Interest::Unwanted, Ok(())));
        }
    }

    fn health(&self) -> EngineHealth {
        self.inner.store.health(self.inner.config.outbox.poll_interval)
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

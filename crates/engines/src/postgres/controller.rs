//! The controller.

use super::config::ControllerConfig;
use super::counters::{Counters, Counts};
use super::cursor::{Cursor, Seen, Snapshot};
use super::error::Error;
use super::maintenance::{Maintenance, Task};
use super::pages::Pages;
use super::rows::{column, number};
use super::schema::Part;
use super::session::Session;
use super::store::{Store, answer};
use crate::backoff::Backoff;
use bytes::Bytes;
use parking_lot::Mutex;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::controller::{
    ControlError, ControlSink, Controller as ControllerTrait, MAX_MESSAGE, To,
};
use spinward::id::NodeId;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;

/// Most messages that wait to be sent.
const SENDING: usize = 256;

/// A controller on PostgreSQL.
///
/// Messages are rows of a table that each node reads. Nothing that is older than a minute is delivered.
pub struct Controller {
    inner: Arc<Inner>,
    tasks: Mutex<JoinSet<()>>,
}

struct Inner {
    config: ControllerConfig,
    store: Arc<Store>,
    wake: Arc<Notify>,
    node: OnceLock<String>,
    sending: Arc<Semaphore>,
    /// The node is gone.
    over: AtomicBool,
    send: String,
    probe: String,
    base: String,
    pages: [String; 2],
    channel: String,
}

impl Controller {
    /// A controller that is not connected yet.
    ///
    /// # Errors
    /// An option is not valid.
    pub fn new(config: ControllerConfig) -> Result<Self, Error> {
        config.check()?;
        let prefix = config.connection.table_prefix.clone();
        let store = Store::new(config.connection.clone(), Part::controller(), "")?;
        let rows = format!(
            "SELECT id, xid::text::bigint, data, sender <> $1 AND (recipient IS NULL OR recipient = $1) \
             AND at > clock_timestamp() - interval '1 minute' FROM {prefix}_controller_log"
        );
        let head = "NULL::bigint AS id, NULL::bigint AS xid, NULL::bytea AS data, NULL::boolean AS ours";
        let inner = Inner {
            send: format!("SELECT {prefix}_controller_send($1, $2, $3)"),
            probe: format!(
                "SELECT pg_current_snapshot()::text, \
                 CASE WHEN is_called THEN last_value ELSE 0 END FROM {prefix}_controller_id"
            ),
            base: format!(
                "SELECT pg_current_snapshot()::text, max(xid)::text::bigint, max(id) FROM {prefix}_controller_log"
            ),
            pages: Pages::texts(head, &rows, ""),
            channel: format!("{prefix}_controller"),
            config,
            store,
            wake: Arc::default(),
            node: OnceLock::new(),
            sending: Arc::new(Semaphore::new(SENDING)),
            over: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner), tasks: Mutex::default() })
    }

    /// Counters since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.store.counters.counts()
    }

    fn begin(&self, node: NodeId, sink: ControlSink) -> Result<(), Error> {
        let runtime = tokio::runtime::Handle::try_current()?;
        let inner = &self.inner;
        inner.node.set(node.to_string()).map_err(|_| Error::Started)?;
        let ControllerConfig { connection, .. } = &inner.config;
        let maintenance = Maintenance {
            store: Arc::clone(&inner.store),
            interval: inner.config.partition_cleanup_interval,
            tasks: Task::of_log(
                &connection.table_prefix,
                "controller",
                inner.config.partition_lookahead_days,
                inner.config.partition_retention_days,
                connection.use_notify,
            ),
        };
        let mut tasks = self.tasks.lock();
        tasks.spawn_on(Arc::clone(inner).run(sink), &runtime);
        if connection.use_notify && !connection.notify_dsn.is_empty() {
            tasks.spawn_on(Arc::clone(inner).listen(), &runtime);
        }
        let inner = Arc::clone(inner);
        tasks.spawn_on(maintenance.run(move || inner.over.load(Relaxed)), &runtime);
        Ok(())
    }
}

/// A connection to read by.
struct Link {
    session: Session,
    pages: Pages,
}

impl Inner {
    /// Reads until the node is gone.
    async fn run(self: Arc<Self>, sink: ControlSink) {
        let mut backoff = Backoff::default();
        let mut cursor = None;
        // A node that starts may have missed nothing that is for it.
        let mut served = false;
        loop {
            let Err(error) = self.serve(&sink, &mut cursor, &mut served, &mut backoff).await;
            if matches!(error, Error::Closed) {
                self.over.store(true, Relaxed);
                return;
            }
            self.store.unprepare(&error);
            self.store.down(&error);
            Counters::add(&self.store.counters.reconnects, 1);
            sleep(backoff.pause()).await;
        }
    }

    /// Reads by one connection, until it fails.
    async fn serve(
        &self,
        sink: &ControlSink,
        cursor: &mut Option<Cursor>,
        served: &mut bool,
        backoff: &mut Backoff,
    ) -> Result<Infallible, Error> {
        self.store.prepare().await?;
        let connection = &self.store.connection;
        let listens = connection.use_notify && connection.notify_dsn.is_empty();
        let session = self.store.session(&connection.dsn, Some(Arc::clone(&self.wake))).await?;
        let listen = if listens { format!("; LISTEN {}", self.channel) } else { String::new() };
        let setup = format!("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off{listen}");
        session.client.batch_execute(&setup).await?;
        let probe = session.client.prepare(&self.probe).await?;
        let pages = Pages::prepare(&session.client, &self.pages).await?;
        let link = Link { session, pages };
        let mut first = true;
        loop {
            let row = answer(link.session.client.query_one(&probe, &[])).await?;
            Counters::add(&self.store.counters.polls, 1);
            let (visible, last_id) = (snapshot(&row)?, column::<i64>(&row, 1)?);
            match cursor {
                // The store is another one, or an older one. What it holds is not for this node.
                Some(present) if first && present.highest() > last_id => {
                    *cursor = Some(self.base(&link).await?);
                }
                Some(present) if first => present.reconnected(),
                Some(_) => {}
                None => *cursor = Some(self.base(&link).await?),
            }
            if let Some(cursor) = cursor {
                self.catch_up(&link, cursor, &visible, sink).await?;
            }
            if first && *served && !sink.interrupted() {
                return Err(Error::Closed);
            }
            (first, *served) = (false, true);
            self.store.up();
            backoff.reset();
            let _ = timeout(self.config.poll_interval, self.wake.notified()).await;
            if link.session.client.is_closed() {
                return Err(Error::Connect("the connection was lost".to_owned()));
            }
        }
    }

    async fn base(&self, link: &Link) -> Result<Cursor, Error> {
        let row = answer(link.session.client.query_one(&self.base, &[])).await?;
        let xid: Option<i64> = column(&row, 1)?;
        let id: Option<i64> = column(&row, 2)?;
        let seen = Seen { xid: u64::try_from(xid.unwrap_or(0)).unwrap_or(0), id: id.unwrap_or(0) };
        Ok(Cursor::new(snapshot(&row)?, seen))
    }

    async fn catch_up(
        &self,
        link: &Link,
        cursor: &mut Cursor,
        visible: &Snapshot,
        sink: &ControlSink,
    ) -> Result<(), Error> {
        if !cursor.may_lack(visible) {
            return Ok(());
        }
        let me = self.node.get().map_or(&[][..], String::as_bytes);
        let limit = i64::from(self.config.batch_size);
        loop {
            let rows = link.pages.ask(&link.session.client, &me, &cursor.page(), limit).await?;
            let (head, rows) = rows.split_first().ok_or_else(|| Error::Answer("no row".to_owned()))?;
            cursor.answered(snapshot(head)?);
            for row in rows {
                Counters::add(&self.store.counters.rows, 1);
                // Before it is handed over: at most once.
                cursor.row(column(row, 1)?, number(row, 2)?);
                if column::<bool>(row, 4)? {
                    let message: Vec<u8> = column(row, 3)?;
                    if !sink.ready().await || !sink.receive(message.into()) {
                        return Err(Error::Closed);
                    }
                }
            }
            if i64::try_from(rows.len()).is_ok_and(|count| count < limit) {
                cursor.finished();
                return Ok(());
            }
        }
    }

    async fn listen(self: Arc<Self>) {
        super::store::listen(&self.store, &self.wake, &self.channel, || self.over.load(Relaxed)).await;
    }

    async fn send(&self, to: To, message: Bytes) -> Result<(), Error> {
        let me = self.node.get().ok_or(Error::Closed)?.as_bytes();
        let recipient = match to {
            To::All => None,
            To::Node(node) => Some(node.to_string()),
        };
        let (recipient, message) = (recipient.as_deref().map(str::as_bytes), &*message);
        self.store.query(&self.send, &[&me, &recipient, &message]).await.map(drop)
    }
}

impl ControllerTrait for Controller {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn start(&self, node: NodeId, sink: ControlSink) -> Result<(), ControlError> {
        Ok(self.begin(node, sink)?)
    }

    fn send(&self, to: To, message: Bytes) -> Answer<Result<(), ControlError>> {
        if message.len() > MAX_MESSAGE {
            return Answer::Now(Err(ControlError::TooLong(message.len())));
        }
        let Ok(permit) = Arc::clone(&self.inner.sending).try_acquire_owned() else {
            return Answer::Now(Err(ControlError::Full));
        };
        let inner = Arc::clone(&self.inner);
        Answer::later(async move {
            let _permit = permit;
            Ok(inner.send(to, message).await?)
        })
    }

    fn health(&self) -> EngineHealth {
        self.inner.store.health(self.inner.config.poll_interval)
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

fn snapshot(row: &Row) -> Result<Snapshot, Error> {
    Snapshot::parse(column(row, 0)?).map_err(|error| Error::Answer(error.to_string()))
}

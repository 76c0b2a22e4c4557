//! The reader of a node: looks at the log, and has each shard read what is new.
//!
//! One connection is asked at each interval, by one statement, for what is visible. Shards that may lack something read
//! it by the same connection, each with a place of its own, so that one whose subscribers are behind holds back no
//! other. Places are kept when the connection is lost, and rows stay in the log: nothing is missed.

use super::counters::Counters;
use super::cursor::{Cursor, Seen, Snapshot};
use super::error::Error;
use super::lives::Lives;
use super::pages::Pages;
use super::rows::{self, column, number};
use super::session::Session;
use super::store::{Store, answer};
use super::wanted::Wanted;
use crate::backoff::Backoff;
use crate::fault::{Fault, holds};
use spinward::engine::broker::{BrokerError, Interest, Scope, Sink, StreamId};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;

/// Settings of a reader's connection. Tables are small at first and grow later: a plan that was made for a small one
/// must not stay.
const SETUP: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off";

pub(super) struct Reader {
    pub(super) store: Arc<Store>,
    pub(super) lives: Arc<Lives>,
    pub(super) wanted: Arc<Wanted>,
    pub(super) sink: Sink,
    /// Woken by publishes of this node and by notifications.
    pub(super) wake: Arc<Notify>,
    pub(super) poll_interval: Duration,
    pub(super) batch: i64,
    /// Number of shards that the configuration asks for.
    pub(super) shards: u32,
    /// Time that the log is kept.
    pub(super) kept: Duration,
    pub(super) statements: Statements,
}

/// The columns of a page, in its first row.
const HEAD: &str = "NULL::bigint AS id, NULL::bigint AS xid, NULL::smallint AS kind, NULL::bytea AS channel, \
                    NULL::text AS epoch, NULL::bigint AS top, NULL::bytea AS data, NULL::bytea[] AS tags, \
                    NULL::bytea AS client, NULL::bytea AS usr, NULL::bytea AS conn_info, NULL::bytea AS chan_info, \
                    NULL::bigint AS version, NULL::boolean AS delta, NULL::bigint AS at";

/// Texts of statements.
pub(super) struct Statements {
    probe: String,
    base: String,
    pages: [String; 2],
    renew: String,
    start: String,
    /// Name of the notifications.
    channel: String,
}

impl Statements {
    pub(super) fn new(prefix: &str) -> Self {
        let columns = "data, tags, client, usr, conn_info, chan_info, version, delta, \
                       (extract(epoch FROM at) * 1000)::bigint";
        let rows = format!(
            "SELECT id, xid::text::bigint, kind, channel, epoch, top, {columns} FROM {prefix}_stream_log"
        );
        let life = format!("life || '-' || {prefix}_stream_timeline()");
        Self {
            probe: format!(
                "SELECT {life}, shards, pg_current_snapshot()::text, \
                 (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {prefix}_stream_id), \
                 (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM {prefix}_stream_store"
            ),
            base: format!(
                "SELECT {life}, pg_current_snapshot()::text, \
                 (SELECT max(last.xid::text::bigint) FROM generate_series(0, shards - 1) number, LATERAL \
                 (SELECT xid FROM {prefix}_stream_log WHERE shard = number ORDER BY xid DESC LIMIT 1) last), \
                 (SELECT max(last.id) FROM generate_series(0, shards - 1) number, LATERAL \
                 (SELECT id FROM {prefix}_stream_log WHERE shard = number ORDER BY id DESC LIMIT 1) last) \
                 FROM {prefix}_stream_store"
            ),
            pages: Pages::texts(HEAD, &rows, "shard = $1 AND"),
            renew: format!("SELECT {prefix}_stream_renew(life) FROM {prefix}_stream_store WHERE life = $1"),
            start: format!("SELECT {life}, pg_current_snapshot()::text FROM {prefix}_stream_store"),
            channel: format!("{prefix}_stream"),
        }
    }
}

/// The means by which shards read: a connection, and the snapshot at which it was asked.
#[derive(Clone)]
struct Turn {
    link: Arc<LinkToServer>,
    visible: Snapshot,
    life: Arc<str>,
    /// Time of the server, in milliseconds.
    now: i64,
}

struct LinkToServer {
    session: Session,
    pages: Pages,
    /// Counts connections from 1.
    number: u64,
    /// A shard could not read.
    broken: AtomicBool,
}

/// The shards that read one life.
struct Shards {
    life: Arc<str>,
    turns: watch::Sender<Turn>,
    states: Vec<Arc<ShardState>>,
    /// Dropping it ends them.
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct ShardState {
    /// Number of the connection by which everything was read that was visible at some moment.
    reached: AtomicU64,
    /// Highest id of a row that was read.
    highest: AtomicI64,
}

impl Reader {
    /// Reads until the node is gone.
    pub(super) async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut shards = None;
        let mut connections = 0;
        while !self.sink.is_closed() {
            let Err(error) = self.serve(&mut shards, &mut connections, &mut backoff).await;
            if matches!(error, Error::Closed) {
                return;
            }
            self.store.unprepare(&error);
            self.store.down(&error);
            sleep(backoff.pause()).await;
        }
    }

    /// Reads by one connection, until it fails.
    async fn serve(
        self: &Arc<Self>,
        shards: &mut Option<Shards>,
        connections: &mut u64,
        backoff: &mut Backoff,
    ) -> Result<Infallible, Error> {
        self.store.prepare().await?;
        let connection = &self.store.connection;
        let listens = connection.use_notify && connection.notify_dsn.is_empty();
        let session = self.store.session(&connection.dsn, Some(Arc::clone(&self.wake))).await?;
        let setup =
            if listens { format!("{SETUP}; LISTEN {}", self.statements.channel) } else { SETUP.to_owned() };
        session.client.batch_execute(&setup).await?;
        let probe = session.client.prepare(&self.statements.probe).await?;
        let pages = Pages::prepare(&session.client, &self.statements.pages).await?;
        *connections += 1;
        if *connections > 1 {
            Counters::add(&self.store.counters.reconnects, 1);
        }
        let link =
            Arc::new(LinkToServer { session, pages, number: *connections, broken: AtomicBool::new(false) });
        // A reader that has read before may be behind; one that has not misses nothing.
        let mut announce = shards.is_some();
        let mut first = true;
        loop {
            let question = self.lives.ask();
            let row = answer(link.session.client.query_one(&probe, &[])).await?;
            Counters::add(&self.store.counters.polls, 1);
            let (life, changed) = self.lives.heard(question, column(&row, 0)?, Some(&self.sink));
            if changed {
                self.store.renew_pool();
            }
            let last_id: i64 = column(&row, 3)?;
            let turn =
                Turn { link: Arc::clone(&link), visible: snapshot(&row, 2)?, life, now: column(&row, 4)? };
            match shards {
                Some(present) if present.life == turn.life => {
                    if first && present.highest() > last_id {
                        self.renew(&turn).await?;
                        continue;
                    }
                    if first {
                        self.wanted.forget_starts();
                    }
                    present.turns.send_replace(turn);
                }
                _ => match self.begin(turn, column::<i32>(&row, 1)?).await? {
                    Some(begun) => *shards = Some(begun),
                    // It was replaced just now.
                    None => continue,
                },
            }
            first = false;
            self.store.up();
            backoff.reset();
            if announce && shards.as_ref().is_some_and(|shards| shards.reached(link.number)) {
                announce = false;
                self.sink.interrupted(Scope::All);
            }
            let _ = timeout(self.poll_interval, self.wake.notified()).await;
            if self.sink.is_closed() || link.broken.load(Relaxed) || link.session.client.is_closed() {
                return Err(if self.sink.is_closed() {
                    Error::Closed
                } else {
                    Error::Connect("the connection was lost".to_owned())
                });
            }
        }
    }

    /// The store lacks rows that were committed: its files were replaced by older ones.
    async fn renew(&self, turn: &Turn) -> Result<(), Error> {
        let life = turn.life.split_once('-').map_or(&*turn.life, |(life, _)| life);
        let client = &turn.link.session.client;
        answer(client.query(&self.statements.renew, &[&life])).await.map(drop)
    }

    /// Begins to read a life after everything that is visible. `None` if it is over already.
    async fn begin(self: &Arc<Self>, turn: Turn, count: i32) -> Result<Option<Shards>, Error> {
        let row = answer(turn.link.session.client.query_one(&self.statements.base, &[])).await?;
        if column::<&str>(&row, 0)? != &*turn.life {
            return Ok(None);
        }
        let base = snapshot(&row, 1)?;
        let xid: Option<i64> = column(&row, 2)?;
        let id: Option<i64> = column(&row, 3)?;
        let seen = Seen { xid: u64::try_from(xid.unwrap_or(0)).unwrap_or(0), id: id.unwrap_or(0) };
        let count = u32::try_from(count).unwrap_or(1).max(1);
        if count != self.shards {
            tracing::warn!(
                num_shards = self.shards,
                used = count,
                "num_shards is not that of the tables, which is used: it is fixed when they are created"
            );
        }
        let cursor = Cursor::new(base, seen);
        self.wanted.read_from(&turn.life);
        let life = Arc::clone(&turn.life);
        let (turns, receiver) = watch::channel(turn);
        let mut tasks = JoinSet::new();
        let states: Vec<_> = (0..count).map(|_| Arc::<ShardState>::default()).collect();
        for (number, state) in states.iter().enumerate() {
            let shard = Shard {
                reader: Arc::clone(self),
                number: i32::try_from(number).unwrap_or(i32::MAX),
                cursor: cursor.clone(),
                state: Arc::clone(state),
            };
            tasks.spawn(shard.run(receiver.clone()));
        }
        Ok(Some(Shards { life, turns, states, _tasks: tasks }))
    }

    /// Confirms channels that are newly wanted.
    pub(super) async fn confirm(self: Arc<Self>) {
        loop {
            let channels = self.wanted.waiting().await;
            let result = self.start(&channels).await;
            if let Err(error) = &result {
                tracing::warn!(channels = channels.len(), %error, "channels could not be asked for");
            }
            for channel in &channels {
                let answer = match &result {
                    Ok(()) => Ok(()),
                    Err(error) => Err(BrokerError::Failed(Box::new(Error::Connect(error.to_string())))),
                };
                self.sink.interest(channel, Interest::Wanted, answer);
            }
        }
    }

    async fn start(&self, channels: &[Arc<str>]) -> Result<(), Error> {
        // The reader may not have begun, or be about to begin another life.
        for attempt in 0_u32.. {
            let question = self.lives.ask();
            let rows = self.store.query(&self.statements.start, &[]).await?;
            let row = rows.first().ok_or_else(|| Error::Answer("no row".to_owned()))?;
            let (life, _) = self.lives.heard(question, column(row, 0)?, Some(&self.sink));
            if self.wanted.begin(channels, &life, snapshot(row, 1)?) {
                return Ok(());
            }
            if attempt >= 50 {
                break;
            }
            self.wake.notify_one();
            sleep(Duration::from_millis(20)).await;
        }
        Err(Error::Connect("the reader has not begun".to_owned()))
    }

    /// Listens for notifications where they come from another address.
    pub(super) async fn listen(self: Arc<Self>) {
        let over = || self.sink.is_closed();
        super::store::listen(&self.store, &self.wake, &self.statements.channel, over).await;
    }
}

impl Shards {
    fn highest(&self) -> i64 {
        self.states.iter().map(|state| state.highest.load(Relaxed)).max().unwrap_or(0)
    }

    fn reached(&self, connection: u64) -> bool {
        self.states.iter().all(|state| state.reached.load(Relaxed) >= connection)
    }
}

/// One shard of the log.
struct Shard {
    reader: Arc<Reader>,
    number: i32,
    cursor: Cursor,
    state: Arc<ShardState>,
}

impl Shard {
    async fn run(mut self, mut turns: watch::Receiver<Turn>) {
        let mut turn = turns.borrow_and_update().clone();
        let mut connection = turn.link.number;
        let mut read_at = turn.now;
        loop {
            if turn.link.number != connection {
                connection = turn.link.number;
                self.cursor.reconnected();
            }
            match self.catch_up(&turn).await {
                Ok(()) => {
                    let away = turn.now.saturating_sub(read_at);
                    if u128::try_from(away).is_ok_and(|away| away > self.reader.kept.as_millis()) {
                        tracing::error!(
                            shard = self.number,
                            "reading was held back for longer than the log is kept"
                        );
                        self.reader.sink.interrupted(Scope::All);
                    }
                    read_at = turn.now;
                    if self.state.reached.swap(connection, Relaxed) != connection {
                        // The interruption is announced once all have got so far.
                        self.reader.wake.notify_one();
                    }
                }
                Err(error) => {
                    tracing::warn!(shard = self.number, %error, "reading failed");
                    turn.link.broken.store(true, Relaxed);
                    self.reader.wake.notify_one();
                }
            }
            if turns.changed().await.is_err() {
                return;
            }
            turn = turns.borrow_and_update().clone();
        }
    }

    /// Reads everything that was visible to the turn, and more.
    async fn catch_up(&mut self, turn: &Turn) -> Result<(), Error> {
        if !self.cursor.may_lack(&turn.visible) {
            return Ok(());
        }
        loop {
            let limit = self.reader.batch;
            let LinkToServer { session, pages, .. } = &*turn.link;
            let rows = pages.ask(&session.client, &self.number, &self.cursor.page(), limit).await?;
            let (head, rows) = rows.split_first().ok_or_else(|| Error::Answer("no row".to_owned()))?;
            self.cursor.answered(snapshot(head, 0)?);
            for row in rows {
                let xid = number(row, 2)?;
                self.deliver(turn, row, xid).await;
                self.cursor.row(column(row, 1)?, xid);
                self.state.highest.store(self.cursor.highest(), Relaxed);
            }
            if i64::try_from(rows.len()).is_ok_and(|count| count < limit) {
                self.cursor.finished();
                self.state.highest.store(self.cursor.highest(), Relaxed);
                return Ok(());
            }
        }
    }

    async fn deliver(&self, turn: &Turn, row: &Row, xid: u64) {
        let counters = &self.reader.store.counters;
        Counters::add(&counters.rows, 1);
        if let Err(error) = self.hand_on(turn, row, xid).await {
            Counters::add(&counters.dropped, 1);
            tracing::warn!(%error, "a row of the log cannot be read and is dropped");
        }
    }

    async fn hand_on(&self, turn: &Turn, row: &Row, xid: u64) -> Result<(), Error> {
        let reader = &self.reader;
        let channel: &[u8] = column(row, 4)?;
        let Some(channel) = std::str::from_utf8(channel).ok().and_then(|name| reader.wanted.takes(name, xid))
        else {
            return Ok(());
        };
        if holds(Fault::DeafChannels) && channel.ends_with(['1', '3', '5', '7', '9']) {
            return Ok(());
        }
        let kind = column(row, 3)?;
        let event = rows::event(row, kind, 6)?;
        let epoch: Option<&str> = column(row, 5)?;
        let stream = epoch.map(|epoch| StreamId { incarnation: Arc::clone(&turn.life), epoch: epoch.into() });
        reader.sink.room(&channel).await;
        reader.sink.deliver(&channel, stream.as_ref(), event);
        Counters::set(&reader.store.counters.lag, turn.now.saturating_sub(column(row, 15)?));
        Ok(())
    }
}

fn snapshot(row: &Row, index: usize) -> Result<Snapshot, Error> {
    Snapshot::parse(column(row, index)?).map_err(|error| Error::Answer(error.to_string()))
}

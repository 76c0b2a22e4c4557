//! Connections: a pool for calls, and single ones for readers. Every wait has an end.

use super::config::Connection;
use super::counters::Counters;
use super::error::Error;
use super::schema::Part;
use super::session::{Heard, Listener, Session};
use crate::backoff::Backoff;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts,
};
use parking_lot::Mutex;
use spinward::engine::EngineHealth;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::NoTls;
use tokio_postgres::types::ToSql;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Longest wait for a connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Longest wait for an answer. The server gives up a statement a little earlier.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Longest wait for the transaction of somebody else.
const LOCK: Duration = Duration::from_secs(3);

/// Silence after which an engine counts as down.
const SILENCE: Duration = Duration::from_secs(3);

/// The connections of one engine.
pub(super) struct Store {
    pool: Pool,
    pub(super) connection: Connection,
    part: Part,
    ready: watch::Sender<Ready>,
    link: Mutex<Link>,
    pub(super) counters: Counters,
    setup: String,
}

#[derive(Clone, Debug)]
enum Ready {
    /// Nobody knows yet.
    Waiting,
    /// The last attempt to make sure of the schema failed.
    No(Arc<str>),
    Yes,
}

/// The connection as its user sees it.
#[derive(Debug)]
enum Link {
    Up(Instant),
    Down(Arc<str>),
}

impl Store {
    /// `setup` is run on each new connection, once the schema is there.
    pub(super) fn new(connection: Connection, part: Part, setup: &str) -> Result<Arc<Self>, Error> {
        let setup = format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET client_min_messages = warning; SET jit = off; {setup}",
            (ANSWER - Duration::from_secs(1)).as_millis(),
            LOCK.as_millis(),
        );
        let config = connection.parsed(&connection.dsn)?;
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match &connection.tls {
            Some(tls) => {
                Manager::from_config(config, MakeRustlsConnect::new((**tls).clone()), manager_config)
            }
            None => Manager::from_config(config, NoTls, manager_config),
        };
        let on_connect: Arc<str> = setup.as_str().into();
        let hook = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let setup = Arc::clone(&on_connect);
            Box::pin(async move { client.batch_execute(&setup).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(connection.pool_size)
            .timeouts(Timeouts { wait: Some(PATIENCE), create: Some(PATIENCE), recycle: Some(PATIENCE) })
            .runtime(Runtime::Tokio1)
            .post_create(hook)
            .build()
            .map_err(|error| Error::Connect(error.to_string()))?;
        let link = Mutex::new(Link::Down("not connected yet".into()));
        let counters = Counters::default();
        let (ready, _) = watch::channel(Ready::Waiting);
        Ok(Arc::new(Self { pool, connection, part, ready, link, counters, setup }))
    }

    /// Makes sure that the schema is there. Calls wait for this.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        if matches!(*self.ready.borrow(), Ready::Yes) {
            return Ok(());
        }
        let prepared = async {
            let mut session = self.dial(&self.connection.dsn, None).await?;
            let create = !self.connection.skip_schema_init;
            self.part.ensure(&mut session.client, &self.connection.table_prefix, create).await
        };
        let result = prepared.await;
        self.ready.send_replace(match &result {
            Ok(()) => Ready::Yes,
            Err(error) => Ready::No(error.to_string().into()),
        });
        result
    }

    /// The tables are missing: they are looked for again before the next call.
    pub(super) fn unprepare(&self, error: &Error) {
        if matches!(error.code(), Some(code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::UNDEFINED_FUNCTION)
        {
            self.ready.send_replace(Ready::Waiting);
        }
    }

    /// A connection with its settings, outside of the pool. Notifications that come by it wake `wake`, and so does
    /// its end.
    pub(super) async fn session(&self, dsn: &str, wake: Option<Arc<Notify>>) -> Result<Session, Error> {
        let session = self.dial(dsn, wake).await?;
        timeout(ANSWER, session.client.batch_execute(&self.setup))
            .await
            .map_err(|_| Error::Slow(ANSWER))??;
        Ok(session)
    }

    async fn dial(&self, dsn: &str, wake: Option<Arc<Notify>>) -> Result<Session, Error> {
        let listener = wake.map(|wake| Arc::new(move |_: Heard<'_>| wake.notify_one()) as Listener);
        self.connection.dial(dsn, listener).await
    }

    /// Runs a statement on a connection of the pool.
    pub(super) async fn query(&self, text: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let lease = self.lease().await?;
        let run = async {
            let statement = lease.client()?.prepare_cached(text).await?;
            lease.client()?.query(&statement, values).await.map_err(Error::of_statement)
        };
        let result = timeout(ANSWER, run).await.unwrap_or(Err(Error::Slow(ANSWER)));
        if let Err(Error::Locked(_)) = &result {
            Counters::add(&self.counters.blocked, 1);
        }
        if let Err(error) = &result {
            self.unprepare(error);
        }
        if result.as_ref().err().is_none_or(Error::keeps_connection) {
            lease.give_back();
        }
        result
    }

    async fn lease(&self) -> Result<Lease, Error> {
        self.prepared().await?;
        Ok(Lease(Some(self.pool.get().await.map_err(Error::of_pool)?)))
    }

    /// Waits until somebody has seen to the schema.
    async fn prepared(&self) -> Result<(), Error> {
        let mut ready = self.ready.subscribe();
        let known = timeout(PATIENCE, ready.wait_for(|ready| !matches!(ready, Ready::Waiting))).await;
        match known.map(|known| known.map(|ready| ready.clone())) {
            Ok(Ok(Ready::No(reason))) => Err(Error::Connect(reason.as_ref().to_owned())),
            Ok(Ok(Ready::Waiting | Ready::Yes)) => Ok(()),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::Slow(PATIENCE)),
        }
    }

    /// The server answered.
    pub(super) fn up(&self) {
        *self.link.lock() = Link::Up(Instant::now());
    }

    /// The server does not answer.
    pub(super) fn down(&self, error: &Error) {
        let reason = error.to_string();
        let mut link = self.link.lock();
        if !matches!(&*link, Link::Down(known) if **known == *reason) {
            tracing::warn!(part = self.part.name, error = reason, "PostgreSQL failed");
        }
        *link = Link::Down(reason.into());
    }

    /// State of the connection, by what was last heard. Something asks at least once per `interval`.
    pub(super) fn health(&self, interval: Duration) -> EngineHealth {
        match &*self.link.lock() {
            Link::Down(reason) => EngineHealth::Down { reason: reason.as_ref().to_owned() },
            Link::Up(heard) if heard.elapsed() > SILENCE + interval => EngineHealth::Down {
                reason: format!("PostgreSQL has not answered for {} s", heard.elapsed().as_secs()),
            },
            Link::Up(_) => EngineHealth::Up,
        }
    }

    /// Drops the connections that are idle, as they may be with a server that is no longer the primary.
    pub(super) fn renew_pool(&self) {
        self.pool.retain(|_, _| false);
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// A connection of the pool. Unless it is given back it is closed: an answer may still be on its way.
struct Lease(Option<Object>);

impl Lease {
    fn client(&self) -> Result<&Object, Error> {
        self.0.as_ref().ok_or(Error::Closed)
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn answer<T>(
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Error> {
    Ok(timeout(ANSWER, asked).await.map_err(|_| Error::Slow(ANSWER))??)
}

/// Listens on a connection to another address than that of calls, and wakes a reader.
pub(super) async fn listen(store: &Store, wake: &Arc<Notify>, channel: &str, over: impl Fn() -> bool) {
    const LOOK: Duration = Duration::from_millis(500);
    let mut backoff = Backoff::default();
    while !over() {
        let listening = async {
            let session = store.session(&store.connection.notify_dsn, Some(Arc::clone(wake))).await?;
            session.client.batch_execute(&format!("LISTEN {channel}")).await?;
            backoff.reset();
            while !session.client.is_closed() && !over() {
                sleep(LOOK).await;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = listening.await {
            tracing::warn!(%error, "LISTEN failed: delivery waits for polls");
        }
        sleep(backoff.pause()).await;
    }
}

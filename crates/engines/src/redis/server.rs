//! One server that calls go to, connected for as long as it is used.
//!
//! A task keeps the connection: it connects with growing pauses, asks the server once a second about its role, and
//! gives the connection up once the server does not answer, is no primary any more, or Sentinels name another one.

use super::config::{Access, Endpoint};
use super::connection::{Connection, Facts, Task};
use super::counters::{Counters, bump};
use super::error::Error;
use super::lives::Lives;
use super::sentinel::Sentinels;
use crate::backoff::Backoff;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// Time between two questions about a server's role.
const PROBE: Duration = Duration::from_secs(1);

/// Time that the answer may take before the connection counts as lost, unless `io_timeout` is shorter. Together with
/// [`PROBE`] below the five seconds within which a loss is to be noticed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// The place where a server is.
pub(crate) enum Locator {
    /// Always there. `primary`: nothing else will do, as where nobody says who serves what.
    Fixed { endpoint: Endpoint, primary: bool },
    /// The one that Sentinels name.
    Sentinels(Sentinels),
}

/// State of the connection.
#[derive(Clone)]
enum State {
    Down(Arc<str>),
    Up(Arc<Connection>, Facts),
    Closed,
}

/// A server.
pub(crate) struct Server {
    name: String,
    access: Access,
    shared: Arc<Shared>,
    _task: Task,
}

struct Shared {
    state: watch::Sender<State>,
    lives: Arc<Lives>,
    /// Calls for another look at once: an answer says that the server is no primary.
    doubt: Notify,
    counters: Arc<Counters>,
}

impl Server {
    /// Starts to connect.
    pub(crate) fn start(
        locator: Locator,
        access: Access,
        changes: watch::Sender<u64>,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let name = match &locator {
            Locator::Fixed { endpoint, .. } => endpoint.to_string(),
            Locator::Sentinels(sentinels) => sentinels.master().to_owned(),
        };
        let state = watch::Sender::new(State::Down("not connected yet".into()));
        let shared = Arc::new(Shared { state, lives: Lives::new(changes), doubt: Notify::new(), counters });
        let keeper =
            Keeper { locator, access: access.clone(), shared: Arc::clone(&shared), name: name.clone() };
        Arc::new(Self { name, access, shared, _task: Task::spawn(keeper.run()) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn lives(&self) -> &Arc<Lives> {
        &self.shared.lives
    }

    /// The connection, awaited for `io_timeout` at most.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, Error> {
        if let State::Up(connection, _) = &*self.shared.state.borrow() {
            return Ok(Arc::clone(connection));
        }
        self.connected().await.map(|(connection, _)| connection)
    }

    /// The connection, and what the server said about itself.
    pub(crate) async fn connected(&self) -> Result<(Arc<Connection>, Facts), Error> {
        let mut states = self.shared.state.subscribe();
        let up = states.wait_for(|state| !matches!(state, State::Down(_)));
        match timeout(self.access.io_timeout, up).await {
            Ok(Ok(state)) => match &*state {
                State::Up(connection, facts) => return Ok((Arc::clone(connection), facts.clone())),
                State::Closed | State::Down(_) => return Err(Error::Closed),
            },
            Ok(Err(_)) => return Err(Error::Closed),
            Err(_) => {}
        }
        Err(Error::Unavailable { server: self.name.clone(), reason: self.down().unwrap_or_default() })
    }

    /// Waits until the server is connected somewhere, however long it takes. `None` once it is closed.
    pub(crate) async fn endpoint(&self) -> Option<Endpoint> {
        let mut states = self.shared.state.subscribe();
        let state = states.wait_for(|state| !matches!(state, State::Down(_))).await.ok()?;
        match &*state {
            State::Up(connection, _) => Some(connection.endpoint().clone()),
            State::Closed | State::Down(_) => None,
        }
    }

    /// Waits until the server is connected somewhere else than here, or closed.
    pub(crate) async fn moved_from(&self, here: &Endpoint) {
        let mut states = self.shared.state.subscribe();
        let moved = |state: &State| match state {
            State::Up(connection, _) => connection.endpoint() != here,
            State::Closed => true,
            State::Down(_) => false,
        };
        let _ = states.wait_for(moved).await;
    }

    /// Reason why there is no connection, if there is none.
    pub(crate) fn down(&self) -> Option<String> {
        match &*self.shared.state.borrow() {
            State::Down(reason) => Some((**reason).to_owned()),
            State::Closed => Some("closed".to_owned()),
            State::Up(..) => None,
        }
    }

    /// An answer says that this is not the server it should be: looks again at once.
    pub(crate) fn doubt(&self) {
        self.shared.doubt.notify_one();
    }

    /// Ends the connection for good. Calls fail from here on.
    pub(crate) fn close(&self) {
        self.shared.state.send_replace(State::Closed);
    }
}

/// The task that keeps the connection.
struct Keeper {
    locator: Locator,
    access: Access,
    shared: Arc<Shared>,
    name: String,
}

impl Keeper {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut connected_before = false;
        while !self.is_closed() {
            let error = match Box::pin(self.connect()).await {
                Ok((connection, facts)) => {
                    backoff.reset();
                    if std::mem::replace(&mut connected_before, true) {
                        bump(&self.shared.counters.reconnects);
                    }
                    info!(server = %connection.endpoint(), "connected to Redis");
                    let connection = Arc::new(connection);
                    self.set(State::Up(Arc::clone(&connection), facts));
                    self.watch(&connection).await
                }
                Err(error) => error,
            };
            if self.is_closed() {
                return;
            }
            warn!(server = %self.name, %error, "no connection to Redis, trying again");
            self.set(State::Down(error.to_string().into()));
            if let Locator::Sentinels(sentinels) = &self.locator {
                sentinels.ask_again();
            }
            sleep(backoff.pause()).await;
        }
    }

    fn is_closed(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Closed)
    }

    /// Sets the state, unless it is closed.
    fn set(&self, next: State) {
        self.shared.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed);
            if open {
                *state = next;
            }
            open
        });
    }

    async fn connect(&mut self) -> Result<(Connection, Facts), Error> {
        let (endpoint, primary) = match &mut self.locator {
            Locator::Fixed { endpoint, primary } => (endpoint.clone(), *primary),
            Locator::Sentinels(sentinels) => (sentinels.primary(self.access.io_timeout).await?, true),
        };
        let connection = Connection::open(&endpoint, &self.access).await?;
        let facts = connection.facts(self.patience()).await?;
        self.judge(&connection, &facts, primary)?;
        Ok((connection, facts))
    }

    /// Takes note of what a server says, unless it is not the one to talk to.
    fn judge(&self, connection: &Connection, facts: &Facts, primary: bool) -> Result<(), Error> {
        if facts.primary {
            if self.shared.lives.note(&facts.incarnation).1 {
                warn!(server = %connection.endpoint(), "Redis began a new replication history");
            }
            if facts.flushes.is_some_and(|count| self.shared.lives.note_flushes(count)) {
                warn!(server = %connection.endpoint(), "all keys of Redis were removed (FLUSHALL or FLUSHDB)");
            }
        } else if primary && !facts.cluster {
            let (server, reason) = (connection.endpoint().to_string(), "it is a replica".to_owned());
            return Err(Error::Unavailable { server, reason });
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        PATIENCE.min(self.access.io_timeout)
    }

    /// Watches a connection until it is to be given up, and returns the reason.
    async fn watch(&mut self, connection: &Connection) -> Error {
        let mut closed = self.shared.state.subscribe();
        let broken =
            || Error::io(connection.endpoint(), std::io::ErrorKind::ConnectionReset, "it was closed");
        loop {
            let moved = async {
                match &mut self.locator {
                    Locator::Sentinels(sentinels) => sentinels.moved_from(connection.endpoint()).await,
                    Locator::Fixed { .. } => std::future::pending().await,
                }
            };
            tokio::select! {
                () = connection.gone() => return broken(),
                _ = closed.wait_for(|state| matches!(state, State::Closed)) => return Error::Closed,
                to = moved => {
                    let (server, reason) = (connection.endpoint().to_string(), format!("the primary is now {to}"));
                    return Error::Unavailable { server, reason };
                }
                () = self.shared.doubt.notified() => {}
                () = sleep(PROBE) => {}
            }
            let primary = !matches!(&self.locator, Locator::Fixed { primary: false, .. });
            let facts = connection.facts(self.patience()).await;
            if let Err(error) = facts.and_then(|facts| self.judge(connection, &facts, primary)) {
                return error;
            }
        }
    }
}

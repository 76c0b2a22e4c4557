//! Sentinels, and the primary that they name.
//!
//! Each is asked once a second. Where they differ, the one with the highest epoch of configuration is right: the others
//! have not heard of a fail-over yet. An epoch lower than one that was seen is followed only if all of them answer, as
//! after a reset, so that a Sentinel that is cut off together with a deposed primary does not bring it back.

use super::config::{Access, Endpoint};
use super::connection::{Connection, Task, text};
use super::error::Error;
use redis::{Value, cmd};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// Time between two rounds of questions.
const ROUND: Duration = Duration::from_millis(500);

/// Least time between two rounds.
const LEAST: Duration = Duration::from_millis(50);

/// The primary, as the Sentinels of a group see it.
pub(crate) struct Sentinels {
    master: String,
    named: watch::Receiver<Named>,
    again: Arc<Notify>,
    _task: Task,
}

#[derive(Clone, Default)]
struct Named {
    primary: Option<(u64, Endpoint)>,
    /// Reason why no Sentinel answered in the last round.
    error: Option<Arc<str>>,
}

impl Sentinels {
    /// Starts to ask.
    pub(crate) fn start(endpoints: Vec<Endpoint>, access: Access, master: String) -> Self {
        let (name, named) = watch::channel(Named::default());
        let again = Arc::new(Notify::new());
        let (asks, master_name) = (Arc::clone(&again), master.clone());
        let task = Task::spawn(async move {
            let mut asked: Vec<_> =
                endpoints.into_iter().map(|endpoint| Asked { endpoint, connection: None }).collect();
            while !name.is_closed() {
                round(&mut asked, &access, &master_name, &name).await;
                sleep(LEAST).await;
                let _ = timeout(ROUND, asks.notified()).await;
            }
        });
        Self { master, named, again, _task: task }
    }

    /// The name of the primary.
    pub(crate) fn master(&self) -> &str {
        &self.master
    }

    /// Asks soon.
    pub(crate) fn ask_again(&self) {
        self.again.notify_one();
    }

    /// The primary, awaited for a time at most.
    pub(crate) async fn primary(&mut self, patience: Duration) -> Result<Endpoint, Error> {
        let known = self.named.wait_for(|named| named.primary.is_some());
        if let Ok(Ok(named)) = timeout(patience, known).await
            && let Some((_, endpoint)) = &named.primary
        {
            return Ok(endpoint.clone());
        }
        let error = self.named.borrow().error.clone();
        let reason = error.as_deref().unwrap_or("no Sentinel answers").to_owned();
        Err(Error::Unavailable { server: self.master.clone(), reason })
    }

    /// Waits until another primary is named, and returns it.
    pub(crate) async fn moved_from(&mut self, here: &Endpoint) -> Endpoint {
        let other = |named: &Named| named.primary.as_ref().is_some_and(|(_, endpoint)| endpoint != here);
        let named = self.named.wait_for(other).await.ok().and_then(|named| named.primary.clone());
        match named {
            Some((_, endpoint)) => endpoint,
            // The task that asks has ended, with everything else.
            None => std::future::pending().await,
        }
    }
}

/// One Sentinel.
struct Asked {
    endpoint: Endpoint,
    connection: Option<Connection>,
}

/// Asks every Sentinel at once.
async fn round(asked: &mut [Asked], access: &Access, master: &str, name: &watch::Sender<Named>) {
    let mut answers = Vec::with_capacity(asked.len());
    // One after another would let a Sentinel that hangs delay what the others know.
    let mut tasks = tokio::task::JoinSet::new();
    for (index, sentinel) in asked.iter_mut().enumerate() {
        let (endpoint, connection) = (sentinel.endpoint.clone(), sentinel.connection.take());
        let (access, master) = (access.clone(), master.to_owned());
        tasks.spawn(async move {
            let answer = Box::pin(ask(&endpoint, connection, &access, &master));
            let answer = match timeout(access.connect_timeout, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(Error::Timeout(endpoint.to_string())),
            };
            (index, answer)
        });
    }
    while let Some(done) = tasks.join_next().await {
        let Ok((index, answer)) = done else { continue };
        answers.push(answer.map(|(connection, epoch, endpoint)| {
            if let Some(sentinel) = asked.get_mut(index) {
                sentinel.connection = Some(connection);
            }
            (epoch, endpoint)
        }));
    }
    let error = answers.iter().find_map(|answer| answer.as_ref().err().map(|error| error.to_string().into()));
    let all = answers.iter().all(Result::is_ok);
    let newest = answers.into_iter().flatten().max_by_key(|(epoch, _)| *epoch);
    name.send_if_modified(|named| {
        let known = named.primary.as_ref().map(|(epoch, _)| *epoch);
        let newer = newest.filter(|(epoch, _)| all || known.is_none_or(|known| *epoch >= known));
        let changed = newer.is_some() && newer != named.primary;
        if changed {
            named.primary = newer;
        }
        named.error = error;
        changed
    });
}

async fn ask(
    endpoint: &Endpoint,
    connection: Option<Connection>,
    access: &Access,
    master: &str,
) -> Result<(Connection, u64, Endpoint), Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => Connection::open(endpoint, access).await?,
    };
    // The Sentinel that leads a failover gives out the new epoch with the former address here, and the new address
    // only there. In this order an address is never older than its epoch.
    let (mut about, mut place) = (cmd("SENTINEL"), cmd("SENTINEL"));
    about.arg("MASTER").arg(master);
    place.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let about = connection.call(&about).await?;
    let place = connection.call(&place).await?;
    let epoch = epoch(&about).ok_or_else(|| Error::unexpected(endpoint, "no epoch of a primary"))?;
    let primary = primary(&place).ok_or_else(|| Error::unexpected(endpoint, "no address of a primary"))?;
    Ok((connection, epoch, primary))
}

/// Reads the answer to `SENTINEL MASTER`: a map, or a list of names and values. One without an epoch has 0.
fn epoch(answer: &Value) -> Option<u64> {
    let is_epoch = |name: &Value| text(name).as_deref() == Some("config-epoch");
    let value = match answer {
        Value::Map(pairs) => pairs.iter().find(|(name, _)| is_epoch(name)).map(|(_, value)| value),
        Value::Array(list) => list.iter().position(is_epoch).and_then(|place| list.get(place + 1)),
        _ => return None,
    };
    Some(value.and_then(text).and_then(|epoch| epoch.parse().ok()).unwrap_or(0))
}

/// Reads the answer to `SENTINEL GET-MASTER-ADDR-BY-NAME`.
fn primary(answer: &Value) -> Option<Endpoint> {
    let Value::Array(parts) = answer else { return None };
    let [host, port] = &**parts else { return None };
    let host = text(host).filter(|host| !host.is_empty())?;
    Some(Endpoint::Tcp(host.into(), text(port)?.parse().ok()?))
}

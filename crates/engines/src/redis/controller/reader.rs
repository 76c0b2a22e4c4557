//! The receiving connection to one shard.
//!
//! It speaks version 2 of the protocol, which every server knows. A question once a second and a bound on its answer
//! find a connection that is silently dead within five seconds.

use super::super::config::{Access, Endpoint};
use super::super::counters::{Counters, bump};
use super::super::error::{self, Error};
use super::super::net::{Socket, within};
use super::super::pool::{Mode, Shard};
use super::super::server::PATIENCE;
use super::centrifugo::{Neighbours, Taken};
use crate::backoff::Backoff;
use bytes::Bytes;
use parking_lot::Mutex;
use redis::parse_redis_value_async;
use redis::{Cmd, Value, cmd};
use spinward::engine::controller::{ControlSink, MAX_MESSAGE};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt, split};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// Time between two questions to a connection.
const PROBE: Duration = Duration::from_secs(1);

/// State of a reader, for others.
pub(super) struct Link(Mutex<Option<Arc<str>>>);

impl Default for Link {
    fn default() -> Self {
        Self(Mutex::new(Some("not connected yet".into())))
    }
}

impl Link {
    /// Reason why nothing is received, if that is so.
    pub(super) fn down(&self) -> Option<String> {
        self.0.lock().as_deref().map(str::to_owned)
    }

    fn set(&self, down: Option<Arc<str>>) {
        *self.0.lock() = down;
    }
}

/// Receives from one shard.
pub(super) struct Reader {
    pub(super) shard: Arc<Shard>,
    pub(super) counters: Arc<Counters>,
    /// Those of own nodes, then those of [`neighbours`](Self::neighbours).
    pub(super) channels: Vec<String>,
    pub(super) neighbours: Option<Arc<Neighbours>>,
    pub(super) sink: ControlSink,
    pub(super) link: Arc<Link>,
}

/// The end of a connection.
enum End {
    /// Another one is to be made.
    Lost(Error),
    /// The node is gone.
    Gone,
}

/// Signs of life of a connection.
#[derive(Default)]
struct Life {
    /// Messages read.
    read: AtomicU64,
    /// The node has no room, so that nothing is read.
    waits: AtomicBool,
}

impl Reader {
    pub(super) async fn run(self) {
        let mut backoff = Backoff::default();
        let mut connected_before = false;
        let mut attempt = 0;
        while let Some(mode) = self.shard.settled().await {
            attempt += 1;
            let Some(endpoint) = endpoint(&mode, attempt).await else { return };
            let up = || {
                backoff.reset();
                self.link.set(None);
                info!(server = %endpoint, "subscribed to messages of other nodes");
                if std::mem::replace(&mut connected_before, true) {
                    bump(&self.counters.reconnects);
                    bump(&self.counters.gaps);
                    self.sink.interrupted();
                }
            };
            let End::Lost(error) = Box::pin(self.session(&mode, &endpoint, up)).await else { return };
            warn!(server = %endpoint, %error, "no messages of other nodes from Redis, trying again");
            self.link.set(Some(error.to_string().into()));
            sleep(backoff.pause()).await;
        }
    }

    /// Connects and subscribes, calls `up`, and hands messages to the node until the connection ends.
    async fn session(&self, mode: &Mode, endpoint: &Endpoint, up: impl FnOnce()) -> End {
        let access = &self.shard.target().access;
        let failed = |error| Error::of(endpoint, error);
        // Its type has no name outside of redis-rs.
        let mut decoder = Default::default();
        let subscribed = async {
            let (mut read, mut write) = split(Socket::connect(endpoint, access).await?);
            let (greeting, answers) = self.greeting(access);
            write.write_all(&greeting).await.map_err(|error| Error::connection(endpoint, error))?;
            for _ in 0..answers {
                let answer = parse_redis_value_async(&mut decoder, &mut read).await;
                error::value(endpoint, answer)?;
            }
            Ok((read, write))
        };
        const LATE: &str = "not subscribed within `connect_timeout`";
        let subscribed = within(access.connect_timeout, endpoint, LATE, subscribed).await;
        let (mut read, write) = match subscribed {
            Ok(halves) => halves,
            Err(error) => return End::Lost(error),
        };
        up();
        let life = Life::default();
        let receive = async {
            loop {
                match parse_redis_value_async(&mut decoder, &mut read).await {
                    Ok(value) => {
                        if !self.take(value, &life).await {
                            return End::Gone;
                        }
                    }
                    Err(error) => return End::Lost(failed(error)),
                }
            }
        };
        tokio::select! {
            end = receive => end,
            error = probe(endpoint, access, write, &life) => End::Lost(error),
            error = moved(mode, endpoint) => End::Lost(error),
        }
    }

    /// The commands that make a connection one for messages, and the number of their answers.
    fn greeting(&self, access: &Access) -> (Vec<u8>, usize) {
        let mut commands = Vec::new();
        if access.logs_in() {
            let mut login = cmd("AUTH");
            if !access.user.is_empty() {
                login.arg(&access.user);
            }
            commands.push(login.arg(&access.password).clone());
        }
        if !access.client_name.is_empty() {
            commands.push(cmd("CLIENT").arg("SETNAME").arg(&access.client_name).clone());
        }
        commands.push(cmd("SUBSCRIBE").arg(&self.channels).clone());
        // The last is answered for each of its channels.
        let answers = commands.len() - 1 + self.channels.len();
        (commands.iter().flat_map(Cmd::get_packed_command).collect(), answers)
    }

    /// Hands on what was read, if it is a message. Returns false once the node is gone.
    async fn take(&self, value: Value, life: &Life) -> bool {
        life.read.fetch_add(1, Ordering::Relaxed);
        let Some((channel, message)) = message(value) else { return true };
        bump(&self.counters.messages);
        if message.is_empty() || message.len() > MAX_MESSAGE {
            bump(&self.counters.malformed);
            return true;
        }
        let own = self.channels.iter().take(2).any(|own| own.as_bytes() == channel);
        let message = match &self.neighbours {
            Some(neighbours) if !own => match neighbours.take(message) {
                Some(Taken { message, answer }) => {
                    if let Some((channel, bytes)) = answer {
                        // One that is lost is asked for again, or given up.
                        let _ = super::publish(&self.shard, channel, &bytes).await;
                    }
                    let Some(message) = message else { return true };
                    message
                }
                None => {
                    bump(&self.counters.malformed);
                    return true;
                }
            },
            _ => message,
        };
        life.waits.store(true, Ordering::Relaxed);
        let there = self.sink.ready().await && self.sink.receive(message);
        life.waits.store(false, Ordering::Relaxed);
        life.read.fetch_add(1, Ordering::Relaxed);
        there
    }
}

/// Channel and bytes of a message, if the value is one.
fn message(value: Value) -> Option<(Vec<u8>, Bytes)> {
    let Value::Array(parts) = value else { return None };
    match <[Value; 3]>::try_from(parts).ok()? {
        [Value::BulkString(kind), Value::BulkString(channel), Value::BulkString(message)]
            if kind == b"message" =>
        {
            Some((channel, message.into()))
        }
        _ => None,
    }
}

/// The server to subscribe to, however long it takes to know one. `None` once the shard is closed.
async fn endpoint(mode: &Mode, attempt: usize) -> Option<Endpoint> {
    match mode {
        Mode::One(server) => server.endpoint().await,
        Mode::Cluster(cluster) => {
            let mut maps = cluster.maps();
            let map = maps.wait_for(|map| !map.endpoints().is_empty()).await.ok()?.clone();
            let all = map.endpoints();
            let connected: Vec<_> =
                all.iter().filter(|endpoint| cluster.node(endpoint).down().is_none()).cloned().collect();
            let candidates = if connected.is_empty() { all.to_vec() } else { connected };
            candidates.get(attempt % candidates.len().max(1)).cloned()
        }
        Mode::Unknown | Mode::Closed => None,
    }
}

/// Waits until a shard has its primary elsewhere, or a cluster no place for this node.
async fn moved(mode: &Mode, here: &Endpoint) -> Error {
    match mode {
        Mode::One(server) => server.moved_from(here).await,
        Mode::Cluster(cluster) => {
            let mut maps = cluster.maps();
            let _ = maps.wait_for(|map| !map.endpoints().contains(here)).await;
        }
        Mode::Unknown | Mode::Closed => {}
    }
    Error::Unavailable { server: here.to_string(), reason: "it does not serve the shard any more".to_owned() }
}

/// Asks for signs of life until there are none.
async fn probe<W: AsyncWrite + Unpin>(
    endpoint: &Endpoint,
    access: &Access,
    mut writing: W,
    life: &Life,
) -> Error {
    let patience = PATIENCE.min(access.io_timeout);
    let question = cmd("PING").get_packed_command();
    loop {
        sleep(PROBE).await;
        let before = life.read.load(Ordering::Relaxed);
        match timeout(patience, writing.write_all(&question)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Error::connection(endpoint, error),
            Err(_) => return Error::Timeout(endpoint.to_string()),
        }
        let mut waited = Duration::ZERO;
        const STEP: Duration = Duration::from_millis(50);
        while life.read.load(Ordering::Relaxed) == before && !life.waits.load(Ordering::Relaxed) {
            if waited >= patience {
                return Error::Timeout(endpoint.to_string());
            }
            sleep(STEP).await;
            waited += STEP;
        }
    }
}

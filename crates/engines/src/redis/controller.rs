//! Messages between nodes by Redis Pub/Sub.
//!
//! ```text
//! <prefix>.n           messages to all nodes
//! <prefix>.n.<node>    messages to one
//! ```
//!
//! Each node has a connection of its own to each shard for what it receives. It sends by the first shard that it
//! receives from: a message goes by one shard only, so that nobody gets it twice. In a cluster, every node passes on
//! what one is given. With [`Layout::Centrifugo`], nodes of Centrifugo are told the same in its own channels.

mod centrifugo;
mod reader;

use self::centrifugo::Neighbours;
use self::reader::{Link, Reader};
use super::config::{Config, ConfigError, Layout};
use super::counters::Counts;
use super::error::Error;
use super::pool::{Pool, Shard, StartError};
use super::script::Call;
use bytes::Bytes;
use parking_lot::Mutex;
use redis::cmd;
use spinward::answer::Answer;
use spinward::engine::EngineHealth;
use spinward::engine::controller::{self, ControlError, ControlSink, MAX_MESSAGE, To};
use spinward::id::NodeId;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Bytes of messages that wait to be taken by the server. [`ControlError::Full`] is the answer beyond.
const WAITING: usize = 32 << 20;

/// Bytes that a message counts at least.
const UNIT: usize = 1 << 10;

/// Carries messages between nodes by Redis Pub/Sub.
pub struct Controller {
    config: Config,
    state: Mutex<State>,
}

enum State {
    Idle,
    Running(Arc<Running>),
    Closed,
}

struct Running {
    pool: Pool,
    names: Names,
    links: Vec<Arc<Link>>,
    room: Arc<Semaphore>,
    sink: ControlSink,
    neighbours: Option<Arc<Neighbours>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

/// Names of Pub/Sub channels.
#[derive(Clone)]
struct Names {
    prefix: Arc<str>,
}

impl Names {
    fn all(&self) -> String {
        format!("{}.n", self.prefix)
    }

    fn node(&self, node: NodeId) -> String {
        format!("{}.n.{node}", self.prefix)
    }
}

impl Controller {
    /// A controller with connections of its own. It connects once its node is built.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { config, state: Mutex::new(State::Idle) })
    }

    /// Counts for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.running().map(|running| running.pool.counters().counts()).unwrap_or_default()
    }

    fn running(&self) -> Result<Arc<Running>, ControlError> {
        match &*self.state.lock() {
            State::Running(running) => Ok(Arc::clone(running)),
            State::Idle | State::Closed => Err(ControlError::Closed),
        }
    }
}

impl Running {
    /// The shard to send by: the first that this node receives from, or the first of all.
    fn shard(&self) -> usize {
        self.links.iter().position(|link| link.down().is_none()).unwrap_or_default()
    }

    async fn send(&self, to: To, message: Bytes) -> Result<(), Error> {
        let name = match to {
            To::All => self.names.all(),
            To::Node(node) => self.names.node(node),
        };
        let shard = self.pool.shards().get(self.shard()).ok_or(Error::Closed)?;
        publish(shard, name, &message).await?;
        if let Some(neighbours) = &self.neighbours {
            let translated = neighbours.translate(to, &message);
            let told = translated.is_some();
            if let Some((name, bytes)) = translated {
                publish(shard, name, &bytes).await?;
            }
            for answer in neighbours.answers(to, &message, told) {
                self.sink.receive(answer);
            }
        }
        Ok(())
    }
}

async fn publish(shard: &Shard, name: String, message: &[u8]) -> Result<(), Error> {
    let mut command = cmd("PUBLISH");
    command.arg(&name).arg(message);
    shard.call(&Call::command(name.into(), command)).await.map(drop)
}

impl controller::Controller for Controller {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn start(&self, node: NodeId, sink: ControlSink) -> Result<(), ControlError> {
        let mut state = self.state.lock();
        if !matches!(*state, State::Idle) {
            return Err(ControlError::Closed);
        }
        let pool = Pool::start(&self.config).map_err(|error| match error {
            StartError::Config(error) => ControlError::Failed(Box::new(error)),
            StartError::NoRuntime(error) => ControlError::Failed(Box::new(error)),
        })?;
        let names = Names { prefix: self.config.prefix.as_str().into() };
        let neighbours = match self.config.layout {
            Layout::Spinward => None,
            Layout::Centrifugo => Some(Arc::new(Neighbours::new(&names.prefix, node))),
        };
        let mut channels = vec![names.all(), names.node(node)];
        if let Some(neighbours) = &neighbours {
            channels.extend([neighbours.all(), neighbours.node(node)]);
        }
        let (mut links, mut readers) = (Vec::new(), Vec::new());
        for shard in pool.shards() {
            let reader = Reader {
                shard: Arc::clone(shard),
                counters: Arc::clone(pool.counters()),
                channels: channels.clone(),
                neighbours: neighbours.clone(),
                sink: sink.clone(),
                link: Arc::default(),
            };
            links.push(Arc::clone(&reader.link));
            readers.push(tokio::spawn(reader.run()));
        }
        let room = Arc::new(Semaphore::new(WAITING / UNIT));
        let readers = Mutex::new(readers);
        let running = Running { pool, names, links, room, sink, neighbours, readers };
        *state = State::Running(Arc::new(running));
        Ok(())
    }

    fn send(&self, to: To, message: Bytes) -> Answer<Result<(), ControlError>> {
        if message.len() > MAX_MESSAGE {
            return Answer::Now(Err(ControlError::TooLong(message.len())));
        }
        let running = match self.running() {
            Ok(running) => running,
            Err(error) => return Answer::Now(Err(error)),
        };
        let units = u32::try_from(message.len().div_ceil(UNIT).max(1)).unwrap_or(u32::MAX);
        let Ok(place) = Arc::clone(&running.room).try_acquire_many_owned(units) else {
            return Answer::Now(Err(ControlError::Full));
        };
        Answer::later(async move {
            let sent = running.send(to, message).await;
            drop(place);
            sent.map_err(|error| match error {
                Error::Closed => ControlError::Closed,
                error => ControlError::Failed(Box::new(error)),
            })
        })
    }

    fn health(&self) -> EngineHealth {
        let running = match self.running() {
            Ok(running) => running,
            Err(error) => return EngineHealth::Down { reason: error.to_string() },
        };
        let reasons = running.links.iter().filter_map(|link| link.down());
        let reasons: Vec<_> = reasons.collect();
        if reasons.is_empty() {
            running.pool.health()
        } else {
            EngineHealth::Down { reason: reasons.join("; ") }
        }
    }

    fn close(&self) -> Answer<()> {
        let State::Running(running) = std::mem::replace(&mut *self.state.lock(), State::Closed) else {
            return Answer::Now(());
        };
        running.pool.close();
        let readers = std::mem::take(&mut *running.readers.lock());
        readers.iter().for_each(JoinHandle::abort);
        Answer::later(async move {
            // Nothing is delivered once they have ended.
            for reader in readers {
                let _ = reader.await;
            }
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.readers.get_mut().iter().for_each(JoinHandle::abort);
    }
}

//! The channels of a node, run by their engines.
//!
//! [`Channels`] has one method for each thing that can be done to a channel, and is the only code that tells engines
//! apart. The memory engine is `memory.rs`, over the records of the directory. An engine outside of the process is
//! called by `remote.rs` and calls back by `receive.rs`; `requests.rs` asks it for channels, `waves.rs` reads streams for
//! subscribers that are entering, `recent.rs` keeps for a moment what was read, and `compare.rs` asks whether something
//! was lost.

mod compare;
mod enter;
mod memory;
mod publish;
mod read;
mod receive;
mod recent;
mod remote;
mod requests;
mod waves;

pub(crate) use enter::{Entered, Start};

use crate::answer::Answer;
use crate::backend::memory::Memory;
use crate::backend::remote::Remote;
use crate::channel::record::{Channel, ChannelState, EngineId};
use crate::clock::Now;
use crate::engine::EngineHealth;
use crate::engine::broker::{Broker, BrokerError};
use crate::hub::Hub;
use crate::runtime::Runtime;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The channels of a node.
pub(crate) struct Channels {
    pub(crate) hub: Arc<Hub>,
    /// By [`EngineId`]. There is one at least.
    engines: Box<[Engine]>,
    /// The choice between them, where there are several.
    choice: Option<Choice>,
}

/// An engine of this node.
enum Engine {
    /// In the records of the directory.
    Memory(Arc<Memory>),
    /// Outside of this process.
    Remote(Arc<Remote>),
}

/// The choice between engines that have names.
struct Choice {
    names: Vec<(Box<str>, EngineId)>,
    choose: Arc<dyn ChooseEngine>,
}

/// The application's choice of an engine for a channel.
pub(crate) trait ChooseEngine: Send + Sync {
    /// Returns the name of the engine; `None` is the default one.
    fn engine<'a>(&'a self, channel: &str) -> Option<&'a str>;
}

/// Brokers of a node, before it is made.
pub(crate) struct Brokers {
    /// In place of the memory engine.
    pub(crate) default: Option<Arc<dyn Broker>>,
    pub(crate) named: Vec<(Box<str>, Arc<dyn Broker>)>,
    pub(crate) choose: Arc<dyn ChooseEngine>,
}

impl Brokers {
    /// The name of the memory engine, for nodes whose default is another one.
    pub(crate) const MEMORY: &'static str = "memory";
    /// Most engines with names.
    pub(crate) const MOST: usize = 64;
}

impl Channels {
    /// Makes the engines of a node, and starts those outside of the process.
    pub(crate) fn start(
        hub: Arc<Hub>,
        runtime: &Runtime,
        brokers: Brokers,
    ) -> Result<Arc<Self>, BrokerError> {
        let Brokers { default, named, choose } = brokers;
        let mut engines = Vec::new();
        let mut names = Vec::new();
        let mut add = |name: Option<Box<str>>, broker: Option<Arc<dyn Broker>>| {
            let Some(id) = EngineId::at(engines.len()) else { return };
            engines.push(match broker {
                Some(broker) => Engine::Remote(Remote::new(id, broker, runtime.clone(), &hub)),
                None => Engine::Memory(Arc::new(Memory::new(id, &hub.entropy))),
            });
            names.extend(name.map(|name| (name, id)));
        };
        let (remote, several) = (default.is_some(), !named.is_empty());
        add((!remote).then(|| Brokers::MEMORY.into()), default);
        named.into_iter().take(Brokers::MOST).for_each(|(name, broker)| add(Some(name), Some(broker)));
        if several && remote {
            add(Some(Brokers::MEMORY.into()), None);
        }
        let choice = several.then_some(Choice { names, choose });
        let channels = Self { hub, engines: engines.into(), choice };
        for remote in channels.remotes() {
            remote.start()?;
        }
        Ok(Arc::new(channels))
    }

    /// The engine of a channel whose record is locked.
    fn engine_of(&self, state: &ChannelState) -> &Engine {
        &self.engines[state.engine().place()]
    }

    /// The engine of a channel.
    fn engine(&self, channel: &Channel) -> &Engine {
        match &*self.engines {
            [only] => only,
            engines => &engines[channel.lock().engine().place()],
        }
    }

    /// Returns the number of a channel's engine. The application is asked only about a channel without a record, and
    /// under no lock. A channel keeps the engine it has: with another one, its subscribers would miss what is
    /// published.
    fn choose(&self, name: &str) -> EngineId {
        let Some(Choice { names, choose }) = &self.choice else { return EngineId::DEFAULT };
        if let Some(record) = self.hub.directory.find(name) {
            return record.lock().engine();
        }
        let chosen = catch_unwind(AssertUnwindSafe(|| {
            let wanted = choose.engine(name)?;
            let found = names.iter().find(|(name, _)| **name == *wanted);
            if found.is_none() {
                self.hub.engine_unknown(wanted);
            }
            found.map(|(_, id)| *id)
        }));
        chosen
            .unwrap_or_else(|_| {
                self.hub.panicked("engine");
                None
            })
            .unwrap_or(EngineId::DEFAULT)
    }

    fn remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.engines.iter().filter_map(|engine| match engine {
            Engine::Remote(remote) => Some(remote),
            Engine::Memory(_) => None,
        })
    }

    /// The state of the first engine that is down.
    pub(crate) fn health(&self) -> EngineHealth {
        let mut states = self.remotes().map(|remote| remote.broker().health());
        states.find(|state| *state != EngineHealth::Up).unwrap_or(EngineHealth::Up)
    }

    /// Looks at the requests to engines outside of the process: to be called about once a second.
    pub(crate) fn tick(&self) {
        self.remotes().for_each(|remote| remote.tick());
    }

    /// Drops history that has expired, of about `max` channels. Returns the time at which there is more to do, on the
    /// monotonic clock: at once, where the present is not earlier than that.
    pub(crate) fn expire(&self, now: Now, max: usize) -> Option<u64> {
        let memories = self.engines.iter().filter_map(|engine| match engine {
            Engine::Memory(memory) => memory.expire(&self.hub, now, max),
            Engine::Remote(_) => None,
        });
        memories.min()
    }

    /// Has the engines outside of the process close their connections.
    pub(crate) fn close(&self) -> Vec<Answer<()>> {
        self.remotes().map(|remote| remote.broker().close()).collect()
    }
}

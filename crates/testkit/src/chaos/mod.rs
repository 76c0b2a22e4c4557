//! Chaos: several nodes of the real server over a real engine, clients that recover, publishers that number what they
//! publish, and one fault after another, drawn from a seed. In the end the delivery [checker](crate::checker) judges
//! what all of them have seen.
//!
//! A seed draws the same faults, clients and pauses; the order of events is that of real processes.

mod api;
mod arena;
mod client;
pub mod drain;
pub mod emulated;
mod faults;
mod judge;
mod node;
pub mod proxy;
mod publisher;
mod report;
mod store;
mod strike;

pub use faults::Fault;
pub use judge::Delays;
pub use node::Launch;
pub use report::Report;
pub use store::{KINDS, Kind};

use arena::Arena;
use faults::Draws;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a run.
#[derive(Clone)]
pub struct Settings {
    /// Engine.
    pub engine: Kind,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Number of faults; 0 is as many as fit into `time`.
    pub faults: usize,
    /// Time in which faults happen.
    pub time: Duration,
    /// These faults only, if there are any.
    pub only: Vec<String>,
    /// Number of clients.
    pub clients: usize,
    /// Number of channels.
    pub channels: usize,
    /// Channels of each client.
    pub each: usize,
    /// Number of nodes.
    pub nodes: usize,
    /// Number of publishers.
    pub publishers: usize,
    /// Publications in a second, of all publishers together.
    pub rate: f64,
    /// Shortest and longest duration of a fault that lasts.
    pub pauses: (Duration, Duration),
    /// Time after each fault in which nothing else happens, so that a loss must be signalled without further help.
    pub rest: Duration,
    /// Time in which a loss must be signalled, counted from the end of the fault.
    pub limit: Duration,
    /// Makes the command of a node.
    pub launch: Launch,
    /// Folder for the log of a run with violations.
    pub out: PathBuf,
}

impl Settings {
    /// The shortened run of continuous integration.
    #[must_use]
    pub fn short(engine: Kind, launch: Launch) -> Self {
        Self {
            engine,
            seed: 1,
            faults: 0,
            time: Duration::from_secs(20),
            only: Vec::new(),
            clients: 60,
            channels: 20,
            each: 3,
            nodes: if engine == Kind::Memory { 1 } else { 3 },
            publishers: 4,
            rate: 40.0,
            pauses: (Duration::from_millis(800), Duration::from_millis(2_500)),
            rest: Duration::from_millis(300),
            limit: Duration::from_secs(10),
            launch,
            out: PathBuf::from("target/chaos"),
        }
    }

    /// A run by hand.
    #[must_use]
    pub fn long(engine: Kind, launch: Launch) -> Self {
        Self {
            time: Duration::from_secs(600),
            clients: 500,
            channels: 100,
            each: 5,
            publishers: 8,
            rate: 60.0,
            pauses: (Duration::from_secs(1), Duration::from_secs(30)),
            limit: Duration::from_secs(5),
            ..Self::short(engine, launch)
        }
    }
}

/// Runs, prints what happens, and returns the verdict.
///
/// # Errors
/// Nodes cannot be started.
pub fn run(settings: &Settings) -> std::io::Result<Report> {
    let mut arena = Arena::start(settings)?;
    let mut all = Fault::of(settings.engine);
    all.retain(|fault| settings.only.is_empty() || settings.only.contains(&fault.to_string()));
    let mut draws = Draws::new(arena.random.clone(), all);
    let mut count = 0;
    while if settings.faults > 0 { count < settings.faults } else { arena.elapsed() < settings.time } {
        let Some(fault) = draws.next() else { break };
        count += 1;
        arena.strike(fault)?;
    }
    arena.finish()
}

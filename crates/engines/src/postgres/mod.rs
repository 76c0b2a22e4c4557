//! PostgreSQL 15 and newer: broker, presence store, controller.
//!
//! ```text
//!  application ──> cf_stream_publish(…), in a transaction of its own ──┐
//!  Broker ───────> cf_stream_put(…) ─────────────────────────────────> log, one partition per day
//!    ▲                                                                  │
//!    └── Sink <── shards <── Reader: what was committed between two snapshots
//! ```
//!
//! `schema.rs` and `sql/` are the tables and functions, `store.rs` the connections. `cursor.rs` is the place of a reader
//! in a log whose rows become visible out of order, `pages.rs` asks for what it lacks, `reader.rs` reads, `wanted.rs` filters. `lives.rs` knows the
//! incarnation, `maintenance.rs` removes what has expired.

mod broker;
mod config;
mod controller;
mod counters;
mod cursor;
mod error;
mod lives;
mod maintenance;
mod pages;
mod presence;
mod reader;
mod rows;
mod schema;
mod session;
mod store;
mod wanted;

pub use broker::Broker;
pub use config::{Config, Connection, ControllerConfig, Outbox, PresenceConfig};
pub use controller::Controller;
pub use counters::Counts;
pub use error::Error;
pub use presence::Presence;
pub use session::{Heard, Listener, Session};

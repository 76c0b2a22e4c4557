//! Outbox tables in PostgreSQL 13 and newer.
//!
//! An application writes a row into the table in the transaction that changes its data; the row is carried out after
//! the commit, and deleted. Rows of a partition are carried out in the order of their ids.
//!
//! `table.rs` knows the table, `batch.rs` carries out some rows of a partition in one transaction, `outbox.rs` has a
//! task for each partition, `raw.rs` reads columns of whatever type.

mod batch;
mod config;
mod error;
mod outbox;
mod raw;
mod table;

pub use config::Config;
pub use error::Error;
pub use outbox::Outbox;

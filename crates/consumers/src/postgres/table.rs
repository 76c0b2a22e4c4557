//! The table of an outbox: its columns, and the statements for it.

use super::config::Config;
use super::error::Error;
use super::raw::{Number, Raw};
use spinward_engines::postgres::{Listener, Session};
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::Statement;
use tokio_postgres::types::Type;

/// Longest wait for an answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Longest wait for the lock of a partition that another node has.
const LOCK: Duration = Duration::from_secs(3);

/// Time after which the server ends a transaction of a node that hangs, so that others get its partition.
const IDLE: Duration = Duration::from_secs(40);

/// A connection with the statements of a table.
pub(super) struct Ready {
    pub(super) session: Session,
    /// Locks a partition. Its parameter is the name of the lock.
    pub(super) lock: Statement,
    /// Rows of a partition: id, method, payload, age in seconds.
    pub(super) select: Statement,
    /// Deletes rows by their ids.
    pub(super) delete: Statement,
    /// Oid of the table, by which all nodes name the same lock however the table is written.
    pub(super) oid: u32,
}

/// Tells which types of a column can be read.
type Takes = fn(&Type) -> bool;

/// Waits for an answer, but not for ever.
pub(super) async fn answer<T>(
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Error> {
    Ok(timeout(ANSWER, asked).await.map_err(|_| Error::Slow(ANSWER))??)
}

/// Begins a transaction.
pub(super) fn begin() -> String {
    // Within the transaction, so that it is right behind a pooler too.
    format!(
        "BEGIN; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
         SET LOCAL idle_in_transaction_session_timeout = {}",
        (ANSWER - Duration::from_secs(1)).as_millis(),
        LOCK.as_millis(),
        IDLE.as_millis(),
    )
}

/// Connects, and makes sure that the table is there and has its columns.
pub(super) async fn connect(config: &Config, listener: Option<Listener>) -> Result<Ready, Error> {
    let session = config.connection.dial(&config.connection.dsn, listener).await?;
    let table = &config.table;
    let client = &session.client;
    let find = "SELECT c.oid, has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'DELETE'), \
                EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'created_at' \
                AND NOT a.attisdropped AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype)) \
                FROM pg_class c WHERE c.oid = to_regclass($1)";
    let found =
        answer(client.query_opt(find, &[table])).await?.ok_or_else(|| Error::Missing(table.clone()))?;
    let oid: u32 = found.try_get(0)?;
    for (index, right) in [(1, "SELECT"), (2, "DELETE")] {
        if !found.try_get::<_, bool>(index)? {
            return Err(Error::Right { table: table.clone(), right });
        }
    }
    for (column, expected) in [
        ("id", "of type bigint"),
        ("method", "of type text"),
        ("payload", "of type jsonb"),
        ("partition", "of type integer"),
    ] {
        let there = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = $1 AND attname = $2 AND NOT attisdropped)";
        if !answer(client.query_one(there, &[&oid, &column])).await?.try_get::<_, bool>(0)? {
            return Err(Error::Column { table: table.clone(), column, expected });
        }
    }
    let age = match found.try_get(3)? {
        true => "extract(epoch FROM clock_timestamp() - created_at)::float8",
        false => "NULL::float8",
    };
    let try_lock = if config.try_lock { "pg_try_advisory_xact_lock" } else { "pg_advisory_xact_lock" };
    let got = if config.try_lock { "" } else { "::text IS NOT NULL" };
    let lock = format!("SELECT {try_lock}(hashtextextended($1, 0)){got}");
    let select = format!(
        "SELECT id, method, payload, {age} FROM {table} WHERE partition = $1::int ORDER BY id LIMIT $2::bigint"
    );
    let delete = format!("DELETE FROM {table} WHERE id = ANY($1::bigint[])");
    let lock = answer(client.prepare(&lock)).await?;
    let select = answer(client.prepare(&select)).await?;
    for (at, takes, column, expected) in [
        (0, Number::takes as Takes, "id", "of type bigint"),
        (1, Raw::takes as Takes, "method", "of type text"),
        (2, Raw::takes as Takes, "payload", "of type jsonb, json, text or bytea"),
    ] {
        if select.columns().get(at).is_none_or(|found| !takes(found.type_())) {
            return Err(Error::Column { table: table.clone(), column, expected });
        }
    }
    let delete = answer(client.prepare(&delete)).await?;
    Ok(Ready { session, lock, select, delete, oid })
}

/// Returns true if there are rows of partitions that are never read.
pub(super) async fn has_strays(config: &Config, ready: &Ready) -> Result<bool, Error> {
    let table = &config.table;
    let strays = format!(
        "SELECT EXISTS (SELECT FROM {table} WHERE partition < 0 OR partition >= $1::bigint OR partition IS NULL)"
    );
    let partitions = i64::from(config.partitions);
    Ok(answer(ready.session.client.query_one(&strays, &[&partitions])).await?.try_get(0)?)
}

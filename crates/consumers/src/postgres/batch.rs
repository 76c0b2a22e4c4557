//! Some rows of a partition, carried out in one transaction that holds the lock of the partition.

use super::config::Config;
use super::error::Error;
use super::raw::{Number, Raw};
use super::table::{Ready, answer, begin};
use crate::decode::Message;
use crate::worker::{Attempt, Worker};
use bytes::Bytes;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// Time after which a batch ends although it has more rows: the transaction must not stay open for long.
const LONGEST: Duration = Duration::from_secs(10);

/// Outcome of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// There may be more rows.
    More,
    /// Everything was carried out.
    Empty,
    /// Another node has the partition.
    Elsewhere,
    /// A call failed for a reason that passes.
    Again,
}

/// Place of a row, for the log.
struct Place(u32, Option<i64>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(id) => write!(f, "row {id} of partition {}", self.0),
            None => write!(f, "a row without id of partition {}", self.0),
        }
    }
}

/// Carries out the next rows of a partition. Rows before one that has to be tried again are deleted.
pub(super) async fn run(
    config: &Config,
    ready: &Ready,
    worker: &Worker,
    partition: u32,
) -> Result<Batch, Error> {
    let client = &ready.session.client;
    let name = format!("spinward outbox {} {partition}", ready.oid);
    let number = i32::try_from(partition).unwrap_or(i32::MAX);
    let limit = i64::from(config.select_limit);
    let begin = begin();
    let (lock, select): ([&(dyn ToSql + Sync); 1], [&(dyn ToSql + Sync); 2]) = ([&name], [&number, &limit]);
    // One round trip: the server runs them one after the other, each with a snapshot of its own.
    let (begun, locked, rows) = tokio::join!(
        biased;
        answer(client.batch_execute(&begin)),
        answer(client.query_one(&ready.lock, &lock)),
        answer(client.query(&ready.select, &select)),
    );
    begun?;
    if locked.as_ref().is_err_and(is_locked) {
        worker.lag_unknown(partition.into());
        answer(client.batch_execute("ROLLBACK")).await?;
        return Ok(Batch::Elsewhere);
    }
    if !locked?.try_get::<_, bool>(0)? {
        worker.lag_unknown(partition.into());
        answer(client.batch_execute("ROLLBACK")).await?;
        return Ok(Batch::Elsewhere);
    }
    let rows = rows?;
    worker.source_up();
    worker.lag(partition.into(), rows.first().map_or(Ok(Duration::ZERO), age)?);
    if rows.is_empty() {
        answer(client.batch_execute("COMMIT")).await?;
        return Ok(Batch::Empty);
    }
    let (settled, outcome) = carry_out(&rows, worker, partition, limit).await?;
    let delete: [&(dyn ToSql + Sync); 1] = [&settled];
    let (deleted, committed) = tokio::join!(
        biased;
        answer(client.execute(&ready.delete, &delete)),
        answer(client.batch_execute("COMMIT")),
    );
    deleted?;
    committed?;
    if outcome == Batch::Empty {
        worker.lag(partition.into(), Duration::ZERO);
    }
    Ok(outcome)
}

/// Carries out rows in their order, and returns the ids of those that may be deleted.
async fn carry_out(
    rows: &[Row],
    worker: &Worker,
    partition: u32,
    limit: i64,
) -> Result<(Vec<i64>, Batch), Error> {
    let begun = Instant::now();
    let mut settled = Vec::with_capacity(rows.len());
    for row in rows {
        let id: Option<Number> = row.try_get(0)?;
        let id = id.map(|Number(id)| id);
        let method: Option<Raw<'_>> = row.try_get(1)?;
        let payload: Option<Raw<'_>> = row.try_get(2)?;
        // Without a method, the payload names it. It need not be text for a message that is skipped.
        let method = method.map(|Raw(bytes)| str::from_utf8(bytes).unwrap_or("\u{fffd}"));
        let message = Message {
            attributes: method.map(|method| (METHOD, method)).into_iter().collect(),
            payload: Bytes::copy_from_slice(payload.map_or(&[][..], |Raw(bytes)| bytes)),
        };
        match worker.attempt(&Place(partition, id), &message).await {
            Attempt::Settled(_) => settled.extend(id),
            Attempt::Again => return Ok((settled, Batch::Again)),
        }
        if begun.elapsed() > LONGEST || worker.is_stopped() {
            return Ok((settled, Batch::More));
        }
    }
    let full = i64::try_from(rows.len()).is_ok_and(|count| count >= limit);
    Ok((settled, if full { Batch::More } else { Batch::Empty }))
}

/// Column with the method, and name of the attribute for it.
pub(super) const METHOD: &str = "method";

/// Age of a row, if the table has it.
fn age(row: &Row) -> Result<Duration, Error> {
    let seconds: Option<f64> = row.try_get(3)?;
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default())
}

/// Returns true if the lock was not to be had in time.
fn is_locked(error: &Error) -> bool {
    use tokio_postgres::error::SqlState;
    match error {
        Error::Server(error) => error.sql_state() == Some(&SqlState::LOCK_NOT_AVAILABLE),
        _ => false,
    }
}

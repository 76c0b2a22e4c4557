//! Pages of a log: the statements that a [`Cursor`](super::cursor::Cursor) asks for.

use super::cursor::Page;
use super::error::Error;
use super::store::answer;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

/// The statements of a connection.
pub(super) struct Pages {
    first: Statement,
    further: Statement,
}

impl Pages {
    /// Texts of the first page of a delta, and of those that follow.
    ///
    /// `rows` selects rows, beginning with id and transaction. `head` has the same columns as NULL: the first row of an
    /// answer has the snapshot of the statement in front of them, and the others have NULL there. `only` restricts the
    /// rows by `$1`, and ends in AND unless it is empty.
    pub(super) fn texts(head: &str, rows: &str, only: &str) -> [String; 2] {
        let page = |page: String| {
            format!(
                "SELECT pg_current_snapshot()::text AS seen, {head} \
                 UNION ALL SELECT NULL, page.* FROM ({page}) page ORDER BY id NULLS FIRST"
            )
        };
        [
            // By transaction: the sum keeps the planner from going by id, and from the beginning of the log.
            page(format!(
                "SELECT * FROM ({rows} WHERE {only} xid >= $2::text::xid8 AND xid <> ALL ($3::text::xid8[]) \
                 UNION ALL {rows} WHERE {only} xid = ANY ($3::text::xid8[])) found ORDER BY id + 0 LIMIT $4"
            )),
            page(format!(
                "{rows} WHERE {only} id > $5 AND (xid >= $2::text::xid8 OR xid = ANY ($3::text::xid8[])) \
                 AND pg_visible_in_snapshot(xid, $6::text::pg_snapshot) ORDER BY id LIMIT $4"
            )),
        ]
    }

    pub(super) async fn prepare(client: &Client, [first, further]: &[String; 2]) -> Result<Self, Error> {
        let (first, further) = (answer(client.prepare(first)).await?, answer(client.prepare(further)).await?);
        Ok(Self { first, further })
    }

    /// Asks for a page.
    pub(super) async fn ask(
        &self,
        client: &Client,
        only: &(dyn ToSql + Sync),
        page: &Page,
        limit: i64,
    ) -> Result<Vec<Row>, Error> {
        let Page { next, running, within } = page;
        match within {
            None => answer(client.query(&self.first, &[only, next, running, &limit])).await,
            Some((after, target)) => {
                answer(client.query(&self.further, &[only, next, running, &limit, after, target])).await
            }
        }
    }
}

//! Rows of the log as events.

use super::error::Error;
use bytes::Bytes;
use spinward::engine::broker::{Event, JoinLeave};
use spinward::publication::{ClientInfo, Publication, Tags};
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// A column whose value cannot be read fails by name.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, Error> {
    row.try_get(index).map_err(|error| Error::Answer(error.to_string()))
}

/// An offset or a version.
pub(super) fn number(row: &Row, index: usize) -> Result<u64, Error> {
    let number: i64 = column(row, index)?;
    u64::try_from(number).map_err(|_| Error::Answer(format!("column {index} is {number}")))
}

pub(super) fn text(bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|error| Error::Answer(error.to_string()))
}

/// Kinds of rows.
pub(super) const PUBLICATION: i16 = 0;
pub(super) const JOIN: i16 = 1;
pub(super) const LEAVE: i16 = 2;

/// The columns of a publication: offset, data, tags, client, user, conn_info, chan_info, version, delta, time.
pub(super) fn publication(row: &Row, first: usize) -> Result<Publication, Error> {
    let offset: Option<i64> = column(row, first)?;
    let data: Option<Vec<u8>> = column(row, first + 1)?;
    let tags: Option<Vec<Vec<u8>>> = column(row, first + 2)?;
    Ok(Publication {
        data: data.unwrap_or_default().into(),
        info: info(row, first + 3)?.map(Arc::new),
        tags: labels(tags.unwrap_or_default())?.map(Arc::new),
        offset: u64::try_from(offset.unwrap_or(0)).unwrap_or(0),
        time: column(row, first + 9)?,
        version: number(row, first + 7)?,
        channel: None,
        delta: column(row, first + 8)?,
    })
}

/// A row of one of the kinds, with its columns as for a publication.
pub(super) fn event(row: &Row, kind: i16, first: usize) -> Result<Event, Error> {
    let info = || Ok::<_, Error>(Arc::new(info(row, first + 3)?.unwrap_or_default()));
    Ok(match kind {
        PUBLICATION => Event::Publication(Arc::new(publication(row, first)?)),
        JOIN => Event::JoinLeave(JoinLeave::Join(info()?)),
        LEAVE => Event::JoinLeave(JoinLeave::Leave(info()?)),
        other => return Err(Error::Answer(format!("a row of kind {other}"))),
    })
}

/// `None` where neither client nor user is given.
fn info(row: &Row, first: usize) -> Result<Option<ClientInfo>, Error> {
    let client: Option<Vec<u8>> = column(row, first)?;
    let user: Option<Vec<u8>> = column(row, first + 1)?;
    if client.is_none() && user.is_none() {
        return Ok(None);
    }
    let bytes = |index| Ok::<Bytes, Error>(column::<Option<Vec<u8>>>(row, index)?.unwrap_or_default().into());
    Ok(Some(ClientInfo {
        user: text(user.unwrap_or_default())?.into(),
        client: text(client.unwrap_or_default())?.into(),
        conn_info: bytes(first + 2)?,
        chan_info: bytes(first + 3)?,
    }))
}

/// Keys and values in turn.
fn labels(parts: Vec<Vec<u8>>) -> Result<Option<Tags>, Error> {
    let mut tags = Tags::new();
    let mut parts = parts.into_iter();
    while let Some(key) = parts.next() {
        tags.insert(text(key)?, text(parts.next().unwrap_or_default())?);
    }
    Ok((!tags.is_empty()).then_some(tags))
}

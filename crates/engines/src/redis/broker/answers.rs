//! Answers of the broker's scripts.

use super::super::centrifugo;
use super::super::lives::Lives;
use crate::codec;
use crate::fault::{Fault, holds};
use redis::Value;
use spinward::Publication;
use spinward::engine::broker::{BrokerError, Event, Place, Receipt, Slice, StreamId};
use std::sync::Arc;

/// Names that an answer has: the life of the store, the kind of answer, and what that has.
pub(super) struct Answer<'a> {
    life: Arc<str>,
    /// In the layout of Centrifugo: publications are its own, and epochs say nothing of lives.
    shared: bool,
    kind: &'a [u8],
    rest: &'a [Value],
}

impl<'a> Answer<'a> {
    /// Reads an answer. The life of the store is noted before anything else is done.
    pub(super) fn read(value: &'a Value, lives: &Lives, shared: bool) -> Option<Self> {
        let Value::Array(parts) = value else { return None };
        let [life, kind, rest @ ..] = &**parts else { return None };
        let life = str(life).filter(|life| !life.is_empty())?;
        let life = lives.note(life).0;
        Some(Self { life: if shared { "".into() } else { life }, shared, kind: bytes(kind)?, rest })
    }

    fn place(&self, epoch: &Value, offset: &Value) -> Option<Place> {
        let stream = StreamId { incarnation: Arc::clone(&self.life), epoch: str(epoch)?.into() };
        Some(Place { stream, offset: str(offset)?.parse().ok()? })
    }

    /// The answer to a publish.
    pub(super) fn receipt(&self) -> Option<Receipt> {
        match (self.kind, self.rest) {
            (b"s", [epoch, offset]) => self.place(epoch, offset).map(Receipt::Stored),
            (b"v", [epoch, offset]) => Some(Receipt::Suppressed(Some(self.place(epoch, offset)?))),
            (b"u", []) => Some(Receipt::Sent),
            (b"k", [known]) => match str(known)? {
                "-" => Some(Receipt::Suppressed(None)),
                // The place that the first publish was given is of the life that it was made in.
                known => {
                    let mut parts = known.splitn(3, ':');
                    let (life, epoch, offset) = (parts.next()?, parts.next()?, parts.next()?);
                    let incarnation =
                        if *life == *self.life { Arc::clone(&self.life) } else { Arc::from(life) };
                    let stream = StreamId { incarnation, epoch: epoch.into() };
                    Some(Receipt::Suppressed(Some(Place { stream, offset: offset.parse().ok()? })))
                }
            },
            _ => None,
        }
    }

    /// The answer to a read. `forward`: lists are turned round.
    pub(super) fn slice(&self, forward: bool) -> Option<Result<Slice, BrokerError>> {
        let slice = match (self.kind, self.rest) {
            (b"e", _) => return Some(Err(BrokerError::UnrecoverablePosition)),
            (b"r", [epoch, top]) => {
                let mut top = self.place(epoch, top)?;
                if holds(Fault::StaleTop) {
                    top.offset = top.offset.saturating_sub(1);
                }
                Slice { publications: Vec::new(), top }
            }
            (b"r", [epoch, top, Value::Array(entries)]) => {
                let entries = entries.iter().map(|one| entry(one, self.shared));
                let mut publications: Vec<_> = entries.collect::<Option<_>>()?;
                if holds(Fault::HistoryDrop) && !publications.is_empty() {
                    publications.remove(0);
                }
                Slice { publications, top: self.place(epoch, top)? }
            }
            (b"r", [epoch, top, first, Value::Array(entries)]) => {
                let first: u64 = str(first)?.parse().ok()?;
                let offsets = (1..=first).rev();
                let with = |(entry, offset): (&Value, u64)| publication(bytes(entry)?, offset, self.shared);
                let mut publications: Vec<_> =
                    entries.iter().zip(offsets).map(with).collect::<Option<_>>()?;
                if forward {
                    publications.reverse();
                }
                Slice { publications, top: self.place(epoch, top)? }
            }
            _ => return None,
        };
        Some(Ok(slice))
    }
}

/// An entry of a stream: `[id, [field, value]]`.
fn entry(entry: &Value, shared: bool) -> Option<Arc<Publication>> {
    let Value::Array(parts) = entry else { return None };
    let [id, Value::Array(fields)] = &**parts else { return None };
    let [_, data] = &**fields else { return None };
    let offset = str(id)?.split_once('-')?.0.parse().ok()?;
    publication(bytes(data)?, offset, shared)
}

fn publication(data: &[u8], offset: u64, shared: bool) -> Option<Arc<Publication>> {
    if shared {
        let publication = centrifugo::read_publication(data.to_vec().into())?;
        return Some(Arc::new(Publication { offset, ..publication }));
    }
    match codec::read_event(data.to_vec().into()).ok()? {
        Event::Publication(mut publication) => {
            Arc::make_mut(&mut publication).offset = offset;
            if holds(Fault::HistoryChange) {
                Arc::make_mut(&mut publication).data = "{}".into();
            }
            Some(publication)
        }
        Event::JoinLeave(_) => None,
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn str(value: &Value) -> Option<&str> {
    std::str::from_utf8(bytes(value)?).ok()
}

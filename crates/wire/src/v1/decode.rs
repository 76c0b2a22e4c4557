//! Recognition of version 1, and what its requests mean in today's messages.

use super::message::{ConnectRequest, HistoryRequest, PublishRequest, SubRefreshRequest, SubscribeRequest};
use super::{METHODS, Positions};
use crate::command::{Incoming, Request};
use crate::json::scan::{skip_spaces, skip_string, skip_value};
use crate::json::unescape_literal;
use crate::message;
use crate::protobuf::read_varint;
use crate::protocol::Protocol;

/// Returns true if this is the first message of a client that speaks version 1.
///
/// Its first command is the envelope of a connect: `{"id":1,"params":{}}`, with or without a method, or `{"id":1}`
/// alone. A command with a request of today's protocol is never taken for one, nor is anything malformed.
#[must_use]
pub fn speaks(protocol: Protocol, message: &[u8]) -> bool {
    match protocol {
        Protocol::Json => speaks_json(message),
        Protocol::Protobuf => speaks_protobuf(message),
    }
    .unwrap_or(false)
}

/// Parts of an envelope, as they are found.
#[derive(Default)]
struct Found {
    id: bool,
    envelope: bool,
    unknown: bool,
}

impl Found {
    const fn is_envelope(&self) -> bool {
        self.envelope || self.id && !self.unknown
    }
}

fn speaks_json(bytes: &[u8]) -> Option<bool> {
    let mut found = Found::default();
    let mut at = skip_spaces(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_spaces(bytes, at + 1);
    loop {
        let end = skip_string(bytes, at)?;
        let key = std::str::from_utf8(bytes.get(at..end)?).ok()?;
        let key = unescape_literal(key)?.to_ascii_lowercase();
        at = skip_spaces(bytes, end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        at = skip_spaces(bytes, at + 1);
        let is_null = bytes.get(at..)?.starts_with(b"null");
        match key.as_str() {
            "id" => found.id = !is_null && !bytes.get(at..)?.starts_with(b"0"),
            "method" | "params" => found.envelope = true,
            // A request of today's protocol decides, whatever is beside it.
            name if !is_null && Request::NAMES.contains(&name) => return Some(false),
            _ => found.unknown = true,
        }
        at = skip_spaces(bytes, skip_value(bytes, at)?);
        match bytes.get(at) {
            Some(b',') => at = skip_spaces(bytes, at + 1),
            Some(b'}') => return Some(found.is_envelope()),
            _ => return None,
        }
    }
}

fn speaks_protobuf(bytes: &[u8]) -> Option<bool> {
    let (length, begin) = read_varint(bytes, 0)?;
    let end = begin.checked_add(usize::try_from(length).ok()?)?;
    let command = bytes.get(begin..end)?;
    let mut found = Found::default();
    let mut at = 0;
    while at < command.len() {
        let (key, after) = read_varint(command, at)?;
        at = match key & 7 {
            0 => read_varint(command, after)?.1,
            1 => after.checked_add(8)?,
            2 => {
                let (length, begin) = read_varint(command, after)?;
                begin.checked_add(usize::try_from(length).ok()?)?
            }
            5 => after.checked_add(4)?,
            _ => return None,
        };
        match (key >> 3, key & 7) {
            (1, 0) => found.id = read_varint(command, after)?.0 != 0,
            (2, 0) | (3, 2) => found.envelope = true,
            // The requests of today's protocol, and what is malformed in both.
            (0..=15, _) => return Some(false),
            _ if key > u64::from(u32::MAX) => return None,
            _ => found.unknown = true,
        }
    }
    (at == command.len()).then(|| found.is_envelope())
}

/// The number of a method by its name, in any case.
pub(super) fn method_number(name: &str) -> Option<i32> {
    METHODS.iter().position(|known| known.eq_ignore_ascii_case(name)).map(|number| number as i32)
}

/// The offset of a position, and the form that it has.
fn position(seq: u32, generation: u32, offset: u64) -> (u64, Positions) {
    if seq > 0 || generation > 0 {
        (u64::from(generation) << 32 | u64::from(seq), Positions::Seq)
    } else if offset > 0 {
        (offset, Positions::Offset)
    } else {
        (0, Positions::Both)
    }
}

impl SubscribeRequest {
    fn positions(&self) -> Positions {
        position(self.seq, self.generation, self.offset).1
    }
}

impl From<SubscribeRequest> for message::SubscribeRequest {
    fn from(old: SubscribeRequest) -> Self {
        let (offset, _) = position(old.seq, old.generation, old.offset);
        Self {
            channel: old.channel,
            token: old.token,
            recover: old.recover,
            epoch: old.epoch,
            offset,
            // Clients of that time have received joins and leaves of every channel that announces them.
            join_leave: true,
            ..Self::default()
        }
    }
}

/// Makes a command of a request that is decoded.
pub(super) fn incoming(id: u32, request: Request) -> Incoming {
    Incoming { id, request: Some(request), positions: Positions::Both }
}

impl ConnectRequest {
    pub(super) fn incoming(self, id: u32) -> Incoming {
        let forms = || self.subs.values().map(SubscribeRequest::positions);
        // They all come from one SDK: one that has a position says its form for all.
        let positions = forms().find(|form| *form != Positions::Both).unwrap_or_default();
        let request = message::ConnectRequest {
            token: self.token,
            data: self.data,
            subs: self.subs.into_iter().map(|(channel, sub)| (channel, sub.into())).collect(),
            name: self.name,
            version: self.version,
            ..message::ConnectRequest::default()
        };
        Incoming { id, request: Some(Request::Connect(Box::new(request))), positions }
    }
}

impl SubscribeRequest {
    pub(super) fn incoming(self, id: u32) -> Incoming {
        let positions = self.positions();
        Incoming { id, request: Some(Request::Subscribe(Box::new(self.into()))), positions }
    }
}

impl From<PublishRequest> for Request {
    fn from(old: PublishRequest) -> Self {
        Self::Publish(message::PublishRequest {
            channel: old.channel,
            data: old.data,
            ..message::PublishRequest::default()
        })
    }
}

impl From<SubRefreshRequest> for Request {
    fn from(old: SubRefreshRequest) -> Self {
        Self::SubRefresh(Box::new(message::SubRefreshRequest {
            channel: old.channel,
            token: old.token,
            ..message::SubRefreshRequest::default()
        }))
    }
}

/// Without a limit, all that is kept: the first servers knew of none.
impl From<HistoryRequest> for Request {
    fn from(old: HistoryRequest) -> Self {
        let first_limit = old.use_limit.then_some(old.first_limit);
        let first_since =
            old.use_since.then_some(message::StreamPosition { offset: old.offset, epoch: old.epoch });
        Self::History(message::HistoryRequest {
            channel: old.channel,
            limit: old.limit.or(first_limit).unwrap_or(-1),
            since: old.since.or(first_since),
            reverse: old.reverse,
        })
    }
}

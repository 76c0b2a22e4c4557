//! Protobuf, by hand: numbers of fields and their values.

use super::{Method, Old, Position};
use bytes::Bytes;
use spinward_wire::message::{
    Command, ConnectResult, Error, Publication, Push, Reply, SubscribeRequest, SubscribeResult, Unsubscribe,
};

pub(super) fn append(old: Old, command: &Command, out: &mut Vec<u8>) {
    let id = command.id;
    let mut params = Vec::new();
    let method = if let Some(connect) = &command.connect {
        for (channel, sub) in &connect.subs {
            let mut entry = Vec::new();
            bytes(1, channel.as_bytes(), &mut entry);
            bytes(2, &position(old, id, sub), &mut entry);
            bytes(3, &entry, &mut params);
        }
        if !old.name().is_empty() {
            bytes(4, old.name().as_bytes(), &mut params);
        }
        Method::Connect
    } else if let Some(subscribe) = &command.subscribe {
        bytes(1, subscribe.channel.as_bytes(), &mut params);
        params.extend_from_slice(&position(old, id, subscribe));
        Method::Subscribe
    } else {
        let channel = command.unsubscribe.as_ref().map_or("", |request| &request.channel);
        bytes(1, channel.as_bytes(), &mut params);
        Method::Unsubscribe
    };
    let mut envelope = Vec::new();
    number(1, u64::from(id), &mut envelope);
    number(2, method as u64, &mut envelope);
    bytes(3, &params, &mut envelope);
    varint(envelope.len() as u64, out);
    out.extend_from_slice(&envelope);
}

fn position(old: Old, id: u32, request: &SubscribeRequest) -> Vec<u8> {
    let mut out = Vec::new();
    if request.recover {
        let Position { seq, generation, offset } = old.position(id, request.offset);
        number(3, 1, &mut out);
        number(4, u64::from(seq), &mut out);
        number(5, u64::from(generation), &mut out);
        bytes(6, request.epoch.as_bytes(), &mut out);
        number(7, offset, &mut out);
    }
    out
}

/// Zero is left out.
fn number(field: u64, value: u64, out: &mut Vec<u8>) {
    if value > 0 {
        varint(field << 3, out);
        varint(value, out);
    }
}

/// Nothing is left out, too.
fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        varint(field << 3 | 2, out);
        varint(value.len() as u64, out);
        out.extend_from_slice(value);
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The fields of a message, in order.
struct Fields<'a>(&'a [u8]);

#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    const fn number(self) -> u64 {
        if let Self::Number(number) = self { number } else { 0 }
    }

    const fn bytes(self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }

    fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in 0..10 {
            let (byte, rest) = self.0.split_first().ok_or("a message is cut")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long".to_owned())
    }

    fn delimited(&mut self) -> Result<&'a [u8], String> {
        let length = usize::try_from(self.varint()?).map_err(|error| error.to_string())?;
        let (value, rest) = self.0.split_at_checked(length).ok_or("a field is cut")?;
        self.0 = rest;
        Ok(value)
    }

    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            2 => Field::Bytes(self.delimited()?),
            other => return Err(format!("a field of wire type {other}")),
        };
        Ok(Some((key >> 3, field)))
    }
}

pub(super) fn read(
    old: Old,
    frame: &[u8],
    method: impl Fn(u32) -> Option<Method>,
) -> Result<Vec<Reply>, String> {
    let mut frames = Fields(frame);
    let mut replies = Vec::new();
    while !frames.0.is_empty() {
        let message = frames.delimited()?;
        if message.is_empty() {
            return Err("an empty reply".to_owned());
        }
        replies.push(reply(old, message, &method)?);
    }
    Ok(replies)
}

fn reply(old: Old, message: &[u8], method: &impl Fn(u32) -> Option<Method>) -> Result<Reply, String> {
    let mut fields = Fields(message);
    let (mut reply, mut result) = (Reply::default(), &[][..]);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => reply.id = value.number() as u32,
            2 => {
                let mut error = Error::default();
                let mut fields = Fields(value.bytes());
                while let Some((field, value)) = fields.next()? {
                    if field == 1 {
                        error.code = value.number() as u32;
                    }
                }
                reply.error = Some(error);
            }
            3 => result = value.bytes(),
            other => return Err(format!("a reply with the field {other}")),
        }
    }
    if reply.id == 0 {
        reply.push = Some(push(old, result)?);
    } else if reply.error.is_none() {
        match method(reply.id) {
            Some(Method::Connect) => reply.connect = Some(connect(old, result)?),
            Some(Method::Subscribe) => reply.subscribe = Some(subscription(old, result)?),
            Some(Method::Unsubscribe) => reply.unsubscribe = Some(Default::default()),
            None => return Err(format!("a reply to nothing: {}", reply.id)),
        }
    }
    Ok(reply)
}

fn push(old: Old, message: &[u8]) -> Result<Push, String> {
    let mut fields = Fields(message);
    let (mut push, mut kind, mut data) = (Push::default(), 0, &[][..]);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => kind = value.number(),
            2 => push.channel = value.text(),
            3 => data = value.bytes(),
            other => return Err(format!("a push with the field {other}")),
        }
    }
    match kind {
        0 => {
            let (position, publication) = publication(data)?;
            push.publication = Some(Publication { offset: old.offset(position)?, ..publication });
        }
        1 => push.join = Some(Default::default()),
        2 => push.leave = Some(Default::default()),
        3 => {
            let code = if data == b"\x08\x01" { 2999 } else { 2000 };
            push.unsubscribe = Some(Unsubscribe { code, ..Unsubscribe::default() });
        }
        4 => push.message = Some(Default::default()),
        5 => push.subscribe = Some(Default::default()),
        other => return Err(format!("a push of type {other}")),
    }
    Ok(push)
}

fn publication(message: &[u8]) -> Result<(Position, Publication), String> {
    let mut fields = Fields(message);
    let (mut position, mut publication) = (Position::default(), Publication::default());
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => position.seq = value.number() as u32,
            2 => position.generation = value.number() as u32,
            4 => publication.data = Bytes::copy_from_slice(value.bytes()),
            6 => position.offset = value.number(),
            _ => {}
        }
    }
    Ok((position, publication))
}

fn subscription(old: Old, message: &[u8]) -> Result<SubscribeResult, String> {
    let mut fields = Fields(message);
    let (mut position, mut result, mut publications) =
        (Position::default(), SubscribeResult::default(), Vec::new());
    while let Some((field, value)) = fields.next()? {
        match field {
            3 => (result.recoverable, result.positioned) = (value.number() > 0, value.number() > 0),
            4 => position.seq = value.number() as u32,
            5 => position.generation = value.number() as u32,
            6 => result.epoch = value.text(),
            7 => publications.push(publication(value.bytes())?),
            8 => result.recovered = value.number() > 0,
            9 => position.offset = value.number(),
            _ => {}
        }
    }
    result.offset = old.offset(position)?;
    result.publications = old.ordered(publications)?;
    Ok(result)
}

fn connect(old: Old, message: &[u8]) -> Result<ConnectResult, String> {
    let mut fields = Fields(message);
    let mut result = ConnectResult::default();
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => result.client = value.text(),
            2 => result.version = value.text(),
            6 => {
                let mut entry = Fields(value.bytes());
                let (mut channel, mut sub) = (String::new(), None);
                while let Some((field, value)) = entry.next()? {
                    match field {
                        1 => channel = value.text(),
                        _ => sub = Some(subscription(old, value.bytes())?),
                    }
                }
                let sub = sub.ok_or("a subscription without a value, at which the SDK fails")?;
                result.subs.insert(channel, sub);
            }
            _ => {}
        }
    }
    if result.client.is_empty() || result.version.is_empty() {
        return Err("a connect reply without client or version".to_owned());
    }
    Ok(result)
}

//! The client protocol, just enough: commands out, and a quick look at what comes in.

use crate::frame;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message as _;
use spinward_wire::message::{
    Command, ConnectRequest, FilterNode, HistoryRequest, PresenceRequest, PublishRequest, RPCRequest, Reply,
    SubscribeRequest,
};

/// Codec of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Protobuf,
    /// JSON of protocol version 1, in which connections subscribe and receive.
    OldJson,
}

/// Last position of a subscription.
#[derive(Clone)]
pub(crate) struct Position {
    pub(crate) epoch: Box<str>,
    pub(crate) offset: u64,
}

/// Kind of a message from the server, judged by its first bytes.
pub(crate) enum Kind {
    Ping,
    Push,
    Reply,
}

/// Fields of a reply that the runs need.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) error: Option<u32>,
    pub(crate) position: Option<Position>,
    pub(crate) recovered: bool,
    pub(crate) publications: u64,
}

impl Encoding {
    pub(crate) fn opcode(self) -> u8 {
        match self {
            Self::Json | Self::OldJson => frame::TEXT,
            Self::Protobuf => frame::BINARY,
        }
    }

    /// The frame that answers a ping of the protocol.
    pub(crate) fn pong(self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            // The old version has no pings of its own.
            Self::Json | Self::OldJson => frame::write(&mut out, frame::TEXT, b"{}"),
            Self::Protobuf => frame::write(&mut out, frame::BINARY, &[0]),
        }
        out
    }

    /// Appends one frame with the given commands.
    pub(crate) fn write(self, out: &mut Vec<u8>, commands: &[Command]) {
        let mut body = Vec::with_capacity(64 * commands.len());
        commands.iter().for_each(|command| self.append(&mut body, command));
        frame::write(out, self.opcode(), &body);
    }

    /// Appends a command to others.
    pub(crate) fn append(self, body: &mut Vec<u8>, command: &Command) {
        match self {
            Self::Json => json(body, command),
            Self::OldJson => old_json(body, command),
            Self::Protobuf => body.extend_from_slice(&command.encode_length_delimited_to_vec()),
        }
    }

    /// Calls `each` with every message of a frame.
    pub(crate) fn messages(self, mut body: &[u8], mut each: impl FnMut(Kind, &[u8])) {
        match self {
            Self::Json | Self::OldJson => {
                for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let kind = match line {
                        b"{}" => Kind::Ping,
                        line if line.starts_with(b"{\"push\"") || line.starts_with(b"{\"result\"") => {
                            Kind::Push
                        }
                        _ => Kind::Reply,
                    };
                    each(kind, line);
                }
            }
            Self::Protobuf => {
                while let Ok(length) = prost::decode_length_delimiter(&mut body) {
                    let Some((message, rest)) = body.split_at_checked(length) else { return };
                    let kind = match message.first() {
                        None => Kind::Ping,
                        Some(0x22) => Kind::Push,
                        Some(_) => Kind::Reply,
                    };
                    each(kind, message);
                    body = rest;
                }
            }
        }
    }

    /// The error of a reply in a closed loop, which reads whole only those that may hold one.
    pub(crate) fn quick_error(self, message: &[u8]) -> Option<u32> {
        let suspect = match self {
            Self::Json | Self::OldJson => memchr::memmem::find(message, b"\"error\"").is_some(),
            Self::Protobuf => true,
        };
        if suspect { self.answer(message).error } else { None }
    }

    /// Reads a reply.
    pub(crate) fn answer(self, message: &[u8]) -> Answer {
        match self {
            // Errors are the same in both versions.
            Self::Json | Self::OldJson => json_answer(message),
            Self::Protobuf => protobuf_answer(message),
        }
    }
}

/// Path of the WebSocket endpoint.
pub(crate) const WEBSOCKET: &str = "/connection/websocket";

/// The request that opens a WebSocket.
pub(crate) fn upgrade(path: &str, host: &str, encoding: Encoding, deflate: bool) -> Vec<u8> {
    let query = if encoding == Encoding::Protobuf { "?format=protobuf" } else { "" };
    let offer =
        if deflate { "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" } else { "" };
    format!(
        "GET {path}{query} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    )
    .into_bytes()
}

/// Signs HS256 tokens for `sub`.
pub(crate) struct Signer(hmac::Key);

impl Signer {
    pub(crate) fn new(secret: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    pub(crate) fn token(&self, sub: &str) -> String {
        let mut token = String::from("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.");
        // Far ahead, so that no run outlives its tokens: the year 2100.
        URL_SAFE_NO_PAD.encode_string(format!("{{\"sub\":\"{sub}\",\"exp\":4102444800}}"), &mut token);
        let tag = hmac::sign(&self.0, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(tag.as_ref(), &mut token);
        token
    }
}

pub(crate) fn connect(id: u32, token: Option<String>) -> Command {
    let connect = ConnectRequest { token: token.unwrap_or_default(), ..Default::default() };
    Command { id, connect: Some(connect), ..Default::default() }
}

pub(crate) fn subscribe(id: u32, channel: String, since: Option<&Position>) -> Command {
    let mut subscribe = SubscribeRequest { channel, ..Default::default() };
    if let Some(position) = since {
        subscribe.recover = true;
        subscribe.epoch = position.epoch.to_string();
        subscribe.offset = position.offset;
    }
    Command { id, subscribe: Some(subscribe), ..Default::default() }
}

/// Adds to a subscribe that deltas are wanted, or only publications whose tag `n` is at least so much.
pub(crate) fn wish(command: &mut Command, delta: bool, least: Option<usize>) {
    let Some(subscribe) = &mut command.subscribe else { return };
    if delta {
        subscribe.delta = "fossil".to_owned();
    }
    subscribe.tf = least.map(|least| FilterNode {
        key: "n".to_owned(),
        cmp: "gte".to_owned(),
        val: least.to_string(),
        ..FilterNode::default()
    });
}

pub(crate) fn publish(id: u32, channel: String, data: Vec<u8>) -> Command {
    let publish = PublishRequest { channel, data: data.into(), ..Default::default() };
    Command { id, publish: Some(publish), ..Default::default() }
}

pub(crate) fn history(id: u32, channel: String, limit: i32) -> Command {
    let history = HistoryRequest { channel, limit, ..Default::default() };
    Command { id, history: Some(history), ..Default::default() }
}

pub(crate) fn presence(id: u32, channel: String) -> Command {
    Command { id, presence: Some(PresenceRequest { channel }), ..Default::default() }
}

pub(crate) fn rpc(id: u32, method: String, data: Vec<u8>) -> Command {
    let rpc = RPCRequest { method, data: data.into() };
    Command { id, rpc: Some(rpc), ..Default::default() }
}

/// Appends one command as a line of JSON. Channel names of the runs need no escape.
fn json(out: &mut Vec<u8>, command: &Command) {
    if !out.is_empty() {
        out.push(b'\n');
    }
    let id = command.id;
    let text = if let Some(c) = &command.connect {
        let token = if c.token.is_empty() { String::new() } else { format!("\"token\":\"{}\"", c.token) };
        format!("{{\"id\":{id},\"connect\":{{{token}}}}}")
    } else if let Some(s) = &command.subscribe {
        let since = if s.recover {
            format!(",\"recover\":true,\"epoch\":\"{}\",\"offset\":{}", s.epoch, s.offset)
        } else {
            String::new()
        };
        let mut wishes =
            if s.delta.is_empty() { String::new() } else { format!(",\"delta\":\"{}\"", s.delta) };
        if let Some(tf) = &s.tf {
            let FilterNode { key, cmp, val, .. } = tf;
            wishes += &format!(",\"tf\":{{\"key\":\"{key}\",\"cmp\":\"{cmp}\",\"val\":\"{val}\"}}");
        }
        format!("{{\"id\":{id},\"subscribe\":{{\"channel\":\"{}\"{since}{wishes}}}}}", s.channel)
    } else if let Some(p) = &command.publish {
        let data = String::from_utf8_lossy(&p.data);
        format!("{{\"id\":{id},\"publish\":{{\"channel\":\"{}\",\"data\":{data}}}}}", p.channel)
    } else if let Some(h) = &command.history {
        format!("{{\"id\":{id},\"history\":{{\"channel\":\"{}\",\"limit\":{}}}}}", h.channel, h.limit)
    } else if let Some(p) = &command.presence {
        format!("{{\"id\":{id},\"presence\":{{\"channel\":\"{}\"}}}}", p.channel)
    } else if let Some(rpc) = &command.rpc {
        let data = String::from_utf8_lossy(&rpc.data);
        format!("{{\"id\":{id},\"rpc\":{{\"method\":\"{}\",\"data\":{data}}}}}", rpc.method)
    } else {
        String::from("{}")
    };
    out.extend_from_slice(text.as_bytes());
}

/// The same for version 1: what subscribers need.
fn old_json(out: &mut Vec<u8>, command: &Command) {
    let id = command.id;
    let text = match (&command.connect, &command.subscribe) {
        (Some(connect), _) => format!("{{\"id\":{id},\"params\":{{\"token\":\"{}\"}}}}\n", connect.token),
        (_, Some(subscribe)) => {
            format!("{{\"id\":{id},\"method\":1,\"params\":{{\"channel\":\"{}\"}}}}\n", subscribe.channel)
        }
        _ => format!("{{\"id\":{id},\"method\":7}}\n"),
    };
    out.extend_from_slice(text.as_bytes());
}

fn json_answer(message: &[u8]) -> Answer {
    let Ok(reply) = serde_json::from_slice::<serde_json::Value>(message) else {
        return Answer { error: Some(u32::MAX), ..Answer::default() };
    };
    let mut answer = Answer::default();
    if let Some(error) = reply.get("error") {
        answer.error = error.get("code").and_then(serde_json::Value::as_u64).and_then(|c| c.try_into().ok());
        answer.error.get_or_insert(u32::MAX);
    }
    if let Some(subscribe) = reply.get("subscribe") {
        let offset = subscribe.get("offset").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let epoch = subscribe.get("epoch").and_then(serde_json::Value::as_str);
        answer.position = epoch.map(|epoch| Position { epoch: epoch.into(), offset });
        answer.recovered = subscribe.get("recovered").and_then(serde_json::Value::as_bool).unwrap_or(false);
        let publications = subscribe.get("publications").and_then(serde_json::Value::as_array);
        answer.publications = publications.map_or(0, |list| list.len() as u64);
    }
    answer
}

fn protobuf_answer(message: &[u8]) -> Answer {
    let Ok(reply) = Reply::decode(message) else {
        return Answer { error: Some(u32::MAX), ..Answer::default() };
    };
    let mut answer = Answer { error: reply.error.map(|error| error.code), ..Answer::default() };
    if let Some(subscribe) = reply.subscribe {
        if !subscribe.epoch.is_empty() {
            answer.position = Some(Position { epoch: subscribe.epoch.into(), offset: subscribe.offset });
        }
        answer.recovered = subscribe.recovered;
        answer.publications = subscribe.publications.len() as u64;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_codecs_find_the_same_messages() {
        let mut seen = Vec::new();
        Encoding::Json.messages(b"{}\n{\"push\":{}}\n{\"id\":1}\n", |kind, _| seen.push(kind));
        assert!(matches!(seen[..], [Kind::Ping, Kind::Push, Kind::Reply]));
        let mut body = vec![0];
        let push = Reply { push: Some(Default::default()), ..Default::default() };
        body.extend(push.encode_length_delimited_to_vec());
        body.extend(Reply { id: 1, ..Default::default() }.encode_length_delimited_to_vec());
        let mut old = Vec::new();
        Encoding::OldJson.messages(b"{\"id\":1,\"result\":{}}\n{\"result\":{}}\n", |kind, _| old.push(kind));
        assert!(matches!(old[..], [Kind::Reply, Kind::Push]));
        seen.clear();
        Encoding::Protobuf.messages(&body, |kind, _| seen.push(kind));
        assert!(matches!(seen[..], [Kind::Ping, Kind::Push, Kind::Reply]));
    }

    #[test]
    fn the_signer_agrees_with_a_token_made_elsewhere() {
        // Header and signature as Python's hmac gives them for the same claims and secret.
        let token = Signer::new("secret").token("u1");
        assert_eq!(
            token,
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1MSIsImV4cCI6NDEwMjQ0NDgwMH0.8UAoCbnHjNaWv5XovpBDsBNjWGKcwQA5bvtK0ioWIGI"
        );
    }

    #[test]
    fn wishes_are_the_same_in_both_codecs() {
        let mut command = subscribe(2, "c".to_owned(), None);
        wish(&mut command, true, Some(3));
        let mut text = Vec::new();
        json(&mut text, &command);
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let subscribe = &read["subscribe"];
        assert_eq!(
            (subscribe["delta"].as_str(), subscribe["tf"]["val"].as_str()),
            (Some("fossil"), Some("3"))
        );
        let back = Command::decode(&*command.encode_to_vec()).unwrap().subscribe.unwrap();
        assert_eq!((&*back.delta, back.tf.map(|tf| tf.val).as_deref()), ("fossil", Some("3")));
    }

    #[test]
    fn a_reply_tells_error_and_position() {
        let answer = Encoding::Json.answer(
            br#"{"id":2,"subscribe":{"recoverable":true,"epoch":"xy","offset":7,"recovered":true,"publications":[{},{}]}}"#,
        );
        let position = answer.position.unwrap();
        assert_eq!((&*position.epoch, position.offset), ("xy", 7));
        assert_eq!((answer.error, answer.recovered, answer.publications), (None, true, 2));
        assert_eq!(Encoding::Json.answer(br#"{"id":1,"error":{"code":109}}"#).error, Some(109));
    }
}

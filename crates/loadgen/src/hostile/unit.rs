//! The unit that an attacker sends repeatedly.

use super::template::{Template, Values};
use crate::control::{Error, flag, number, text};
use crate::protocol::{self, Encoding};
use crate::{frame, http, http2};
use serde_json::Value;
use spinward_wire::ws::{Compression, Deflater, Opcode, append_masked_deflated};

/// Masks compressed frames.
const KEY: [u8; 4] = [7, 1, 9, 4];

/// One kind of bytes. `kind` of a command names it:
///
/// | `kind` | is | fields |
/// |---|---|---|
/// | `frame` | a text frame of `lines` lines | `line` |
/// | `commands` | a binary frame of `lines` commands | `command`, `channel`, `limit` |
/// | `ping` | `lines` pings | `size` |
/// | `fragments` | a text message in `lines` fragments | `size`, `endless` for one that never ends |
/// | `deflated` | a text frame with the bit of compressed messages: `size` zeros, or `garbage` of that size | `size`, `garbage` |
/// | `resets` | `lines` requests of HTTP/2, each reset at once |
/// | `calls` | `lines` calls of gRPC that subscribe to `line`, each reset at once |
/// | `post` | a request with the body `line` to `path` |
/// | `raw` | a text, `lines` times | `line` |
/// | `api` | a call of the HTTP API with `lines` lines between `before` and `after` | `method`, `line` |
pub(super) struct Unit {
    kind: Kind,
    lines: u64,
    /// The bytes, where they are always the same.
    fixed: Option<Vec<u8>>,
}

enum Kind {
    Nothing,
    Frame(Template),
    Commands { command: String, channel: Template, limit: i32 },
    Ping(usize),
    Fragments { size: usize, endless: bool },
    Deflated { size: usize, garbage: bool },
    Resets,
    Calls(Template),
    Post { path: Template, line: Template },
    Raw(Template),
    Api { method: String, before: String, line: Template, after: String },
}

/// Host and API key of a request.
pub(super) struct Sender<'a> {
    pub(super) host: &'a str,
    pub(super) key: &'a str,
}

impl Unit {
    pub(super) fn from_command(command: Option<&Value>) -> Result<Self, Error> {
        let nothing = Value::Null;
        let command = command.unwrap_or(&nothing);
        let size = usize::try_from(number(command, "size", 0))?;
        let line = || Template::new(text(command, "line", ""));
        let kind = match text(command, "kind", "nothing") {
            "nothing" => Kind::Nothing,
            "frame" => Kind::Frame(line()),
            "commands" => Kind::Commands {
                command: text(command, "command", "history").to_owned(),
                channel: Template::new(text(command, "channel", "")),
                limit: i32::try_from(number(command, "limit", 0))?,
            },
            "ping" => Kind::Ping(size),
            "fragments" => Kind::Fragments { size, endless: flag(command, "endless") },
            "deflated" => Kind::Deflated { size, garbage: flag(command, "garbage") },
            "resets" => Kind::Resets,
            "calls" => Kind::Calls(line()),
            "post" => Kind::Post { path: Template::new(text(command, "path", "/")), line: line() },
            "raw" => Kind::Raw(line()),
            "api" => Kind::Api {
                method: text(command, "method", "batch").to_owned(),
                before: text(command, "before", "").to_owned(),
                line: line(),
                after: text(command, "after", "").to_owned(),
            },
            other => return Err(format!("a unit of kind {other}").into()),
        };
        Ok(Self { kind, lines: number(command, "lines", 1), fixed: None })
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.kind, Kind::Nothing)
    }

    /// Appends the bytes and says how many answers they ask for.
    pub(super) fn write(&self, out: &mut Vec<u8>, sender: &Sender<'_>, values: &mut Values<'_>) -> u64 {
        if let Some(fixed) = &self.fixed {
            out.extend_from_slice(fixed);
        } else {
            self.make(out, sender, values);
        }
        match self.kind {
            Kind::Nothing | Kind::Resets | Kind::Calls(_) | Kind::Fragments { endless: true, .. } => 0,
            Kind::Frame(_) | Kind::Commands { .. } | Kind::Ping(_) | Kind::Raw(_) => self.lines,
            Kind::Fragments { .. } | Kind::Deflated { .. } | Kind::Api { .. } | Kind::Post { .. } => 1,
        }
    }

    /// Keeps the bytes for all that follows if they are the same each time and for every connection of one.
    pub(super) fn keep(&mut self, sender: &Sender<'_>, values: &mut Values<'_>, alone: bool) {
        let constant = match &self.kind {
            Kind::Nothing | Kind::Resets | Kind::Calls(_) | Kind::Post { .. } => false,
            Kind::Frame(line) | Kind::Raw(line) | Kind::Api { line, .. } => alone && line.is_constant(),
            Kind::Commands { channel, .. } => alone && channel.is_constant(),
            Kind::Ping(_) | Kind::Fragments { .. } | Kind::Deflated { .. } => true,
        };
        if constant {
            let mut bytes = Vec::new();
            self.make(&mut bytes, sender, values);
            self.fixed = Some(bytes);
        }
    }

    fn make(&self, out: &mut Vec<u8>, sender: &Sender<'_>, values: &mut Values<'_>) {
        match &self.kind {
            Kind::Nothing => {}
            Kind::Frame(line) => {
                let body = self.joined(line, b"\n", values);
                frame::write(out, frame::TEXT, &body);
            }
            Kind::Commands { command, channel, limit } => {
                let commands = (0..self.lines).map(|_| {
                    let mut name = Vec::new();
                    channel.write(&mut name, values);
                    values.number += 1;
                    let name = String::from_utf8_lossy(&name).into_owned();
                    // Small numbers are short, and the server does not mind the same one again.
                    let id = 1 + (values.number % 127) as u32;
                    match command.as_str() {
                        "presence" => protocol::presence(id, name),
                        "subscribe" => protocol::subscribe(id, name, None),
                        _ => protocol::history(id, name, *limit),
                    }
                });
                let commands: Vec<_> = commands.collect();
                Encoding::Protobuf.write(out, &commands);
            }
            Kind::Ping(size) => {
                let body = vec![b'x'; *size];
                (0..self.lines).for_each(|_| frame::write(out, frame::PING, &body));
            }
            Kind::Fragments { size, endless } => {
                let body = vec![b' '; *size];
                for n in 0..self.lines {
                    let opcode = if n == 0 { frame::TEXT } else { frame::CONTINUATION };
                    frame::write_fragment(out, opcode, n + 1 == self.lines && !endless, &body);
                }
            }
            Kind::Deflated { size, garbage: false } => {
                let best = Compression { level: 9, min_size: 0 };
                let mut deflater = Deflater::new(best, best);
                append_masked_deflated(Opcode::Text, KEY, &vec![0; *size], &mut deflater, out);
            }
            Kind::Deflated { size, garbage: true } => {
                let start = out.len();
                frame::write(out, frame::TEXT, &vec![b'g'; *size]);
                out[start] |= 0x40;
            }
            Kind::Resets => {
                for _ in 0..self.lines {
                    http2::reset_request(out, values.number);
                    values.number += 1;
                }
            }
            Kind::Calls(line) => {
                let user = format!("u{}", values.connection);
                let token = values.signer.map(|signer| signer.token(&user)).unwrap_or_default();
                for _ in 0..self.lines {
                    let mut channel = Vec::new();
                    line.write(&mut channel, values);
                    let channels = std::iter::once(String::from_utf8_lossy(&channel).into_owned());
                    let stream = (values.number * 2 - 1) as u32;
                    http2::consume(out, stream, sender.host, &token, channels);
                    http2::reset(out, stream);
                    values.number += 1;
                }
            }
            Kind::Post { path, line } => {
                let (mut to, mut body) = (Vec::new(), Vec::new());
                path.write(&mut to, values);
                line.write(&mut body, values);
                values.number += 1;
                http::post(out, &String::from_utf8_lossy(&to), sender.host, &body);
            }
            Kind::Raw(line) => out.extend_from_slice(&self.joined(line, b"", values)),
            Kind::Api { method, before, line, after } => {
                let mut body = before.clone().into_bytes();
                body.extend_from_slice(&self.joined(line, b",", values));
                body.extend_from_slice(after.as_bytes());
                http::request(out, sender.host, method, sender.key, &body);
            }
        }
    }

    fn joined(&self, line: &Template, between: &[u8], values: &mut Values<'_>) -> Vec<u8> {
        let mut body = Vec::new();
        for n in 0..self.lines {
            if n > 0 {
                body.extend_from_slice(between);
            }
            line.write(&mut body, values);
            values.number += 1;
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bytes(command: &Value) -> (Vec<u8>, u64) {
        let unit = Unit::from_command(Some(command)).unwrap();
        let mut out = Vec::new();
        let mut values = Values { number: 1, connection: 0, signer: None };
        let answers = unit.write(&mut out, &Sender { host: "h", key: "k" }, &mut values);
        (out, answers)
    }

    #[test]
    fn units_are_what_their_fields_say() {
        assert_eq!(bytes(&json!({"kind": "raw", "line": "<n>;", "lines": 3})), (b"1;2;3;".to_vec(), 3));
        let (call, answers) = bytes(&json!({
            "kind": "api", "method": "batch", "before": "[", "line": "<n>", "lines": 2, "after": "]",
        }));
        let call = String::from_utf8(call).unwrap();
        assert!(call.starts_with("POST /api/batch ") && call.ends_with("\r\n\r\n[1,2]"), "{call}");
        assert_eq!(answers, 1);
        let (bomb, _) = bytes(&json!({"kind": "deflated", "size": 64 << 20}));
        assert!(bomb[0] == 0xC1 && bomb.len() < 65_536, "{}", bomb.len());
        let (garbage, _) = bytes(&json!({"kind": "deflated", "size": 20, "garbage": true}));
        assert_eq!((garbage[0], garbage.len()), (0xC1, 26));
        let (resets, _) = bytes(&json!({"kind": "resets", "lines": 2}));
        let (first, second) = resets.split_at(resets.len() / 2);
        assert_eq!((first[3], first[8], second[8], second[second.len() - 10]), (1, 1, 3, 3));
        let (post, answers) = bytes(&json!({"kind": "post", "path": "/a/<n>", "line": "x<n>"}));
        let post = String::from_utf8(post).unwrap();
        assert!(
            post.starts_with("POST /a/1 HTTP/1.1\r\n") && post.ends_with("Content-Length: 2\r\n\r\nx1"),
            "{post}"
        );
        assert_eq!(answers, 1);
        let (calls, _) = bytes(&json!({"kind": "calls", "line": "ch", "lines": 2}));
        let first = http2::read(&calls).unwrap();
        assert_eq!((first.kind, first.stream), (http2::HEADERS, 1));
        let data = http2::read(&calls[first.length..]).unwrap();
        assert_eq!(data.payload, [0, 0, 0, 0, 10, 0x0a, 0, 0x1a, 6, 0x0a, 2, b'c', b'h', 0x12, 0]);
        let reset = http2::read(&calls[first.length + data.length..]).unwrap();
        assert_eq!((reset.kind, reset.stream), (http2::RESET, 1));
        assert_eq!(bytes(&json!({"kind": "ping", "size": 0, "lines": 2})).0.len(), 12);
        assert!(Unit::from_command(Some(&json!({"kind": "other"}))).is_err());
        assert!(Unit::from_command(None).unwrap().is_nothing());
    }

    #[test]
    fn a_message_in_fragments_ends_with_the_last() {
        let unit = |endless| {
            let command = json!({"kind": "fragments", "size": 1, "lines": 3, "endless": endless});
            let mut out = Vec::new();
            let mut values = Values { number: 1, connection: 0, signer: None };
            let unit = Unit::from_command(Some(&command)).unwrap();
            let answers = unit.write(&mut out, &Sender { host: "", key: "" }, &mut values);
            (out.chunks(7).map(|frame| frame[0]).collect::<Vec<_>>(), answers)
        };
        assert_eq!(unit(false), (vec![0x01, 0x00, 0x80], 1));
        assert_eq!(unit(true), (vec![0x01, 0x00, 0x00], 0));
    }
}

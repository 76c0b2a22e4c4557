//! The form of a connection's bytes: the dialect of its messages, and the framing that carries them.

use crate::code::DisconnectCode;
use crate::encode::append_push;
use crate::framing::messages;
use crate::json::append_event_safe;
use crate::message::{Disconnect, Push};
use crate::protocol::Protocol;
use crate::ws::{self, Opcode};
use bytes::Bytes;
use std::fmt;

/// Rules that the messages of a connection follow: the encoding and the direction. One byte, and fixed for the life of
/// the connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dialect(u8);

/// Side that may speak on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Direction {
    /// The client sends commands; the server sends replies, and pushes inside of replies.
    Bidirectional,
    /// The client sends one connect request; the server sends bare pushes, the first of which is `connect`.
    Unidirectional,
}

impl Dialect {
    /// Number of dialects: [`Dialect::index`] is below it.
    pub const COUNT: usize = 4;

    const PROTOBUF: u8 = 1;
    const UNIDIRECTIONAL: u8 = 2;

    /// The dialect of this encoding and direction.
    #[must_use]
    pub const fn new(encoding: Protocol, direction: Direction) -> Self {
        let encoding = match encoding {
            Protocol::Json => 0,
            Protocol::Protobuf => Self::PROTOBUF,
        };
        let direction = match direction {
            Direction::Bidirectional => 0,
            Direction::Unidirectional => Self::UNIDIRECTIONAL,
        };
        Self(encoding | direction)
    }

    /// The encoding of its messages.
    #[must_use]
    pub const fn encoding(self) -> Protocol {
        if self.0 & Self::PROTOBUF == 0 { Protocol::Json } else { Protocol::Protobuf }
    }

    /// The direction of its messages.
    #[must_use]
    pub const fn direction(self) -> Direction {
        if self.is_unidirectional() { Direction::Unidirectional } else { Direction::Bidirectional }
    }

    /// Returns true if only the server speaks once the client has logged in.
    #[must_use]
    pub const fn is_unidirectional(self) -> bool {
        self.0 & Self::UNIDIRECTIONAL != 0
    }

    /// The place of this dialect in a table of all.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The bidirectional dialect of an encoding.
impl From<Protocol> for Dialect {
    fn from(encoding: Protocol) -> Self {
        Self::new(encoding, Direction::Bidirectional)
    }
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.direction(), self.encoding())
    }
}

/// Placement of messages in a transport.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Framing {
    /// WebSocket frames (RFC 6455). All messages of one event share a frame; of a unidirectional dialect, each has its
    /// own, as in Centrifugo v6.9.
    WebSocket,
    /// One message after the other in a byte stream: JSON messages each with a newline at the end, Protobuf messages
    /// each behind its length.
    Delimited,
    /// Server-sent events, one for each message. They hold text, so there is no Protobuf in them.
    EventStream,
}

impl Framing {
    const COUNT: usize = 3;

    /// Appends a ping of the transport itself, where it has such.
    pub fn append_ping(self, out: &mut Vec<u8>) {
        if self == Self::WebSocket {
            ws::append_frame(Opcode::Ping, b"", out);
        }
    }

    /// Appends the answer to a ping of the transport itself, see [`Input::Ping`](crate::framing::Input::Ping).
    pub fn append_pong(self, payload: &[u8], out: &mut Vec<u8>) {
        if self == Self::WebSocket {
            ws::append_frame(Opcode::Pong, payload, out);
        }
    }
}

/// Dialect and framing of a connection: all that there is to know to write to it. One byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form(u8);

impl Form {
    /// Number of forms: [`Form::index`] is below it.
    pub const COUNT: usize = Framing::COUNT * Dialect::COUNT;

    /// Messages of a dialect in WebSocket frames.
    #[must_use]
    pub fn websocket(dialect: impl Into<Dialect>) -> Self {
        Self::of(dialect.into(), Framing::WebSocket)
    }

    /// Messages of a dialect one after the other in a byte stream.
    #[must_use]
    pub fn delimited(dialect: impl Into<Dialect>) -> Self {
        Self::of(dialect.into(), Framing::Delimited)
    }

    /// JSON messages as server-sent events.
    #[must_use]
    pub const fn event_stream(direction: Direction) -> Self {
        Self::of(Dialect::new(Protocol::Json, direction), Framing::EventStream)
    }

    const fn of(dialect: Dialect, framing: Framing) -> Self {
        Self(framing as u8 * Dialect::COUNT as u8 + dialect.0)
    }

    /// The dialect of the messages.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        Dialect(self.0 % Dialect::COUNT as u8)
    }

    /// Their placement in the transport.
    #[must_use]
    pub const fn framing(self) -> Framing {
        match self.0 / Dialect::COUNT as u8 {
            0 => Framing::WebSocket,
            1 => Framing::Delimited,
            _ => Framing::EventStream,
        }
    }

    /// The place of this form in a table of all. The bidirectional dialects in WebSocket frames, which nearly all
    /// connections have, are the first two.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Frames a payload: one or more messages of the dialect, as the functions that append messages leave them.
    #[must_use]
    pub fn frame(self, payload: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(payload.len() + 10);
        self.append_frame(payload, &mut out);
        out.into()
    }

    fn append_frame(self, payload: &[u8], out: &mut Vec<u8>) {
        let encoding = self.dialect().encoding();
        match self.framing() {
            Framing::WebSocket if self.dialect().is_unidirectional() => {
                messages(encoding, payload).for_each(|message| append_websocket(encoding, message, out));
            }
            Framing::WebSocket => append_websocket(encoding, payload, out),
            Framing::Delimited => {
                out.extend_from_slice(payload);
                if encoding == Protocol::Json {
                    out.push(b'\n');
                }
            }
            Framing::EventStream => messages(encoding, payload).for_each(|message| {
                out.extend_from_slice(b"data: ");
                append_event_safe(message, out);
                out.extend_from_slice(b"\n\n");
            }),
        }
    }

    /// The last bytes of a connection that ends with this code: a close frame where the framing has one, a `disconnect`
    /// push where it has none. A unidirectional client that reads frames gets both, as in Centrifugo v6.9.
    #[must_use]
    pub fn goodbye(self, code: &DisconnectCode) -> Bytes {
        let mut out = Vec::with_capacity(64 + code.reason.len());
        if self.framing() != Framing::WebSocket || self.dialect().is_unidirectional() {
            let disconnect = Disconnect {
                code: code.code,
                reason: code.reason.as_ref().to_owned(),
                ..Disconnect::default()
            };
            let mut payload = Vec::new();
            let push = Push { disconnect: Some(disconnect), ..Push::default() };
            append_push(self.dialect(), &push, &mut payload, true);
            self.append_frame(&payload, &mut out);
        }
        if self.framing() == Framing::WebSocket {
            // A frame has two bytes for the code. Of a larger one, such as the server API takes, Centrifugo v6.9 sends the
            // lower two.
            ws::append_close(code.code as u16, &code.reason, &mut out);
        }
        out.into()
    }
}

/// The bidirectional dialect of an encoding in WebSocket frames.
impl From<Protocol> for Form {
    fn from(encoding: Protocol) -> Self {
        Self::websocket(encoding)
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.dialect(), self.framing())
    }
}

fn append_websocket(encoding: Protocol, payload: &[u8], out: &mut Vec<u8>) {
    let opcode = match encoding {
        Protocol::Json => Opcode::Text,
        Protocol::Protobuf => Opcode::Binary,
    };
    ws::append_frame(opcode, payload, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Reply;
    use crate::{append_publication_push, append_reply};

    const DIALECTS: [Dialect; Dialect::COUNT] = [
        Dialect::new(Protocol::Json, Direction::Bidirectional),
        Dialect::new(Protocol::Protobuf, Direction::Bidirectional),
        Dialect::new(Protocol::Json, Direction::Unidirectional),
        Dialect::new(Protocol::Protobuf, Direction::Unidirectional),
    ];

    fn pushes(dialect: Dialect) -> Vec<u8> {
        let mut payload = Vec::new();
        for (first, data) in [(true, "{\"a\":\r1}"), (false, "2")] {
            let publication = crate::message::Publication { data: data.into(), ..Default::default() };
            append_publication_push(dialect, "c", &publication, &mut payload, first);
        }
        payload
    }

    fn framed(form: Form) -> String {
        String::from_utf8_lossy(&form.frame(&pushes(form.dialect()))).into_owned()
    }

    #[test]
    fn a_code_that_is_too_large_for_a_close_frame_is_cut() {
        let form = Form::websocket(DIALECTS[0]);
        let code = DisconnectCode { code: 70_000, reason: "".into() };
        assert_eq!(form.goodbye(&code)[..], [0x88, 2, 0x11, 0x70], "4464");
    }

    #[test]
    fn every_form_has_a_place_of_its_own() {
        let mut places = Vec::new();
        for dialect in DIALECTS {
            assert_eq!(Dialect::new(dialect.encoding(), dialect.direction()), dialect);
            let (websocket, delimited) = (Form::websocket(dialect), Form::delimited(dialect));
            assert_eq!((websocket.dialect(), websocket.framing()), (dialect, Framing::WebSocket));
            assert_eq!((delimited.dialect(), delimited.framing()), (dialect, Framing::Delimited));
            places.extend([websocket.index(), delimited.index()]);
        }
        assert_eq!(Form::event_stream(Direction::Unidirectional).framing(), Framing::EventStream);
        places.extend(
            [Direction::Bidirectional, Direction::Unidirectional].map(|way| Form::event_stream(way).index()),
        );
        assert_eq!([places[0], places[2]], [0, 1], "those that nearly all have come first");
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 10);
        assert!(places.iter().all(|place| *place < Form::COUNT));
        assert_eq!((size_of::<Dialect>(), size_of::<Form>()), (1, 1));
    }

    #[test]
    fn messages_of_one_event_share_what_the_framing_lets_them_share() {
        let [json, protobuf, json_down, _] = DIALECTS;
        let one = "{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":{\"a\":\r1}}}}";
        let other = "{\"push\":{\"channel\":\"c\",\"pub\":{\"data\":2}}}";
        let (bare, bare_other) = (
            "{\"channel\":\"c\",\"pub\":{\"data\":{\"a\":\r1}}}",
            "{\"channel\":\"c\",\"pub\":{\"data\":2}}",
        );
        let head = |text: &str| char::from(text.len() as u8);
        assert_eq!(framed(Form::delimited(json)), format!("{one}\n{other}\n"));
        assert_eq!(
            Form::delimited(protobuf).frame(&pushes(protobuf)),
            pushes(protobuf),
            "lengths say it all"
        );
        assert_eq!(framed(Form::websocket(json))[4..], format!("{one}\n{other}"), "one frame");
        assert_eq!(
            framed(Form::websocket(json_down)).replace('\u{FFFD}', ""),
            format!("{}{bare}{}{bare_other}", head(bare), head(bare_other)),
            "a frame each"
        );
        assert_eq!(
            framed(Form::event_stream(Direction::Bidirectional)),
            format!("data: {}\n\ndata: {other}\n\n", one.replace('\r', " ")),
        );
    }

    #[test]
    fn goodbyes() {
        let [json, _, json_down, protobuf_down] = DIALECTS;
        let code = DisconnectCode::SLOW;
        let say = |form: Form| form.goodbye(&code);
        assert_eq!(say(Form::websocket(json)), &b"\x88\x06\x0B\xC0slow"[..]);
        assert_eq!(
            say(Form::websocket(json_down)),
            &b"\x81\x2C{\"disconnect\":{\"code\":3008,\"reason\":\"slow\"}}\x88\x06\x0B\xC0slow"[..]
        );
        assert_eq!(
            say(Form::delimited(json)),
            "{\"push\":{\"disconnect\":{\"code\":3008,\"reason\":\"slow\"}}}\n"
        );
        assert_eq!(
            say(Form::event_stream(Direction::Unidirectional)),
            "data: {\"disconnect\":{\"code\":3008,\"reason\":\"slow\"}}\n\n"
        );
        assert_eq!(say(Form::delimited(protobuf_down)), &b"\x0B\x5A\x09\x08\xC0\x17\x12\x04slow"[..]);
    }

    #[test]
    fn a_ping_is_an_empty_message_in_every_dialect() {
        for dialect in DIALECTS {
            let mut payload = Vec::new();
            append_reply(dialect, &Reply::default(), &mut payload, true);
            assert_eq!(payload, crate::ping(dialect.encoding()), "{dialect:?}");
        }
    }
}

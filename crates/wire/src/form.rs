//! The form of a connection's bytes: the dialect of its messages, and the framing that carries them.

use crate::code::DisconnectCode;
use crate::encode::append_push;
use crate::framing::{messages, sockjs};
use crate::json::append_event_safe;
use crate::message::{Disconnect, Push};
use crate::protobuf::read_varint;
use crate::protocol::Protocol;
use crate::v1;
use crate::ws::{self, Deflater, Opcode, Window};
use bytes::Bytes;
use std::fmt;

/// Rules that the messages of a connection follow: the encoding, the direction and the version. One byte, and fixed from
/// the first command of the connection on.
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

/// Version of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Version {
    /// That of 2018 to 2022, see [`v1`]. It is bidirectional.
    V1,
    /// Today's.
    V2,
}

impl Dialect {
    /// Number of dialects: [`Dialect::index`] is below it.
    pub const COUNT: usize = 6;

    const JSON: Self = Self::new(Protocol::Json, Direction::Bidirectional);
    const PROTOBUF: u8 = 1;
    const UNIDIRECTIONAL: u8 = 2;
    /// Last, so that there is no gap where it goes with no direction.
    const V1: u8 = 4;

    /// The dialect of this encoding and direction in today's version.
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

    /// The dialect of this encoding in version 1.
    #[must_use]
    pub const fn v1(encoding: Protocol) -> Self {
        Self(Self::new(encoding, Direction::Bidirectional).0 | Self::V1)
    }

    /// The version of its messages.
    #[must_use]
    pub const fn version(self) -> Version {
        if self.is_v1() { Version::V1 } else { Version::V2 }
    }

    /// Returns true if it is one of version 1.
    #[must_use]
    pub const fn is_v1(self) -> bool {
        self.0 & Self::V1 != 0
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
        let version = if self.is_v1() { " V1" } else { "" };
        write!(f, "{:?} {:?}{version}", self.direction(), self.encoding())
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
    /// Messages of gRPC: each Protobuf message behind a zero byte (it is not compressed) and its length in four bytes.
    Grpc,
    /// WebSocket frames with permessage-deflate (RFC 7692).
    Deflate,
    /// The same, for clients that ask for a window of 4 KiB.
    DeflateMedium,
    /// The same, for clients that ask for a window of 512 bytes.
    DeflateSmall,
    /// SockJS frames, each in a WebSocket frame. Like those below, of bidirectional JSON dialects alone: all messages of
    /// one event share a SockJS frame.
    SockJsWebSocket,
    /// SockJS frames on lines, for streamed and polled responses.
    SockJsLines,
    /// SockJS frames as server-sent events.
    SockJsEvents,
}

impl Framing {
    const COUNT: usize = 10;

    /// Returns true if the carrier's bytes are WebSocket frames, whatever is in them.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::SockJsWebSocket) || self.window().is_some()
    }

    /// The window that messages are compressed with, if they are.
    #[must_use]
    pub const fn window(self) -> Option<Window> {
        match self {
            Self::Deflate => Some(Window::Full),
            Self::DeflateMedium => Some(Window::Medium),
            Self::DeflateSmall => Some(Window::Small),
            _ => None,
        }
    }

    /// Returns true if messages are in SockJS frames.
    #[must_use]
    pub const fn is_sockjs(self) -> bool {
        matches!(self, Self::SockJsWebSocket | Self::SockJsLines | Self::SockJsEvents)
    }

    /// Appends the first bytes of a connection, before any message.
    pub fn append_open(self, out: &mut Vec<u8>) {
        if self.is_sockjs() {
            sockjs::append_open(self, out);
        }
    }

    /// Appends a ping of the transport itself, where it has such. Clients do not answer the heartbeats of SockJS.
    pub fn append_ping(self, out: &mut Vec<u8>) {
        if self.is_sockjs() {
            sockjs::append_heartbeat(self, out);
        } else if self.is_websocket() {
            ws::append_frame(Opcode::Ping, b"", out);
        }
    }

    /// Appends the answer to a ping of the transport itself, see [`Input::Ping`](crate::framing::Input::Ping).
    pub fn append_pong(self, payload: &[u8], out: &mut Vec<u8>) {
        if self.is_websocket() {
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

    /// Messages of a dialect in WebSocket frames, compressed with this window.
    #[must_use]
    pub fn deflate(dialect: impl Into<Dialect>, window: Window) -> Self {
        let framing = match window {
            Window::Full => Framing::Deflate,
            Window::Medium => Framing::DeflateMedium,
            Window::Small => Framing::DeflateSmall,
        };
        Self::of(dialect.into(), framing)
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

    /// Protobuf messages as those of a gRPC stream.
    #[must_use]
    pub const fn grpc(direction: Direction) -> Self {
        Self::of(Dialect::new(Protocol::Protobuf, direction), Framing::Grpc)
    }

    /// JSON messages in SockJS frames over a WebSocket.
    #[must_use]
    pub const fn sockjs_websocket() -> Self {
        Self::of(Dialect::JSON, Framing::SockJsWebSocket)
    }

    /// JSON messages in SockJS frames on lines.
    #[must_use]
    pub const fn sockjs_lines() -> Self {
        Self::of(Dialect::JSON, Framing::SockJsLines)
    }

    /// JSON messages in SockJS frames as server-sent events.
    #[must_use]
    pub const fn sockjs_events() -> Self {
        Self::of(Dialect::JSON, Framing::SockJsEvents)
    }

    const fn of(dialect: Dialect, framing: Framing) -> Self {
        Self(framing as u8 * Dialect::COUNT as u8 + dialect.0)
    }

    /// This form with the messages of version 1 in this encoding, where they can be in it: a unidirectional form is
    /// returned as it is.
    #[must_use]
    pub const fn in_v1(self, encoding: Protocol) -> Self {
        if self.dialect().is_unidirectional() {
            return self;
        }
        Self::of(Dialect::v1(encoding), self.framing())
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
            2 => Framing::EventStream,
            3 => Framing::Grpc,
            4 => Framing::Deflate,
            5 => Framing::DeflateMedium,
            6 => Framing::DeflateSmall,
            7 => Framing::SockJsWebSocket,
            8 => Framing::SockJsLines,
            _ => Framing::SockJsEvents,
        }
    }

    /// The place of this form in a table of all. The bidirectional dialects in WebSocket frames, which nearly all
    /// connections have, are the first two.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Frames a payload: one or more messages of the dialect, as the functions that append messages leave them.
    ///
    /// Nothing is compressed, which a framing that compresses may always do; see [`Form::frame_with`].
    #[must_use]
    pub fn frame(self, payload: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(payload.len() + 10);
        self.append_frame(payload, &mut out);
        out.into()
    }

    /// Frames a payload as [`Form::frame`] does, and has the deflater compress it where the framing compresses.
    #[must_use]
    pub fn frame_with(self, payload: &[u8], deflater: &mut Deflater) -> Bytes {
        let Some(window) = self.framing().window() else { return self.frame(payload) };
        let mut out = Vec::new();
        let (opcode, unidirectional) = (self.opcode(), self.dialect().is_unidirectional());
        let mut append =
            |message| ws::append_deflated(opcode, message, (window, unidirectional), deflater, &mut out);
        if unidirectional {
            messages(self.dialect().encoding(), payload).for_each(append);
        } else {
            append(payload);
        }
        out.into()
    }

    const fn opcode(self) -> Opcode {
        match self.dialect().encoding() {
            Protocol::Json => Opcode::Text,
            Protocol::Protobuf => Opcode::Binary,
        }
    }

    fn append_frame(self, payload: &[u8], out: &mut Vec<u8>) {
        let encoding = self.dialect().encoding();
        match self.framing() {
            Framing::WebSocket | Framing::Deflate | Framing::DeflateMedium | Framing::DeflateSmall => {
                let opcode = self.opcode();
                if self.dialect().is_unidirectional() {
                    messages(encoding, payload).for_each(|message| ws::append_frame(opcode, message, out));
                } else {
                    ws::append_frame(opcode, payload, out);
                }
            }
            Framing::Delimited => {
                out.extend_from_slice(payload);
                // In version 1 each message brings its newline.
                if encoding == Protocol::Json && !self.dialect().is_v1() {
                    out.push(b'\n');
                }
            }
            Framing::EventStream => messages(encoding, payload).for_each(|message| {
                out.extend_from_slice(b"data: ");
                append_event_safe(message, out);
                out.extend_from_slice(b"\n\n");
            }),
            Framing::Grpc => messages(encoding, payload).for_each(|message| append_grpc(message, out)),
            framing @ (Framing::SockJsWebSocket | Framing::SockJsLines | Framing::SockJsEvents) => {
                sockjs::append_message(framing, payload, out);
            }
        }
    }

    /// The last bytes of a connection that ends with this code: a close frame where the framing has one, a `disconnect`
    /// push where it has none. A unidirectional client that reads frames gets both, as in Centrifugo v6.9. So does SockJS
    /// over a WebSocket, whose frame is the one that clients heed. A client of version 1 reads JSON in the close frame.
    #[must_use]
    pub fn goodbye(self, code: &DisconnectCode) -> Bytes {
        self.goodbye_in_part(code, true, true)
    }

    /// The same without the push to a unidirectional client that reads frames, or without the close frame.
    #[must_use]
    pub fn goodbye_in_part(self, code: &DisconnectCode, push: bool, close: bool) -> Bytes {
        let mut out = Vec::with_capacity(64 + code.reason.len());
        let old = self.dialect().is_v1().then(|| v1::close(code));
        let (number, text) = match &old {
            Some((number, text)) => (u32::from(*number), &**text),
            None => (code.code, &*code.reason),
        };
        if self.framing().is_sockjs() {
            sockjs::append_close(self.framing(), number, text, &mut out);
        } else if !self.framing().is_websocket() || self.dialect().is_unidirectional() && push {
            let disconnect = Disconnect {
                code: code.code,
                reason: code.reason.as_ref().to_owned(),
                reconnect: self.dialect().is_v1() && code.reconnects(),
            };
            let mut payload = Vec::new();
            let push = Push { disconnect: Some(disconnect), ..Push::default() };
            append_push(self.dialect(), &push, &mut payload, true);
            self.append_frame(&payload, &mut out);
        }
        if self.framing().is_websocket() && close {
            // A frame has two bytes for the code. Of a larger one, such as the server API takes, Centrifugo v6.9 sends the
            // lower two.
            ws::append_close(number as u16, text, &mut out);
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

/// Appends a message of gRPC for one that has a varint length before it.
fn append_grpc(message: &[u8], out: &mut Vec<u8>) {
    let begin = read_varint(message, 0).map_or(0, |(_, begin)| begin);
    let message = message.get(begin..).unwrap_or_default();
    out.push(0);
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Reply;
    use crate::{append_publication_push, append_reply};

    const DIALECTS: [Dialect; 4] = [
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
            for window in [Window::Full, Window::Medium, Window::Small] {
                let form = Form::deflate(dialect, window);
                assert_eq!((form.dialect(), form.framing().window()), (dialect, Some(window)));
                assert!(form.framing().is_websocket());
                places.push(form.index());
            }
        }
        assert_eq!(Form::event_stream(Direction::Unidirectional).framing(), Framing::EventStream);
        places.extend(
            [Direction::Bidirectional, Direction::Unidirectional].map(|way| Form::event_stream(way).index()),
        );
        for (form, framing) in [
            (Form::sockjs_websocket(), Framing::SockJsWebSocket),
            (Form::sockjs_lines(), Framing::SockJsLines),
            (Form::sockjs_events(), Framing::SockJsEvents),
        ] {
            assert_eq!((form.dialect(), form.framing()), (DIALECTS[0], framing));
            places.push(form.index());
        }
        assert_eq!([places[0], places[5]], [0, 1], "those that nearly all have come first");
        let grpc = Form::grpc(Direction::Unidirectional);
        assert_eq!((grpc.framing(), grpc.dialect()), (Framing::Grpc, DIALECTS[3]));
        places
            .extend([Direction::Bidirectional, Direction::Unidirectional].map(|way| Form::grpc(way).index()));
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 27);
        assert!(places.iter().all(|place| *place < Form::COUNT));
        assert_eq!((size_of::<Dialect>(), size_of::<Form>()), (1, 1));
        for encoding in [Protocol::Json, Protocol::Protobuf] {
            for form in [Form::websocket(encoding), Form::delimited(encoding)] {
                assert_eq!(form.in_v1(encoding).dialect(), Dialect::v1(encoding));
                assert_eq!(
                    (form.in_v1(encoding).framing(), form.in_v1(encoding).in_v1(encoding)),
                    (form.framing(), form.in_v1(encoding))
                );
                places.push(form.in_v1(encoding).index());
            }
        }
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 31);
        assert!(places.iter().all(|place| *place < Form::COUNT));
        let down = Form::event_stream(Direction::Unidirectional);
        assert_eq!(down.in_v1(Protocol::Json), down, "version 1 has no such direction");
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
        assert_eq!(
            Form::grpc(Direction::Unidirectional).frame(b"\x01a\x00\x02bc")[..],
            *b"\0\0\0\0\x01a\0\0\0\0\0\0\0\0\0\x02bc",
            "a message each, the empty one is a ping"
        );
        assert_eq!(framed(Form::grpc(Direction::Unidirectional)).matches("\0\0\0\0").count(), 2);
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
        let string = format!("{one}\n{other}").replace('"', "\\\"").replace('\r', "\\r").replace('\n', "\\n");
        assert_eq!(framed(Form::sockjs_lines()), format!("a[\"{string}\"]\n"));
        assert_eq!(framed(Form::sockjs_events()), format!("data: a[\"{string}\"]\r\n\r\n"));
        assert_eq!(framed(Form::sockjs_websocket())[4..], format!("a[\"{string}\"]"), "one frame");
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
        assert_eq!(
            say(Form::grpc(Direction::Unidirectional)),
            &b"\0\0\0\0\x0B\x5A\x09\x08\xC0\x17\x12\x04slow"[..]
        );
        assert_eq!(say(Form::delimited(protobuf_down)), &b"\x0B\x5A\x09\x08\xC0\x17\x12\x04slow"[..]);
        assert_eq!(say(Form::sockjs_lines()), "c[3008,\"slow\"]\n");
        assert_eq!(say(Form::sockjs_events()), "data: c[3008,\"slow\"]\r\n\r\n");
        assert_eq!(
            say(Form::sockjs_websocket()),
            &b"\x81\x0Ec[3008,\"slow\"]\x88\x06\x0B\xC0slow"[..],
            "for clients that know SockJS, and for the WebSocket"
        );
        let old = say(Form::sockjs_lines().in_v1(Protocol::Json));
        assert_eq!(old, "c[3008,\"{\\\"reason\\\":\\\"slow\\\",\\\"reconnect\\\":true}\"]\n");
    }

    #[test]
    fn heartbeats_and_first_bytes() {
        let bytes = |framing: Framing, append: fn(Framing, &mut Vec<u8>)| {
            let mut out = Vec::new();
            append(framing, &mut out);
            out
        };
        for (framing, open, ping) in [
            (Framing::WebSocket, &b""[..], &b"\x89\0"[..]),
            (Framing::Delimited, b"", b""),
            (Framing::EventStream, b"", b""),
            (Framing::SockJsWebSocket, b"\x81\x01o", b"\x81\x01h"),
            (Framing::SockJsLines, b"o\n", b"h\n"),
            (Framing::SockJsEvents, b"data: o\r\n\r\n", b"data: h\r\n\r\n"),
        ] {
            assert_eq!(bytes(framing, Framing::append_open), open, "{framing:?}");
            assert_eq!(bytes(framing, Framing::append_ping), ping, "{framing:?}");
        }
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

//! Bytes of a connection into messages, whatever the framing.

use super::{delimited, sockjs};
use crate::code::DisconnectCode;
use crate::form::{Form, Framing};
use crate::ws::{self, Compressed, Event, Limits, Payload};
use bytes::Bytes;

/// The receiving half of one connection. Two words, and no heap while no message is under way.
#[derive(Debug)]
pub enum Decoder {
    /// WebSocket frames of a client. In SockJS, which goes up in them too, the form tells that their messages are packed.
    WebSocket(ws::Reader),
    /// Messages one after the other.
    Delimited(delimited::Reader),
    /// Each input is one whole message: requests bring it, the carrier of the output brings none.
    Whole,
}

/// Something the client said, complete.
#[derive(Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A transport message, for [`Commands`](super::Commands).
    Message(Payload<'a>),
    /// The same, to be inflated first by an [`Inflater`](ws::Inflater).
    Compressed(Compressed<'a>),
    /// A ping of the transport itself, to be answered with this payload by
    /// [`Framing::append_pong`](crate::form::Framing::append_pong).
    Ping(Payload<'a>),
    /// The answer to a ping of the transport itself.
    Pong,
    /// The client closes. This is the answer to send.
    End(Bytes),
}

/// The client broke the rules of the framing, or a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Fault {
    /// The number that the connection ends with: a disconnect code, or one of the transport's own.
    pub code: u32,
    /// Cause, for the log.
    pub cause: &'static str,
    /// The last bytes to send.
    pub goodbye: Bytes,
}

impl Decoder {
    /// The decoder for a carrier that brings both directions in this framing.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        match framing {
            Framing::WebSocket | Framing::SockJsWebSocket => Self::WebSocket(ws::Reader::new()),
            Framing::Deflate | Framing::DeflateMedium | Framing::DeflateSmall => {
                Self::WebSocket(ws::Reader::new().with_deflate())
            }
            // Events go down only. What comes up beside them is on lines.
            Framing::Delimited | Framing::EventStream | Framing::SockJsLines | Framing::SockJsEvents => {
                Self::Delimited(delimited::Reader::new())
            }
            // A call of gRPC brings its message whole.
            Framing::Grpc => Self::Whole,
        }
    }

    /// Consumes bytes from the front of `input`, in place, up to the end of the next message or of the input. Returns
    /// the number of consumed bytes, and the message. An incomplete end of the input is kept, so `None` means that all
    /// of it was consumed.
    ///
    /// The sequence of messages does not depend on the way the bytes are split over calls.
    ///
    /// # Errors
    /// The end of the connection. All input counts as consumed then, and from then on.
    pub fn read<'a>(
        &mut self,
        form: Form,
        limits: &Limits,
        input: &'a mut [u8],
    ) -> (usize, Result<Option<Input<'a>>, Fault>) {
        match self {
            Self::WebSocket(reader) if form.framing() == Framing::SockJsWebSocket => {
                read_packed(reader, form, limits, input)
            }
            Self::WebSocket(reader) => {
                let (used, found) = reader.read(limits, input);
                (used, found.map(|event| event.map(from_event)).map_err(Fault::from))
            }
            Self::Delimited(reader) => {
                let (used, found) = reader.read(form.dialect().encoding(), limits, input);
                let message = found.map(|message| message.map(Input::Message));
                (used, message.map_err(|cause| bad_request(form, cause)))
            }
            Self::Whole if input.len() > limits.message as usize => {
                (input.len(), Err(bad_request(form, TOO_LONG)))
            }
            Self::Whole => (input.len(), Ok(Some(Input::Message(Payload::Borrowed(input))))),
        }
    }

    /// Returns true if `input`, the next bytes of the connection, begins with a whole close frame. The closing side says
    /// nothing afterwards.
    #[must_use]
    pub fn is_close_next(&self, input: &[u8]) -> bool {
        match self {
            Self::WebSocket(reader) => reader.is_close_next(input),
            Self::Delimited(_) | Self::Whole => false,
        }
    }
}

/// A WebSocket message of a SockJS client, which holds messages as strings. Each quote in them has a backslash before it:
/// the limit is that of what was packed.
#[cold]
fn read_packed<'a>(
    reader: &mut ws::Reader,
    form: Form,
    limits: &Limits,
    input: &'a mut [u8],
) -> (usize, Result<Option<Input<'a>>, Fault>) {
    let most = limits.message;
    let limits = Limits { message: most.saturating_mul(2).saturating_add(PACKING), ..*limits };
    let (used, found) = reader.read(&limits, input);
    let packed = match found {
        Ok(Some(Event::Text(packed) | Event::Binary(packed))) if packed.is_empty() => {
            return (used, Ok(None));
        }
        Ok(Some(Event::Text(packed) | Event::Binary(packed))) => packed,
        found => return (used, found.map(|event| event.map(from_event)).map_err(Fault::from)),
    };
    let message = match packed {
        Payload::Borrowed(bytes) => {
            sockjs::unpack(bytes).map(|len| Payload::Borrowed(bytes.get_mut(..len).unwrap_or_default()))
        }
        Payload::Owned(mut bytes) => sockjs::unpack(&mut bytes).map(|len| {
            bytes.truncate(len);
            Payload::Owned(bytes)
        }),
    };
    let input = match message {
        Ok(message) if message.is_empty() => Ok(None),
        Ok(message) if message.len() > most as usize => Err(bad_request(form, TOO_LONG)),
        Ok(message) => Ok(Some(Input::Message(message))),
        Err(_) => Err(bad_request(form, NOT_PACKED)),
    };
    (used, input)
}

/// A client that closes is answered with the code it gave, or without one (RFC 6455 §5.5.1): an SDK reports the code of
/// the answer to its application.
fn from_event(event: Event<'_>) -> Input<'_> {
    match event {
        Event::Text(payload) | Event::Binary(payload) => Input::Message(payload),
        Event::Compressed(message) => Input::Compressed(message),
        Event::Ping(payload) => Input::Ping(payload),
        Event::Pong => Input::Pong,
        Event::Close(code) => Input::End(close_frame(code.unwrap_or(ws::NO_STATUS), "")),
    }
}

impl From<ws::CloseError> for Fault {
    fn from(error: ws::CloseError) -> Self {
        let cause = if error.reason.is_empty() { TOO_LONG } else { error.reason };
        Self { code: error.code.into(), cause, goodbye: close_frame(error.code, error.reason) }
    }
}

fn bad_request(form: Form, cause: &'static str) -> Fault {
    let code = DisconnectCode::BAD_REQUEST;
    Fault { code: code.code, cause, goodbye: form.goodbye(&code) }
}

/// Bytes around a message of the largest size, beside the backslashes.
const PACKING: u32 = 1024;
const NOT_PACKED: &str = "a SockJS message that is not an array of strings";
pub(super) const TOO_LONG: &str = "a message over the size limit";

fn close_frame(code: u16, reason: &str) -> Bytes {
    let mut close = Vec::with_capacity(8 + reason.len());
    ws::append_close(code, reason, &mut close);
    close.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;

    #[test]
    fn a_decoder_takes_two_words() {
        assert_eq!(size_of::<Decoder>(), 16);
    }

    #[test]
    fn faults_end_with_the_goodbye_of_the_framing() {
        let limits = Limits::of(4);
        let form = Form::delimited(Protocol::Json);
        let mut decoder = Decoder::new(form.framing());
        let fault = decoder.read(form, &limits, &mut b"12345".to_vec()).1.unwrap_err();
        assert_eq!((fault.code, &fault.goodbye), (3501, &form.goodbye(&DisconnectCode::BAD_REQUEST)));

        let form = Form::websocket(Protocol::Json);
        let mut decoder = Decoder::new(form.framing());
        let fault = decoder.read(form, &limits, &mut [0x81, 0x85, 0, 0, 0, 0]).1.unwrap_err();
        assert_eq!((fault.code, fault.cause, &fault.goodbye[..]), (1009, TOO_LONG, &b"\x88\x02\x03\xF1"[..]));
    }

    #[test]
    fn sockjs_messages_are_unpacked() {
        let limits = Limits::of(100);
        let form = Form::sockjs_websocket();
        let mut decoder = Decoder::new(form.framing());
        let frame = |text: &str| {
            let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
            frame.extend_from_slice(text.as_bytes());
            frame
        };
        let mut input =
            [frame("[]"), frame(""), frame(r#"["{\"id\":1}","{}"]"#), frame(r#""x""#), frame("[1]")].concat();
        let (mut at, mut seen) = (0, Vec::new());
        while at < input.len() {
            let (used, found) = decoder.read(form, &limits, &mut input[at..]);
            at += used;
            match found {
                Ok(None) => {}
                Ok(Some(Input::Message(message))) => {
                    seen.push(String::from_utf8_lossy(&message).into_owned())
                }
                Ok(Some(other)) => panic!("{other:?}"),
                Err(fault) => {
                    assert_eq!(
                        (fault.code, fault.goodbye),
                        (3501, form.goodbye(&DisconnectCode::BAD_REQUEST))
                    );
                    seen.push(fault.cause.to_owned());
                }
            }
        }
        assert_eq!(seen, ["{\"id\":1}\n{}", "x", NOT_PACKED]);
    }
}

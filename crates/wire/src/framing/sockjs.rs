//! SockJS frames (sockjs-protocol 0.3.3): one letter, and with some of them JSON.
//!
//! `o` opens a session, `h` is a heartbeat, `a["…"]` holds messages as strings, `c[3000,"…"]` closes. A client sends
//! messages as an array of strings, without a letter. Of its messages one string holds a whole transport message.

use crate::error::DecodeError;
use crate::form::Framing;
use crate::json::append_string;
use crate::json::scan::{hex4, next_special, skip_spaces, skip_string};
use crate::json::text::append_lossy;
use crate::ws::{self, Opcode};

/// The frame that opens a session.
pub(crate) fn append_open(framing: Framing, out: &mut Vec<u8>) {
    append_frame(framing, b"o", out);
}

/// A heartbeat. Clients do not answer it.
pub(crate) fn append_heartbeat(framing: Framing, out: &mut Vec<u8>) {
    append_frame(framing, b"h", out);
}

/// A frame with one transport message.
pub(crate) fn append_message(framing: Framing, message: &[u8], out: &mut Vec<u8>) {
    let mut frame = Vec::with_capacity(message.len() + message.len() / 4 + 8);
    frame.extend_from_slice(b"a[");
    append_lossy(message, &mut frame);
    frame.push(b']');
    append_frame(framing, &frame, out);
}

/// The frame that ends a session.
pub(crate) fn append_close(framing: Framing, code: u32, reason: &str, out: &mut Vec<u8>) {
    let frame = close(code, reason);
    append_frame(framing, &frame, out);
}

/// The frame that ends a session, without what the transport puts around it.
#[must_use]
pub fn close(code: u32, reason: &str) -> Vec<u8> {
    let mut frame = b"c[".to_vec();
    frame.extend_from_slice(itoa::Buffer::new().format(code).as_bytes());
    frame.push(b',');
    append_string(reason, &mut frame);
    frame.push(b']');
    frame
}

/// Places a frame in its transport: a WebSocket frame, an event, or a line.
pub fn append_frame(framing: Framing, frame: &[u8], out: &mut Vec<u8>) {
    match framing {
        Framing::SockJsWebSocket => ws::append_frame(Opcode::Text, frame, out),
        Framing::SockJsEvents => {
            out.extend_from_slice(b"data: ");
            append_percent_safe(frame, out);
            out.extend_from_slice(b"\r\n\r\n");
        }
        _ => {
            out.extend_from_slice(frame);
            out.push(b'\n');
        }
    }
}

/// npm `sockjs-client` undoes percent escapes of events (`decodeURI`), and of events alone.
fn append_percent_safe(frame: &[u8], out: &mut Vec<u8>) {
    let mut begin = 0;
    for at in memchr::memchr_iter(b'%', frame) {
        out.extend_from_slice(frame.get(begin..=at).unwrap_or_default());
        out.extend_from_slice(b"25");
        begin = at + 1;
    }
    out.extend_from_slice(frame.get(begin..).unwrap_or_default());
}

/// Unpacks the messages that a client sent, an array of strings or one string, in place. Returns the number of bytes
/// that they take at the front, as one transport message: a newline is put between two.
///
/// Empty messages are left out. A lone surrogate becomes U+FFFD.
///
/// # Errors
/// Fails if the bytes are something else.
pub fn unpack(bytes: &mut [u8]) -> Result<usize, DecodeError> {
    let mut unpacked = Unpacked { bytes, read: 0, written: 0 };
    unpacked.skip_spaces();
    if unpacked.next() != Some(b'[') {
        unpacked.string()?;
    } else {
        unpacked.read += 1;
        unpacked.strings()?;
    }
    unpacked.skip_spaces();
    if unpacked.next().is_none() { Ok(unpacked.written) } else { Err(DecodeError::Syntax) }
}

/// Writing never catches up with reading: an escape is longer than its character, and there are three bytes
/// between two strings.
struct Unpacked<'a> {
    bytes: &'a mut [u8],
    read: usize,
    written: usize,
}

impl Unpacked<'_> {
    fn next(&self) -> Option<u8> {
        self.bytes.get(self.read).copied()
    }

    fn skip_spaces(&mut self) {
        self.read = skip_spaces(self.bytes, self.read);
    }

    /// The strings of an array behind its bracket.
    fn strings(&mut self) -> Result<(), DecodeError> {
        self.skip_spaces();
        if self.next() == Some(b']') {
            self.read += 1;
            return Ok(());
        }
        loop {
            self.skip_spaces();
            self.string()?;
            self.skip_spaces();
            let next = self.next();
            self.read += 1;
            match next {
                Some(b',') => {}
                Some(b']') => return Ok(()),
                _ => return Err(DecodeError::Syntax),
            }
        }
    }

    fn string(&mut self) -> Result<(), DecodeError> {
        let end = skip_string(self.bytes, self.read).ok_or(DecodeError::Syntax)?;
        self.read += 1;
        if self.read + 1 < end && self.written > 0 && self.bytes.get(self.written - 1) != Some(&b'\n') {
            self.write(b"\n");
        }
        loop {
            let at = next_special(self.bytes, self.read);
            self.bytes.copy_within(self.read..at, self.written);
            self.written += at - self.read;
            self.read = at;
            if at + 1 >= end {
                self.read = end;
                return Ok(());
            }
            self.escape();
        }
    }

    /// An escape of a string that is well-formed.
    fn escape(&mut self) {
        let escape = self.bytes.get(self.read + 1).copied().unwrap_or_default();
        self.read += 2;
        let plain = match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let character = self.code_point();
                return self.write(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => other,
        };
        self.write(&[plain]);
    }

    /// The character of the four digits that are next, or of a pair of surrogates.
    fn code_point(&mut self) -> char {
        let unit = u32::from(hex4(self.bytes, self.read).unwrap_or_default());
        self.read += 4;
        let low = match self.bytes.get(self.read..self.read + 2) {
            Some(b"\\u") => hex4(self.bytes, self.read + 2),
            _ => None,
        };
        let point = match (unit, low) {
            (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                self.read += 6;
                0x10000 + (unit - 0xd800) * 0x400 + (u32::from(low) - 0xdc00)
            }
            _ => unit,
        };
        char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(self.written..self.written + bytes.len()) {
            place.copy_from_slice(bytes);
            self.written += bytes.len();
        }
    }
}

#[cfg(test)]
mod tests;

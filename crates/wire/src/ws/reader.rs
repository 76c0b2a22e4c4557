//! Frames and fragments into events.

use std::ops::Range;

use super::header::{self, Header};
use super::{CloseError, Compressed, Event, Limits, Opcode, Payload, mask};

/// The receiving half of one connection.
///
/// Two words while no message is under way; what arrives in pieces is kept on the heap until it is whole.
/// After an error or a close frame the reader drops all further input.
#[derive(Debug)]
pub struct Reader {
    partial: Option<Box<Partial>>,
    /// Set when the peer masks its frames, as clients must and servers must not.
    want_mask: bool,
    /// Set when messages may be compressed.
    deflate: bool,
    ended: bool,
}

impl Reader {
    /// A reader of what a client sends.
    #[must_use]
    pub const fn new() -> Self {
        Self { partial: None, want_mask: true, deflate: false, ended: false }
    }

    /// A reader of what a server sends: frames that are not masked.
    #[must_use]
    pub const fn client() -> Self {
        Self { partial: None, want_mask: false, deflate: false, ended: false }
    }

    /// The same, of a peer that has agreed to permessage-deflate.
    #[must_use]
    pub const fn with_deflate(mut self) -> Self {
        self.deflate = true;
        self
    }

    /// Consumes bytes from the front of `input`, unmasking them in place, up to the end of the next event or
    /// of the input. Returns how many, and the event. An incomplete end of the input is kept, so that `None` always
    /// means the whole input was consumed.
    ///
    /// The sequence of events does not depend on how the bytes are split over calls.
    ///
    /// # Errors
    /// The code to close the connection with. All input counts as consumed then, now and from here on.
    pub fn read<'a>(
        &mut self,
        limits: &Limits,
        input: &'a mut [u8],
    ) -> (usize, Result<Option<Event<'a>>, CloseError>) {
        let len = input.len();
        if self.ended {
            return (len, Ok(None));
        }
        let found = match self.advance(limits, input) {
            Ok(Some(Found { consumed, opcode, compressed, body })) => {
                let payload = match body {
                    Body::Input(range) => Payload::Borrowed(&mut input[range]),
                    Body::Kept(bytes) => Payload::Owned(bytes),
                };
                finish(opcode, compressed, payload).map(|event| (consumed, Some(event)))
            }
            Ok(None) => Ok((len, None)),
            Err(error) => Err(error),
        };
        match found {
            Ok((consumed, event)) => {
                if matches!(event, Some(Event::Close(_))) {
                    self.end();
                }
                (consumed, Ok(event))
            }
            Err(error) => {
                self.end();
                (len, Err(error))
            }
        }
    }

    /// Returns true if a message or a frame has begun and not ended.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// Returns true if `input`, the next bytes of the connection, begins with a whole close frame.
    #[cold]
    #[must_use]
    pub fn is_close_next(&self, input: &[u8]) -> bool {
        if self.partial.is_some() || self.ended {
            return false;
        }
        match header::parse(input, self.want_mask, self.deflate) {
            Ok(Some((header, at))) => {
                header.opcode == Opcode::Close && input.len() as u64 >= at as u64 + header.len
            }
            _ => false,
        }
    }

    /// Bytes of input kept for what is under way: at most the message limit and 139 more.
    #[must_use]
    pub fn spilled(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.spilled())
    }

    /// Gives the memory back once nothing is under way.
    fn release(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| partial.is_empty()) {
            self.partial = None;
        }
    }

    fn end(&mut self) {
        self.partial = None;
        self.ended = true;
    }

    /// Goes on to the end of the next event (`Some`) or of the input (`None`).
    #[inline]
    fn advance(&mut self, limits: &Limits, input: &mut [u8]) -> Result<Option<Found>, CloseError> {
        let mut at = 0;
        while at < input.len() {
            let Some(mut frame) = self.frame(limits, input, &mut at)? else {
                break;
            };
            let end = at + clamp(frame.remaining, input.len() - at);
            let range = at..end;
            at = end;
            frame.take(&mut input[range.clone()]);

            let lone = frame.opcode.is_control() || (frame.fin && frame.opcode != Opcode::Continuation);
            if lone && frame.remaining == 0 && !frame.resumed {
                self.release();
                let Frame { opcode, compressed, .. } = frame;
                return Ok(Some(Found { consumed: at, opcode, compressed, body: Body::Input(range) }));
            }
            let partial = self.partial.get_or_insert_default();
            let done = partial.keep(frame, &input[range]);
            self.release();
            if let Some((opcode, compressed, bytes)) = done {
                return Ok(Some(Found { consumed: at, opcode, compressed, body: Body::Kept(bytes) }));
            }
        }
        Ok(None)
    }

    /// The frame to go on with: the one under way, or the one whose header comes next.
    #[inline]
    fn frame(&mut self, limits: &Limits, input: &[u8], at: &mut usize) -> Result<Option<Frame>, CloseError> {
        if let Some(partial) = &mut self.partial {
            if let Some(frame) = partial.frame.take() {
                return Ok(Some(frame));
            }
            if partial.header.len > 0 {
                let Some(header) = partial.header.complete(input, at, self.want_mask, self.deflate)? else {
                    return Ok(None);
                };
                return Ok(Some(self.admit(limits, header)?));
            }
        }
        let Some((header, used)) = header::parse(&input[*at..], self.want_mask, self.deflate)? else {
            let rest = &input[*at..];
            self.partial.get_or_insert_default().header.begin(rest);
            return Ok(None);
        };
        *at += used;
        Ok(Some(self.admit(limits, header)?))
    }

    /// Judges a frame against the message under way and the limits, before a byte of its payload is read.
    #[inline]
    fn admit(&mut self, limits: &Limits, header: Header) -> Result<Frame, CloseError> {
        let frame = Frame {
            fin: header.fin,
            compressed: header.compressed,
            opcode: header.opcode,
            mask: header.mask,
            remaining: header.len,
            resumed: false,
        };
        if header.opcode.is_control() {
            return Ok(frame);
        }
        let (under_way, kept) =
            self.partial.as_ref().map_or((false, 0), |p| (p.message.is_some(), p.bytes.len()));
        match (header.opcode, under_way) {
            (Opcode::Continuation, false) => {
                return Err(CloseError::protocol("continuation of no message"));
            }
            (Opcode::Text | Opcode::Binary, true) => {
                return Err(CloseError::protocol("message inside a fragmented message"));
            }
            _ => {}
        }
        // Lengths are below 2^63, so the sum cannot overflow.
        if kept as u64 + header.len > u64::from(limits.message) {
            return Err(CloseError::TOO_BIG);
        }
        Ok(frame)
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

/// A whole message or control frame.
struct Found {
    consumed: usize,
    opcode: Opcode,
    compressed: bool,
    body: Body,
}

enum Body {
    Input(Range<usize>),
    Kept(Vec<u8>),
}

/// Judges a whole message or control frame. A compressed message is left to be judged once it is inflated.
fn finish(opcode: Opcode, compressed: bool, payload: Payload<'_>) -> Result<Event<'_>, CloseError> {
    if compressed {
        return Ok(Event::Compressed(Compressed { payload, text: opcode == Opcode::Text }));
    }
    Ok(match opcode {
        Opcode::Text => {
            if simdutf8::basic::from_utf8(&payload).is_err() {
                return Err(CloseError::invalid_utf8("text is not UTF-8"));
            }
            Event::Text(payload)
        }
        Opcode::Close => Event::Close(close_code(&payload)?),
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong,
        // A continuation is finished under the opcode its message began with.
        Opcode::Binary | Opcode::Continuation => Event::Binary(payload),
    })
}

/// The code of a close frame: nothing, or two bytes and a reason in UTF-8 (RFC 6455 §5.5.1).
fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(CloseError::protocol("close frame of one byte"))
        };
    };
    let code = u16::from_be_bytes(*code);
    // RFC 6455 §7.4 and the IANA registry: 1004 to 1006 and 1015 are never sent, 1016 to 2999 are not given out.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseError::protocol("invalid close code"));
    }
    if simdutf8::basic::from_utf8(reason).is_err() {
        return Err(CloseError::invalid_utf8("close reason is not UTF-8"));
    }
    Ok(Some(code))
}

/// A frame whose payload is being read.
#[derive(Debug)]
struct Frame {
    fin: bool,
    /// It begins a compressed message.
    compressed: bool,
    opcode: Opcode,
    /// The key as it applies to the next byte.
    mask: [u8; 4],
    remaining: u64,
    /// Set when an earlier input held the start of it.
    resumed: bool,
}

impl Frame {
    /// Takes the next part of the payload, unmasking it.
    fn take(&mut self, part: &mut [u8]) {
        if self.mask != [0; 4] {
            self.mask = mask::apply(self.mask, part);
        }
        self.remaining -= part.len() as u64;
    }
}

/// Input that has begun and not ended: a header, a frame, a message, or a frame within a message.
#[derive(Debug, Default)]
struct Partial {
    header: HeaderStart,
    frame: Option<Frame>,
    /// The message under way and its payload so far. Bytes of a message's first frame count before the
    /// frame ends.
    message: Option<Opcode>,
    /// That message is compressed.
    compressed: bool,
    bytes: Vec<u8>,
    /// Payload so far of a control frame, which may come in the midst of a message.
    control: Vec<u8>,
}

impl Partial {
    /// Keeps a part of the frame's payload. Returns the message or control frame if that completes it.
    fn keep(&mut self, mut frame: Frame, part: &[u8]) -> Option<(Opcode, bool, Vec<u8>)> {
        let control = frame.opcode.is_control();
        if !control && !frame.resumed && frame.opcode != Opcode::Continuation {
            self.message = Some(frame.opcode);
            self.compressed = frame.compressed;
        }
        let kept = if control { &mut self.control } else { &mut self.bytes };
        append(kept, part, frame.remaining);
        if frame.remaining > 0 {
            frame.resumed = true;
            self.frame = Some(frame);
            return None;
        }
        if control {
            return Some((frame.opcode, false, std::mem::take(&mut self.control)));
        }
        if !frame.fin {
            return None;
        }
        let opcode = self.message.take()?;
        Some((opcode, self.compressed, std::mem::take(&mut self.bytes)))
    }

    const fn is_empty(&self) -> bool {
        self.message.is_none() && self.frame.is_none() && self.header.len == 0
    }

    const fn spilled(&self) -> usize {
        self.header.len as usize + self.bytes.len() + self.control.len()
    }
}

/// Appends `part`, growing by doubling but not beyond what the frame still claims: capacity follows what
/// arrived, and the last piece fits exactly.
fn append(kept: &mut Vec<u8>, part: &[u8], remaining: u64) {
    let needed = kept.len() + part.len();
    if needed > kept.capacity() {
        let whole = needed.saturating_add(clamp(remaining, usize::MAX));
        let target = needed.max(kept.capacity().saturating_mul(2)).min(whole);
        kept.reserve_exact(target - kept.len());
    }
    kept.extend_from_slice(part);
}

fn clamp(wanted: u64, available: usize) -> usize {
    usize::try_from(wanted).map_or(available, |wanted| wanted.min(available))
}

/// The start of a header that the input ended in.
#[derive(Debug, Default)]
struct HeaderStart {
    bytes: [u8; header::LONGEST],
    len: u8,
}

impl HeaderStart {
    /// Keeps `rest`, which is shorter than a header.
    fn begin(&mut self, rest: &[u8]) {
        for (kept, byte) in self.bytes.iter_mut().zip(rest) {
            *kept = *byte;
            self.len += 1;
        }
    }

    /// Takes bytes until the header is whole, which is at the latest when the array is full.
    fn complete(
        &mut self,
        input: &[u8],
        at: &mut usize,
        want_mask: bool,
        deflate: bool,
    ) -> Result<Option<Header>, CloseError> {
        while let (Some(byte), Some(kept)) = (input.get(*at), self.bytes.get_mut(usize::from(self.len))) {
            *kept = *byte;
            self.len += 1;
            *at += 1;
            if let Some((header, _)) =
                header::parse(&self.bytes[..usize::from(self.len)], want_mask, deflate)?
            {
                self.len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;

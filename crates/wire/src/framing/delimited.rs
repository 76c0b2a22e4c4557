//! Messages one after the other in a byte stream: JSON on lines, Protobuf behind varint lengths.

use super::decoder::TOO_LONG;
use crate::protobuf::read_varint;
use crate::protocol::Protocol;
use crate::ws::{Limits, Payload};

/// The longest varint of 64 bits.
const LONGEST_LENGTH: usize = 10;
const BAD_LENGTH: &str = "a malformed message length";

/// Reads messages of one encoding from a byte stream. A message that lies whole in the input is not copied.
///
/// A JSON message is a line without its newline; a Protobuf message keeps the length before it, as
/// [`Commands`](super::Commands) takes it. After an error all further input is dropped.
#[derive(Debug, Default)]
pub struct Reader {
    /// One word: a decoder has room for no more beside its kind.
    partial: Option<Box<Partial>>,
}

/// A message that has begun and not ended.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    /// Bytes that the message will have, once its length is known; 0 until then, and always for a line.
    whole: usize,
    /// There was an error: nothing is read any more.
    ended: bool,
}

impl Reader {
    /// A reader with nothing under way.
    #[must_use]
    pub const fn new() -> Self {
        Self { partial: None }
    }

    /// Consumes bytes from the front of `input` up to the end of the next message or of the input. Returns the number of
    /// consumed bytes, and the message.
    ///
    /// # Errors
    /// A message over the limit, reported at the first byte that shows it, or a malformed length.
    pub fn read<'a>(
        &mut self,
        protocol: Protocol,
        limits: &Limits,
        input: &'a mut [u8],
    ) -> (usize, Result<Option<Payload<'a>>, &'static str>) {
        let len = input.len();
        if input.is_empty() || self.partial.as_ref().is_some_and(|partial| partial.ended) {
            return (len, Ok(None));
        }
        let limit = limits.message as usize;
        let found = match protocol {
            Protocol::Json => self.line(limit, input),
            Protocol::Protobuf => self.counted(limit, input),
        };
        if found.1.is_err() {
            self.partial = Some(Box::new(Partial { ended: true, ..Partial::default() }));
            return (len, found.1);
        }
        found
    }

    /// Bytes of input kept for the message under way: at most the limit and ten more.
    #[must_use]
    pub fn spilled(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.bytes.len())
    }

    fn line<'a>(
        &mut self,
        limit: usize,
        input: &'a mut [u8],
    ) -> (usize, Result<Option<Payload<'a>>, &'static str>) {
        let newline = memchr::memchr(b'\n', input);
        let (end, used) = newline.map_or((input.len(), input.len()), |at| (at, at + 1));
        if self.spilled() + end > limit {
            return (used, Err(TOO_LONG));
        }
        let part = &mut input[..end];
        let message = match (newline.is_some(), self.partial.take()) {
            (true, None) => Some(Payload::Borrowed(part)),
            (true, Some(mut partial)) => {
                partial.bytes.extend_from_slice(part);
                Some(Payload::Owned(partial.bytes))
            }
            (false, partial) => {
                let mut partial = partial.unwrap_or_default();
                partial.bytes.extend_from_slice(part);
                self.partial = Some(partial);
                None
            }
        };
        (used, Ok(message))
    }

    fn counted<'a>(
        &mut self,
        limit: usize,
        input: &'a mut [u8],
    ) -> (usize, Result<Option<Payload<'a>>, &'static str>) {
        let Some(mut partial) = self.partial.take() else {
            return match whole(input, limit) {
                Err(cause) => (input.len(), Err(cause)),
                Ok(Some(whole)) if whole <= input.len() => {
                    (whole, Ok(Some(Payload::Borrowed(&mut input[..whole]))))
                }
                Ok(whole) => {
                    let (bytes, whole) = (input.to_vec(), whole.unwrap_or_default());
                    self.partial = Some(Box::new(Partial { bytes, whole, ended: false }));
                    (input.len(), Ok(None))
                }
            };
        };
        let mut used = 0;
        // The length itself came in pieces: it ends within few bytes.
        while partial.whole == 0 {
            let Some(byte) = input.get(used) else {
                self.partial = Some(partial);
                return (used, Ok(None));
            };
            partial.bytes.push(*byte);
            used += 1;
            match whole(&partial.bytes, limit) {
                Ok(whole) => partial.whole = whole.unwrap_or_default(),
                Err(cause) => return (used, Err(cause)),
            }
        }
        let wanted = partial.whole.saturating_sub(partial.bytes.len()).min(input.len() - used);
        partial.bytes.extend_from_slice(&input[used..used + wanted]);
        used += wanted;
        if partial.bytes.len() == partial.whole {
            return (used, Ok(Some(Payload::Owned(partial.bytes))));
        }
        self.partial = Some(partial);
        (used, Ok(None))
    }
}

/// The number of bytes of the message at the front of `bytes`, with its length, if they hold the whole length.
fn whole(bytes: &[u8], limit: usize) -> Result<Option<usize>, &'static str> {
    match read_varint(bytes, 0) {
        None if bytes.len() < LONGEST_LENGTH => Ok(None),
        None => Err(BAD_LENGTH),
        Some((length, begin)) => match usize::try_from(length) {
            Ok(length) if length <= limit => Ok(Some(begin + length)),
            _ => Err(TOO_LONG),
        },
    }
}

#[cfg(test)]
mod tests;

//! Frames of the Redis protocol, versions 2 and 3, as Pub/Sub connections receive them. Payloads are not copied.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Most bytes of a bulk string: the limit of Redis itself.
const LONGEST: usize = 512 << 20;

/// Most levels of lists in lists. What a server sends here has two.
const DEEPEST: usize = 8;

/// Most elements of a list, and longest line.
const MOST: usize = 1 << 16;

/// Bytes that are not of the protocol.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("malformed frame: {0}")]
pub(crate) struct FrameError(&'static str);

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A string, simple or bulk, or a number as text.
    Text(Bytes),
    /// An error.
    Error(Bytes),
    Null,
    /// An array, set, push, or map with names and values in turn.
    List(Vec<Self>),
}

/// Takes a whole frame from the front of a buffer. `None` while it is incomplete.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    match measure(buffer, 0, 0)? {
        None => Ok(None),
        Some(length) => build(&mut buffer.split_to(length).freeze()).map(Some),
    }
}

/// The end of a frame that begins at a place.
fn measure(bytes: &[u8], from: usize, depth: usize) -> Result<Option<usize>, FrameError> {
    if depth > DEEPEST {
        return Err(FrameError("too deep"));
    }
    let Some((kind, line, mut at)) = head(bytes, from)? else { return Ok(None) };
    Ok(match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Some(at),
        b'$' | b'!' | b'=' => match length(line)? {
            None => Some(at),
            Some(length) if length > LONGEST => return Err(FrameError("too long")),
            Some(length) => Some(at + length + 2).filter(|end| *end <= bytes.len()),
        },
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            for _ in 0..elements(kind, line)? {
                match measure(bytes, at, depth + 1)? {
                    Some(end) => at = end,
                    None => return Ok(None),
                }
            }
            Some(at)
        }
        _ => return Err(FrameError("unknown kind")),
    })
}

/// Kind, rest of the line, and where the line ends.
type Head<'a> = (u8, &'a [u8], usize);

fn head(bytes: &[u8], from: usize) -> Result<Option<Head<'_>>, FrameError> {
    let rest = bytes.get(from..).unwrap_or_default();
    let Some(end) = rest.iter().take(MOST).position(|byte| *byte == b'\n') else {
        return if rest.len() < MOST { Ok(None) } else { Err(FrameError("a line without an end")) };
    };
    match rest.get(..end).and_then(|line| line.strip_suffix(b"\r")).and_then(|line| line.split_first()) {
        Some((kind, line)) => Ok(Some((*kind, line, from + end + 1))),
        None => Err(FrameError("a line without a kind")),
    }
}

/// A length; `None` for -1, which is null.
fn length(line: &[u8]) -> Result<Option<usize>, FrameError> {
    let number: Option<i64> = std::str::from_utf8(line).ok().and_then(|line| line.parse().ok());
    match number {
        Some(-1) => Ok(None),
        Some(number) => usize::try_from(number).map(Some).map_err(|_| FrameError("a negative length")),
        None => Err(FrameError("a length that is no number")),
    }
}

/// Number of frames that follow. Attributes come before the frame that they are of.
fn elements(kind: u8, line: &[u8]) -> Result<usize, FrameError> {
    let count = length(line)?.unwrap_or(0);
    if count > MOST {
        return Err(FrameError("too many elements"));
    }
    Ok(match kind {
        b'%' => count * 2,
        b'|' => count * 2 + 1,
        _ => count,
    })
}

/// Builds the frame at the front of bytes that have all of it.
fn build(bytes: &mut Bytes) -> Result<Frame, FrameError> {
    const CUT: FrameError = FrameError("cut short");
    let Some((kind, line, end)) = head(bytes, 0)? else { return Err(CUT) };
    Ok(match kind {
        b'$' | b'!' | b'=' => {
            let length = length(line)?;
            bytes.advance(end);
            let Some(length) = length else { return Ok(Frame::Null) };
            if bytes.len() < length + 2 {
                return Err(CUT);
            }
            let text = bytes.split_to(length);
            bytes.advance(2);
            if kind == b'!' { Frame::Error(text) } else { Frame::Text(text) }
        }
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let (count, null) = (elements(kind, line)?, length(line)?.is_none());
            bytes.advance(end);
            let mut list = Vec::with_capacity(count.min(64));
            for _ in 0..count {
                list.push(build(bytes)?);
            }
            match list.pop() {
                Some(last) if kind == b'|' => last,
                Some(last) => {
                    list.push(last);
                    Frame::List(list)
                }
                None if null => Frame::Null,
                None => Frame::List(list),
            }
        }
        _ => {
            let line = bytes.slice(1..end.saturating_sub(2).max(1));
            bytes.advance(end);
            match kind {
                b'-' => Frame::Error(line),
                b'_' => Frame::Null,
                _ => Frame::Text(line),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        let mut buffer = BytesMut::from(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = take(&mut buffer)? {
            frames.push(frame);
        }
        assert!(buffer.is_empty(), "{buffer:?} is left");
        Ok(frames)
    }

    fn text(text: &str) -> Frame {
        Frame::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn frames_of_both_versions() {
        let message = Frame::List(vec![text("message"), text("c"), text("a\r\nb")]);
        let bytes = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\na\r\nb\r\n>3\r\n+message\r\n$1\r\nc\r\n$4\r\na\r\nb\r\n";
        assert_eq!(all(bytes), Ok(vec![message.clone(), message]));
        let bytes = b"+PONG\r\n-ERR no\r\n$-1\r\n*-1\r\n_\r\n:7\r\n%1\r\n+a\r\n:1\r\n|1\r\n+k\r\n+v\r\n+x\r\n!5\r\nERR a\r\n*0\r\n";
        let map = Frame::List(vec![text("a"), text("1")]);
        let error = |text: &'static str| Frame::Error(Bytes::from_static(text.as_bytes()));
        let (null, none) = (Frame::Null, Frame::List(Vec::new()));
        let right = vec![
            text("PONG"),
            error("ERR no"),
            null.clone(),
            null.clone(),
            null,
            text("7"),
            map,
            text("x"),
            error("ERR a"),
            none,
        ];
        assert_eq!(all(bytes), Ok(right));
    }

    #[test]
    fn a_part_of_a_frame_is_none_yet() {
        let whole = b"*2\r\n$3\r\nabc\r\n%1\r\n+a\r\n$2\r\nxy\r\n";
        for length in 0..whole.len() {
            assert_eq!(take(&mut BytesMut::from(&whole[..length])), Ok(None), "{length} bytes");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in
            [&b"HTTP/1.1 400\r\n"[..], b"\r\n", b"$x\r\n", b"$-2\r\n", b"*99999999\r\n", b"$999999999999\r\n"]
        {
            assert!(take(&mut BytesMut::from(bytes)).is_err(), "{bytes:?}");
        }
        let deep = b"*1\r\n".repeat(20);
        assert!(take(&mut BytesMut::from(&deep[..])).is_err());
        let line = vec![b'+'; MOST];
        assert!(take(&mut BytesMut::from(&line[..])).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(prop_oneof![
            Just(b'*'), Just(b'$'), Just(b'>'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'-'), any::<u8>()
        ], 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take(&mut buffer) {}
        }
    }
}

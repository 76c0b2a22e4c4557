//! Ids of server-sent events, which hold the positions of a connection. A browser returns the last one when it connects
//! again.
//!
//! An id is base64 of a version, the positions and a checksum. It proves nothing: it is read for channels that the login
//! grants, and by naming a position in `subs` a client could ask for the same.

use crate::publication::Position;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::HashMap;

/// Most bytes of an id. Servers in front of this one take header lines of 8 KiB.
pub(crate) const LONGEST: usize = 4 << 10;
const VERSION: u8 = 1;
const CHECKSUM: usize = 4;
/// Bytes of positions that fit into an id.
const ROOM: usize = LONGEST / 4 * 3 - CHECKSUM;
/// Most bytes of an epoch.
const LONGEST_EPOCH: usize = 255;

/// Positions by channel.
pub(crate) type Positions = HashMap<Box<str>, Position, foldhash::fast::FixedState>;

/// Puts an id together.
pub(crate) struct Composer(Vec<u8>);

impl Composer {
    pub(crate) fn new() -> Self {
        Self(vec![VERSION])
    }

    /// Adds the position in a channel. What does not fit is left out: the channel is then not recovered.
    pub(crate) fn add(&mut self, channel: &str, position: &Position) {
        let before = self.0.len();
        if position.epoch.len() > LONGEST_EPOCH {
            return;
        }
        for text in [channel, &position.epoch] {
            number(text.len() as u64, &mut self.0);
            self.0.extend_from_slice(text.as_bytes());
        }
        number(position.offset, &mut self.0);
        if self.0.len() > ROOM {
            self.0.truncate(before);
        }
    }

    /// Appends the line of an event that has the id.
    pub(crate) fn append_line(mut self, out: &mut Vec<u8>) {
        let checksum = checksum(&self.0);
        self.0.extend_from_slice(&checksum);
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(URL_SAFE_NO_PAD.encode(&self.0).as_bytes());
        out.push(b'\n');
    }
}

/// The positions that an id holds. `None` if it is not one of these.
pub(crate) fn read(id: &[u8]) -> Option<Positions> {
    if id.len() > LONGEST {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
    let (content, sum) = bytes.split_last_chunk::<CHECKSUM>()?;
    if *sum != checksum(content) {
        return None;
    }
    let (&VERSION, mut rest) = content.split_first()? else { return None };
    let mut positions = Positions::default();
    while !rest.is_empty() {
        let channel = text(&mut rest, LONGEST)?;
        let epoch = text(&mut rest, LONGEST_EPOCH)?;
        let offset = take_number(&mut rest)?;
        positions.insert(channel.into(), Position { offset, epoch: epoch.into() });
    }
    Some(positions)
}

fn text<'a>(rest: &mut &'a [u8], longest: usize) -> Option<&'a str> {
    let length = usize::try_from(take_number(rest)?).ok().filter(|length| *length <= longest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

/// Appends a number, seven bits to a byte, the lowest first.
fn number(mut value: u64, out: &mut Vec<u8>) {
    while value > 127 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 127).checked_shl(shift)?;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

/// FNV-1a of 32 bits: finds ids that were cut off or mangled on the way.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let sum =
        bytes.iter().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    sum.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64, epoch: &str) -> Position {
        Position { offset, epoch: epoch.into() }
    }

    fn id(positions: &[(&str, Position)]) -> Vec<u8> {
        let mut composer = Composer::new();
        positions.iter().for_each(|(channel, position)| composer.add(channel, position));
        let mut line = Vec::new();
        composer.append_line(&mut line);
        line.strip_prefix(b"id: ").unwrap().strip_suffix(b"\n").unwrap().to_vec()
    }

    #[test]
    fn an_id_leads_back_to_its_positions() {
        let own = [("news", at(3, "abc")), ("größe:1", at(u64::MAX, "")), ("", at(0, "x"))];
        let text = id(&own);
        assert!(text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)), "{text:?}");
        let read = read(&text).unwrap();
        assert_eq!(read.len(), 3);
        for (channel, position) in own {
            let found = &read[channel];
            assert_eq!((found.offset, &found.epoch), (position.offset, &position.epoch), "{channel}");
        }
        assert!(super::read(&id(&[])).is_some_and(|read| read.is_empty()));
    }

    #[test]
    fn another_text_is_none() {
        let good = id(&[("news", at(300, "abc"))]);
        for at in 0..good.len() {
            assert!(read(&good[..at]).is_none(), "cut off at {at}");
            let mut other = good.clone();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert!(read(&other).is_none_or(|read| read["news"].offset == 300), "changed at {at}");
        }
        for text in ["", "5", "AAAA", "=", "\u{e9}", &"A".repeat(LONGEST + 4)] {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
        let claims = |content: &[u8]| {
            let mut bytes = content.to_vec();
            bytes.extend_from_slice(&checksum(content));
            read(URL_SAFE_NO_PAD.encode(bytes).as_bytes())
        };
        assert!(claims(&[VERSION]).is_some());
        assert!(claims(&[VERSION + 1]).is_none(), "another version");
        assert!(claims(&[VERSION, 200, 200, 200, 1]).is_none(), "a length beyond the end");
        assert!(claims(&[VERSION, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]).is_none());
        assert!(claims(&[VERSION, 1, 0xFF, 0, 0]).is_none(), "no text");
    }

    #[test]
    fn an_id_is_bounded() {
        let many: Vec<(String, Position)> =
            (0..500).map(|at| (format!("channel-{at:040}"), self::at(at, "epoch-of-the-stream"))).collect();
        let many: Vec<(&str, Position)> =
            many.iter().map(|(channel, position)| (channel.as_str(), position.clone())).collect();
        let id = id(&many);
        assert!(id.len() <= LONGEST && id.len() > LONGEST - 200, "{}", id.len());
        assert!(read(&id).is_some_and(|read| read.len() > 30));
    }
}

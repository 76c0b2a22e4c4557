//! Self-describing payloads of the publications of a run.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A numbered message. `s` counts from 1 per publisher and channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Body {
    p: u32,
    s: u64,
    n: u32,
    x: String,
    h: u32,
}

/// Result of reading a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Publisher.
    pub p: u32,
    /// Its number, from 1.
    pub s: u64,
    /// Random number drawn by the publisher.
    pub n: u32,
}

/// Writes a payload with `fill` further bytes.
#[must_use]
pub fn write(channel: &str, message: Message, fill: usize) -> Bytes {
    let Message { p, s, n } = message;
    // Much of it is the same from one to the next, so that deltas have something to do.
    let x: String = "abcdefghijklmnopqrstuvwxyz".chars().cycle().take(fill).collect();
    let h = checksum(channel, message, &x);
    serde_json::to_vec(&Body { p, s, n, x, h }).unwrap_or_default().into()
}

/// Reads a payload; `None` if it is not one that [`write()`] made for this channel.
#[must_use]
pub fn read(channel: &str, bytes: &[u8]) -> Option<Message> {
    let Body { p, s, n, x, h } = serde_json::from_slice(bytes).ok()?;
    let message = Message { p, s, n };
    (checksum(channel, message, &x) == h).then_some(message)
}

fn checksum(channel: &str, message: Message, x: &str) -> u32 {
    let Message { p, s, n } = message;
    let mut hash = Fnv::default();
    for part in [channel.as_bytes(), &p.to_le_bytes(), &s.to_le_bytes(), &n.to_le_bytes(), x.as_bytes()] {
        hash.add(part);
    }
    (hash.0 ^ (hash.0 >> 32)) as u32
}

/// FNV-1a (Fowler, Noll and Vo): enough to tell runs and payloads apart, and the same everywhere.
pub(crate) struct Fnv(pub(crate) u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_payload_is_not_one() {
        let message = Message { p: 3, s: 9, n: 77 };
        let bytes = write("a", message, 20);
        assert_eq!(read("a", &bytes), Some(message));
        assert_eq!(read("b", &bytes), None);
        let mut bent = bytes.to_vec();
        let at = bent.len() / 2;
        bent[at] ^= 1;
        assert_ne!(read("a", &bent), Some(message));
    }
}

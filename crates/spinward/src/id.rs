//! The only source of chance: ids of clients and nodes, epochs, jitter and hash seeds.

use parking_lot::Mutex;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// The id of one connection, shown as a version 4 UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId([u8; 16]);

impl ClientId {
    /// Makes an id of 16 random bytes.
    #[must_use]
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        Self(version_4(bytes))
    }

    /// A number that spreads connections evenly, for timers.
    #[must_use]
    pub const fn spread(&self) -> u32 {
        u32::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(&self.0, f)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The id of one node, shown as a UUID. A node that is started again has another id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; 16]);

impl NodeId {
    /// An id of these bytes, as another node sent it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(&self.0, f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the id of a node: 32 hexadecimal digits in five groups, as in a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a node id is a UUID, such as 1f0c4a3e-0b1d-4c2e-8f3a-5b6c7d8e9f00")]
pub struct NodeIdError;

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let text = text.as_bytes();
        if text.len() != 36 || [8, 13, 18, 23].iter().any(|at| text[*at] != b'-') {
            return Err(NodeIdError);
        }
        let mut digits = text.iter().filter(|byte| **byte != b'-').map(|byte| char::from(*byte).to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else {
                return Err(NodeIdError);
            };
            *byte = (high << 4 | low) as u8;
        }
        Ok(Self(bytes))
    }
}

/// Marks random bytes as a version 4 UUID (RFC 9562, section 5.4).
const fn version_4(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

fn write_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    f.write_str(std::str::from_utf8(&text).unwrap_or_default())
}

/// A source of random bytes.
#[derive(Clone)]
pub struct Entropy(Arc<Mutex<Source>>);

enum Source {
    /// The operating system's, fetched in blocks.
    System { block: Box<[u8; 1024]>, used: usize },
    /// A reproducible sequence: for simulations only.
    Seeded(u64),
}

impl Entropy {
    /// The operating system's generator, fit for secrets.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(Source::System { block: Box::new([0; 1024]), used: 1024 })))
    }

    /// The same sequence for the same seed: for simulations and tests.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Source::Seeded(seed))))
    }

    /// Sixteen random bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        let mut out = [0; 16];
        match &mut *self.0.lock() {
            Source::System { block, used } => {
                if *used + 16 > block.len() {
                    // Without the kernel's generator nothing here is safe to run: give no predictable id.
                    #[allow(clippy::expect_used, reason = "no random numbers means no unguessable sessions")]
                    getrandom::fill(&mut block[..]).expect("the operating system gives random bytes");
                    *used = 0;
                }
                out.copy_from_slice(&block[*used..*used + 16]);
                block[*used..*used + 16].fill(0);
                *used += 16;
            }
            Source::Seeded(state) => {
                out[..8].copy_from_slice(&split_mix(state).to_le_bytes());
                out[8..].copy_from_slice(&split_mix(state).to_le_bytes());
            }
        }
        out
    }

    /// A random number.
    #[must_use]
    pub fn number(&self) -> u64 {
        let bytes = self.bytes();
        u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
    }

    /// A new client id.
    #[must_use]
    pub fn client_id(&self) -> ClientId {
        ClientId::from_random(self.bytes())
    }

    /// A new node id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId(version_4(self.bytes()))
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): any seed gives a full-period sequence.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_reads_as_it_is_written() {
        let id = Entropy::seeded(7).node_id();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for text in
            ["", "1f0c4a3e", "1f0c4a3e-0b1d-4c2e-8f3a-5b6c7d8e9f0", "1f0c4a3e00b1d-4c2e-8f3a-5b6c7d8e9f00"]
        {
            assert_eq!(text.parse::<NodeId>(), Err(NodeIdError), "{text}");
        }
        assert_eq!("1f0c4a3e-0b1d-4c2e-8f3a--b6c7d8e9f00".parse::<NodeId>(), Err(NodeIdError));
    }
}

//! The only source of chance: client ids, epochs, jitter and hash seeds.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// The id of one connection, shown as a version 4 UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId([u8; 16]);

impl ClientId {
    /// Makes an id of 16 random bytes.
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// A number that spreads connections evenly, for timers.
    #[must_use]
    pub const fn spread(&self) -> u32 {
        u32::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
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
}

/// SplitMix64 (Steele, Lea and Flood, 2014): any seed gives a full-period sequence.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

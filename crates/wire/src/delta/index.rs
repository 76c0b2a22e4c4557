//! Finds windows of bytes in the source.

/// Bytes of a window. A copy of this length is always shorter than its bytes.
pub(super) const WINDOW: usize = 16;

/// Candidates tried for a window: what keeps repetitive input linear.
const TRIES: usize = 32;

/// No window.
const NONE: u32 = u32::MAX;

/// A stretch that source and target share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) source: usize,
    pub(super) target: usize,
    pub(super) len: usize,
}

/// Evenly spaced windows of the source by hash.
pub(super) struct Index<'a> {
    source: &'a [u8],
    stride: usize,
    shift: u32,
    /// The first window of each hash, by number.
    heads: Vec<u32>,
    /// For each window the next one of the same hash.
    nexts: Vec<u32>,
}

impl<'a> Index<'a> {
    /// `source` is at least a window long.
    pub(super) fn new(source: &'a [u8]) -> Self {
        let stride = stride(source.len());
        let count = ((source.len() - WINDOW) / stride + 1).min(NONE as usize - 1);
        let bits = count.next_power_of_two().ilog2().max(1);
        let mut index =
            Self { source, stride, shift: 64 - bits, heads: vec![NONE; 1 << bits], nexts: vec![NONE; count] };
        // Backwards, so that a chain starts at the earliest window: it can be stretched farthest.
        for number in (0..count).rev() {
            if let Some(window) = source[number * stride..].first_chunk() {
                let slot = slot(window, index.shift);
                index.nexts[number] = index.heads[slot];
                index.heads[slot] = number as u32;
            }
        }
        index
    }

    /// The longest match around the window at `target[at..]`, reaching back to `floor` at most.
    pub(super) fn longest(
        &self,
        window: &[u8; WINDOW],
        target: &[u8],
        at: usize,
        floor: usize,
    ) -> Option<Match> {
        let mut best: Option<Match> = None;
        let mut number = self.heads[slot(window, self.shift)];
        for _ in 0..TRIES {
            if number == NONE {
                break;
            }
            let start = number as usize * self.stride;
            number = self.nexts[number as usize];
            let forward = common_prefix(&self.source[start..], &target[at..]);
            if forward < WINDOW {
                continue;
            }
            let back = common_suffix(&self.source[..start], &target[floor..at]);
            let len = back + forward;
            if best.is_none_or(|best| len > best.len) {
                best = Some(Match { source: start - back, target: at - back, len });
            }
            if at + forward == target.len() {
                break;
            }
        }
        best
    }
}

/// Close windows find short matches, which matters where messages are small; far ones keep the index of a
/// large source small.
const fn stride(len: usize) -> usize {
    match len {
        0..=1_024 => 2,
        1_025..=8_192 => 4,
        _ => WINDOW,
    }
}

fn slot(window: &[u8; WINDOW], shift: u32) -> usize {
    const MULTIPLIER: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
    let mixed = u128::from_le_bytes(*window).wrapping_mul(MULTIPLIER);
    // The high half has seen every byte of the window.
    ((mixed >> 64) as u64 >> shift) as usize
}

/// Returns the number of bytes two slices share at the front.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let ((a_words, a_rest), (b_words, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    match a_words.iter().zip(b_words).position(|(a, b)| a != b) {
        Some(word) => word * 8 + same(a_words[word].iter(), b_words[word].iter()),
        None => len - a_rest.len() + same(a_rest.iter(), b_rest.iter()),
    }
}

/// Returns the number of bytes two slices share at the back.
pub(super) fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[a.len() - len..], &b[b.len() - len..]);
    let ((a_rest, a_words), (b_rest, b_words)) = (a.as_rchunks::<8>(), b.as_rchunks::<8>());
    match a_words.iter().zip(b_words).rev().position(|(a, b)| a != b) {
        Some(word) => {
            let at = a_words.len() - 1 - word;
            word * 8 + same(a_words[at].iter().rev(), b_words[at].iter().rev())
        }
        None => len - a_rest.len() + same(a_rest.iter().rev(), b_rest.iter().rev()),
    }
}

fn same<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_ends_at_every_length() {
        let bytes: Vec<u8> = (0..60).collect();
        for len in 0..60 {
            for cut in 0..=len {
                let mut other = bytes[..len].to_vec();
                if cut < len {
                    other[cut] ^= 0x80;
                }
                assert_eq!(common_prefix(&bytes, &other), cut);
                assert_eq!(common_suffix(&bytes[..len], &other), if cut < len { len - 1 - cut } else { len });
                assert_eq!(
                    common_suffix(&bytes[..len], &other[cut..]),
                    if cut < len { len - 1 - cut } else { 0 }
                );
            }
        }
    }

    #[test]
    fn a_window_is_found_and_stretched_both_ways() {
        let source = b"....................0123456789abcdefghijklmnop....................";
        let target = b"---0123456789abcdefghijklmnop----";
        let index = Index::new(source);
        let window = target[7..].first_chunk().unwrap();
        let found = index.longest(window, target, 7, 0);
        assert_eq!(found, Some(Match { source: 20, target: 3, len: 26 }));
        // Bytes that are already encoded are not encoded again.
        let found = index.longest(window, target, 7, 6);
        assert_eq!(found, Some(Match { source: 23, target: 6, len: 23 }));
        assert_eq!(index.longest(b"nowhere in there", target, 0, 0), None);
    }
}

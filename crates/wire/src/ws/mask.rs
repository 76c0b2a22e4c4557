//! Masking: XOR with a four-byte key (RFC 6455 §5.3), its own inverse.

/// Masks or unmasks `bytes` in place and returns the key as it continues after them.
///
/// Eight bytes at a step; compilers widen the loop further.
pub(super) fn apply(key: [u8; 4], bytes: &mut [u8]) -> [u8; 4] {
    let narrow = u32::from_ne_bytes(key);
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // Its first byte is the lowest one.
    let rotated = u32::from_le_bytes(key).rotate_right(8 * (bytes.len() as u32 % 4)).to_le_bytes();

    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    let (half, rest) = rest.as_chunks_mut::<4>();
    for word in half {
        *word = (u32::from_ne_bytes(*word) ^ narrow).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(key) {
        *byte ^= mask;
    }
    rotated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytewise(key: [u8; 4], bytes: &mut [u8]) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[i % 4];
        }
    }

    #[test]
    fn words_and_bytes_agree_at_every_length_and_split() {
        let key = [0x11, 0xA2, 0x73, 0x04];
        for len in 0..40 {
            let plain: Vec<u8> = (0..len).map(|i| i as u8 ^ 0x5A).collect();
            let mut expected = plain.clone();
            bytewise(key, &mut expected);
            for split in 0..=len {
                let mut bytes = plain.clone();
                let (front, back) = bytes.split_at_mut(split);
                let continued = apply(key, front);
                apply(continued, back);
                assert_eq!(bytes, expected, "length {len}, split {split}");
            }
        }
    }
}

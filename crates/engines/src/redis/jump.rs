//! Consistent hashing of channels over shards: Jump hash (Lamping and Veach, 2014) of the channel's 64-bit FNV-1a hash,
//! as Centrifugo has it.

/// FNV-1a of 64 bits.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Index of a channel's shard, below `count`.
pub(crate) fn bucket(channel: &str, count: usize) -> usize {
    if count <= 1 {
        return 0;
    }
    let mut key = hash(channel.as_bytes());
    let (mut bucket, mut next) = (0_u64, 0_u64);
    while next < count as u64 {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let step = f64::from(1_u32 << 31) / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * step) as u64;
    }
    bucket as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_specification() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn another_shard_takes_its_share_and_no_more() {
        let channels: Vec<_> = (0..20_000).map(|number| format!("channel{number}")).collect();
        for count in 1..12 {
            let mut moved = 0;
            for channel in &channels {
                let (before, after) = (bucket(channel, count), bucket(channel, count + 1));
                assert!(before < count);
                assert!(after == before || after == count, "{channel} moves between shards that stay");
                moved += usize::from(after != before);
            }
            let share = channels.len() / (count + 1);
            assert!(moved.abs_diff(share) < share / 10, "{moved} of {share} move to shard {count}");
        }
        assert_eq!(bucket("c", 0), 0);
    }
}

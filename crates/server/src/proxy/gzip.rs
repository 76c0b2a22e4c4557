//! gzip of single messages.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

/// Window of 32 KiB, with the header of gzip.
const GZIP: u8 = 15 + 16;

/// Unpacks a message of at most `max` bytes. `None` if it is larger, or not one.
pub(super) fn unpack(packed: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut state = Inflate::new(true, GZIP);
    let mut out = Vec::new();
    loop {
        let (used, filled) =
            (usize::try_from(state.total_in()).ok()?, usize::try_from(state.total_out()).ok()?);
        if filled == out.len() {
            if filled > max {
                return None;
            }
            out.resize((filled + filled.max(4 << 10)).min(max + 1), 0);
        }
        let rest = packed.get(used..)?;
        let status = state.decompress(rest, out.get_mut(filled..)?, InflateFlush::NoFlush).ok()?;
        let (read, written) =
            (usize::try_from(state.total_in()).ok()?, usize::try_from(state.total_out()).ok()?);
        if status == Status::StreamEnd {
            out.truncate(written);
            return (written <= max).then_some(out);
        }
        // No progress although there is room: the message is cut short.
        if read == used && written == filled {
            return None;
        }
    }
}

/// Packs a message.
pub(super) fn pack(message: &[u8]) -> Option<Vec<u8>> {
    let config = DeflateConfig { window_bits: i32::from(GZIP), ..DeflateConfig::default() };
    let mut state = Deflate::new_with_config(config);
    let mut out = vec![0; message.len() / 2 + 128];
    loop {
        let (used, filled) =
            (usize::try_from(state.total_in()).ok()?, usize::try_from(state.total_out()).ok()?);
        let rest = message.get(used..)?;
        let status = state.compress(rest, out.get_mut(filled..)?, DeflateFlush::Finish).ok()?;
        let filled = usize::try_from(state.total_out()).ok()?;
        if status == Status::StreamEnd {
            out.truncate(filled);
            return Some(out);
        }
        out.resize(out.len() * 2, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let noise: Vec<u8> = (0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for message in [&b""[..], b"a", &[b'x'; 100_000], &noise] {
            let packed = pack(message).unwrap();
            assert_eq!(packed.first_chunk::<2>(), Some(b"\x1f\x8b"));
            assert_eq!(unpack(&packed, 100_000).as_deref(), Some(message));
            if !message.is_empty() {
                assert_eq!(unpack(&packed, message.len() - 1), None, "larger than allowed");
                assert_eq!(unpack(&packed[..packed.len() - 9], 100_000), None, "cut short");
            }
        }
        assert_eq!(unpack(b"\x1f\x8bnonsense", 100), None);
        assert_eq!(unpack(b"", 100), None);
    }
}

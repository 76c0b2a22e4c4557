//! Payload of a measured publication: its number and the time it was due, at a fixed width, so that a
//! receiver finds them without parsing.
//!
//! `{"m":"@<19 digits>:<19 digits>@","p":"words…"}`. No other part of what a server sends in these runs
//! holds an `@`.

/// Filler, so that a payload compresses about as well as JSON of an application does.
const WORDS: [&str; 16] = [
    "price",
    "amount",
    "true",
    "account",
    "17.42",
    "2026-11-29T",
    "eu-west",
    "buyer",
    "0x5be1",
    "status",
    "null",
    "order",
    "93.07",
    "quantity",
    "late",
    "currency",
];

const DIGITS: usize = 19;
const MARK: usize = 2 * DIGITS + 3;

/// Appends the payload of `size` bytes (at least 60) to `out`.
pub(crate) fn write(out: &mut Vec<u8>, number: u64, due: u64, size: usize) {
    let start = out.len();
    out.extend_from_slice(b"{\"m\":\"@");
    digits(out, number);
    out.push(b':');
    digits(out, due);
    out.extend_from_slice(b"@\",\"p\":\"");
    let used = out.len() - start + 2;
    let end = out.len() + size.saturating_sub(used);
    let mut at = 1_u32;
    while out.len() < end {
        at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend_from_slice(WORDS[(at >> 28) as usize].as_bytes());
        out.push(if at & 0x80_0000 == 0 { b' ' } else { b':' });
    }
    out.truncate(end);
    out.extend_from_slice(b"\"}");
}

/// Number and due time in a message, if it carries them.
pub(crate) fn read(message: &[u8]) -> Option<(u64, u64)> {
    let at = memchr::memchr(b'@', message)?;
    let mark = message.get(at..at + MARK)?;
    if mark[DIGITS + 1] != b':' || mark[MARK - 1] != b'@' {
        return None;
    }
    Some((value(&mark[1..=DIGITS])?, value(&mark[DIGITS + 2..MARK - 1])?))
}

fn digits(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [b'0'; DIGITS];
    for place in text.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&text);
}

fn value(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_has_the_size() {
        for size in [60, 200, 4096] {
            let mut out = b"prefix".to_vec();
            write(&mut out, 17, 123_456_789, size);
            assert_eq!(out.len(), 6 + size);
            assert_eq!(read(&out), Some((17, 123_456_789)));
            assert!(serde_json::from_slice::<serde_json::Value>(&out[6..]).is_ok());
        }
        assert_eq!(read(b"user@example.org and nothing else that would look like a mark"), None);
    }
}

//! Finds the end of a JSON value, without building it and without recursion.

/// Position after the value that begins at `at` (spaces before it are skipped), or `None` if there is no
/// well-formed value. Takes the grammar of RFC 8259; does not check UTF-8.
pub(crate) fn skip_value(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    let mut open = Nesting::default();
    loop {
        at = skip_spaces(bytes, at);
        match *bytes.get(at)? {
            b'"' => at = skip_string(bytes, at)?,
            b'{' => {
                at = skip_spaces(bytes, at + 1);
                if bytes.get(at) == Some(&b'}') {
                    at += 1;
                } else {
                    open.push(true);
                    at = skip_key(bytes, at)?;
                    continue;
                }
            }
            b'[' => {
                at = skip_spaces(bytes, at + 1);
                if bytes.get(at) == Some(&b']') {
                    at += 1;
                } else {
                    open.push(false);
                    continue;
                }
            }
            b't' => at = skip_word(bytes, at, b"true")?,
            b'f' => at = skip_word(bytes, at, b"false")?,
            b'n' => at = skip_word(bytes, at, b"null")?,
            b'-' | b'0'..=b'9' => at = skip_number(bytes, at)?,
            _ => return None,
        }
        // A value has ended: close what ends with it, up to the next comma.
        loop {
            let Some(object) = open.top() else { return Some(at) };
            at = skip_spaces(bytes, at);
            match (*bytes.get(at)?, object) {
                (b',', true) => {
                    at = skip_key(bytes, skip_spaces(bytes, at + 1))?;
                    break;
                }
                (b',', false) => {
                    at += 1;
                    break;
                }
                (b'}', true) | (b']', false) => {
                    at += 1;
                    open.pop();
                }
                _ => return None,
            }
        }
    }
}

/// Position of the first byte from `at` that is not a JSON space.
pub(crate) fn skip_spaces(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Position after the string whose opening quote is at `at`.
pub(crate) fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let mut at = at + 1;
    loop {
        at = next_special(bytes, at);
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match *bytes.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' => {
                    hex4(bytes, at + 2)?;
                    at += 6;
                }
                _ => return None,
            },
            _ => return None,
        }
    }
}

/// The four hexadecimal digits at `at`.
pub(crate) fn hex4(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 4)?.iter().try_fold(0u16, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(value << 4 | digit as u16)
    })
}

/// Position of the first quote, backslash or control byte from `at`, or the end. Eight bytes at a time.
pub(crate) fn next_special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let zero_where = |pattern: u64| (word ^ pattern).wrapping_sub(ONES) & !(word ^ pattern);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        // A borrow may mark a byte above a true hit, never one below it: the lowest mark is exact.
        let marks = (zero_where(ONES * 0x22) | zero_where(ONES * 0x5c) | control) & HIGH;
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            break;
        }
        at += 1;
    }
    at
}

fn skip_key(bytes: &[u8], at: usize) -> Option<usize> {
    let at = skip_spaces(bytes, skip_string(bytes, at)?);
    (*bytes.get(at)? == b':').then_some(at + 1)
}

fn skip_word(bytes: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(word).then_some(at + word.len())
}

fn skip_number(bytes: &[u8], mut at: usize) -> Option<usize> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match *bytes.get(at)? {
        b'0' => at + 1,
        _ => skip_digits(bytes, at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = skip_digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = skip_digits(bytes, at)?;
    }
    Some(at)
}

fn skip_digits(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    while let Some(b'0'..=b'9') = bytes.get(end) {
        end += 1;
    }
    (end > at).then_some(end)
}

/// The open containers, one bit each: set for an object, clear for an array. The first 64 need no allocation; beyond,
/// eight levels cost one byte.
#[derive(Default)]
struct Nesting {
    depth: usize,
    low: u64,
    high: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word > self.high.len() {
            self.high.push(0);
        }
        let slot = if word == 0 { Some(&mut self.low) } else { self.high.get_mut(word - 1) };
        if let Some(slot) = slot {
            *slot = *slot & !(1 << bit) | u64::from(object) << bit;
        }
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn top(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        let word = if last < 64 { self.low } else { *self.high.get(last / 64 - 1)? };
        Some(word >> (last % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> bool {
        skip_value(text.as_bytes(), 0) == Some(text.len())
    }

    #[test]
    fn takes_the_grammar_and_nothing_else() {
        for good in [
            "0",
            "-0",
            "1.0",
            "1E+2",
            "-12.5e-7",
            "null",
            "true",
            "false",
            "\"\"",
            "\"\\u00e9\\n\\/\"",
            "{}",
            "[ ]",
            "{\"a\" : [1 , {\"b\":null}] , \"c\":\"x\"}",
            "\"é✓😀\"",
            "[[[]],{}]",
            "{\"a\":\r1}",
        ] {
            assert!(whole(good), "{good}");
        }
        for bad in [
            "",
            " ",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "-",
            "nul",
            "tru",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u12\"",
            "\"a\nb\"",
            "\"\t\"",
            "{",
            "}",
            "[",
            "]",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\"}",
            "{\"a\":}",
            "[1}",
            "{\"a\":1]",
            "[,]",
            "'x'",
            "\u{feff}1",
            "{1:2}",
            "[1 2]",
        ] {
            assert!(!whole(bad), "{bad}");
        }
    }

    #[test]
    fn depth_is_no_concern() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 5_000, 100_000] {
            assert!(whole(&("[".repeat(depth) + &"]".repeat(depth))));
            assert!(whole(&("{\"a\":[".repeat(depth) + "1" + &"]}".repeat(depth))));
            assert!(!whole(&("{\"a\":[".repeat(depth) + "1" + &"}]".repeat(depth))));
        }
    }

    #[test]
    fn special_bytes_are_found_wherever_they_stand() {
        for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
            for place in 0..40 {
                let mut bytes = [b'a'; 40];
                bytes[..20]
                    .copy_from_slice(&[0xff, 0x80, 0x7f, 0x21, 0x23, 0x5b, 0x5d, 0x20, 0xa2, 0xdc].repeat(2));
                bytes[place] = special;
                assert_eq!(next_special(&bytes, 0), place);
            }
        }
    }
}

//! Escapes of URLs.

use std::borrow::Cow;

/// The bytes that a part of a URL represents: `%C3%A9` for `\u{e9}`. `None` if an escape is broken. A plus stays a
/// plus; in a query it means a space, which the caller must handle.
#[must_use]
pub fn unescape(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    Some(Cow::Owned(out))
}

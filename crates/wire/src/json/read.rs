//! Reading JSON into messages, with the leniency of Centrifugo v6.9: keys in any case, unknown keys
//! ignored, a key given twice is read twice into the same field. `null` leaves a string, a number or a flag
//! alone, empties a list or a map, takes a message away, and is itself a payload.

use super::scan::{hex4, next_special, skip_spaces, skip_string, skip_value};
use crate::error::DecodeError;
use crate::framing::MAX_DEPTH;
use bytes::Bytes;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A place in a text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

/// A message by the JSON names of its fields.
pub(crate) trait Fields {
    /// Reads the value of `key`, or returns false if there is no such field.
    fn read_field(&mut self, key: &str, reader: &mut Reader<'_>) -> Result<bool, DecodeError>;
    /// Writes every field that is to be shown as `,"key":value`.
    fn write_fields(&self, out: &mut Vec<u8>);
}

/// A type that a field can be read into.
pub(crate) trait Read {
    /// Reads one value over the present one.
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError>;
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Nothing but spaces is left.
    pub(crate) fn is_done(&self) -> bool {
        skip_spaces(self.bytes(), self.at) == self.text.len()
    }

    /// Reads an object, giving each key with the reader at its value. `null` is an object without keys.
    pub(crate) fn object(
        &mut self,
        mut field: impl FnMut(&str, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if self.take_null() {
            return Ok(());
        }
        self.entries(|key, reader| {
            if !(field(&key, reader)? || lower(&key).map_or(Ok(false), |key| field(&key, reader))?) {
                reader.raw()?;
            }
            Ok(())
        })
    }

    /// Reads an array, giving the reader at each element.
    fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.enter(b'[')?;
        if self.take(b']') {
            return self.leave();
        }
        loop {
            self.spaces();
            element(self)?;
            if self.take(b']') {
                return self.leave();
            }
            if !self.take(b',') {
                return Err(DecodeError::Syntax);
            }
        }
    }

    /// Reads over one value and gives its text.
    pub(crate) fn raw(&mut self) -> Result<&'a str, DecodeError> {
        self.spaces();
        let end = skip_value(self.bytes(), self.at).ok_or(DecodeError::Syntax)?;
        let raw = self.text.get(self.at..end).ok_or(DecodeError::Syntax)?;
        self.at = end;
        Ok(raw)
    }

    /// Takes `null` if it is here.
    pub(crate) fn take_null(&mut self) -> bool {
        self.take_word(b"null")
    }

    fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let bytes = self.bytes();
        // Nearly all have no escapes, and are looked at once.
        if bytes.get(self.at) == Some(&b'"') {
            let end = next_special(bytes, self.at + 1);
            if bytes.get(end) == Some(&b'"') {
                let inner = self.text.get(self.at + 1..end).ok_or(DecodeError::Syntax)?;
                self.at = end + 1;
                return Ok(Cow::Borrowed(inner));
            }
        }
        let end = skip_string(bytes, self.at).ok_or(self.fault(b'"'))?;
        let inner = self.text.get(self.at + 1..end - 1).ok_or(DecodeError::Syntax)?;
        self.at = end;
        Ok(unescape(inner))
    }

    fn unsigned(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.bytes();
        let begin = self.at;
        let mut value = 0u64;
        while let Some(digit @ b'0'..=b'9') = bytes.get(self.at) {
            let digit = u64::from(digit - b'0');
            value = value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or(DecodeError::Number)?;
            self.at += 1;
        }
        match (self.at - begin, bytes.get(self.at)) {
            (0, _) => Err(DecodeError::Type),
            (_, Some(b'.' | b'e' | b'E')) => Err(DecodeError::Number),
            (2.., _) if bytes.get(begin) == Some(&b'0') => Err(DecodeError::Syntax),
            _ => Ok(value),
        }
    }

    fn signed(&mut self) -> Result<i64, DecodeError> {
        if self.bytes().get(self.at) == Some(&b'-') {
            self.at += 1;
            let value = self.unsigned()?;
            return 0i64.checked_sub_unsigned(value).ok_or(DecodeError::Number);
        }
        i64::try_from(self.unsigned()?).map_err(|_| DecodeError::Number)
    }

    fn enter(&mut self, bracket: u8) -> Result<(), DecodeError> {
        if !self.take(bracket) {
            return Err(self.fault(bracket));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(DecodeError::Depth) } else { Ok(()) }
    }

    fn leave(&mut self) -> Result<(), DecodeError> {
        self.depth -= 1;
        Ok(())
    }

    /// The fault when something other than `expected` is here.
    fn fault(&self, expected: u8) -> DecodeError {
        match self.bytes().get(self.at) {
            Some(&byte) if byte != expected && b"{[\"tfn-0123456789".contains(&byte) => DecodeError::Type,
            _ => DecodeError::Syntax,
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.spaces();
        let found = self.bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn take_word(&mut self, word: &[u8]) -> bool {
        self.spaces();
        let found = self.bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word));
        if found {
            self.at += word.len();
        }
        found
    }

    fn spaces(&mut self) {
        self.at = skip_spaces(self.bytes(), self.at);
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }
}

impl Read for bool {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if reader.take_word(b"true") {
            *self = true;
        } else if reader.take_word(b"false") {
            *self = false;
        } else if !reader.take_null() {
            return Err(DecodeError::Type);
        }
        Ok(())
    }
}

macro_rules! read_integer {
    ($($type:ty: $method:ident),*) => {$(
        impl Read for $type {
            fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
                if !reader.take_null() {
                    *self = Self::try_from(reader.$method()?).map_err(|_| DecodeError::Number)?;
                }
                Ok(())
            }
        }
    )*};
}

read_integer!(u32: unsigned, u64: unsigned, i32: signed, i64: signed);

impl Read for String {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if !reader.take_null() {
            *self = reader.string()?.into_owned();
        }
        Ok(())
    }
}

/// A payload: the text of the value, `null` too.
impl Read for Bytes {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        *self = Self::copy_from_slice(reader.raw()?.as_bytes());
        Ok(())
    }
}

/// A number whose absence says something.
impl Read for Option<i32> {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if reader.take_null() {
            *self = None;
            return Ok(());
        }
        self.get_or_insert_default().read(reader)
    }
}

impl<M: Fields + Default> Read for Option<M> {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if reader.take_null() {
            *self = None;
            return Ok(());
        }
        self.get_or_insert_default().read_object(reader)
    }
}

impl<T: Element> Read for Vec<T> {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.clear();
        if reader.take_null() {
            return Ok(());
        }
        reader.array(|reader| {
            let mut element = T::default();
            element.read_element(reader)?;
            self.push(element);
            Ok(())
        })
    }
}

impl<T: Element> Read for BTreeMap<String, T> {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        if reader.take_null() {
            self.clear();
            return Ok(());
        }
        reader.entries(|key, reader| {
            let mut element = T::default();
            element.read_element(reader)?;
            self.insert(key.into_owned(), element);
            Ok(())
        })
    }
}

impl<'a> Reader<'a> {
    /// Reads an object whose keys are data: no folding of case.
    fn entries(
        &mut self,
        mut entry: impl FnMut(Cow<'a, str>, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.enter(b'{')?;
        if self.take(b'}') {
            return self.leave();
        }
        loop {
            self.spaces();
            let key = self.string()?;
            if !self.take(b':') {
                return Err(DecodeError::Syntax);
            }
            self.spaces();
            entry(key, self)?;
            if self.take(b'}') {
                return self.leave();
            }
            if !self.take(b',') {
                return Err(DecodeError::Syntax);
            }
        }
    }
}

/// A type that lists and maps hold.
pub(crate) trait Element: Default {
    fn read_element(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError>;
}

impl Element for String {
    fn read_element(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.read(reader)
    }
}

impl<M: Fields + Default> Element for M {
    fn read_element(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.read_object(reader)
    }
}

/// Reading a whole message.
pub(crate) trait ReadObject {
    /// Reads an object over the message.
    fn read_object(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError>;
}

impl<M: Fields> ReadObject for M {
    fn read_object(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        reader.object(|key, reader| self.read_field(key, reader))
    }
}

/// The key in lower case, if that makes a difference and it is short enough to name a field.
fn lower(key: &str) -> Option<String> {
    (key.len() <= 32 && key.bytes().any(|b| b.is_ascii_uppercase())).then(|| key.to_ascii_lowercase())
}

/// The text of a well-formed string literal, quotes included. A lone surrogate becomes U+FFFD. `None`: it is no
/// string.
#[must_use]
pub fn unescape_literal(literal: &str) -> Option<Cow<'_, str>> {
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    Some(unescape(inner))
}

/// The text that a well-formed string literal represents. A lone surrogate becomes U+FFFD.
fn unescape(inner: &str) -> Cow<'_, str> {
    let bytes = inner.as_bytes();
    let mut at = next_special(bytes, 0);
    if at == bytes.len() {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut copied = 0;
    while let Some(&escape) = bytes.get(at + 1) {
        text.push_str(inner.get(copied..at).unwrap_or_default());
        at += 2;
        match escape {
            b'n' => text.push('\n'),
            b'r' => text.push('\r'),
            b't' => text.push('\t'),
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            b'u' => {
                let unit = hex4(bytes, at).unwrap_or_default();
                at += 4;
                let low =
                    bytes.get(at..).filter(|rest| rest.starts_with(b"\\u")).and_then(|_| hex4(bytes, at + 2));
                match (unit, low) {
                    (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                        at += 6;
                        let point = 0x10000 + (u32::from(unit) - 0xd800) * 0x400 + (u32::from(low) - 0xdc00);
                        text.push(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    _ => text.push(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)),
                }
            }
            other => text.push(char::from(other)),
        }
        copied = at;
        at = next_special(bytes, at);
    }
    text.push_str(inner.get(copied..).unwrap_or_default());
    Cow::Owned(text)
}

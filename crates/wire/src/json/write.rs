//! Writing messages as JSON.

use super::payload::append_payload;
use super::read::Fields;
use super::text::append_string;
use bytes::Bytes;
use std::collections::BTreeMap;

/// A type that a field can be written from.
pub(crate) trait Write {
    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);
    /// Returns true if the field is left out, unless it is always shown.
    fn is_zero(&self) -> bool;
}

/// Appends a message as an object.
pub(crate) fn append_object<M: Fields>(message: &M, out: &mut Vec<u8>) {
    let start = out.len();
    message.write_fields(out);
    // Each field brings the comma before it; the first comma is where the brace belongs.
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

impl Write for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }

    fn is_zero(&self) -> bool {
        !self
    }
}

macro_rules! write_integer {
    ($($type:ty),*) => {$(
        impl Write for $type {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }

            fn is_zero(&self) -> bool {
                *self == 0
            }
        }
    )*};
}

write_integer!(u32, u64, i32, i64);

impl Write for String {
    fn write(&self, out: &mut Vec<u8>) {
        append_string(self, out);
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl Write for Bytes {
    fn write(&self, out: &mut Vec<u8>) {
        append_payload(self, out);
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl Write for Option<i32> {
    fn write(&self, out: &mut Vec<u8>) {
        self.unwrap_or_default().write(out);
    }

    fn is_zero(&self) -> bool {
        self.is_none()
    }
}

impl<M: Fields> Write for Option<M> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(message) => append_object(message, out),
            None => out.extend_from_slice(b"null"),
        }
    }

    fn is_zero(&self) -> bool {
        self.is_none()
    }
}

impl<T: Element> Write for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, element) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            element.write_element(out);
        }
        out.push(b']');
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Element> Write for BTreeMap<String, T> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (key, element)) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            append_string(key, out);
            out.push(b':');
            element.write_element(out);
        }
        out.push(b'}');
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// A type that lists and maps hold.
pub(crate) trait Element {
    fn write_element(&self, out: &mut Vec<u8>);
}

impl Element for String {
    fn write_element(&self, out: &mut Vec<u8>) {
        append_string(self, out);
    }
}

impl<M: Fields> Element for M {
    fn write_element(&self, out: &mut Vec<u8>) {
        append_object(self, out);
    }
}

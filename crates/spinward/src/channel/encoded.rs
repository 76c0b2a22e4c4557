//! One push in every form that connections have: encoded once for each dialect, and framed once for each form.

use bytes::Bytes;
use spinward_wire::{Dialect, Form};
use std::sync::OnceLock;

/// The forms whose frames lie in place; see [`Form::index`]. Nearly all connections have one of these.
const COMMON: usize = 2;

/// A push for any number of connections. What is needed of it is made when it is first asked for, and shared from then
/// on.
pub(crate) struct Encoded {
    payloads: [OnceLock<Bytes>; Dialect::COUNT],
    common: [OnceLock<Bytes>; COMMON],
    /// The frames of all other forms, allocated with the first of them.
    others: OnceLock<Box<[OnceLock<Bytes>; Form::COUNT - COMMON]>>,
}

impl Encoded {
    pub(crate) const fn new() -> Self {
        Self {
            payloads: [const { OnceLock::new() }; Dialect::COUNT],
            common: [const { OnceLock::new() }; COMMON],
            others: OnceLock::new(),
        }
    }

    /// Returns the frame for connections of this form, if it is there already.
    ///
    /// Inlined, because it is done for every delivery.
    #[inline]
    pub(crate) fn ready(&self, form: Form) -> Option<&Bytes> {
        match self.common.get(form.index()) {
            Some(cell) => cell.get(),
            None => self.others.get()?.get(form.index() - COMMON)?.get(),
        }
    }

    /// Returns the frame for connections of this form. `encode` makes the payload of a dialect.
    pub(crate) fn frame(&self, form: Form, encode: impl FnOnce(Dialect) -> Vec<u8>) -> Bytes {
        let make = || form.frame(self.payload(form.dialect(), encode));
        let index = form.index();
        match self.common.get(index) {
            Some(cell) => cell.get_or_init(make).clone(),
            None => {
                let others = self.others.get_or_init(|| Box::new([const { OnceLock::new() }; _]));
                others[index - COMMON].get_or_init(make).clone()
            }
        }
    }

    fn payload(&self, dialect: Dialect, encode: impl FnOnce(Dialect) -> Vec<u8>) -> &[u8] {
        self.payloads[dialect.index()].get_or_init(|| encode(dialect).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinward_wire::{Direction, Protocol};
    use std::cell::Cell;

    #[test]
    fn a_dialect_is_encoded_once_for_all_its_framings() {
        let encoded = Encoded::new();
        let encodings = Cell::new(0);
        let down = Dialect::new(Protocol::Json, Direction::Unidirectional);
        let forms = [
            Form::websocket(Protocol::Json),
            Form::delimited(Protocol::Json),
            Form::event_stream(Direction::Bidirectional),
            Form::websocket(Protocol::Protobuf),
            Form::delimited(Protocol::Protobuf),
            Form::delimited(down),
            Form::event_stream(Direction::Unidirectional),
        ];
        for round in 0..2 {
            for form in forms {
                assert_eq!(encoded.ready(form).is_some(), round > 0, "{form:?}");
                let frame = encoded.frame(form, |dialect| {
                    encodings.set(encodings.get() + 1);
                    vec![b'a' + dialect.index() as u8]
                });
                let payload = [b'a' + form.dialect().index() as u8];
                assert_eq!(frame, form.frame(&payload), "{form:?}");
                assert_eq!(encoded.ready(form), Some(&frame));
            }
        }
        assert_eq!(encodings.get(), 3, "three dialects");
    }
}

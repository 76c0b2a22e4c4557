//! One push in every form that connections have: encoded once for each dialect, and framed once for each form.

use bytes::Bytes;
use spinward_wire::ws::{self, Deflater};
use spinward_wire::{Dialect, Form};
use std::cell::RefCell;
use std::sync::OnceLock;

/// The forms whose frames lie in place: see [`Form::index`]. Nearly all connections have one of these.
const COMMON: usize = 2;

/// A push for any number of connections. What is needed of it is made when it is first asked for, and shared from then
/// on.
///
/// Every publication has one of these: it has the same size however many dialects and forms there are.
pub(crate) struct Encoded {
    common: [OnceLock<Bytes>; COMMON],
    /// The frames of all other forms.
    frames: Made<Form>,
    /// The payloads of the dialects of which no common form is.
    payloads: Made<Dialect>,
}

impl Encoded {
    pub(crate) const fn new() -> Self {
        Self { common: [const { OnceLock::new() }; COMMON], frames: Made::new(), payloads: Made::new() }
    }

    /// Returns the frame for connections of this form, if it is there already.
    ///
    /// Inlined, because it is done for every delivery.
    #[inline]
    pub(crate) fn ready(&self, form: Form) -> Option<&Bytes> {
        match self.common.get(form.index()) {
            Some(cell) => cell.get(),
            None => self.frames.get(form),
        }
    }

    /// Returns the frame for connections of this form. `encode` makes the payload of a dialect, and the deflater of the
    /// shard compresses it where that belongs to the form.
    pub(crate) fn frame(
        &self,
        form: Form,
        deflater: &RefCell<Deflater>,
        encode: impl FnOnce(Dialect) -> Vec<u8>,
    ) -> Bytes {
        let dialect = form.dialect();
        if let Some(cell) = self.common.get(form.index()) {
            return cell.get_or_init(|| form.frame(&encode(dialect))).clone();
        }
        let make = || form.frame_with(&self.payload(dialect, encode), &mut deflater.borrow_mut());
        self.frames.cell(form).get_or_init(make).clone()
    }

    fn payload(&self, dialect: Dialect, encode: impl FnOnce(Dialect) -> Vec<u8>) -> Bytes {
        let websocket = Form::websocket(dialect);
        if let Some(cell) = self.common.get(websocket.index()) {
            // A frame of these forms has the payload in one piece.
            let frame = cell.get_or_init(|| websocket.frame(&encode(dialect)));
            return frame.slice(ws::header_len(frame)..);
        }
        self.payloads.cell(dialect).get_or_init(|| encode(dialect).into()).clone()
    }
}

/// A list of what was made, by key. Empty it takes two words, and it never has more than a few entries.
struct Made<K>(OnceLock<Box<Entry<K>>>);

struct Entry<K> {
    key: K,
    bytes: OnceLock<Bytes>,
    rest: Made<K>,
}

impl<K> Made<K> {
    const fn new() -> Self {
        Self(OnceLock::new())
    }
}

impl<K: Copy + PartialEq> Made<K> {
    // Kept out of line: the loop over deliveries is shorter without it.
    #[inline(never)]
    fn get(&self, key: K) -> Option<&Bytes> {
        let mut list = self;
        loop {
            let entry = list.0.get()?;
            if entry.key == key {
                return entry.bytes.get();
            }
            list = &entry.rest;
        }
    }

    /// Returns the place for a key, new at the end of the list if need be.
    fn cell(&self, key: K) -> &OnceLock<Bytes> {
        let mut list = self;
        loop {
            let new = || Box::new(Entry { key, bytes: OnceLock::new(), rest: Self::new() });
            let entry = list.0.get_or_init(new);
            if entry.key == key {
                return &entry.bytes;
            }
            list = &entry.rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinward_wire::ws::{Compression, Window};
    use spinward_wire::{Direction, Protocol};
    use std::cell::Cell;

    #[test]
    fn a_dialect_is_encoded_once_for_all_its_framings() {
        let new = || Deflater::new(Compression::default(), Compression::default());
        let (encoded, deflater) = (Encoded::new(), RefCell::new(new()));
        let encodings = Cell::new(0);
        let down = Dialect::new(Protocol::Json, Direction::Unidirectional);
        let forms = [
            Form::websocket(Protocol::Json),
            Form::delimited(Protocol::Json),
            Form::event_stream(Direction::Bidirectional),
            Form::delimited(Protocol::Protobuf),
            Form::websocket(Protocol::Protobuf),
            Form::delimited(down),
            Form::websocket(down),
            Form::deflate(Protocol::Json, Window::Full),
            Form::deflate(Protocol::Json, Window::Small),
            Form::deflate(Protocol::Protobuf, Window::Full),
            Form::event_stream(Direction::Unidirectional),
            Form::websocket(Protocol::Json).in_v1(Protocol::Json),
            Form::delimited(Protocol::Json).in_v1(Protocol::Json),
            Form::websocket(Protocol::Protobuf).in_v1(Protocol::Protobuf),
        ];
        for round in 0..2 {
            for form in forms {
                assert!(round == 0 || encoded.ready(form).is_some(), "{form:?}");
                let payload = |dialect: Dialect| vec![b'a' + dialect.index() as u8; 200];
                let frame = encoded.frame(form, &deflater, |dialect| {
                    encodings.set(encodings.get() + 1);
                    payload(dialect)
                });
                let payload = payload(form.dialect());
                assert_eq!(frame, form.frame_with(&payload, &mut new()), "{form:?}");
                assert_eq!(encoded.ready(form), Some(&frame));
            }
        }
        assert_eq!(encodings.get(), 5, "five dialects");
        assert!(size_of::<Encoded>() <= 112, "{}: every publication has one", size_of::<Encoded>());
    }
}

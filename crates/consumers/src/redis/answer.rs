//! Answers about streams, in both versions of the protocol.

use super::config::Error;
use redis::Value;

/// An entry of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    /// Fields and values in their order. `None`: the entry was trimmed away after it was taken.
    pub(super) fields: Option<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Entry {
    /// Milliseconds since 1970, which an id begins with.
    pub(super) fn time(&self) -> Option<i64> {
        self.id.split_once('-')?.0.parse().ok()
    }
}

/// Entries of the answer to `XREADGROUP` for one stream.
pub(super) fn read(answer: Value) -> Result<Vec<Entry>, Error> {
    let wrong = Error::Answer("XREADGROUP");
    let stream = match answer {
        Value::Nil => return Ok(Vec::new()),
        Value::Map(mut streams) => streams.pop().map(|(_, entries)| entries),
        Value::Array(mut streams) => match streams.pop() {
            Some(Value::Array(mut pair)) if pair.len() == 2 => pair.pop(),
            _ => None,
        },
        _ => None,
    };
    entries(stream.ok_or(wrong)?).ok_or(Error::Answer("XREADGROUP"))
}

/// Next cursor and entries of the answer to `XAUTOCLAIM`.
pub(super) fn claimed(answer: Value) -> Result<(String, Vec<Entry>), Error> {
    let parts = |answer| match answer {
        Value::Array(parts) => {
            let mut parts = parts.into_iter();
            let cursor = text(parts.next()?)?;
            Some((cursor, entries(parts.next()?)?))
        }
        _ => None,
    };
    parts(answer).ok_or(Error::Answer("XAUTOCLAIM"))
}

fn entries(value: Value) -> Option<Vec<Entry>> {
    let Value::Array(list) = value else { return None };
    // A server older than 7.0 leaves holes where entries were deleted.
    list.into_iter().filter(|entry| *entry != Value::Nil).map(entry).collect()
}

fn entry(value: Value) -> Option<Entry> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let id = text(parts.next()?)?;
    let fields = match parts.next()? {
        Value::Nil => None,
        Value::Map(pairs) => Some(
            pairs
                .into_iter()
                .map(|(name, value)| Some((bytes(name)?, bytes(value)?)))
                .collect::<Option<_>>()?,
        ),
        Value::Array(list) => {
            let mut list = list.into_iter();
            let mut fields = Vec::with_capacity(list.len() / 2);
            while let Some(name) = list.next() {
                fields.push((bytes(name)?, bytes(list.next()?)?));
            }
            Some(fields)
        }
        _ => return None,
    };
    Some(Entry { id, fields })
}

fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.into_bytes()),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn both_versions_of_the_protocol_say_the_same() {
        let entries = Value::Array(vec![
            Value::Array(vec![bulk("1700-0"), Value::Array(vec![bulk("payload"), bulk("{}")])]),
            Value::Array(vec![bulk("1701-0"), Value::Nil]),
        ]);
        let second = Value::Array(vec![Value::Array(vec![bulk("s"), entries.clone()])]);
        let third = Value::Map(vec![(bulk("s"), entries.clone())]);
        let found = read(second).unwrap();
        assert_eq!(found, read(third).unwrap());
        assert_eq!(found[0].fields.as_deref(), Some(&[(b"payload".to_vec(), b"{}".to_vec())][..]));
        assert_eq!((found[0].time(), found[1].fields.as_ref()), (Some(1700), None));
        let (cursor, claimed) =
            claimed(Value::Array(vec![bulk("0-0"), entries, Value::Array(vec![])])).unwrap();
        assert_eq!((cursor.as_str(), claimed), ("0-0", found));
    }

    #[test]
    fn nothing_and_nonsense() {
        assert!(read(Value::Nil).unwrap().is_empty());
        for wrong in [Value::Int(1), Value::Array(vec![]), Value::Array(vec![bulk("s")])] {
            assert!(read(wrong.clone()).is_err());
            assert!(claimed(wrong).is_err());
        }
    }
}

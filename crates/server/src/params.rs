//! Objects of JSON as Centrifugo v6.9 reads them: names in any case, unknown ones ignored, `null` for absent, the
//! last of those that come twice, half a surrogate pair as U+FFFD.

use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The body is not JSON, or a field has a value of the wrong type. The field is named where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed request{}", if .0.is_empty() { String::new() } else { format!(": field {}", .0) })]
pub struct Malformed(pub &'static str);

/// One JSON object, its values unread.
#[derive(Default)]
pub struct Params<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Params<'a> {
    /// Reads an object; `null` is an empty one.
    ///
    /// # Errors
    /// The text is anything else.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        serde_json::from_str::<Option<Self>>(text).map(Option::unwrap_or_default).map_err(|_| Malformed(""))
    }

    /// The text of a field that is there, `null` included.
    pub(crate) fn raw(&self, name: &'static str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The values of a field, wherever it is there: the last first.
    fn all(&self, name: &'static str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.fields.iter().rev().filter(move |(key, _)| same_name(key, name)).map(|(_, value)| value.get())
    }

    /// Reads a field of any type; absent gives its default.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn get<T: DeserializeOwned + Default>(&self, name: &'static str) -> Result<T, Malformed> {
        self.scalar(name, |text| match text {
            // Zero with a sign, for a type that has one.
            "-0" if serde_json::from_str::<T>("-1").is_ok() => serde_json::from_str("0").ok(),
            text => serde_json::from_str(text).ok(),
        })
    }

    /// Reads a text.
    pub(crate) fn string(&self, name: &'static str) -> Result<String, Malformed> {
        self.scalar(name, string)
    }

    /// Reads a value that a `null` leaves as it was before. Each that is there must be of the right type, as Go reads
    /// them one after the other.
    fn scalar<T: Default>(
        &self,
        name: &'static str,
        read: impl Fn(&'a str) -> Option<T>,
    ) -> Result<T, Malformed> {
        let mut value = T::default();
        for text in self.all(name).rev().filter(|text| *text != "null") {
            value = read(text).ok_or(Malformed(name))?;
        }
        Ok(value)
    }

    /// Reads a list of texts; `null` in it is an empty one, and in its place an empty list.
    pub(crate) fn strings(&self, name: &'static str) -> Result<Vec<String>, Malformed> {
        let one = |text: &RawValue| match text.get() {
            "null" => Some(String::new()),
            text => string(text),
        };
        let mut list = Vec::new();
        for text in self.all(name).rev() {
            let texts: Option<Vec<&RawValue>> = serde_json::from_str(text).map_err(|_| Malformed(name))?;
            let texts = texts.unwrap_or_default().into_iter();
            list = texts.map(|text| one(text).ok_or(Malformed(name))).collect::<Result<_, _>>()?;
        }
        Ok(list)
    }

    /// Reads an object within this one. Several are one with the fields of all; a `null` drops those before it.
    pub(crate) fn object(&self, name: &'static str) -> Result<Option<Self>, Malformed> {
        let mut object: Option<Self> = None;
        for text in self.all(name).rev() {
            if text == "null" {
                object = None;
                continue;
            }
            let Self { fields } = Self::parse(text).map_err(|_| Malformed(name))?;
            object.get_or_insert_default().fields.extend(fields);
        }
        Ok(object)
    }

    /// A payload as it is, `null` included. Empty if absent.
    pub(crate) fn payload(&self, name: &'static str) -> Bytes {
        self.raw(name).map_or_else(Bytes::new, |text| Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Reads an object of texts.
    pub(crate) fn texts(&self, name: &'static str) -> Result<BTreeMap<String, String>, Malformed> {
        let texts = self.object(name)?.unwrap_or_default();
        let read = |(key, value): (Cow<'a, str>, &RawValue)| match value.get() {
            "null" => Ok((key.into_owned(), String::new())),
            text => Ok((key.into_owned(), string(text).ok_or(Malformed(name))?)),
        };
        texts.fields.into_iter().map(read).collect()
    }
}

impl<'a> Params<'a> {
    /// The fields in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.fields.iter().map(|(key, value)| (key.as_ref(), value.get()))
    }
}

/// Returns true if a JSON name names a field: in any case, with the two letters beyond ASCII that have one within it.
pub(crate) fn same_name(written: &str, field: &str) -> bool {
    // Both of those letters take more bytes than what they stand for.
    if written.len() <= field.len() {
        return written.eq_ignore_ascii_case(field);
    }
    if written.is_ascii() {
        return false;
    }
    let folded = written.chars().map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    });
    folded.eq(field.chars().map(|letter| letter.to_ascii_lowercase()))
}

/// Bytes of standard base64 with padding, as Go decodes it: line breaks and spare bits do not count.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    LENIENT.decode(without_breaks(text).as_bytes()).ok()
}

/// A text without its line breaks, which base64 does not count.
pub(crate) fn without_breaks(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| matches!(byte, b'\n' | b'\r')) {
        Cow::Owned(text.chars().filter(|letter| !matches!(letter, '\n' | '\r')).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The text of a JSON string.
fn string(text: &str) -> Option<String> {
    // Half a surrogate pair is all that makes a well-formed string unreadable here.
    serde_json::from_str(text)
        .ok()
        .or_else(|| spinward::wire::json::unescape_literal(text).map(Cow::into_owned))
}

impl<'de> Deserialize<'de> for Params<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Params<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    fields.push((key, map.next_value()?));
                }
                Ok(Params { fields })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// A key, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let literal = <&RawValue>::deserialize(deserializer)?.get();
        let plain = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match plain.filter(|plain| !plain.contains('\\')) {
            Some(plain) => Ok(Key(Cow::Borrowed(plain))),
            None => string(literal)
                .map(|key| Key(Cow::Owned(key)))
                .ok_or_else(|| serde::de::Error::custom("a key that is not a string")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_case_and_the_last_counts() {
        let params = Params::parse(r#"{"Channel":"a","channel":"b","data": {"x": 1},"limit":null}"#).unwrap();
        assert_eq!(params.string("channel").unwrap(), "b");
        assert_eq!(params.payload("data"), Bytes::from_static(b"{\"x\": 1}"));
        assert_eq!(params.get::<i32>("limit"), Ok(0));
        assert_eq!(params.get::<i32>("since"), Ok(0));
    }

    /// As Centrifugo v6.9 answers, 400 to the first and 107 (no channels) to the third.
    #[test]
    fn every_value_of_a_field_that_is_there_twice_is_read() {
        let params = Params::parse(r#"{"channel":5,"channel":"b"}"#).unwrap();
        assert_eq!(params.string("channel"), Err(Malformed("channel")));
        let params = Params::parse(r#"{"channel":"a","channel":null,"limit":1,"limit":null}"#).unwrap();
        assert_eq!((params.string("channel").unwrap().as_str(), params.get::<i32>("limit")), ("a", Ok(1)));
        let params = Params::parse(r#"{"channels":["a"],"channels":null}"#).unwrap();
        assert!(params.strings("channels").unwrap().is_empty());
        let params = Params::parse(r#"{"channels":null,"channels":["a"]}"#).unwrap();
        assert_eq!(params.strings("channels").unwrap(), ["a"]);
        let params = Params::parse(r#"{"since":{"offset":7},"since":{"epoch":"e"}}"#).unwrap();
        let since = params.object("since").unwrap().unwrap();
        assert_eq!((since.get::<u64>("offset"), since.string("epoch").unwrap().as_str()), (Ok(7), "e"));
        let params = Params::parse(r#"{"since":{"offset":7},"since":null}"#).unwrap();
        assert!(params.object("since").unwrap().is_none());
    }

    #[test]
    fn a_zero_may_have_a_sign_where_the_type_has_one() {
        let params = Params::parse(r#"{"limit":-0,"version":-0,"expired":-0}"#).unwrap();
        assert_eq!(params.get::<i32>("limit"), Ok(0));
        assert_eq!(params.get::<i64>("limit"), Ok(0));
        assert_eq!(params.get::<u64>("version"), Err(Malformed("version")));
        assert_eq!(params.get::<bool>("expired"), Err(Malformed("expired")));
    }

    #[test]
    fn names_fold_as_in_go() {
        for written in ["skip", "SKIP", "Skip", "\u{17f}kip", "s\u{212a}ip"] {
            assert!(same_name(written, "skip"), "{written}");
        }
        for written in ["", "ski", "skip ", "\u{df}kip", "sk\u{131}p"] {
            assert!(!same_name(written, "skip"), "{written}");
        }
    }

    #[test]
    fn texts_are_read_leniently_and_lists_of_them_too() {
        let params =
            Params::parse(r#"{"channel":"a\ud800b","channels":["x",null,"\udc00"],"tags":"x"}"#).unwrap();
        assert_eq!(params.string("channel").unwrap(), "a\u{fffd}b");
        assert_eq!(params.strings("channels").unwrap(), ["x", "", "\u{fffd}"]);
        assert_eq!(params.strings("tags"), Err(Malformed("tags")));
        assert!(params.strings("absent").unwrap().is_empty());
    }

    #[test]
    fn wrong_types_are_named() {
        let params = Params::parse(r#"{"channel":5,"version":-1,"limit":1.5}"#).unwrap();
        assert_eq!(params.string("channel"), Err(Malformed("channel")));
        assert_eq!(params.get::<u64>("version"), Err(Malformed("version")));
        assert_eq!(params.get::<i32>("limit"), Err(Malformed("limit")));
    }

    #[test]
    fn only_an_object_or_null_is_taken() {
        assert!(Params::parse("null").is_ok());
        assert!(Params::parse("\n{}\n").is_ok());
        for text in ["", "[]", "5", "\"x\"", "{", "{} x", "{}{}", "{\"a\":1,}", "{\"a\":NaN}"] {
            assert!(Params::parse(text).is_err(), "{text}");
        }
    }
}

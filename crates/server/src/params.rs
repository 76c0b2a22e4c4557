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
    /// Names that were looked for.
    #[cfg(test)]
    asked: std::cell::RefCell<std::collections::BTreeSet<&'static str>>,
}

impl<'a> Params<'a> {
    /// Reads an object; `null` is an empty one.
    ///
    /// # Errors
    /// The text is anything else.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        serde_json::from_str::<Option<Self>>(text).map(Option::unwrap_or_default).map_err(|_| Malformed(""))
    }

    /// The text of a field that is there and not `null`; a `null` takes nothing back of what was there before.
    fn text(&self, name: &'static str) -> Option<&'a str> {
        self.all(name).find(|text| *text != "null")
    }

    /// The text of a field that is there, `null` included.
    pub(crate) fn raw(&self, name: &'static str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// What a field holds, wherever it is there: the last first.
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        #[cfg(test)]
        self.asked.borrow_mut().insert(name);
        self.fields.iter().rev().filter(move |(key, _)| same_name(key, name)).map(|(_, value)| value.get())
    }

    /// Reads a field of any type; absent gives its default.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn get<T: DeserializeOwned + Default>(&self, name: &'static str) -> Result<T, Malformed> {
        self.text(name)
            .map_or_else(|| Ok(T::default()), |text| serde_json::from_str(text).map_err(|_| Malformed(name)))
    }

    /// Reads a text.
    pub(crate) fn string(&self, name: &'static str) -> Result<String, Malformed> {
        self.text(name).map_or_else(|| Ok(String::new()), |text| string(text).ok_or(Malformed(name)))
    }

    /// Reads a list of texts; `null` in it is an empty one.
    pub(crate) fn strings(&self, name: &'static str) -> Result<Vec<String>, Malformed> {
        let texts: Vec<&RawValue> = self.borrowed(name)?;
        let one = |text: &RawValue| match text.get() {
            "null" => Some(String::new()),
            text => string(text),
        };
        texts.into_iter().map(|text| one(text).ok_or(Malformed(name))).collect()
    }

    /// Reads an object within this one.
    pub(crate) fn object(&self, name: &'static str) -> Result<Option<Self>, Malformed> {
        self.text(name).map(|text| Self::parse(text).map_err(|_| Malformed(name))).transpose()
    }

    fn borrowed<T: Deserialize<'a> + Default>(&self, name: &'static str) -> Result<T, Malformed> {
        self.text(name)
            .map_or_else(|| Ok(T::default()), |text| serde_json::from_str(text).map_err(|_| Malformed(name)))
    }

    /// A payload as it stands, `null` included. Empty if absent.
    pub(crate) fn payload(&self, name: &'static str) -> Bytes {
        self.raw(name).map_or_else(Bytes::new, |text| Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Labels.
    pub(crate) fn tags(&self) -> Result<BTreeMap<String, String>, Malformed> {
        let tags = self.object("tags")?.unwrap_or_default();
        let tag = |(key, value): (Cow<'a, str>, &RawValue)| match value.get() {
            "null" => Ok((key.into_owned(), String::new())),
            text => Ok((key.into_owned(), string(text).ok_or(Malformed("tags"))?)),
        };
        tags.fields.into_iter().map(tag).collect()
    }
}

#[cfg(test)]
impl<'a> Params<'a> {
    /// Names that were looked for.
    pub(crate) fn asked(&self) -> std::collections::BTreeSet<&'static str> {
        self.asked.borrow().clone()
    }

    /// The fields in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.fields.iter().map(|(key, value)| (key.as_ref(), value.get()))
    }
}

/// Whether a name of JSON names a field: in any case, with the two letters beyond ASCII that have one within it.
pub(crate) fn same_name(written: &str, field: &str) -> bool {
    if written.is_ascii() {
        return written.eq_ignore_ascii_case(field);
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
    if text.contains(['\n', '\r']) {
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
                Ok(Params {
                    fields,
                    #[cfg(test)]
                    asked: std::cell::RefCell::default(),
                })
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
                .ok_or_else(|| serde::de::Error::custom("a key that is no string")),
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

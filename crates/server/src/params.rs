//! The parameters of a call, in JSON: field names in any case, unknown fields ignored, `null` for absent, the
//! last of repeated fields, as Centrifugo v6.9 reads them.

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

    /// The text of a field that is there and not `null`.
    fn text(&self, name: &'static str) -> Option<&'a str> {
        self.raw(name).filter(|text| *text != "null")
    }

    /// The text of a field that is there, `null` included.
    pub(super) fn raw(&self, name: &'static str) -> Option<&'a str> {
        #[cfg(test)]
        self.asked.borrow_mut().insert(name);
        self.fields.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.get())
    }

    /// Reads a field of any type; absent gives its default.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn get<T: DeserializeOwned + Default>(&self, name: &'static str) -> Result<T, Malformed> {
        self.text(name)
            .map_or_else(|| Ok(T::default()), |text| serde_json::from_str(text).map_err(|_| Malformed(name)))
    }

    /// Reads a text, without copying where that can be.
    pub(crate) fn string(&self, name: &'static str) -> Result<String, Malformed> {
        self.get(name)
    }

    /// A payload as it stands, `null` included. Empty if absent.
    pub(super) fn payload(&self, name: &'static str) -> Bytes {
        self.raw(name).map_or_else(Bytes::new, |text| Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Labels.
    pub(super) fn tags(&self) -> Result<BTreeMap<String, String>, Malformed> {
        let tags: BTreeMap<String, Option<String>> = self.get("tags")?;
        Ok(tags.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
    }

    /// The fields in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.fields.iter().map(|(key, value)| (key.as_ref(), value.get()))
    }
}

#[cfg(test)]
impl Params<'_> {
    /// Names that were looked for.
    pub(super) fn asked(&self) -> std::collections::BTreeSet<&'static str> {
        self.asked.borrow().clone()
    }
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
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
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

//! Messages as calls.
//!
//! Every source hands over the same: a payload, and attributes, which are headers, fields or columns there.

use crate::call::{Call, Method, Publication};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use spinward::publication::Tags;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// A message of a source.
#[derive(Clone, Default)]
pub struct Message<'a> {
    /// Headers, fields or columns beside the payload. Of two with the same name the first counts.
    pub attributes: Vec<(&'a str, &'a str)>,
    /// The payload.
    pub payload: Bytes,
}

/// Names of the attributes that a source's messages have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoder {
    /// Attribute with the method. Where it is absent or empty, or has no name, the payload names the method.
    pub method: String,
    /// Payloads are publications and not calls.
    pub publications: Option<PublicationNames>,
}

/// Names of the attributes of publications: the payload of a message is the data, as it is. An empty name, and an empty
/// prefix, are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationNames {
    /// The channels, with commas between.
    pub channels: String,
    /// See [`Publication::idempotency_key`].
    pub idempotency_key: String,
    /// See [`Publication::delta`].
    pub delta: String,
    /// See [`Publication::version`].
    pub version: String,
    /// See [`Publication::version_epoch`].
    pub version_epoch: String,
    /// Prefix of attributes that are labels.
    pub tag_prefix: String,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { method: "centrifugo-method".to_owned(), publications: None }
    }
}

impl Default for PublicationNames {
    fn default() -> Self {
        Self {
            channels: "centrifugo-channels".to_owned(),
            idempotency_key: "centrifugo-idempotency-key".to_owned(),
            delta: "centrifugo-delta".to_owned(),
            version: "centrifugo-version".to_owned(),
            version_epoch: "centrifugo-version-epoch".to_owned(),
            tag_prefix: "centrifugo-tag-".to_owned(),
        }
    }
}

/// A message that can never be carried out, however often it is tried. Shows no payload.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload names no method.
    #[error(
        "the payload is not of the form {{\"method\": …, \"payload\": …}}, and there is no attribute with a method"
    )]
    Envelope,
    /// The method does not exist, or has no place here.
    #[error("method {0:?} cannot be called by a consumer")]
    Method(String),
    /// A publication without channels.
    #[error("attribute {0:?} with the channels is missing")]
    NoChannels(String),
    /// An attribute that cannot be read.
    #[error("attribute {name:?} is not {expected}")]
    Attribute {
        /// Its name.
        name: String,
        /// Values that it may have.
        expected: &'static str,
    },
}

impl Decoder {
    /// Reads the call of a message.
    ///
    /// # Errors
    /// The message is no call, and will never be.
    pub fn decode(&self, message: &Message<'_>) -> Result<Call, DecodeError> {
        if let Some(names) = &self.publications {
            return names.publication(message).map(Call::Publish);
        }
        // As in bodies of the server API: what is not UTF-8 is replaced.
        let text = String::from_utf8_lossy(&message.payload);
        if let Some(name) = message.attribute(&self.method) {
            return Ok(Call::Api { method: method(name)?, params: text.into_owned() });
        }
        let Envelope { method: name, payload } =
            serde_json::from_str(&text).map_err(|_| DecodeError::Envelope)?;
        let name = name.filter(|name| !name.is_empty()).ok_or(DecodeError::Envelope)?;
        let method = method(&name)?;
        let payload = payload.map_or("null", RawValue::get);
        // The parameters may be JSON within a text, as columns and queues without types have them.
        let params = match payload.starts_with('"') {
            true => serde_json::from_str(payload).map_err(|_| DecodeError::Envelope)?,
            false => payload.to_owned(),
        };
        Ok(Call::Api { method, params })
    }
}

impl<'a> Message<'a> {
    /// An attribute that is there and not empty. An empty name is no attribute's.
    fn attribute(&self, name: &str) -> Option<&'a str> {
        if name.is_empty() {
            return None;
        }
        let first = self.attributes.iter().find(|(key, _)| *key == name);
        first.map(|(_, value)| *value).filter(|value| !value.is_empty())
    }
}

impl PublicationNames {
    fn publication(&self, message: &Message<'_>) -> Result<Publication, DecodeError> {
        let text = |name: &str| message.attribute(name).unwrap_or_default();
        // As in Centrifugo v6.9, spaces belong to a channel.
        let channels: Vec<String> = text(&self.channels)
            .split(',')
            .filter(|channel| !channel.is_empty())
            .map(str::to_owned)
            .collect();
        if channels.is_empty() {
            return Err(DecodeError::NoChannels(self.channels.clone()));
        }
        let wrong = |name: &str, expected| DecodeError::Attribute { name: name.to_owned(), expected };
        let delta = match text(&self.delta) {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            _ => return Err(wrong(&self.delta, "true or false")),
        };
        let version = match text(&self.version) {
            "" => 0,
            // A sign is not allowed.
            text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map_err(|_| wrong(&self.version, "a number below 2^64"))?
            }
            _ => return Err(wrong(&self.version, "a whole number")),
        };
        let mut tags = Tags::new();
        for (name, value) in message.attributes.iter().filter(|_| !self.tag_prefix.is_empty()) {
            if let Some(label) = name.strip_prefix(&*self.tag_prefix) {
                tags.entry(label.to_owned()).or_insert_with(|| (*value).to_owned());
            }
        }
        Ok(Publication {
            channels,
            data: message.payload.clone(),
            tags,
            idempotency_key: text(&self.idempotency_key).to_owned(),
            delta,
            version,
            version_epoch: text(&self.version_epoch).to_owned(),
        })
    }
}

/// Longest part of a name that an error shows.
const SHOWN: usize = 64;

fn method(name: &str) -> Result<Method, DecodeError> {
    Method::by_name(name).ok_or_else(|| DecodeError::Method(name.chars().take(SHOWN).collect()))
}

/// A payload that names its method. Names count in any case and the last of two, as Go reads them.
#[derive(Default)]
struct Envelope<'a> {
    method: Option<Cow<'a, str>>,
    payload: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with method and payload")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut envelope = Envelope::default();
                while let Some(Text(key)) = map.next_key()? {
                    if key.eq_ignore_ascii_case("method") {
                        let given: Option<Text<'de>> = map.next_value()?;
                        envelope.method = given.map(|Text(text)| text).or(envelope.method);
                    } else if key.eq_ignore_ascii_case("payload") {
                        envelope.payload = Some(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(envelope)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// A text, borrowed unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Any)
    }
}

#[cfg(test)]
#[path = "decode/tests.rs"]
mod tests;

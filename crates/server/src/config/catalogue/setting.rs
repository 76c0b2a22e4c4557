//! Types that options can have.

use super::{Kind, Section};
use crate::config::duration::Duration;
use crate::secret::Secret;
use serde_json::Value;
use std::collections::BTreeMap;

/// A type that an option can have.
pub trait Setting {
    /// Kind of option that it makes.
    const KIND: Kind;
    /// True if its value must not be shown.
    const SECRET: bool = false;
    /// The only texts that it takes; empty if any will do.
    const CHOICES: &'static [&'static str] = &[];
    /// The value as it would appear in a file, secrets included.
    fn to_value(&self) -> Value;
}

macro_rules! setting {
    ($($type:ty => $kind:expr, $secret:literal, |$value:ident| $to_value:expr;)*) => {$(
        impl Setting for $type {
            const KIND: Kind = $kind;
            const SECRET: bool = $secret;
            fn to_value(&self) -> Value {
                let $value = self;
                $to_value
            }
        }
    )*};
}

setting! {
    bool => Kind::Bool, false, |value| Value::from(*value);
    u8 => Kind::Int(0, u8::MAX as i64), false, |value| Value::from(*value);
    u16 => Kind::Int(0, u16::MAX as i64), false, |value| Value::from(*value);
    u32 => Kind::Int(0, u32::MAX as i64), false, |value| Value::from(*value);
    u64 => Kind::Int(0, i64::MAX), false, |value| Value::from(*value);
    i32 => Kind::Int(i32::MIN as i64, i32::MAX as i64), false, |value| Value::from(*value);
    i64 => Kind::Int(i64::MIN, i64::MAX), false, |value| Value::from(*value);
    String => Kind::Text, false, |value| Value::from(value.as_str());
    Secret => Kind::Text, true, |value| Value::from(value.expose());
    Pem => Kind::Pem, true, |value| Value::from(value.0.expose());
    Duration => Kind::Duration, false, |value| Value::from(value.to_string());
    Vec<String> => Kind::Texts, false, |value| Value::from(value.clone());
    Vec<Secret> => Kind::Texts, true, |value| value.iter().map(Secret::expose).collect();
    BTreeMap<String, String> => Kind::Map, false,
        |value| value.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
    BTreeMap<String, Secret> => Kind::Map, true,
        |value| value.iter().map(|(name, text)| (name.clone(), Value::from(text.expose()))).collect();
}

impl<T: Section> Setting for Vec<T> {
    const KIND: Kind = Kind::List(T::fields);
    fn to_value(&self) -> Value {
        self.iter().map(Section::to_section).map(Value::Object).collect()
    }
}

/// PEM as it was given: the text itself, its base64, or a path. `config::pem::load` reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Pem(pub Secret);

/// Makes the enum of an option that takes one of a few texts. Its default is the first.
macro_rules! choices {
    ($(
        $(#[doc = $about:literal])+
        pub enum $Choice:ident {$(
            $(#[doc = $doc:literal])+
            $Variant:ident = $text:literal $(| $other:literal)*;
        )+}
    )*) => {$(
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
        pub enum $Choice {$(
            $(#[doc = $doc])+
            #[serde(rename = $text $(, alias = $other)*)]
            $Variant,
        )+}

        impl $Choice {
            const ALL: &'static [Self] = &[$(Self::$Variant),+];

            /// Returns the text of the option.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$Variant => $text,)+
                }
            }
        }

        impl Default for $Choice {
            fn default() -> Self {
                Self::ALL[0]
            }
        }

        impl $crate::config::catalogue::Setting for $Choice {
            const KIND: $crate::config::catalogue::Kind = $crate::config::catalogue::Kind::Text;
            const CHOICES: &'static [&'static str] = &[$($text, $($other,)*)+];
            fn to_value(&self) -> serde_json::Value {
                self.text().into()
            }
        }

        impl $crate::config::catalogue::Setting for Vec<$Choice> {
            const KIND: $crate::config::catalogue::Kind = $crate::config::catalogue::Kind::Texts;
            const CHOICES: &'static [&'static str] = <$Choice as $crate::config::catalogue::Setting>::CHOICES;
            fn to_value(&self) -> serde_json::Value {
                self.iter().map(|choice| choice.text()).collect()
            }
        }
    )*};
}
pub(in crate::config) use choices;

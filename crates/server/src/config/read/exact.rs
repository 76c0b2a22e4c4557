//! Trees that hold what the text says: no name of a JSON object is lost to a later one, and no YAML scalar is changed
//! by being read as a number.

use crate::config::normalise::join;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads a tree and collects the names that an object has more than once. `serde_json` alone would keep the last value
/// of such a name and say nothing; here the first is kept.
pub(super) struct Unique<'a> {
    /// Name of the part of the tree that is read.
    pub(super) path: String,
    /// The full name of each that is there again.
    pub(super) repeated: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            let inner = Unique { path, repeated: &mut *self.repeated };
            let Some(item) = items.next_element_seed(inner)? else { return Ok(Value::Array(list)) };
            list.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let path = join(&self.path, &name);
            if object.contains_key(&name) {
                entries.next_value::<IgnoredAny>()?;
                self.repeated.push(path);
            } else {
                let inner = Unique { path, repeated: &mut *self.repeated };
                object.insert(name, entries.next_value_seed(inner)?);
            }
        }
        Ok(Value::Object(object))
    }
}

/// Walks a YAML text a second time, beside the tree that was read from it, and puts back what its numbers were written
/// as: `0123456`, `1e10` and `123456789012345678901` are texts for an option that is a text. Options that are
/// numbers take texts too.
pub(super) struct Written<'a>(pub(super) &'a mut Value);

impl<'de> DeserializeSeed<'de> for Written<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0 {
            Value::Object(object) => deserializer.deserialize_map(WrittenObject(object)),
            Value::Array(list) => deserializer.deserialize_seq(WrittenList(list)),
            Value::Number(number) => {
                let text = String::deserialize(deserializer)?;
                if number.is_f64() || text != number.to_string() {
                    *self.0 = Value::String(text);
                }
                Ok(())
            }
            _ => IgnoredAny::deserialize(deserializer).map(|_| ()),
        }
    }
}

struct WrittenObject<'a>(&'a mut Map<String, Value>);

impl<'de> Visitor<'de> for WrittenObject<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(name) = entries.next_key::<String>()? {
            match self.0.get_mut(&name) {
                Some(value) => entries.next_value_seed(Written(value))?,
                None => entries.next_value::<IgnoredAny>().map(|_| ())?,
            }
        }
        Ok(())
    }
}

struct WrittenList<'a>(&'a mut [Value]);

impl<'de> Visitor<'de> for WrittenList<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        for value in self.0.iter_mut() {
            items.next_element_seed(Written(value))?.ok_or_else(|| Error::custom("a shorter list"))?;
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

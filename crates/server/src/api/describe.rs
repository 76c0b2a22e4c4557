//! Descriptions of types by JSON schemas, for the OpenAPI document and the page.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value, json};
use spinward::publication::Tags;
use std::borrow::Cow;
use std::sync::Arc;

/// A type with a JSON schema.
pub(crate) trait Describe {
    /// Kind of value in a word or two, for people.
    const LABEL: &'static str;

    /// Returns the schema. Schemas with a name are added to `schemas`, and a reference is returned.
    fn schema(schemas: &mut Schemas) -> Value;
}

/// Named schemas of a document.
#[derive(Debug, Default)]
pub(crate) struct Schemas(Map<String, Value>);

impl Schemas {
    /// Returns a reference to the schema of this name, which is made if it is not there yet.
    pub(crate) fn refer(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.0.contains_key(name) {
            // Holds the place, so that a schema may refer to itself.
            self.0.insert(name.to_owned(), Value::Null);
            let schema = make(self);
            self.0.insert(name.to_owned(), schema);
        }
        reference(name)
    }

    /// Adds a schema, and returns a reference to it.
    pub(crate) fn add(&mut self, name: &str, schema: Value) -> Value {
        self.0.insert(name.to_owned(), schema);
        reference(name)
    }

    /// All of them, by name.
    #[must_use]
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// A field of an object.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its meaning.
    pub(crate) about: &'static str,
    /// True if it is always there: a call without it is refused, a result has it.
    pub(crate) required: bool,
    /// See [`Describe::LABEL`].
    pub(crate) label: &'static str,
    /// See [`Describe::schema`].
    pub(crate) schema: fn(&mut Schemas) -> Value,
}

impl Field {
    /// A field with values of this type. `about` is a doc comment.
    #[must_use]
    pub(crate) fn new<T: Describe>(name: &'static str, about: &'static str, required: bool) -> Self {
        Self { name, about: about.trim_ascii(), required, label: T::LABEL, schema: T::schema }
    }
}

/// Returns the schema of an object with these fields. `about` may be empty.
pub(crate) fn object(about: &str, fields: &[Field], schemas: &mut Schemas) -> Value {
    let described = |field: &Field, schemas: &mut Schemas| {
        let mut schema = (field.schema)(schemas);
        schema["description"] = field.about.into();
        (field.name.to_owned(), schema)
    };
    let properties: Map<String, Value> = fields.iter().map(|field| described(field, schemas)).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if !about.is_empty() {
        schema["description"] = about.trim_ascii().into();
    }
    schema
}

/// A reference to the schema of this name.
#[must_use]
pub(crate) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

macro_rules! plain {
    ($($type:ty: $label:literal, $schema:tt;)+) => {$(
        impl Describe for $type {
            const LABEL: &'static str = $label;

            fn schema(_: &mut Schemas) -> Value {
                json!($schema)
            }
        }
    )+};
}

plain! {
    String: "text", {"type": "string"};
    str: "text", {"type": "string"};
    bool: "boolean", {"type": "boolean"};
    i32: "number", {"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX};
    i64: "number", {"type": "integer"};
    u32: "number", {"type": "integer", "minimum": 0, "maximum": u32::MAX};
    u64: "number", {"type": "integer", "minimum": 0};
    f64: "number", {"type": "number"};
    Bytes: "any JSON", {};
    Tags: "object", {"type": "object", "additionalProperties": {"type": "string"}};
    HeaderMap: "object", {"type": "object", "additionalProperties": {"type": "string"}};
}

/// Has the schema of what it points to, or may point to.
macro_rules! transparent {
    ($($type:ty),+) => {$(
        impl<T: Describe + ?Sized> Describe for $type {
            const LABEL: &'static str = T::LABEL;

            fn schema(schemas: &mut Schemas) -> Value {
                T::schema(schemas)
            }
        }
    )+};
}

transparent!(&T, Box<T>, Arc<T>);

impl Describe for Cow<'static, str> {
    const LABEL: &'static str = str::LABEL;

    fn schema(schemas: &mut Schemas) -> Value {
        str::schema(schemas)
    }
}

impl<T: Describe> Describe for Option<T> {
    const LABEL: &'static str = T::LABEL;

    fn schema(schemas: &mut Schemas) -> Value {
        T::schema(schemas)
    }
}

impl<T: Describe> Describe for Vec<T> {
    const LABEL: &'static str = "list";

    fn schema(schemas: &mut Schemas) -> Value {
        json!({"type": "array", "items": T::schema(schemas)})
    }
}

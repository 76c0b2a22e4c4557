//! Results of calls: declared once, by [`output!`], which makes the struct, writes it as JSON and describes it. Another
//! encoding is made from the same structs.

use super::describe::{Describe, Field, Schemas, object};
use super::error::ApiError;
use bytes::Bytes;
use serde_json::{Value, json};
use spinward::publication::Tags;
use spinward::wire::json::{append_string, payload};
use spinward::{ClientInfo, Publication};
use std::borrow::Cow;
use std::sync::Arc;

/// A value that is written as JSON.
pub(crate) trait ToJson {
    /// Appends the value.
    fn append(&self, out: &mut Vec<u8>);

    /// Returns true if there is nothing to write: an object has no such field then, where the field is optional.
    fn is_absent(&self) -> bool {
        false
    }
}

/// A JSON object being written.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Begins an object.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Appends a field. `key` is its name in quotes, and a colon.
    pub(crate) fn field<T: ToJson + ?Sized>(&mut self, key: &'static str, value: &T) {
        self.separate();
        self.out.extend_from_slice(key.as_bytes());
        value.append(self.out);
    }

    /// Appends a field with a name of any form.
    pub(crate) fn entry<T: ToJson + ?Sized>(&mut self, name: &str, value: &T) {
        self.separate();
        append_string(name, self.out);
        self.out.push(b':');
        value.append(self.out);
    }

    /// Ends the object.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    fn separate(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }
}

/// Declares a result. The doc comment of a field is its description, and fields are written in their order.
///
/// A field may be `= optional`: it is left out while there is nothing to say. With `impl` in place of `struct`, the
/// struct is declared elsewhere.
macro_rules! output {
    ($(#[doc = $doc:literal])* struct $type:ident as $schema:literal {
        $($(#[doc = $about:literal])+ $name:ident: $value:ty $(= $flag:ident)?,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $type {
            $($(#[doc = $about])+ pub(crate) $name: $value,)*
        }

        $crate::api::output::output! {
            $(#[doc = $doc])*
            impl $type as $schema {
                $($(#[doc = $about])+ $name: $value $(= $flag)?,)*
            }
        }
    };
    ($(#[doc = $doc:literal])* impl $type:ty as $schema:literal {
        $($(#[doc = $about:literal])+ $name:ident: $value:ty $(= $flag:ident)?,)*
    }) => {
        impl $crate::api::output::ToJson for $type {
            fn append(&self, out: &mut Vec<u8>) {
                #[allow(unused_mut, reason = "there may be no fields")]
                let mut object = $crate::api::output::Object::new(out);
                $($crate::api::output::output!(
                    @append object, concat!("\"", stringify!($name), "\":"), &self.$name, $value $(, $flag)?
                );)*
                object.end();
            }
        }

        $crate::api::output::output! {
            $(#[doc = $doc])*
            describe $type as $schema {
                $($(#[doc = $about])+ $name: $value $(= $flag)?,)*
            }
        }
    };
    ($(#[doc = $doc:literal])* describe $type:ty as $schema:literal {
        $($(#[doc = $about:literal])+ $name:ident: $value:ty $(= $flag:ident)?,)*
    }) => {
        impl $crate::api::describe::Describe for $type {
            const LABEL: &'static str = "object";

            fn schema(schemas: &mut $crate::api::describe::Schemas) -> serde_json::Value {
                schemas.refer($schema, |schemas| {
                    let fields: &[$crate::api::describe::Field] = &[
                        $($crate::api::describe::Field::new::<$value>(
                            stringify!($name),
                            concat!($($about),+),
                            $crate::api::output::output!(@required $($flag)?),
                        ),)*
                    ];
                    $crate::api::output::closed(concat!($($doc),*), fields, schemas)
                })
            }
        }
    };
    (@append $object:ident, $key:expr, $field:expr, $value:ty, optional) => {
        if !<$value as $crate::api::output::ToJson>::is_absent($field) {
            $object.field::<$value>($key, $field);
        }
    };
    (@append $object:ident, $key:expr, $field:expr, $value:ty) => {
        $object.field::<$value>($key, $field);
    };
    (@required optional) => { false };
    (@required) => { true };
}
pub(super) use output;

/// Returns the schema of an object that has no other fields.
pub(super) fn closed(about: &str, fields: &[Field], schemas: &mut Schemas) -> Value {
    let mut schema = object(about, fields, schemas);
    schema["additionalProperties"] = false.into();
    schema
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl ToJson for $type {
            fn append(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }
        }
    )+};
}

integers!(u32, u64);

impl ToJson for f64 {
    fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_string().as_bytes());
    }
}

impl ToJson for str {
    fn append(&self, out: &mut Vec<u8>) {
        append_string(self, out);
    }
}

impl ToJson for String {
    fn append(&self, out: &mut Vec<u8>) {
        append_string(self, out);
    }
}

impl ToJson for Cow<'static, str> {
    fn append(&self, out: &mut Vec<u8>) {
        append_string(self, out);
    }
}

/// A payload: JSON, or bytes as a string.
impl ToJson for Bytes {
    fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&payload(self.clone()));
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl ToJson for Tags {
    fn append(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        self.iter().for_each(|(key, value)| object.entry(key, value));
        object.end();
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

macro_rules! transparent {
    ($($type:ty),+) => {$(
        impl<T: ToJson + ?Sized> ToJson for $type {
            fn append(&self, out: &mut Vec<u8>) {
                T::append(self, out);
            }

            fn is_absent(&self) -> bool {
                T::is_absent(self)
            }
        }
    )+};
}

transparent!(&T, Box<T>, Arc<T>);

impl<T: ToJson> ToJson for Option<T> {
    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.append(out),
            None => out.extend_from_slice(b"null"),
        }
    }

    fn is_absent(&self) -> bool {
        self.as_ref().is_none_or(T::is_absent)
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn append(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (at, value) in self.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            value.append(out);
        }
        out.push(b']');
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// The outcome of a call, as a reply has it.
impl<T: ToJson> ToJson for Result<T, ApiError> {
    fn append(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        match self {
            Ok(result) => object.field("\"result\":", result),
            Err(error) => object.field("\"error\":", error),
        }
        object.end();
    }
}

impl<T: Describe> Describe for Result<T, ApiError> {
    const LABEL: &'static str = "object";

    fn schema(schemas: &mut Schemas) -> Value {
        let result = T::schema(schemas);
        let refused = schemas.refer("Refused", |schemas| {
            closed("", &[Field::new::<ApiError>("error", "The reason.", true)], schemas)
        });
        json!({"oneOf": [
            {
                "type": "object",
                "properties": {"result": result},
                "required": ["result"],
                "additionalProperties": false,
            },
            refused,
        ]})
    }
}

output! {
    impl ApiError as "Error" {
        /// The number.
        code: u32,
        /// The text.
        message: Cow<'static, str>,
    }
}

output! {
    /// Done, without a result.
    struct Empty as "Empty" {}
}

output! {
    /// A client as others see it.
    impl ClientInfo as "ClientInfo" {
        /// The user; empty for an anonymous client.
        user: Arc<str>,
        /// The id of the connection.
        client: Arc<str>,
        /// The info of the connection.
        conn_info: Bytes = optional,
        /// The info of the subscription.
        chan_info: Bytes = optional,
    }
}

output! {
    /// A publication.
    impl Publication as "Publication" {
        /// The payload. Bytes that are not JSON are a string.
        data: Bytes,
        /// The publisher, for publications of clients.
        info: Option<Arc<ClientInfo>> = optional,
        /// The place in the stream, from 1.
        offset: u64,
        /// Labels.
        tags: Option<Arc<Tags>> = optional,
    }
}

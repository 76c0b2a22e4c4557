//! Parameters of calls: declared once, by [`parameters!`], which makes the struct, reads it from JSON and describes
//! it. Whatever is lenient about JSON ends here: a method gets values that it can use. Another encoding makes the
//! same structs in its own way.

use super::describe::{Describe, Field, Schemas};
use super::error::ApiError;
use crate::params::{Malformed, Params, base64};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use spinward::publication::Tags;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// A call that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Rejection {
    /// The request as a whole is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The call alone is answered with this error.
    #[error(transparent)]
    Refused(ApiError),
}

/// Parameters of a method, or a group of them that methods share.
pub(crate) trait Parameters: Sized {
    /// Reads them from the fields of an object.
    ///
    /// # Errors
    /// A field has a value of the wrong type.
    fn read(arguments: &Arguments<'_>) -> Result<Self, Malformed>;

    /// Appends a description of each field.
    fn describe(fields: &mut Vec<Field>);
}

/// Value of a parameter.
pub(crate) trait Parameter: Describe + Sized {
    /// Reads it from the fields of an object. Absent is the type's default.
    ///
    /// # Errors
    /// The field has a value of the wrong type.
    fn read(arguments: &Arguments<'_>, name: Name) -> Result<Self, Malformed>;

    /// Appends a description of each field that it is read from.
    fn describe(name: Name, about: &'static str, required: bool, fields: &mut Vec<Field>) {
        fields.push(Field::new::<Self>(name.plain, about, required));
    }
}

/// Names of a parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    /// Its own.
    pub(crate) plain: &'static str,
    /// The name of its twin in base64, for types that have one.
    pub(crate) base64: &'static str,
}

/// The fields of an object from which parameters are read.
pub(crate) struct Arguments<'a> {
    object: Params<'a>,
    /// A value is of the right type and cannot be used. Noted and not returned at once, since a field of the wrong type
    /// comes first, wherever it is.
    unusable: Cell<bool>,
}

impl Arguments<'_> {
    /// Returns the JSON of a field, or `null` if it is absent.
    pub(super) fn raw(&self, name: Name) -> &str {
        self.object.raw(name.plain).unwrap_or("null")
    }

    /// Returns a text; empty if it is absent.
    pub(super) fn text(&self, name: Name) -> Result<String, Malformed> {
        self.object.string(name.plain)
    }

    /// Notes that a value is of the right type and makes no sense: the call is answered with
    /// [`ApiError::BAD_REQUEST`].
    pub(super) fn refuse(&self) {
        self.unusable.set(true);
    }
}

/// Reads the parameters of a method.
///
/// # Errors
/// They are malformed, or one of them cannot be used.
pub(crate) fn read<P: Parameters>(object: Params<'_>) -> Result<P, Rejection> {
    let arguments = Arguments { object, unusable: Cell::new(false) };
    let params = P::read(&arguments)?;
    if arguments.unusable.get() { Err(Rejection::Refused(ApiError::BAD_REQUEST)) } else { Ok(params) }
}

/// Returns the fields of a method's parameters.
#[must_use]
pub(crate) fn fields<P: Parameters>() -> Vec<Field> {
    let mut fields = Vec::new();
    P::describe(&mut fields);
    fields
}

/// Returns the name of a field as JSON has it: without the mark of a raw identifier.
#[must_use]
pub(crate) const fn unraw(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Declares a struct of parameters. The doc comment of a field is its description.
///
/// A field may be `= required`, or `= flattened`: its type is a group of parameters that are fields of the same
/// object. With `impl` in place of `struct`, the struct is declared elsewhere. `as "Name"` names the schema of a
/// struct that is the value of a parameter.
macro_rules! parameters {
    ($(#[doc = $doc:literal])* struct $type:ident as $schema:literal { $($fields:tt)* }) => {
        $crate::api::parameter::parameters! {
            $(#[doc = $doc])* struct $type { $($fields)* }
        }

        impl $crate::api::describe::Describe for $type {
            const LABEL: &'static str = "object";

            fn schema(schemas: &mut $crate::api::describe::Schemas) -> serde_json::Value {
                schemas.refer($schema, |schemas| {
                    let fields = $crate::api::parameter::fields::<Self>();
                    $crate::api::describe::object(concat!($($doc),*), &fields, schemas)
                })
            }
        }
    };
    ($(#[doc = $doc:literal])* $(#[expect($($lint:tt)*)])? struct $type:ident {
        $($(#[doc = $about:literal])+ $name:ident: $value:ty $(= $flag:ident)?,)*
    }) => {
        $(#[doc = $doc])*
        $(#[expect($($lint)*)])?
        #[derive(Clone, Debug, Default)]
        pub(crate) struct $type {
            $($(#[doc = $about])+ pub(crate) $name: $value,)*
        }

        $crate::api::parameter::parameters! {
            impl $type {
                $($(#[doc = $about])+ $name: $value $(= $flag)?,)*
            }
        }
    };
    (impl $type:ident {
        $($(#[doc = $about:literal])+ $name:ident: $value:ty $(= $flag:ident)?,)*
    }) => {
        impl $crate::api::parameter::Parameters for $type {
            #[allow(unused_variables, reason = "there may be no fields")]
            fn read(
                arguments: &$crate::api::parameter::Arguments<'_>,
            ) -> Result<Self, $crate::params::Malformed> {
                Ok(Self {
                    $($name: $crate::api::parameter::parameters!(
                        @read arguments, $name, $value $(, $flag)?
                    ),)*
                })
            }

            #[allow(unused_variables, reason = "there may be no fields")]
            fn describe(fields: &mut Vec<$crate::api::describe::Field>) {
                $($crate::api::parameter::parameters!(
                    @describe fields, $name, $value, concat!($($about),+) $(, $flag)?
                );)*
            }
        }
    };
    (@name $name:ident) => {
        $crate::api::parameter::Name {
            plain: const { $crate::api::parameter::unraw(stringify!($name)) },
            base64: concat!("b64", stringify!($name)),
        }
    };
    (@read $arguments:ident, $name:ident, $value:ty, flattened) => {
        <$value as $crate::api::parameter::Parameters>::read($arguments)?
    };
    (@read $arguments:ident, $name:ident, $value:ty $(, required)?) => {
        <$value as $crate::api::parameter::Parameter>::read(
            $arguments,
            $crate::api::parameter::parameters!(@name $name),
        )?
    };
    (@describe $fields:ident, $name:ident, $value:ty, $about:expr, flattened) => {
        <$value as $crate::api::parameter::Parameters>::describe($fields)
    };
    (@describe $fields:ident, $name:ident, $value:ty, $about:expr, required) => {
        <$value as $crate::api::parameter::Parameter>::describe(
            $crate::api::parameter::parameters!(@name $name), $about, true, $fields,
        )
    };
    (@describe $fields:ident, $name:ident, $value:ty, $about:expr) => {
        <$value as $crate::api::parameter::Parameter>::describe(
            $crate::api::parameter::parameters!(@name $name), $about, false, $fields,
        )
    };
}
pub(super) use parameters;

macro_rules! parameter {
    ($($type:ty: |$object:ident, $name:ident| $read:expr;)+) => {$(
        impl Parameter for $type {
            fn read(arguments: &Arguments<'_>, name: Name) -> Result<Self, Malformed> {
                let ($object, $name) = (&arguments.object, name.plain);
                $read
            }
        }
    )+};
}

parameter! {
    String: |object, name| object.string(name);
    Option<String>: |object, name| object.get(name);
    bool: |object, name| object.get(name);
    i32: |object, name| object.get(name);
    i64: |object, name| object.get(name);
    u32: |object, name| object.get(name);
    u64: |object, name| object.get(name);
    Vec<String>: |object, name| object.strings(name);
    Option<Arc<Tags>>: |object, name| Ok(Some(object.texts(name)?).filter(|tags| !tags.is_empty()).map(Arc::new));
    // JSON as it is; empty if absent.
    Bytes: |object, name| Ok(object.payload(name));
    HeaderMap: |object, name| {
        let given: HashMap<String, String> = object.get(name)?;
        Self::try_from(&given).map_err(|_| Malformed(name))
    };
}

/// An object of its own.
impl<P: Parameters + Describe> Parameter for Option<P> {
    fn read(arguments: &Arguments<'_>, name: Name) -> Result<Self, Malformed> {
        let Some(object) = arguments.object.object(name.plain)? else { return Ok(None) };
        let within = Arguments { object, unusable: Cell::new(false) };
        let value = P::read(&within)?;
        if within.unusable.get() {
            arguments.refuse();
        }
        Ok(Some(value))
    }
}

impl<P: Parameters> Parameters for Box<P> {
    fn read(arguments: &Arguments<'_>) -> Result<Self, Malformed> {
        P::read(arguments).map(Self::new)
    }

    fn describe(fields: &mut Vec<Field>) {
        P::describe(fields);
    }
}

/// A payload: JSON or, preferred, bytes in base64. Empty if absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Bytes);

impl Payload {
    /// The payload of a call over gRPC.
    ///
    /// # Errors
    /// The text is not base64.
    pub(crate) fn of(data: Bytes, text: &str) -> Result<Self, Rejection> {
        if text.is_empty() {
            return Ok(Self(data));
        }
        let bytes = base64(text).ok_or(Rejection::Refused(ApiError::BAD_REQUEST))?;
        Ok(Self(bytes.into()))
    }
}

impl Parameter for Payload {
    fn read(arguments: &Arguments<'_>, name: Name) -> Result<Self, Malformed> {
        let text = arguments.object.string(name.base64)?;
        if text.is_empty() {
            return Ok(Self(arguments.object.payload(name.plain)));
        }
        let bytes = base64(&text);
        if bytes.is_none() {
            arguments.refuse();
        }
        Ok(Self(bytes.unwrap_or_default().into()))
    }

    fn describe(name: Name, about: &'static str, required: bool, fields: &mut Vec<Field>) {
        fields.push(Field::new::<Bytes>(name.plain, about, required));
        fields.push(Field::new::<Base64>(name.base64, "The same as bytes, in its place.", false));
    }
}

impl Describe for Payload {
    const LABEL: &'static str = Bytes::LABEL;

    fn schema(schemas: &mut Schemas) -> Value {
        Bytes::schema(schemas)
    }
}

/// Bytes in standard base64 with padding. Only read as text, since nothing uses them yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base64;

impl Parameter for Base64 {
    fn read(arguments: &Arguments<'_>, name: Name) -> Result<Self, Malformed> {
        arguments.text(name).map(|_| Self)
    }
}

impl Describe for Base64 {
    const LABEL: &'static str = "base64";

    fn schema(_: &mut Schemas) -> Value {
        json!({"type": "string", "contentEncoding": "base64"})
    }
}

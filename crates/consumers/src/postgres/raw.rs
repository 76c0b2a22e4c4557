//! Columns that may be of several types.

use std::error::Error;
use tokio_postgres::types::{FromSql, Type};

/// The bytes of a column of text, JSON or bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl Raw<'_> {
    /// Returns true if a column of this type can be read.
    pub(super) fn takes(of: &Type) -> bool {
        [Type::JSON, Type::JSONB, Type::TEXT, Type::VARCHAR, Type::BPCHAR, Type::BYTEA].contains(of)
    }
}

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        match (of, raw) {
            // One byte tells the version.
            (&Type::JSONB, [1, text @ ..]) => Ok(Self(text)),
            (&Type::JSONB, _) => Err("an unknown version of jsonb".into()),
            (_, bytes) => Ok(Self(bytes)),
        }
    }

    fn accepts(of: &Type) -> bool {
        Self::takes(of)
    }
}

/// A whole number of any size, as of an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Number(pub(super) i64);

impl Number {
    /// Returns true if a column of this type can be read.
    pub(super) fn takes(of: &Type) -> bool {
        [Type::INT2, Type::INT4, Type::INT8].contains(of)
    }
}

impl<'a> FromSql<'a> for Number {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        match *of {
            Type::INT2 => i16::from_sql(of, raw).map(|number| Self(number.into())),
            Type::INT4 => i32::from_sql(of, raw).map(|number| Self(number.into())),
            _ => i64::from_sql(of, raw).map(Self),
        }
    }

    fn accepts(of: &Type) -> bool {
        Self::takes(of)
    }
}

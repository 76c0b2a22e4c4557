//! Reading a configuration file into a tree, whatever its format.

mod exact;

use exact::{Unique, Written};
use serde::de::DeserializeSeed as _;
use serde_json::{Map, Value};
use std::fmt;
use std::path::{Path, PathBuf};

/// Format of a configuration file, by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.json`
    Json,
    /// `.yaml`, `.yml`
    Yaml,
    /// `.toml`
    Toml,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Toml => "TOML",
        })
    }
}

/// A file that cannot be read. None of these hold any of its content, which has secrets in it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The name says nothing about the format.
    #[error("{}: the extension must be .json, .yaml, .yml or .toml", .0.display())]
    Extension(PathBuf),
    /// The file cannot be opened or is not text.
    #[error("{}: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not of its format.
    #[error("{}: not valid {format}: {reason}", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Expected format.
        format: Format,
        /// The problem and its place.
        reason: String,
    },
}

impl Format {
    /// The format that a file's extension names.
    ///
    /// # Errors
    /// The extension is none of the four.
    pub fn of(path: &Path) -> Result<Self, ReadError> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "json" => Ok(Self::Json),
            "yaml" | "yml" => Ok(Self::Yaml),
            "toml" => Ok(Self::Toml),
            _ => Err(ReadError::Extension(path.to_owned())),
        }
    }

    /// Reads a text of this format, which must be an object.
    ///
    /// # Errors
    /// Says what is wrong and where, without repeating any of the text.
    pub fn parse(self, text: &str) -> Result<Map<String, Value>, String> {
        let tree: Value = match self {
            Self::Json => json(text)?,
            Self::Yaml if text.trim().is_empty() => Value::Object(Map::new()),
            Self::Yaml => yaml(text)?,
            Self::Toml => toml::from_str(text).map_err(|error: toml::de::Error| {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                at("the text is malformed or a key is there twice", line, column)
            })?,
        };
        match tree {
            Value::Object(tree) => Ok(tree),
            _ => Err("the file must hold an object".to_owned()),
        }
    }
}

/// Reads a file. `None` is a file that does not exist.
///
/// # Errors
/// The file cannot be read, or is not of the format that its extension names.
pub(super) fn file(path: &Path) -> Result<Option<Map<String, Value>>, ReadError> {
    let format = Format::of(path)?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReadError::Open { path: path.to_owned(), source }),
    };
    match format.parse(text.strip_prefix('\u{feff}').unwrap_or(&text)) {
        Ok(tree) => Ok(Some(tree)),
        Err(reason) => Err(ReadError::Form { path: path.to_owned(), format, reason }),
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map(|Unique(tree)| tree).map_err(|error| {
        let said = error.to_string();
        let what = match error.classify() {
            serde_json::error::Category::Eof => "the text ends too early",
            // The one thing that is wrong with a tree. It names a key, and no value.
            serde_json::error::Category::Data => said.split(" at line ").next().unwrap_or_default(),
            _ => "unexpected character or value",
        };
        at(what, error.line(), error.column())
    })
}

fn yaml(text: &str) -> Result<Value, String> {
    let mut tree: Value = serde_saphyr::from_str(text).map_err(yaml_error)?;
    serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        Written(&mut tree).deserialize(deserializer)
    })
    .map_err(yaml_error)?;
    Ok(tree)
}

fn yaml_error(error: serde_saphyr::Error) -> String {
    let what = match error.without_snippet() {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            "a second document begins here (`---`): a configuration is one document"
        }
        serde_saphyr::Error::DuplicateMappingKey { .. } => "a key is set twice",
        _ => "the text is malformed",
    };
    match error.location() {
        Some(place) => at(what, place.line() as usize, place.column() as usize),
        None => what.to_owned(),
    }
}

fn at(what: &str, line: usize, column: usize) -> String {
    format!("line {line}, column {column}: {what}")
}

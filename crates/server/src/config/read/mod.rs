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
    /// The extension is not one of the four.
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
            Self::Toml => toml::from_str(text).map_err(|error| toml_error(text, &error))?,
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
    let mut repeated = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    let tree = Unique { path: String::new(), repeated: &mut repeated }.deserialize(&mut reader);
    let tree = tree.and_then(|tree| reader.end().map(|()| tree)).map_err(|error| {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "the text ends too early",
            _ => "unexpected character or value",
        };
        at(what, error.line(), error.column())
    })?;
    if repeated.is_empty() { Ok(tree) } else { Err(twice(&repeated)) }
}

/// Names keys, and no value.
fn twice(keys: &[String]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    match quoted.as_slice() {
        [one] => format!("{one} is set twice: keep one"),
        all => format!("{} are set twice: keep one of each", all.join(", ")),
    }
}

fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let span = error.span().unwrap_or_default();
    let before = text.get(..span.start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    // The text of another error may be a value.
    let key = text.get(span).filter(|_| error.message().starts_with("duplicate key"));
    let what = key.map(|key| twice(&[key.trim().to_owned()]));
    at(what.as_deref().unwrap_or("the text is malformed"), line, column)
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
            "a second document begins here (`---`): a configuration is one document".to_owned()
        }
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => twice(std::slice::from_ref(key)),
        serde_saphyr::Error::DuplicateMappingKey { .. } => "a key is set twice".to_owned(),
        _ => "the text is malformed".to_owned(),
    };
    match error.location() {
        Some(place) => at(&what, place.line() as usize, place.column() as usize),
        None => what,
    }
}

fn at(what: &str, line: usize, column: usize) -> String {
    format!("line {line}, column {column}: {what}")
}

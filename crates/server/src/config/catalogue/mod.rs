//! The option catalogue: what an option is, and the macro by which each is written down once.
//!
//! `options!` takes the definition of a section (name, type, default, the doc comment, marks) and makes two things
//! of it: the typed struct that the server reads, and the list of [`Field`]s from which loading, validation,
//! suggestions, environment names, flags and the printed reference come. So the two can never disagree.
//!
//! ```text
//! options! {
//!     /// What the section is about.
//!     pub struct Health {
//!         /// What the option does, in one line.
//!         enabled: bool;
//!         handler_prefix: String = "/health" => since("2.2");
//!     }
//! }
//! ```

mod setting;

pub(super) use setting::choices;
pub use setting::{Pem, Setting};

use serde_json::{Map, Value};

/// One option, or one section of options.
#[derive(Clone, Debug)]
pub struct Field {
    /// The last part of its name, as in a file.
    pub name: &'static str,
    /// Its effect, in a line or two.
    pub doc: &'static str,
    /// Values that it takes.
    pub kind: Kind,
    /// Default value.
    pub default: Value,
    /// True if its value must not be shown.
    pub secret: bool,
    /// The first version of Centrifugo that knew it by this or another name; empty if that is not recorded.
    pub since: &'static str,
    /// True if Centrifugo does not have it.
    pub ours: bool,
    /// State of the feature that it switches on.
    pub status: Status,
    /// The only texts it takes; empty if any will do.
    pub choices: &'static [&'static str],
    /// Bounds narrower than those of the type.
    pub range: Option<(i64, i64)>,
}

/// State of the feature behind an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Built,
    /// The option is accepted but does nothing yet: setting it gives a warning.
    Planned,
    /// It does not exist yet, and to go on without it would be unsafe: setting it refuses to start.
    Essential,
}

/// The type of an option.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// true or false.
    Bool,
    /// A whole number between two bounds, both included.
    Int(i64, i64),
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// A length of time.
    Duration,
    /// PEM: the text itself, its base64, or the path of a file.
    Pem,
    /// Names to texts. Names become lower case.
    Map,
    /// A section.
    Section(Fields),
    /// A section whose options are beside the others, without a name of their own.
    Flat(Fields),
    /// A list of sections; with an option `name`, each can be named in the environment.
    List(Fields),
}

/// The options of a section.
pub type Fields = fn() -> &'static [Field];

impl Kind {
    /// Returns the name used in the reference.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int(..) => "int",
            Self::Text => "string",
            Self::Texts => "list of strings",
            Self::Duration => "duration",
            Self::Pem => "PEM",
            Self::Map => "map of strings",
            Self::Section(_) | Self::Flat(_) => "object",
            Self::List(_) => "list of objects",
        }
    }
}

impl Field {
    /// A built option with nothing said about it yet.
    #[must_use]
    pub fn of<T: Setting>(name: &'static str, doc: &'static str, default: &T) -> Self {
        Self {
            name: name.strip_prefix("r#").unwrap_or(name),
            doc: doc.trim(),
            kind: T::KIND,
            default: default.to_value(),
            secret: T::SECRET,
            since: "",
            ours: false,
            status: Status::Built,
            choices: T::CHOICES,
            range: None,
        }
    }

    /// The version of Centrifugo that brought it.
    #[must_use]
    pub const fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    /// Centrifugo has no such option.
    #[must_use]
    pub const fn ours(mut self) -> Self {
        self.ours = true;
        self
    }

    /// Accepted, but not built yet.
    #[must_use]
    pub const fn planned(mut self) -> Self {
        self.status = Status::Planned;
        self
    }

    /// Not built yet, and not to be done without.
    #[must_use]
    pub const fn essential(mut self) -> Self {
        self.status = Status::Essential;
        self
    }

    /// The only texts that it takes.
    #[must_use]
    pub const fn one_of(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }

    /// Narrower bounds, both included.
    #[must_use]
    pub const fn between(mut self, low: i64, high: i64) -> Self {
        self.range = Some((low, high));
        self
    }
}

/// A struct that `options!` made.
pub trait Section {
    /// Returns its options.
    fn fields() -> &'static [Field];
    /// Its values as they would appear in a file, secrets included.
    fn to_section(&self) -> Map<String, Value>;
}

/// Makes a typed struct and its catalogue of one list of options.
macro_rules! options {
    ($(
        $(#[doc = $about:literal])+
        pub struct $Section:ident {$(
            $(#[doc = $doc:literal])+
            $(#[serde($($serde:tt)*)])?
            $name:ident : $type:ty $(= $default:expr)? $(=> $($mark:ident $(($($arg:expr),*))?)+)? ;
        )*}
    )*) => {$(
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
        #[serde(default)]
        pub struct $Section {$(
            $(#[doc = $doc])+
            $(#[serde($($serde)*)])?
            pub $name: $type,
        )*}

        impl Default for $Section {
            fn default() -> Self {
                Self {$( $name: $crate::config::catalogue::options!(@default $type $(, $default)?), )*}
            }
        }

        impl $crate::config::catalogue::Section for $Section {
            fn fields() -> &'static [$crate::config::catalogue::Field] {
                static FIELDS: std::sync::OnceLock<Vec<$crate::config::catalogue::Field>> =
                    std::sync::OnceLock::new();
                FIELDS.get_or_init(|| {
                    let defaults = Self::default();
                    vec![$(
                        $crate::config::catalogue::options!(
                            @flat ($($($serde)*)?)
                            $crate::config::catalogue::Field::of(
                                stringify!($name), concat!($($doc, "\n"),+), &defaults.$name,
                            )$($(.$mark($($($arg),*)?))+)?
                        ),
                    )*]
                })
            }

            fn to_section(&self) -> serde_json::Map<String, serde_json::Value> {
                use $crate::config::catalogue::Setting as _;
                $crate::config::catalogue::gather(Self::fields(), [$(self.$name.to_value(),)*])
            }
        }

        impl $crate::config::catalogue::Setting for $Section {
            const KIND: $crate::config::catalogue::Kind = $crate::config::catalogue::Kind::Section(
                <$Section as $crate::config::catalogue::Section>::fields,
            );
            fn to_value(&self) -> serde_json::Value {
                serde_json::Value::Object($crate::config::catalogue::Section::to_section(self))
            }
        }
    )*};
    (@default $type:ty) => { <$type>::default() };
    (@default $type:ty, $default:expr) => { $default.into() };
    (@flat () $field:expr) => { $field };
    (@flat (flatten) $field:expr) => { $crate::config::catalogue::flattened($field) };
}
pub(super) use options;

/// Turns a section into one whose options are beside those of the section that holds it.
pub(super) fn flattened(field: Field) -> Field {
    match field.kind {
        Kind::Section(fields) => Field { kind: Kind::Flat(fields), ..field },
        _ => field,
    }
}

/// Puts values under the names of their fields.
pub(super) fn gather<const N: usize>(fields: &[Field], values: [Value; N]) -> Map<String, Value> {
    let mut section = Map::new();
    for (field, value) in fields.iter().zip(values) {
        match (field.kind, value) {
            (Kind::Flat(_), Value::Object(inner)) => section.extend(inner),
            (_, value) => {
                section.insert(field.name.to_owned(), value);
            }
        }
    }
    section
}

/// The options of a section with those of flattened sections in their place.
pub fn each(fields: &'static [Field]) -> Vec<&'static Field> {
    let mut all = Vec::with_capacity(fields.len());
    for field in fields {
        match field.kind {
            Kind::Flat(inner) => all.extend(each(inner())),
            _ => all.push(field),
        }
    }
    all
}

/// State of the feature behind an option: its own, or that of the first section around it that is not built.
#[must_use]
pub fn status(fields: &'static [Field], path: &str) -> Status {
    let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
    let mut around = ends.filter_map(|end| find(fields, &path[..end])).map(|field| field.status);
    around.find(|status| *status != Status::Built).unwrap_or(Status::Built)
}

/// The option that a dotted name refers to, through sections but not through lists.
#[must_use]
pub fn find(fields: &'static [Field], path: &str) -> Option<&'static Field> {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let field = each(fields).into_iter().find(|field| field.name == head)?;
    match (rest, field.kind) {
        (None, _) => Some(field),
        (Some(rest), Kind::Section(inner)) => find(inner(), rest),
        _ => None,
    }
}

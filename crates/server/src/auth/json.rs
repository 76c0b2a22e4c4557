//! JSON objects from outside, read strictly: no duplicate names, bounded depth, nothing after the end.
//!
//! Values stay raw text until a claim is asked for. Claims and header fields are found in any case, as Centrifugo
//! v6.9 finds them: an `Exp` that was not looked at would be a token without an end.

use crate::params::same_name;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Most levels of objects and arrays in claims: as many as Centrifugo's JSON reader takes. Nothing that reads them
/// recurses into a value that it does not know.
pub(crate) const CLAIMS_DEPTH: usize = 10_000;
/// The same for what has no payload of applications in it: headers and key sets.
pub(crate) const MAX_DEPTH: usize = 1_000;

/// The members of an object, in order.
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads an object that is nested no deeper than `most` levels.
    pub(crate) fn parse(bytes: &'a [u8], most: usize) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
        // Each level takes a byte.
        if text.len() > most && depth(text) > most {
            return Err(format!("nested deeper than {most} levels"));
        }
        serde_json::from_str(text).map_err(|error| describe(&error))
    }

    /// One of these names that is there in two spellings.
    pub(crate) fn twice<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        let spellings = |name| self.0.iter().filter(|(known, _)| same_name(known, name)).count();
        names.iter().copied().find(|name| spellings(name) > 1)
    }

    /// The raw text of a member. `null` counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.raw(name).filter(|value| value.get() != "null")
    }

    /// The raw text of a member, `null` included.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| same_name(known, name)).map(|(_, value)| *value)
    }

    /// The raw text of a member under exactly this name. `null` counts as absent.
    fn exact(&self, name: &str) -> Option<&'a RawValue> {
        let member = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        member.filter(|value| value.get() != "null")
    }

    /// The value at the end of a path. A name may itself contain dots (`https://app.example/user`): the
    /// longest name that exists is taken, without going back.
    pub(crate) fn path(&self, path: &str) -> Option<&'a RawValue> {
        let mut end = path.len();
        loop {
            let (name, rest) = (&path[..end], path.get(end + 1..));
            match (self.exact(name), rest) {
                (Some(value), None) => return Some(value),
                (Some(value), Some(rest)) => return Self::of(value)?.path(rest),
                (None, _) => end = path[..end].rfind('.')?,
            }
        }
    }

    /// Reads a value as an object.
    pub(crate) fn of(value: &'a RawValue) -> Option<Self> {
        serde_json::from_str(value.get()).ok()
    }

    /// All members.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                // Few members are compared one by one; many (the channels of `subs`) need a set.
                let mut seen = std::collections::HashSet::new();
                while let Some(Name(name)) = map.next_key()? {
                    let double = if members.len() < 16 {
                        members.iter().any(|(known, _)| *known == name)
                    } else {
                        if seen.is_empty() {
                            seen.extend(members.iter().map(|(known, _)| known.clone()));
                        }
                        !seen.insert(name.clone())
                    };
                    if double {
                        return Err(serde::de::Error::custom("a name is there twice"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A name, borrowed where it has no escapes. (`Cow` alone would always be copied.)
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A raw value as bytes that can go into a frame of lines: line feeds between JSON tokens are left out (within
/// strings JSON has none). Everything else stays as it was signed.
pub(crate) fn one_line(value: &RawValue) -> bytes::Bytes {
    let text = value.get().as_bytes();
    if text.contains(&b'\n') {
        text.iter().copied().filter(|byte| *byte != b'\n').collect::<Vec<u8>>().into()
    } else {
        bytes::Bytes::copy_from_slice(text)
    }
}

/// The deepest nesting of a text, valid or not.
fn depth(text: &str) -> usize {
    let (mut now, mut most, mut string, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if string => escaped = true,
            b'"' => string = !string,
            b'{' | b'[' if !string => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// The kind of a JSON error and its place, without any of the text.
fn describe(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Eof => "ends too early",
        Category::Data if error.to_string().starts_with("a name is there twice") => "has a name twice",
        Category::Data => "is not an object",
        Category::Syntax | Category::Io => "is not JSON",
    };
    format!("{what}, at byte {} of line {}", error.column(), error.line())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_strictly() {
        for bad in ["", "[]", "null", "\"x\"", "1", "{", "{}x", "{\"a\":1,\"a\":2}", "\u{feff}{}", "{\"a\":}"]
        {
            assert!(Object::parse(bad.as_bytes(), MAX_DEPTH).is_err(), "{bad}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}", MAX_DEPTH).is_err());
        assert!(Object::parse(r#"{"a":1,"\u0061":2}"#.as_bytes(), MAX_DEPTH).is_err());
        let deep = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
        assert!(Object::parse(deep(MAX_DEPTH - 1).as_bytes(), MAX_DEPTH).is_ok());
        assert!(Object::parse(deep(MAX_DEPTH).as_bytes(), MAX_DEPTH).is_err());
        assert!(Object::parse("[".repeat(10_000).as_bytes(), MAX_DEPTH).is_err());
        let brackets_in_text = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(99), "{".repeat(99));
        assert!(Object::parse(brackets_in_text.as_bytes(), MAX_DEPTH).is_ok());
    }

    #[test]
    fn names_are_found_in_any_case_and_two_spellings_are_seen() {
        let object =
            Object::parse(r#"{"SUB":"a","Exp":1,"x":2,"X":3,"\u017fcope":4}"#.as_bytes(), MAX_DEPTH).unwrap();
        assert_eq!(object.get("sub").map(RawValue::get), Some("\"a\""));
        assert_eq!(object.get("exp").map(RawValue::get), Some("1"));
        assert_eq!(object.get("scope").map(RawValue::get), Some("4"));
        assert_eq!(object.path("Exp").map(RawValue::get), Some("1"));
        assert!(object.path("exp").is_none(), "a path that was configured means what it says");
        assert_eq!(object.twice(&["sub", "exp"]), None);
        assert_eq!(object.twice(&["sub", "x"]), Some("x"));
    }

    #[test]
    fn many_names_are_compared_too() {
        let mut names: Vec<String> = (0..1000).map(|i| format!("\"c{i}\":{i}")).collect();
        assert_eq!(
            Object::parse(format!("{{{}}}", names.join(",")).as_bytes(), MAX_DEPTH)
                .unwrap()
                .members()
                .count(),
            1000
        );
        for twice in ["\"c3\":1", "\"c999\":1"] {
            names.push(twice.into());
            assert!(Object::parse(format!("{{{}}}", names.join(",")).as_bytes(), MAX_DEPTH).is_err());
            names.pop();
        }
    }

    #[test]
    fn paths_find_names_with_dots() {
        let text = br#"{"a":{"b":{"c":1}},"https://x.example/user":"u","a.b":{"d":2},"n":null,"s":"x"}"#;
        let object = Object::parse(text, MAX_DEPTH).unwrap();
        let at = |path: &str| object.path(path).map(RawValue::get);
        assert_eq!(at("a"), Some(r#"{"b":{"c":1}}"#));
        assert_eq!(at("https://x.example/user"), Some("\"u\""));
        assert_eq!(at("a.b.d"), Some("2"));
        assert_eq!(at("a.b.c"), None, "the longer name wins, without going back");
        for absent in ["", ".", "a.", ".a", "n", "n.a", "s.x", "a..b", "z"] {
            assert_eq!(at(absent), None, "{absent}");
        }
    }
}

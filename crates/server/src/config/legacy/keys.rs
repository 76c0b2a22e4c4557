//! The facts of `keys.txt`: which version knew which key, and sets of versions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

/// Minor versions in the order of their release. The last is for v6 and later.
const NAMES: [&str; 21] = [
    "1.8", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8", "3.0", "3.1", "3.2", "4.0", "4.1",
    "5.0", "5.1", "5.2", "5.3", "5.4", "6",
];

/// A set of minor versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Versions(u32);

impl Versions {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self((1 << 21) - 1);
    pub(super) const V1: Self = Self(1);
    pub(super) const UP_TO_V2: Self = Self((1 << 10) - 1);
    pub(super) const UP_TO_V3: Self = Self((1 << 13) - 1);
    pub(super) const V3: Self = Self(Self::UP_TO_V3.0 & !Self::UP_TO_V2.0);
    pub(super) const V5: Self = Self(0b1_1111 << 15);
    pub(super) const V6: Self = Self(1 << 20);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Some version is in both sets.
    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Every version of this set is in the other one.
    pub(super) const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The version that came after the last of this set.
    pub(super) fn next(self) -> &'static str {
        let next = (u32::BITS - self.0.leading_zeros()) as usize;
        NAMES.get(next).copied().unwrap_or("6")
    }

    /// Reads `1.8,4.0-5.4`.
    fn parse(text: &str) -> Option<Self> {
        let index = |name: &str| NAMES.iter().position(|known| *known == name);
        let mut versions = Self::NONE;
        for span in text.split(',') {
            let (from, to) = span.split_once('-').unwrap_or((span, span));
            let (from, to) = (index(from)?, index(to)?);
            versions.0 |= (from..=to).fold(0, |bits, at| bits | 1 << at);
        }
        Some(versions)
    }
}

/// "v1.8 and v4.0 to v5.4"
impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |at: usize| self.0 >> at & 1 == 1;
        let mut at = 0;
        let mut first = true;
        while at < NAMES.len() {
            if !has(at) {
                at += 1;
                continue;
            }
            let from = at;
            while at < NAMES.len() && has(at) {
                at += 1;
            }
            f.write_str(if first { "" } else { " and " })?;
            first = false;
            match (from, at) {
                (from, 21) => write!(f, "v{} and later", NAMES[from])?,
                (from, to) if to == from + 1 => write!(f, "v{}", NAMES[from])?,
                (from, to) => write!(f, "v{} to v{}", NAMES[from], NAMES[to - 1])?,
            }
        }
        Ok(())
    }
}

/// The kind of value that an old key took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Bool,
    Int,
    Text,
    Texts,
    Seconds,
    Duration,
    Map,
    Object,
    List,
}

/// A key of older versions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// The versions that had it.
    pub(super) versions: Versions,
    /// The versions in which its value was a bare number of seconds.
    pub(super) seconds: Versions,
    /// The versions in which it was a flag too.
    pub(super) flag: Versions,
    /// The kind of value that it took last.
    pub(super) takes: Takes,
}

/// A default that was another than that of v6.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormerDefault {
    pub(super) key: &'static str,
    pub(super) versions: Versions,
    /// The value, as v6 writes it.
    pub(super) value: &'static str,
}

/// The keys of versions before 6 by their full names, as in `keys.txt`.
pub(super) fn all() -> &'static BTreeMap<&'static str, Key> {
    static KEYS: OnceLock<BTreeMap<&'static str, Key>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let mut keys = BTreeMap::new();
        for (name, line, _) in lines().filter_map(read) {
            let key =
                keys.entry(name).or_insert(Key { versions: Versions::NONE, flag: Versions::NONE, ..line });
            key.versions = key.versions.or(line.versions);
            key.seconds = key.seconds.or(line.seconds);
            key.flag = key.flag.or(line.flag);
            key.takes = line.takes;
        }
        keys
    })
}

/// The defaults that were others than those of v6.
pub(super) fn defaults() -> impl Iterator<Item = FormerDefault> {
    let default = |(key, line, value): (_, Key, Option<_>)| {
        value.map(|value| FormerDefault { key, versions: line.versions, value })
    };
    lines().filter_map(read).filter_map(default)
}

/// The key of a full name.
pub(super) fn find(name: &str) -> Option<Key> {
    all().get(name).copied()
}

fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("keys.txt").lines().filter(|line| !line.starts_with('#'))
}

fn read(line: &'static str) -> Option<(&'static str, Key, Option<&'static str>)> {
    let mut words = line.split_whitespace();
    let (name, versions, takes) = (words.next()?, Versions::parse(words.next()?)?, words.next()?);
    let (mut flag, mut default) = (Versions::NONE, None);
    while let Some(word) = words.next() {
        match word {
            "flag" => flag = Versions::parse(words.next()?)?,
            "default" => default = Some(words.next()?),
            _ => return None,
        }
    }
    let takes = match takes {
        "bool" => Takes::Bool,
        "int" => Takes::Int,
        "text" => Takes::Text,
        "texts" => Takes::Texts,
        "seconds" => Takes::Seconds,
        "duration" => Takes::Duration,
        "map" => Takes::Map,
        "object" => Takes::Object,
        "list" => Takes::List,
        _ => return None,
    };
    let seconds = if takes == Takes::Seconds { versions } else { Versions::NONE };
    Some((name, Key { versions, seconds, flag, takes }, default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        for line in lines() {
            assert!(read(line).is_some(), "{line}");
        }
        assert_eq!(all().len(), 560);
    }

    #[test]
    fn sets_are_written_as_people_say_them() {
        for (text, said) in [
            ("1.8", "v1.8"),
            ("2.0-2.8", "v2.0 to v2.8"),
            ("1.8,4.0-5.4", "v1.8 and v4.0 to v5.4"),
            ("5.2-6", "v5.2 and later"),
            ("6", "v6 and later"),
        ] {
            assert_eq!(Versions::parse(text).map(|versions| versions.to_string()).as_deref(), Some(said));
        }
        assert_eq!(Versions::parse("2.9"), None);
        assert_eq!(
            (Versions::V1.next(), Versions::UP_TO_V2.next(), Versions::V5.next()),
            ("2.0", "3.0", "6")
        );
    }

    #[test]
    fn eras_are_made_of_their_versions() {
        for (versions, text) in [
            (Versions::V1, "1.8"),
            (Versions::UP_TO_V2, "1.8-2.8"),
            (Versions::UP_TO_V3, "1.8-3.2"),
            (Versions::V3, "3.0-3.2"),
            (Versions::V5, "5.0-5.4"),
            (Versions::V6, "6"),
            (Versions::ALL, "1.8-6"),
        ] {
            assert_eq!(Versions::parse(text), Some(versions));
        }
    }
}

//! Text with placeholders that are filled in when it is sent.
//!
//! `<n>` is a number that runs over all that a connection sends, `<c>` the number of the connection, `<pad N>` stands
//! for N bytes, `<token>` for a valid token of the connection's user, with the `jti` `jN` where N is its number.

use crate::protocol::Signer;
use std::io::Write as _;

/// A text and its placeholders.
pub(super) struct Template(Vec<Part>);

enum Part {
    Text(Box<[u8]>),
    Number,
    Connection,
    Pad(usize),
    Token,
}

/// Values for the placeholders.
pub(super) struct Values<'a> {
    pub(super) number: u64,
    pub(super) connection: usize,
    pub(super) signer: Option<&'a Signer>,
}

impl Template {
    pub(super) fn new(text: &str) -> Self {
        let (mut parts, mut rest) = (Vec::new(), text);
        let mut plain = String::new();
        while let Some(at) = rest.find('<') {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            let place = from.find('>').and_then(|end| Some((end, Part::place(&from[1..end])?)));
            let Some((end, part)) = place else {
                plain.push('<');
                rest = &from[1..];
                continue;
            };
            parts.push(Part::Text(std::mem::take(&mut plain).into_bytes().into()));
            parts.push(part);
            rest = &from[end + 1..];
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain.into_bytes().into()));
        Self(parts)
    }

    /// Returns true if the text is the same each time that one connection sends it.
    pub(super) fn is_constant(&self) -> bool {
        !self.0.iter().any(|part| matches!(part, Part::Number))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, values: &Values<'_>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                // Writing to a vector does not fail.
                Part::Number => drop(write!(out, "{}", values.number)),
                Part::Connection => drop(write!(out, "{}", values.connection)),
                Part::Pad(size) => out.resize(out.len() + size, b'x'),
                Part::Token => {
                    let token = values.signer.map(|signer| signer.token(&format!("u{}", values.connection)));
                    out.extend_from_slice(token.unwrap_or_default().as_bytes());
                }
            }
        }
    }
}

impl Part {
    fn place(name: &str) -> Option<Self> {
        match name {
            "n" => Some(Self::Number),
            "c" => Some(Self::Connection),
            "token" => Some(Self::Token),
            _ => name.strip_prefix("pad ")?.parse().ok().map(Self::Pad),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        let mut out = Vec::new();
        Template::new(text).write(&mut out, &Values { number: 7, connection: 3, signer: None });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn places_are_filled_and_all_else_stays() {
        assert_eq!(filled("{\"id\":<n>,\"c\":\"<c>:<pad 4>\"}"), "{\"id\":7,\"c\":\"3:xxxx\"}");
        assert_eq!(filled("a < b > c <other> <pad x> <"), "a < b > c <other> <pad x> <");
        assert_eq!(filled(""), "");
        let signer = Signer::new("secret");
        let mut out = Vec::new();
        let values = Values { number: 1, connection: 2, signer: Some(&signer) };
        Template::new("<token>").write(&mut out, &values);
        assert_eq!(String::from_utf8(out).unwrap(), signer.token("u2"));
    }

    #[test]
    fn what_has_a_running_number_is_not_constant() {
        assert!(Template::new("<c><pad 3>").is_constant());
        assert!(!Template::new("x<n>").is_constant());
    }
}

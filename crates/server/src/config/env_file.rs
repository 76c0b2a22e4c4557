//! Variables of the file `.env` in the working folder, as Centrifugo v6.9 reads them at start.
//!
//! ```text
//! # a comment
//! CENTRIFUGO_HTTP_API_KEY=plain text up to a comment # such as this
//! export SPINWARD_LOG_LEVEL='as it is'
//! SPINWARD_CLIENT_TOKEN_RSA_PUBLIC_KEY="\n and \r are line breaks, and so is
//! a line break"
//! ```

use super::Vars;
use super::env::PREFIXES;
use std::path::{Path, PathBuf};

/// Name of the file.
pub const NAME: &str = ".env";

/// A file of variables that cannot be used. Shows none of its text.
#[derive(Debug, thiserror::Error)]
pub enum EnvFileError {
    /// It cannot be opened, or is not text.
    #[error("{}: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A line begins with the name of a variable of the server and sets none.
    #[error("{}: line {line}: write NAME=VALUE, and end a value in quotes with the same quote", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Number of the line.
        line: usize,
    },
}

impl Vars {
    /// Adds the variables of a file, if it is there, that are options of the server and that the environment does not
    /// have. Returns true if there were some.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn add_file(&mut self, path: &Path) -> Result<bool, EnvFileError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(EnvFileError::Open { path: path.to_owned(), source }),
        };
        let pairs = pairs(&text).map_err(|line| EnvFileError::Form { path: path.to_owned(), line })?;
        let mut some = false;
        for (name, value) in pairs {
            if is_ours(name) && !self.0.contains_key(name) {
                self.0.insert(name.to_owned(), value);
                some = true;
            }
        }
        Ok(some)
    }
}

/// The variables of a text, the last of one name first, or the number of a line that sets none of the server's but should.
///
/// The file may be another program's too: what is no variable of the server need not be right.
fn pairs(text: &str) -> Result<Vec<(&str, String)>, usize> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        match pair(rest, line, after) {
            Some((name, value, behind)) => {
                found.push((name, value));
                rest = behind;
            }
            None if is_ours(name(line)) => {
                return Err(text[..text.len() - rest.len()].matches('\n').count() + 1);
            }
            None => rest = after,
        }
        rest = rest.trim_start();
    }
    found.reverse();
    Ok(found)
}

fn is_ours(name: &str) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The part of a line before its value.
fn name(line: &str) -> &str {
    let name = line.split('=').next().unwrap_or_default().trim();
    name.strip_prefix("export ").unwrap_or(name).trim()
}

/// The variable that a text begins with, its value, and what is behind it. `line` is the first line, `after` the others.
fn pair<'a>(text: &'a str, line: &'a str, after: &'a str) -> Option<(&'a str, String, &'a str)> {
    let (_, value) = line.split_once('=')?;
    let name = name(line);
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let start = value.trim_start();
    let Some(quote) = start.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        let plain = start.split_once(" #").map_or(start, |(plain, _)| plain);
        return Some((name, plain.trim().to_owned(), after));
    };
    // The value may go on behind the line.
    let (value, behind) = quoted(text.get(line.len() - start.len() + 1..)?, quote)?;
    let (end, after) = behind.split_once('\n').unwrap_or((behind, ""));
    let end = end.trim();
    (end.is_empty() || end.starts_with('#')).then_some((name, value, after))
}

/// A value up to its quote, and what is behind that.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, &text[at + 1..])),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                other => value.push(other),
            },
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_plain_or_in_quotes() {
        let text = "\u{20}# first\n\nA=b\nexport B = c d # e\nC='x # \\n'\nD=\"k\\nl\\\"m\nn\" # o\r\nE=\nF=a#b\nA=last";
        let found = pairs(text).unwrap();
        let get =
            |name: &str| found.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str());
        assert_eq!((get("A"), get("B"), get("C")), (Some("last"), Some("c d"), Some("x # \\n")));
        assert_eq!((get("D"), get("E"), get("F")), (Some("k\nl\"m\nn"), Some(""), Some("a#b")));
        assert!(pairs("").unwrap().is_empty());
    }

    #[test]
    fn a_line_that_is_wrong_is_named_if_it_is_the_servers() {
        for (text, line) in [
            ("A=b\nSPINWARD_A hush", 2),
            ("\nCENTRIFUGO_A-B=hush", 2),
            ("export SPINWARD_A=\"hush", 1),
            ("SPINWARD_A='b' hush", 1),
        ] {
            assert_eq!(pairs(text).unwrap_err(), line, "{text}");
        }
        let others = "text\n=x\na b=c\nA.B=c\nA=\"x\nB: 'c' d\nSPINWARD_A=a\nC='b' d\n";
        assert_eq!(pairs(others).unwrap(), [("SPINWARD_A", "a".to_owned())]);
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let file = std::env::temp_dir().join(format!("spinward-{}.env", std::process::id()));
        std::fs::write(&file, "CENTRIFUGO_A=file\nSPINWARD_B=file\nPATH=file\n").unwrap();
        let mut vars = Vars::from_iter([("CENTRIFUGO_A".to_owned(), "environment".to_owned())]);
        assert!(vars.add_file(&file).unwrap());
        assert_eq!((vars.get("CENTRIFUGO_A"), vars.get("SPINWARD_B")), (Some("environment"), Some("file")));
        assert_eq!(vars.get("PATH"), None);
        std::fs::write(&file, "SPINWARD_C hush").unwrap();
        let error = vars.add_file(&file).unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("hush"), "{error}");
        std::fs::remove_file(&file).unwrap();
        assert!(!vars.add_file(&file).unwrap());
    }
}

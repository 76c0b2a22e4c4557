//! Foreign text in messages for people.

/// A foreign text for a log line: short, on one line, without control characters.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 64;
    let short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_short_and_on_one_line() {
        assert_eq!(quoted("a\nb\u{1b}"), "\"a\\nb\\u{1b}\"");
        assert!(quoted(&"x".repeat(1000)).len() < 80);
    }
}

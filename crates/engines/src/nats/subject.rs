//! Channels as NATS subjects, and back.
//!
//! A channel may contain anything, a subject may not: it is made of non-empty tokens with dots between, spaces and
//! line ends would end it, `*` and `>` are wildcards. A dot between two other characters stays a dot, so that tools of
//! NATS see the structure of channels. Every other byte that is not a plain character of ASCII becomes `%` and two hex
//! digits, and so does `%`. The empty channel is `%`. What is encoded can be decoded, so two channels never share a
//! subject.
//!
//! Raw mode takes subjects of other programs as they are. There two channels may well share one.

use super::config::{Config, RawMode};
use super::error::NatsError;

/// Most bytes of a subject. The server ends connections whose protocol lines are longer than 4,096 bytes.
const LONGEST: usize = 2_048;

/// Names of channels in NATS.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    prefix: String,
    wildcards: bool,
    raw: Option<RawMode>,
}

/// The subject of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) text: String,
    /// It has wildcards: messages of other channels match it.
    pub(super) pattern: bool,
}

impl Subjects {
    /// Subjects of a kind (a token) below the prefix of the settings.
    pub(super) fn new(config: &Config, kind: &str) -> Self {
        Self { prefix: format!("{}.{kind}.", config.prefix), wildcards: false, raw: None }
    }

    /// The same, with wildcards and raw mode if the settings have them.
    pub(super) fn of_broker(config: &Config, kind: &str) -> Self {
        let raw = config.raw.clone();
        Self { wildcards: config.allow_wildcards, raw, ..Self::new(config, kind) }
    }

    pub(super) const fn is_raw(&self) -> bool {
        self.raw.is_some()
    }

    /// The subject to subscribe to.
    pub(super) fn of(&self, channel: &str) -> Result<Subject, NatsError> {
        let subject = match &self.raw {
            Some(raw) => raw_subject(raw, channel, self.wildcards)?,
            None => {
                let mut text = self.prefix.clone();
                let pattern = encode(channel, self.wildcards, &mut text);
                Subject { text, pattern }
            }
        };
        if subject.text.len() > LONGEST {
            return Err(NatsError::Subject("it is too long"));
        }
        Ok(subject)
    }

    /// The subject to publish to, which has no wildcards.
    pub(super) fn exact(&self, channel: &str) -> Result<String, NatsError> {
        let subject = self.of(channel)?;
        if subject.pattern {
            return Err(NatsError::Subject("nothing can be published to a pattern"));
        }
        Ok(subject.text)
    }

    /// The channel of a message whose subject matches that of a pattern.
    pub(super) fn channel(&self, pattern: &str, subject: &str) -> Option<String> {
        match &self.raw {
            Some(raw) => raw_channel(raw, pattern, subject),
            None => decode(subject.strip_prefix(&self.prefix)?),
        }
    }
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'.' | b'*' | b'>' | b'%')
}

/// Appends the subject of a channel. Returns true if it has wildcards.
pub(super) fn encode(channel: &str, wildcards: bool, out: &mut String) -> bool {
    if channel.is_empty() {
        out.push('%');
        return false;
    }
    let bytes = channel.as_bytes();
    let inner = |at: usize| bytes.get(at).is_some_and(|byte| *byte != b'.');
    let separates = |at: usize| bytes.get(at) == Some(&b'.') && at > 0 && inner(at - 1) && inner(at + 1);
    let (mut pattern, mut from) = (false, 0);
    while from <= bytes.len() {
        let end = (from..bytes.len()).find(|at| separates(*at)).unwrap_or(bytes.len());
        let token = bytes.get(from..end).unwrap_or_default();
        if from > 0 {
            out.push('.');
        }
        if wildcards && (token == b"*" || (token == b">" && end == bytes.len())) {
            pattern = true;
            out.push(if token == b"*" { '*' } else { '>' });
        } else {
            token.iter().for_each(|byte| push(*byte, out));
        }
        from = end + 1;
    }
    pattern
}

fn push(byte: u8, out: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    if is_plain(byte) {
        out.push(char::from(byte));
    } else {
        out.push('%');
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// The channel of a subject without its prefix. `None` if no channel has it.
pub(super) fn decode(subject: &str) -> Option<String> {
    if subject == "%" {
        return Some(String::new());
    }
    let mut channel = Vec::with_capacity(subject.len());
    let mut rest = subject.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            channel.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        channel.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(channel).ok()
}

fn raw_subject(raw: &RawMode, channel: &str, wildcards: bool) -> Result<Subject, NatsError> {
    let mut text = raw.prefix.clone();
    let mut rest = channel;
    while let Some(first) = rest.chars().next() {
        let fits = |(from, _): &(&String, &String)| !from.is_empty() && rest.starts_with(from.as_str());
        match raw.channel_replacements.iter().filter(fits).max_by_key(|(from, _)| from.len()) {
            Some((from, to)) => {
                text.push_str(to);
                rest = rest.get(from.len()..).unwrap_or_default();
            }
            None => {
                text.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(NatsError::Subject("it contains spaces or control characters"));
    }
    if text.split('.').any(str::is_empty) {
        return Err(NatsError::Subject("a part between two dots is empty"));
    }
    let count = text.split('.').count();
    let pattern = text.split('.').enumerate().any(|(at, token)| is_wildcard(token, at + 1 == count));
    if (pattern && !wildcards) || text.split('.').take(count - 1).any(|token| token == ">") {
        return Err(NatsError::Subject("it contains wildcards"));
    }
    Ok(Subject { text, pattern })
}

fn is_wildcard(token: &str, last: bool) -> bool {
    token == "*" || (token == ">" && last)
}

/// The pattern with its wildcards replaced by what they stand for in a subject. Where replacements hide which that is,
/// the subject without the prefix.
fn raw_channel(raw: &RawMode, pattern: &str, subject: &str) -> Option<String> {
    let matched = raw_subject(raw, pattern, true).ok()?.text;
    let count = matched.split('.').count();
    let mut tokens = subject.split('.');
    // For each `*` and `>` of the subject in order: what it stands for, which is itself within a longer token.
    let mut meanings = Vec::new();
    for (at, token) in matched.split('.').enumerate() {
        let found = tokens.next()?;
        if is_wildcard(token, at + 1 == count) {
            let mut meaning = found.to_owned();
            if token == ">" {
                tokens.by_ref().for_each(|more| {
                    meaning.push('.');
                    meaning.push_str(more);
                });
            }
            meanings.push(meaning);
        } else {
            meanings.extend(token.matches(['*', '>']).map(str::to_owned));
        }
    }
    if meanings.len() != pattern.matches(['*', '>']).count() {
        return subject.strip_prefix(&raw.prefix).map(str::to_owned);
    }
    let mut meanings = meanings.into_iter();
    let mut channel = String::with_capacity(subject.len());
    for one in pattern.chars() {
        match one {
            '*' | '>' => channel.push_str(&meanings.next()?),
            other => channel.push(other),
        }
    }
    Some(channel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn subjects(allow_wildcards: bool, raw: Option<RawMode>) -> Subjects {
        Subjects::of_broker(&Config { allow_wildcards, raw, ..Config::default() }, "client")
    }

    fn encoded(channel: &str) -> String {
        let mut out = String::new();
        assert!(!encode(channel, false, &mut out));
        out
    }

    fn is_exact_subject(text: &str) -> bool {
        text.split('.').all(|token| {
            !token.is_empty()
                && token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
        })
    }

    #[test]
    fn a_million_channels_have_subjects_of_their_own() {
        // Short texts of the characters that matter meet each other often; each is compared with all before it.
        const LETTERS: [&str; 16] =
            [".", "*", ">", " ", "%", "2", "E", "5", "\r", "\n", "\0", "a", "A", "\u{e4}", "\u{2003}", "$"];
        let mut seen: HashMap<String, String> = HashMap::new();
        let mut number = 1_u64;
        for _ in 0..1_000_000 {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            let length = number % 7;
            let letter = |at: u64| LETTERS[(number >> (8 + 4 * at)) as usize % LETTERS.len()];
            let channel: String = (0..length).map(letter).collect();
            let subject = encoded(&channel);
            assert!(is_exact_subject(&subject), "{channel:?} is {subject:?}");
            assert_eq!(decode(&subject).as_deref(), Some(&*channel));
            let first = seen.entry(subject).or_insert_with(|| channel.clone());
            assert_eq!(*first, channel);
        }
        assert!(seen.len() > 300_000, "{} different channels", seen.len());
    }

    proptest! {
        #[test]
        fn any_text_is_decoded_as_it_was_encoded(channel in ".{0,40}") {
            let subject = encoded(&channel);
            prop_assert!(is_exact_subject(&subject), "{:?} is {:?}", channel, subject);
            prop_assert_eq!(decode(&subject), Some(channel));
        }

        #[test]
        fn no_subject_causes_a_panic(subject in ".{0,20}", pattern in "[a.*>:]{0,8}") {
            let _ = decode(&subject);
            let raw = RawMode { prefix: "p.".to_owned(), channel_replacements: [(":".to_owned(), ".".to_owned())].into() };
            let _ = raw_channel(&raw, &pattern, &subject);
        }
    }

    #[test]
    fn patterns_are_whole_tokens() {
        let patterns = subjects(true, None);
        for (channel, subject, pattern) in [
            ("a.*", "centrifugo.client.a.*", true),
            ("a.>", "centrifugo.client.a.>", true),
            ("*", "centrifugo.client.*", true),
            ("a.*.b", "centrifugo.client.a.*.b", true),
            ("a.>.b", "centrifugo.client.a.%3E.b", false),
            ("a*", "centrifugo.client.a%2A", false),
            ("a..*", "centrifugo.client.a%2E%2E%2A", false),
            ("a b.c", "centrifugo.client.a%20b.c", false),
            ("", "centrifugo.client.%", false),
        ] {
            let found = patterns.of(channel).unwrap();
            assert_eq!((&*found.text, found.pattern), (subject, pattern), "{channel}");
            assert_eq!(patterns.exact(channel).is_ok(), !pattern);
        }
        assert_eq!(patterns.channel("a.*", "centrifugo.client.a.b%20c").as_deref(), Some("a.b c"));
        assert_eq!(subjects(false, None).of("a.*").unwrap().text, "centrifugo.client.a.%2A");
    }

    #[test]
    fn raw_subjects_are_those_of_other_programs() {
        let replacements = [(":".to_owned(), ".".to_owned()), ("::".to_owned(), "-".to_owned())];
        let raw = RawMode { prefix: "x.".to_owned(), channel_replacements: replacements.into() };
        let plain = subjects(false, Some(raw.clone()));
        assert_eq!(plain.exact("chat:index").unwrap(), "x.chat.index");
        assert_eq!(plain.exact("chat::index").unwrap(), "x.chat-index");
        for wrong in ["a b", "a\r\nPUB x 0", "a\u{7f}", "chat:", ":a", "", "a.*", "a.>", ">"] {
            assert!(plain.of(wrong).is_err(), "{wrong:?}");
        }
        let patterns = subjects(true, Some(raw));
        assert!(patterns.of("a.>.b").is_err());
        let pattern = patterns.of("chat:*").unwrap();
        assert_eq!((&*pattern.text, pattern.pattern), ("x.chat.*", true));
        assert_eq!(patterns.channel("chat:*", "x.chat.index").as_deref(), Some("chat:index"));
        assert_eq!(patterns.channel("chat:>", "x.chat.a.b").as_deref(), Some("chat:a.b"));
        assert_eq!(patterns.channel("a*:*", "x.a*.b").as_deref(), Some("a*:b"));
    }

    #[test]
    fn a_subject_fits_into_a_line_of_the_protocol() {
        let plain = subjects(false, None);
        assert!(plain.of(&"a".repeat(2_000)).is_ok());
        assert!(plain.of(&"a".repeat(2_048)).is_err());
        assert!(plain.of(&"\u{e4}".repeat(400)).is_err(), "six bytes for each");
    }
}

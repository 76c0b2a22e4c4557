use super::*;
use proptest::prelude::*;

fn unpacked(text: &str) -> Result<String, DecodeError> {
    let mut bytes = text.as_bytes().to_vec();
    let len = unpack(&mut bytes)?;
    bytes.truncate(len);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn messages_are_unpacked_onto_lines() {
    for (packed, messages) in [
        ("[]", ""),
        (" [ ] ", ""),
        (r#"["a"]"#, "a"),
        (r#""a""#, "a"),
        (r#" [ "a" , "b" ] "#, "a\nb"),
        (r#"["","a","","b",""]"#, "a\nb"),
        (r#"["a\n","b"]"#, "a\nb"),
        (r#"["{\"id\":1}","{\"id\":2}"]"#, "{\"id\":1}\n{\"id\":2}"),
        (r#"["\"\\\/\b\f\n\r\t"]"#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#"["\u0041\u00e9\u20ac\ud83d\ude00é"]"#, "Aé€😀é"),
        (r#"["\ud83d","\ude00\ud83dx"]"#, "\u{fffd}\n\u{fffd}\u{fffd}x"),
    ] {
        assert_eq!(unpacked(packed), Ok(messages.to_owned()), "{packed}");
    }
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        "x",
        "[",
        "]",
        "\"a",
        "[\"a",
        "[\"a\"",
        "[\"a\",",
        "[\"a\",]",
        "[,]",
        "[1]",
        "[\"a\" \"b\"]",
        "[[\"a\"]]",
        "{}",
        "null",
        "[\"a\"]x",
        "[\"\\x\"]",
        "[\"\\u12\"]",
        "[\"a\nb\"]",
    ] {
        assert_eq!(unpacked(text), Err(DecodeError::Syntax), "{text}");
    }
}

#[test]
fn percent_signs_of_events_are_escaped() {
    let framed = |framing| {
        let mut out = Vec::new();
        append_message(framing, b"{\"a\":\"100% %\"}", &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(framed(Framing::SockJsEvents), "data: a[\"{\\\"a\\\":\\\"100%25 %25\\\"}\"]\r\n\r\n");
    assert_eq!(framed(Framing::SockJsLines), "a[\"{\\\"a\\\":\\\"100% %\\\"}\"]\n");
}

/// A string literal with every character escaped in the way that its choice says.
fn literal(text: &str, choices: &[u8]) -> String {
    let mut out = String::from("\"");
    for (character, choice) in text.chars().zip(choices.iter().copied().cycle()) {
        let must = matches!(character, '"' | '\\') || character < ' ';
        if must || choice % 3 == 0 {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&if choice % 2 == 0 {
                    format!("\\u{unit:04x}")
                } else {
                    format!("\\u{unit:04X}")
                });
            }
        } else {
            out.push(character);
        }
    }
    out.push('"');
    out
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked(
        messages in prop::collection::vec(".{0,20}", 0..6),
        choices in prop::collection::vec(any::<u8>(), 1..8),
        space in "[ \t\r\n]{0,2}",
    ) {
        let items: Vec<String> = messages.iter().map(|message| literal(message, &choices)).collect();
        let packed = format!("{space}[{space}{}{space}]{space}", items.join(&format!("{space},{space}")));
        let kept: Vec<&str> = messages.iter().map(String::as_str).filter(|message| !message.is_empty()).collect();
        prop_assert_eq!(unpacked(&packed), Ok(kept.join("\n")));
    }

    #[test]
    fn what_is_written_is_read_back(message in "\\PC{1,80}") {
        let mut out = Vec::new();
        append_message(Framing::SockJsLines, message.as_bytes(), &mut out);
        let frame = String::from_utf8(out).unwrap();
        let packed = frame.strip_prefix('a').and_then(|rest| rest.strip_suffix('\n')).unwrap();
        prop_assert!(!packed.contains('\n'));
        prop_assert_eq!(unpacked(packed), Ok(message));
    }

    #[test]
    fn any_bytes_end_well(mut bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let len = bytes.len();
        if let Ok(written) = unpack(&mut bytes) {
            prop_assert!(written < len);
        }
    }
}

use super::*;
use proptest::prelude::*;

#[test]
fn names_are_taken_apart() {
    let syntax = Syntax::default();
    for (channel, namespace, rest, private) in [
        ("x", None, "x", false),
        ("ns:x", Some("ns"), "x", false),
        ("ns:x:y", Some("ns"), "x:y", false),
        ("ns:", Some("ns"), "", false),
        ("ns::x", Some("ns"), ":x", false),
        (":x", None, "x", false),
        ("$ns:x", Some("ns"), "x", true),
        ("$x", None, "$x", true),
        ("$", None, "$", true),
        ("$$ns:x", Some("$ns"), "x", true),
        ("ns\u{ff1a}x", None, "ns\u{ff1a}x", false),
        ("/a/b", None, "/a/b", false),
        ("", None, "", false),
    ] {
        let name = syntax.parse(channel);
        assert_eq!((name.namespace, name.rest, name.private), (namespace, rest, private), "{channel}");
    }
}

#[test]
fn only_listed_users_are_listed() {
    let syntax = Syntax::default();
    for (channel, user, expected) in [
        ("a#1", "1", Some(true)),
        ("a#1,2", "2", Some(true)),
        ("a#1,2", "1,2", Some(false)),
        ("a#1#2", "1", Some(false)),
        ("a#1#2", "2", Some(true)),
        ("a#1#2", "1#2", Some(false)),
        ("a#1, 2", "2", Some(false)),
        ("a#1, 2", " 2", Some(true)),
        ("a#12", "1", Some(false)),
        ("#1", "1", Some(true)),
        ("a#1:x", "1:x", Some(true)),
        ("a", "a", None),
    ] {
        let found = syntax.parse(channel).users.map(|users| users.contains(user));
        assert_eq!(found, expected, "{channel} {user}");
    }
}

#[test]
fn the_anonymous_user_is_on_no_list() {
    let syntax = Syntax::default();
    for channel in ["chat#", "chat#,", "chat#,7", "chat#7,", "chat##", "#", "$chat#", "chat#7"] {
        assert!(!syntax.parse(channel).users.unwrap().contains(""), "{channel}");
    }
    let single = Syntax { user_separator: String::new(), ..Syntax::default() };
    assert!(!single.parse("chat#").users.unwrap().contains(""));
    assert!(single.parse("chat#1,2").users.unwrap().contains("1,2"));
}

#[test]
fn empty_marks_switch_their_meaning_off() {
    let off = Syntax {
        private_prefix: String::new(),
        namespace_boundary: String::new(),
        user_boundary: String::new(),
        ..Syntax::default()
    };
    let name = off.parse("$ns:x#1");
    assert_eq!((name.namespace, name.rest, name.private, name.users), (None, "$ns:x#1", false, None));
}

#[test]
fn personal_channels_are_named_as_they_are_parsed() {
    let syntax = Syntax::default();
    assert_eq!(syntax.personal_channel("", "42"), "#42");
    assert_eq!(syntax.personal_channel("personal", "42"), "personal:#42");
    assert!(syntax.parse("personal:#42").users.unwrap().contains("42"));
}

/// The grammar once more, character by character, for marks of one character.
fn reference(channel: &str, user: &str) -> (bool, Option<String>, String, Option<bool>) {
    let chars: Vec<char> = channel.chars().collect();
    let private = chars.first() == Some(&'$');
    let start = usize::from(private);
    let mut boundary = None;
    for (at, c) in chars.iter().enumerate().skip(start) {
        if *c == ':' {
            boundary = Some(at);
            break;
        }
    }
    let (namespace, rest) = match boundary {
        None => (String::new(), chars.clone()),
        Some(at) => (chars[start..at].iter().collect(), chars[at + 1..].to_vec()),
    };
    let namespace = if namespace.is_empty() { None } else { Some(namespace) };
    let mut last_hash = None;
    for (at, c) in chars.iter().enumerate() {
        if *c == '#' {
            last_hash = Some(at);
        }
    }
    let listed = last_hash.map(|at| {
        let mut word = String::new();
        let mut found = false;
        for c in chars[at + 1..].iter().chain([&',']) {
            if *c == ',' {
                found |= word == user && !user.is_empty();
                word.clear();
            } else {
                word.push(*c);
            }
        }
        found
    });
    (private, namespace, rest.into_iter().collect(), listed)
}

proptest! {
    #[test]
    fn parsing_agrees_with_the_reference(channel in "[$:#,a1é/]{0,12}", user in "[a1,#]{0,2}") {
        let syntax = Syntax::default();
        let name = syntax.parse(&channel);
        let got = (
            name.private,
            name.namespace.map(str::to_owned),
            name.rest.to_owned(),
            name.users.map(|users| users.contains(&user)),
        );
        prop_assert_eq!(got, reference(&channel, &user));
        prop_assert!(channel.ends_with(name.rest));
    }

    #[test]
    fn any_string_and_any_marks_parse(channel in ".{0,40}", marks in prop::collection::vec(".{0,3}", 4), patterns: bool) {
        let [private_prefix, namespace_boundary, user_boundary, user_separator] = <[String; 4]>::try_from(marks).unwrap();
        let syntax = Syntax {
            private_prefix, namespace_boundary, user_boundary, user_separator, max_length: 255, patterns,
        };
        let name = syntax.parse(&channel);
        prop_assert!(channel.ends_with(name.rest));
        if let Some(users) = name.users {
            prop_assert!(!users.contains(""));
            prop_assert!(users.iter().count() > 0);
        }
    }
}

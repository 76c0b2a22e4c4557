//! Scopes beside every method of the list.

use super::*;
use crate::api::access::{Callers, Refused, Usages};
use crate::params::Params;
use crate::secret::Secret;
use serde_json::{Value, json};
use spinward::clock::Now;

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn caller(methods: &[&str], channels: &[&str], rate: u32, clock: &Clock) -> Caller {
    let scope = Scope::new(&list(methods), &list(channels), rate).unwrap();
    Caller::new(scope, Usages::default().of("mail"), clock.clone())
}

/// The example of a method, with its channels replaced.
fn command(method: &'static str, channel: &str) -> Command {
    let method = METHODS.iter().find(|known| known.name == method).unwrap();
    let mut params: Value = serde_json::from_str(method.example).unwrap();
    let fields = params.as_object_mut().unwrap();
    if fields.contains_key("channel") {
        fields.insert("channel".to_owned(), channel.into());
    }
    if fields.contains_key("channels") {
        fields.insert("channels".to_owned(), json!(["news", channel]));
    }
    method.read(Params::parse(&params.to_string()).unwrap()).unwrap()
}

#[test]
fn a_key_for_one_method_allows_that_method_alone() {
    let clock = Clock::system();
    for allowed in METHODS {
        let caller = caller(&[allowed.name], &[], 0, &clock);
        for method in METHODS {
            let expected = if method.name == allowed.name {
                Ok(())
            } else {
                Err(Denied::Method { key: "mail".into(), method: method.name })
            };
            assert_eq!(
                caller.admit(&command(method.name, "x")),
                expected,
                "{} {}",
                allowed.name,
                method.name
            );
        }
    }
}

#[test]
fn a_key_for_channels_allows_every_method_for_them_alone() {
    let clock = Clock::system();
    let caller = caller(&[], &["news", "chat:*"], 0, &clock);
    for method in METHODS {
        let about_channels =
            (method.fields)().iter().any(|field| matches!(field.name, "channel" | "channels"));
        let admit = |channel| caller.admit(&command(method.name, channel));
        if matches!(method.name, "channels" | "connections") {
            assert_eq!(admit("news"), Err(Denied::AllChannels { key: "mail".into(), method: method.name }));
            continue;
        }
        for channel in ["news", "chat:", "chat:1"] {
            assert_eq!(admit(channel), Ok(()), "{} {channel}", method.name);
        }
        for channel in ["new", "news2", "chat", "xchat:1", "news:1"] {
            let named = json_names_channel(method.name);
            let expected = if about_channels && named {
                Err(Denied::Channel { key: "mail".into(), channel: channel.to_owned() })
            } else {
                Ok(())
            };
            assert_eq!(admit(channel), expected, "{} {channel}", method.name);
        }
    }
}

#[test]
fn a_key_for_channels_does_not_reach_all_users() {
    let clock = Clock::system();
    let caller = caller(&[], &["news"], 0, &clock);
    for method in METHODS.iter().filter(|method| matches!(method.name, "disconnect" | "refresh")) {
        let admit = |params| caller.admit(&method.read(Params::parse(params).unwrap()).unwrap());
        assert_eq!(admit(r#"{"user": "u"}"#), Ok(()), "{}", method.name);
        let all = admit(r#"{"all_users": true}"#);
        assert_eq!(all, Err(Denied::AllChannels { key: "mail".into(), method: method.name }));
    }
}

/// Returns true if the example of a method names a channel.
fn json_names_channel(method: &str) -> bool {
    let method = METHODS.iter().find(|known| known.name == method).unwrap();
    let params: Value = serde_json::from_str(method.example).unwrap();
    params.get("channel").or_else(|| params.get("channels")).is_some()
}

#[test]
fn an_unsubscribe_from_everything_concerns_all_channels() {
    let clock = Clock::system();
    let method = METHODS.iter().find(|method| method.name == "unsubscribe").unwrap();
    let everything = method.read(Params::parse(r#"{"user":"42"}"#).unwrap()).unwrap();
    let denied = caller(&[], &["news"], 0, &clock).admit(&everything).unwrap_err();
    assert_eq!(denied, Denied::AllChannels { key: "mail".into(), method: "unsubscribe" });
    assert_eq!(caller(&[], &[], 0, &clock).admit(&everything), Ok(()));
}

#[test]
fn every_method_with_a_parameter_for_channels_says_so() {
    for method in METHODS {
        let named = (method.fields)().iter().any(|field| matches!(field.name, "channel" | "channels"));
        if !named || !json_names_channel(method.name) {
            continue;
        }
        let command = command(method.name, "a-channel");
        let reached = match command.reach() {
            Reach::Channel(channel) => channel == "a-channel",
            Reach::Channels(channels) => channels.iter().any(|channel| channel == "a-channel"),
            Reach::Nothing | Reach::All => false,
        };
        assert!(reached, "{}", method.name);
        assert_eq!((command.name(), METHODS[command.position()].name), (method.name, method.name));
    }
}

#[test]
fn a_rate_counts_calls_that_are_allowed() {
    let clock = Clock::manual(Now { mono: 5_000, wall: 0 });
    let caller = caller(&["publish"], &[], 2, &clock);
    for _ in 0..3 {
        assert!(caller.admit(&command("info", "")).is_err());
    }
    assert_eq!(caller.admit(&command("publish", "x")), Ok(()));
    assert_eq!(caller.admit(&command("publish", "x")), Ok(()));
    let denied = caller.admit(&command("publish", "x")).unwrap_err();
    assert_eq!(denied, Denied::Rate { key: "mail".into(), rate: 2 });
    assert_eq!(ApiError::from(denied).code, 111);
    clock.advance(500);
    assert_eq!(caller.admit(&command("publish", "x")), Ok(()));
    assert_eq!(caller.usage.calls().collect::<Vec<_>>(), [("publish", 3)]);
    assert_eq!(caller.usage.denials().collect::<Vec<_>>(), [("method", 3), ("rate", 1)]);
}

#[test]
fn a_method_that_does_not_exist_is_named() {
    assert_eq!(Scope::new(&list(&["publish", "pubish"]), &[], 0), Err("pubish".to_owned()));
}

#[test]
fn two_keys_of_a_name_hold_at_a_time_and_one_ends() {
    let clock = Clock::manual(Now { mono: 0, wall: 1_000_000 });
    let usages = Usages::default();
    let mut callers = Callers::new(clock.clone());
    for (key, until) in [("old", Some(1_000)), ("new", None)] {
        let caller = Caller::new(Scope::default(), usages.of("mail"), clock.clone());
        callers.add(&Secret::from(key), until, Arc::new(caller));
    }
    for key in ["old", "new"] {
        callers.with_key(key.as_bytes()).unwrap().admit(&command("info", "")).unwrap();
    }
    assert_eq!(usages.of("mail").calls().collect::<Vec<_>>(), [("info", 2)]);
    for wrong in ["", "o", "olds", "OLD"] {
        assert_eq!(callers.with_key(wrong.as_bytes()).unwrap_err(), Refused::Key, "{wrong}");
    }
    clock.advance(1_000);
    assert_eq!(callers.with_key(b"old").unwrap_err(), Refused::Expired { name: "mail".into() });
    assert!(callers.with_key(b"new").is_ok());
    assert!(Callers::new(clock).with_key(b"").is_err(), "no key is not an empty key");
}

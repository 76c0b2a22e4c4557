//! Length limits of names, at every endpoint.

use super::api::{History, Presence, Publish, Unsubscribe, check};
use super::server_side::{ServerSide, server_side};
use super::*;

#[test]
fn a_name_that_is_too_long_to_keep_is_refused_everywhere() {
    let open = json!({
        "history_size": 1, "history_ttl": "1s", "presence": true, "allow_publish_for_client": true,
        "allow_subscribe_for_client": true, "allow_presence_for_client": true, "allow_history_for_client": true,
    });
    for (max_length, longest) in [(40, 1_024), (255, 1_024), (2_000, 2_000)] {
        let mut channel = open.clone();
        channel["name"] = json!("ns");
        let rules = rules(json!({"max_length": max_length, "namespaces": [channel]}));
        for (length, taken) in [(longest, true), (longest + 1, false), (60_000, false)] {
            let name = format!("ns:{}", "x".repeat(length - 3));
            let refused = (!taken).then_some(107);
            for action in [publish(b"{}"), Action::Presence, Action::PresenceStats, Action::History] {
                let what = format!("{action:?}: {length} of {max_length}");
                let decision = decide(&rules, &Request::new(action, &name, "u", NOW));
                assert_eq!(decision.code(), refused, "{what}");
            }
            let subscribed = decide(&rules, &Request::new(plain(), &name, "u", NOW));
            assert_eq!(subscribed.code(), (length > max_length).then_some(107), "subscribe: {length}");
            let publish = Publish { data: b"{}", skip_history: false, delta: false };
            let calls = [
                ("publish", code(&check(&rules, &name, publish))),
                ("unsubscribe", code(&check(&rules, &name, Unsubscribe))),
                ("presence", code(&check(&rules, &name, Presence))),
                ("history", code(&check(&rules, &name, History))),
            ];
            for (call, code) in calls {
                assert_eq!(code, refused, "{call}: {length} of {max_length}");
            }
            for source in [Source::ConnectionToken, Source::ServerApi] {
                let decision = server_side(&rules, &name, &ServerSide::new(source));
                assert_eq!(code(&decision), refused, "{source:?}: {length} of {max_length}");
                if let Err(refused) = decision {
                    assert_eq!(refused.rule, Rule::ChannelLength);
                }
            }
        }
    }
}

//! Properties that hold for all options and callers.

use super::*;
use crate::config::Duration;
use crate::config::typed::{Channel, ChannelNamespace, ChannelOptions};
use proptest::prelude::*;

fn options() -> impl Strategy<Value = ChannelOptions> {
    any::<u32>().prop_map(|bits| {
        let on = |at: u32| bits & (1 << at) != 0;
        ChannelOptions {
            presence: on(0),
            join_leave: on(1),
            force_push_join_leave: on(2),
            history_size: u32::from(on(3)),
            history_ttl: Duration::secs(u64::from(on(3))),
            force_positioning: on(4),
            allow_positioning: on(5),
            force_recovery: on(6) && on(3),
            allow_recovery: on(7),
            allow_tags_filter: on(8),
            allow_subscribe_for_client: on(9),
            allow_subscribe_for_anonymous: on(10),
            allow_publish_for_client: on(11),
            allow_publish_for_subscriber: on(12),
            allow_publish_for_anonymous: on(13),
            allow_presence_for_client: on(14),
            allow_presence_for_subscriber: on(15),
            allow_presence_for_anonymous: on(16),
            allow_history_for_client: on(17),
            allow_history_for_subscriber: on(18),
            allow_history_for_anonymous: on(19),
            allow_user_limited_channels: on(20),
            subscribe_proxy_enabled: on(21) && on(22),
            publish_proxy_enabled: on(23) && on(24),
            ..ChannelOptions::default()
        }
    })
}

fn rules_of(options: ChannelOptions, insecure: bool) -> Rules {
    let namespace =
        ChannelNamespace { name: "ns".to_owned(), pattern: String::new(), options: options.clone() };
    let channel = Channel {
        patterns: true,
        without_namespace: options,
        namespaces: vec![namespace],
        ..Channel::default()
    };
    Rules { insecure, ..Rules::new(Registry::new(&channel).unwrap()) }
}

fn channel() -> impl Strategy<Value = String> {
    prop_oneof!["\\$?(ns:|no:|:|/)?[a#,u é]{0,6}", ".{0,300}", "ns:[a-z]{1,3}"]
}

/// The facts of a request, owned.
#[derive(Clone, Debug)]
struct Asked {
    action: u8,
    channel: String,
    user: String,
    subscribed: bool,
    subscriptions: usize,
    token: u8,
    kind: i32,
    bits: u8,
}

fn asked() -> impl Strategy<Value = Asked> {
    let user = prop_oneof![Just(String::new()), Just("u".to_owned()), "[au,#]{0,3}"];
    (0u8..6, channel(), user, any::<bool>(), 0usize..200, 0u8..5, -1i32..6, any::<u8>()).prop_map(
        |(action, channel, user, subscribed, subscriptions, token, kind, bits)| {
            let kind = if bits & 1 == 0 { 0 } else { kind };
            Asked { action, channel, user, subscribed, subscriptions, token, kind, bits }
        },
    )
}

impl Asked {
    fn token(&self) -> SubscriptionToken<'_> {
        match self.token {
            0 => SubscriptionToken::None,
            1 => SubscriptionToken::Expired,
            2 => SubscriptionToken::Invalid,
            3 => SubscriptionToken::Unavailable,
            _ => SubscriptionToken::Verified(TokenClaims::new(&self.user, &self.channel)),
        }
    }

    fn request(&self) -> Request<'_> {
        let on = |at: u8| self.bits & (1 << at) != 0;
        let wishes = Wishes {
            positioned: on(1),
            recoverable: on(2),
            join_leave: on(3),
            delta: if on(4) { "fossil" } else { "" },
            tags_filter: on(5),
            kind: self.kind,
        };
        let action = match self.action {
            0 => subscribe(self.token(), wishes),
            1 => Action::SubRefresh(self.token()),
            2 => Action::Publish(PublishFacts { kind: self.kind, data: if on(6) { b"{}" } else { b"" } }),
            3 => Action::Presence,
            4 => Action::PresenceStats,
            _ => Action::History,
        };
        Request {
            subscribed: self.subscribed,
            subscriptions: self.subscriptions,
            ..Request::new(action, &self.channel, &self.user, NOW)
        }
    }
}

proptest! {
    #[test]
    fn by_default_nothing_is_allowed(mut asked in asked()) {
        // Without a token, which is the application's own word.
        asked.token %= 4;
        let rules = rules_of(ChannelOptions::default(), false);
        let request = asked.request();
        let decision = decide(&rules, &request);
        // An expired token prolongs nothing; the reply is empty and the old expiry remains.
        let nothing = decision.grant() == Some(&Grant::SubRefresh(SubRefreshGrant::TokenExpired));
        prop_assert!(nothing || decision.code().is_some(), "{:?}", decision);
    }

    #[test]
    fn the_rule_that_decided_is_in_the_trail(asked in asked(), options in options(), insecure: bool) {
        let rules = rules_of(options, insecure);
        let request = asked.request();
        let decision = decide(&rules, &request);
        let expected = match &decision.verdict {
            Verdict::Allow(_) => Outcome::Allow,
            Verdict::Ask(_) => Outcome::Ask,
            Verdict::Error(_) | Verdict::Disconnect(_) => Outcome::Refuse,
        };
        let outcomes: Vec<Outcome> =
            decision.trail.steps().iter().filter(|s| s.rule == decision.rule).map(|s| s.outcome).collect();
        prop_assert!(outcomes.contains(&expected), "{:?}", decision);
        prop_assert!(decision.trail.steps().len() < Trail::CAPACITY);
        // One rule refuses, and then no other is asked.
        let refusals = decision.trail.steps().iter().filter(|s| s.outcome == Outcome::Refuse).count();
        prop_assert_eq!(refusals, usize::from(decision.code().is_some()));
        // An explanation can always be made, and says the same.
        let explanation = explain::explain(&rules, &request, &decision);
        prop_assert_eq!(explanation.code, decision.code());
        prop_assert!(!explanation.reason.is_empty() && !explanation.to_string().is_empty());
        prop_assert_eq!(&decide(&rules, &request), &decision);
        // A reply changes nothing unless it was asked for, and then no proxy is asked again.
        let after = decide_after(&rules, &request, &Reply::NoProxy);
        match decision.verdict {
            Verdict::Ask(_) => prop_assert_eq!(after.code(), Some(108)),
            _ => prop_assert_eq!(after, decision),
        }
    }

    #[test]
    fn the_anonymous_user_is_in_no_user_limited_channel(mut asked in asked(), options in options(), list in "[,u]{0,3}") {
        asked.action = 0;
        asked.token %= 4;
        asked.user.clear();
        asked.channel = format!("ns:a#{list}");
        let rules = rules_of(ChannelOptions { allow_user_limited_channels: true, ..options }, false);
        let request = asked.request();
        prop_assert!(decide_after(&rules, &request, &Reply::NoProxy).code().is_some());
    }

    #[test]
    fn a_private_channel_takes_a_token(mut asked in asked(), options in options(), insecure: bool) {
        asked.action = 0;
        asked.token = 0;
        asked.channel.insert(0, '$');
        let caps = Capabilities::parse(r#"[{"channels":["*"],"match":"wildcard","allow":["sub"]}]"#).unwrap();
        let rules = rules_of(options, insecure);
        let request = Request { capabilities: Some(&caps), ..asked.request() };
        prop_assert!(decide_after(&rules, &request, &Reply::NoProxy).code().is_some());
    }

    #[test]
    fn a_bad_token_is_never_better_than_none(mut asked in asked(), options in options(), insecure: bool) {
        asked.action = 0;
        asked.token = asked.token % 3 + 1;
        let rules = rules_of(options, insecure);
        let request = asked.request();
        prop_assert!(decide_after(&rules, &request, &Reply::NoProxy).code().is_some());
    }
}

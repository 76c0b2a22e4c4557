//! Options by which a namespace allows publish, presence and history.

use super::caps::Allow;
use super::decide::Case;
use super::facts::Facts;
use super::rule::Rule;
use crate::config::typed::ChannelOptions;

/// Options of a namespace for one permission.
pub(super) struct Access {
    pub(super) client: bool,
    pub(super) subscriber: bool,
    pub(super) anonymous: bool,
    pub(super) client_rule: Rule,
    pub(super) subscriber_rule: Rule,
    pub(super) allow: Allow,
}

impl Access {
    pub(super) const fn publish(options: &ChannelOptions) -> Self {
        Self {
            client: options.allow_publish_for_client,
            subscriber: options.allow_publish_for_subscriber,
            anonymous: options.allow_publish_for_anonymous,
            client_rule: Rule::AllowPublish,
            subscriber_rule: Rule::AllowPublishSubscriber,
            allow: Allow::PUBLISH,
        }
    }

    pub(super) const fn presence(options: &ChannelOptions) -> Self {
        Self {
            client: options.allow_presence_for_client,
            subscriber: options.allow_presence_for_subscriber,
            anonymous: options.allow_presence_for_anonymous,
            client_rule: Rule::AllowPresence,
            subscriber_rule: Rule::AllowPresenceSubscriber,
            allow: Allow::PRESENCE,
        }
    }

    pub(super) const fn history(options: &ChannelOptions) -> Self {
        Self {
            client: options.allow_history_for_client,
            subscriber: options.allow_history_for_subscriber,
            anonymous: options.allow_history_for_anonymous,
            client_rule: Rule::AllowHistory,
            subscriber_rule: Rule::AllowHistorySubscriber,
            allow: Allow::HISTORY,
        }
    }

    /// Returns true if anything allows it, with the subscription taken for granted; leaves no trail.
    pub(super) fn any<'a, A: Facts<'a>>(
        &self,
        case: &Case<'_, 'a, A>,
        subscribed: bool,
        token: Allow,
    ) -> bool {
        let known = !case.request.user.is_empty() || self.anonymous;
        (self.client || self.subscriber && subscribed) && known
            || token.contains(self.allow)
            || case.request.capabilities.is_some_and(|caps| caps.allow(case.request.channel, self.allow))
            || case.rules.insecure
    }
}

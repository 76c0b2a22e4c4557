//! Rate limits of the library, from `client.rate_limit`.

use crate::config::typed::{ClientRateLimit, CommandRateLimit, RateLimit};
use crate::session::{ActiveConfig, Shared};
use spinward::config::{Bucket, ChannelGroup, CommandLimits, GroupLimits, RateLimits};
use std::collections::BTreeSet;

/// Returns the limits. Groups of channels are the namespaces with limits of their own; the namespace of a channel is
/// that of the `active` configuration.
pub(super) fn rate_limits(options: &ClientRateLimit, active: &Shared<ActiveConfig>) -> RateLimits {
    let user = &options.user_command;
    let connect = (user.commands.enabled && user.connect.enabled).then(|| buckets(&user.connect));
    let errors = &options.client_error;
    let namespaces: Vec<String> = [&options.client_command, &user.commands]
        .into_iter()
        .flat_map(|commands| commands.of_channels())
        .flat_map(|(_, limit)| limit.namespace_overrides.iter().map(|one| one.namespace.clone()))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    RateLimits {
        commands: command_limits(&options.client_command, &namespaces),
        user_commands: CommandLimits { connect, ..command_limits(&user.commands, &namespaces) },
        errors: if errors.enabled { buckets(&errors.total) } else { Vec::new() },
        bytes: buckets(&options.received_bytes),
        channel_group: (!namespaces.is_empty()).then(|| group(namespaces, active.clone())),
    }
}

/// Finds the namespace of a channel in a sorted list.
fn group(namespaces: Vec<String>, active: Shared<ActiveConfig>) -> ChannelGroup {
    ChannelGroup::new(move |channel| {
        let active = active.get();
        let namespace = active.rules.registry.resolve(channel).namespace?;
        namespaces.binary_search_by(|name| name.as_str().cmp(namespace.name())).ok()
    })
}

fn command_limits(options: &CommandRateLimit, namespaces: &[String]) -> CommandLimits {
    if !options.enabled {
        return CommandLimits::default();
    }
    let methods = options.rpc.method_overrides.iter().filter(|one| one.limit.enabled);
    CommandLimits {
        total: buckets(&options.total),
        default: buckets(&options.default),
        connect: None,
        subscribe: own(&options.subscribe.base),
        unsubscribe: own(&options.unsubscribe.base),
        publish: own(&options.publish.base),
        history: own(&options.history.base),
        presence: own(&options.presence.base),
        presence_stats: own(&options.presence_stats.base),
        refresh: own(&options.refresh),
        sub_refresh: own(&options.sub_refresh.base),
        rpc: own(&options.rpc.base),
        rpc_methods: methods.map(|one| (one.method.clone(), buckets(&one.limit))).collect(),
        groups: namespaces.iter().map(|name| group_limits(options, name)).collect(),
    }
}

fn group_limits(options: &CommandRateLimit, namespace: &str) -> GroupLimits {
    let [subscribe, unsubscribe, publish, history, presence, presence_stats, sub_refresh] =
        options.of_channels().map(|(_, limit)| {
            let found = limit.namespace_overrides.iter().find(|one| one.namespace == namespace);
            found.and_then(|one| own(&one.limit))
        });
    GroupLimits { subscribe, unsubscribe, publish, history, presence, presence_stats, sub_refresh }
}

fn own(limit: &RateLimit) -> Option<Vec<Bucket>> {
    limit.enabled.then(|| buckets(limit))
}

fn buckets(limit: &RateLimit) -> Vec<Bucket> {
    let buckets = limit.buckets.iter().filter(|_| limit.enabled);
    buckets.map(|one| Bucket { interval: one.interval.get(), rate: one.rate }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::active_config;
    use crate::auth::jwks::Jwks;
    use crate::config::Config;
    use serde_json::json;

    #[test]
    fn namespaces_with_limits_of_their_own_are_groups() {
        let limit = |rate: u32| json!({ "enabled": true, "buckets": [{ "interval": "1s", "rate": rate }] });
        let mut publish = limit(10);
        publish["namespace_overrides"] = json!([
            { "namespace": "chat", "enabled": true, "buckets": [{ "interval": "1s", "rate": 2 }] },
            { "namespace": "off", "enabled": false, "buckets": [{ "interval": "1s", "rate": 3 }] },
        ]);
        let config: Config = serde_json::from_value(json!({
            "client": { "rate_limit": { "client_command": { "enabled": true, "publish": publish } } },
            "channel": {
                "patterns": true,
                "namespaces": [{ "name": "off" }, { "name": "chat", "pattern": "/chat/:room" }],
            },
        }))
        .unwrap();
        let active = Shared::new(active_config(&config, &Jwks::current()).unwrap());
        let limits = rate_limits(&config.client.rate_limit, &active);
        let group = |channel: &str| limits.channel_group.as_ref().unwrap().find(channel);
        assert_eq!(
            (group("/chat/a"), group("off:a"), group("chat:a"), group("a")),
            (Some(0), Some(1), None, None)
        );
        let rates = limits.commands.groups.iter().map(|group| group.publish.as_ref().map(|own| own[0].rate));
        assert_eq!(rates.collect::<Vec<_>>(), [Some(2), None], "one that is not enabled replaces nothing");
        assert!(limits.commands.groups[0].history.is_none() && limits.user_commands.groups.is_empty());
    }
}

//! Rules of namespaces and channel options.

use super::{name, needed, proxies, proxy, proxy_name, regex};
use crate::config::catalogue::Setting as _;
use crate::config::duration::Duration;
use crate::config::report::Report;
use crate::config::typed::{ChannelOptions, Config, MapOptions, Proxy, SubscriptionType};

pub(super) fn check(report: &mut Report<'_>, config: &Config) {
    let channel = &config.channel;
    whole_seconds(report, "channel.history_meta_ttl", channel.history_meta_ttl);
    if channel.max_length == 0 {
        report.problem("channel.max_length", "must be more than zero");
    }
    // Faults of named proxies are told by `rpc`, which looks at them too.
    let known = proxies(&mut report.quiet(), config);

    let mut names = Vec::new();
    let mut scopes = vec![("channel.without_namespace".to_owned(), &channel.without_namespace)];
    for (index, namespace) in channel.namespaces.iter().enumerate() {
        let path = match namespace.name.as_str() {
            "" => format!("channel.namespaces[{index}]"),
            name => format!("channel.namespaces[{name}]"),
        };
        name(report, &path, &namespace.name, &mut names);
        scopes.push((path, &namespace.options));
    }
    for (path, options) in &scopes {
        consistent(report, path, options, channel.history_meta_ttl);
        regex(report, &format!("{path}.channel_regex"), &options.channel_regex);
        channel_proxies(report, path, options, config, &known);
        kind(report, path, options, config, &known);
        dormant(report, path, options);
        let prefixes = [
            (
                SubscriptionType::MapClients,
                "map_clients_presence_channel_prefix",
                &options.map_clients_presence_channel_prefix,
            ),
            (
                SubscriptionType::MapUsers,
                "map_users_presence_channel_prefix",
                &options.map_users_presence_channel_prefix,
            ),
        ];
        for (kind, option, prefix) in prefixes {
            if !prefix.is_empty() {
                presence_prefix(report, &format!("{path}.{option}"), prefix, kind, config);
            }
        }
    }
    personal(report, config);
}

fn whole_seconds(report: &mut Report<'_>, option: &str, duration: Duration) {
    if !duration.is_whole_seconds() {
        report.problem(option, format!("{duration} must be whole seconds"));
    }
}

fn consistent(report: &mut Report<'_>, path: &str, options: &ChannelOptions, global_meta_ttl: Duration) {
    whole_seconds(report, &format!("{path}.history_ttl"), options.history_ttl);
    whole_seconds(report, &format!("{path}.history_meta_ttl"), options.history_meta_ttl);
    for fault in options.faults(global_meta_ttl) {
        report.problem(&format!("{path}.{}", fault.option), fault.reason);
    }
}

fn channel_proxies(
    report: &mut Report<'_>,
    path: &str,
    options: &ChannelOptions,
    config: &Config,
    known: &[String],
) {
    let defaults = &config.channel.proxy;
    let map = &options.map;
    let events: [(&str, bool, &str, &str, &Proxy); 8] = [
        (
            "subscribe_proxy_name",
            options.subscribe_proxy_enabled,
            &options.subscribe_proxy_name,
            "subscribe",
            &defaults.subscribe,
        ),
        (
            "publish_proxy_name",
            options.publish_proxy_enabled,
            &options.publish_proxy_name,
            "publish",
            &defaults.publish,
        ),
        (
            "sub_refresh_proxy_name",
            options.sub_refresh_proxy_enabled,
            &options.sub_refresh_proxy_name,
            "sub_refresh",
            &defaults.sub_refresh,
        ),
        (
            "subscribe_stream_proxy_name",
            options.subscribe_stream_proxy_enabled,
            &options.subscribe_stream_proxy_name,
            "subscribe_stream",
            &defaults.subscribe_stream,
        ),
        (
            "state_proxy_name",
            options.state_proxy_enabled,
            &options.state_proxy_name,
            "state",
            &defaults.state,
        ),
        (
            "cache_empty_proxy_name",
            options.cache_empty_proxy_enabled,
            &options.cache_empty_proxy_name,
            "cache_empty",
            &defaults.cache_empty,
        ),
        (
            "map.publish_proxy_name",
            map.publish_proxy_enabled,
            &map.publish_proxy_name,
            "map_publish",
            &defaults.map_publish,
        ),
        (
            "map.remove_proxy_name",
            map.remove_proxy_enabled,
            &map.remove_proxy_name,
            "map_remove",
            &defaults.map_remove,
        ),
    ];
    for (option, enabled, name, event, default) in events {
        proxy_name(report, &format!("{path}.{option}"), name, known);
        if enabled && name == "default" {
            let switch = format!("{path}.{}", option.replace("_name", "_enabled"));
            needed(report, &format!("channel.proxy.{event}"), default, &switch);
        }
    }
}

fn kind(report: &mut Report<'_>, path: &str, options: &ChannelOptions, config: &Config, known: &[String]) {
    map(report, &format!("{path}.map"), &options.map, options.subscription_type);
    if options.subscription_type == SubscriptionType::SharedPoll {
        let poll = &options.shared_poll;
        if config.shared_poll.hmac_secret_key.is_empty() {
            report.problem_once(
                "shared_poll.hmac_secret_key",
                format!("must be set, because `{path}` is a shared poll"),
            );
        }
        proxy_name(report, &format!("{path}.shared_poll.proxy_name"), &poll.proxy_name, known);
        if matches!(poll.proxy_name.as_str(), "" | "default") {
            proxy(report, "channel.proxy.shared_poll_refresh", &config.channel.proxy.shared_poll_refresh);
        }
        if poll.publish_enabled && poll.mode != "versioned" {
            report.problem(&format!("{path}.shared_poll.publish_enabled"), "needs `mode` \"versioned\"");
        }
    }
}

fn map(report: &mut Report<'_>, path: &str, map: &MapOptions, kind: SubscriptionType) {
    use SubscriptionType::{Map, MapClients, MapUsers};
    let is_map = matches!(kind, Map | MapClients | MapUsers);
    let mut problem = |option: &str, reason: &str| report.problem(&format!("{path}.{option}"), reason);
    if is_map && map.mode.is_empty() {
        problem("mode", "must be set, because `subscription_type` is a map");
    }
    match map.mode.as_str() {
        "ephemeral" | "recoverable" if map.key_ttl.is_zero() => {
            problem("key_ttl", "must be set in this mode")
        }
        "persistent" if !map.key_ttl.is_zero() => {
            problem("key_ttl", "cannot be set, because entries do not expire in this mode")
        }
        "persistent" if matches!(kind, MapClients | MapUsers) => {
            problem("mode", "\"persistent\" would keep entries of clients that are gone");
        }
        _ => {}
    }
    if map.mode == "ephemeral" {
        let set = [
            ("stream_size", map.stream_size != 0),
            ("stream_ttl", !map.stream_ttl.is_zero()),
            ("meta_ttl", !map.meta_ttl.is_zero()),
        ];
        for (option, _) in set.iter().filter(|(_, set)| *set) {
            problem(option, "cannot be set, because there is no stream in this mode");
        }
    } else if !map.mode.is_empty() && !map.meta_ttl.is_zero() {
        let stream_ttl = if map.stream_ttl.is_zero() { Duration::secs(60) } else { map.stream_ttl };
        if map.meta_ttl < stream_ttl {
            problem("meta_ttl", "cannot be shorter than `stream_ttl`, which is 1m unless set");
        }
    }
    if map.remove_client_on_unsubscribe && !is_map {
        problem("remove_client_on_unsubscribe", "needs a map as `subscription_type`");
    }
    if !map.client_key.is_empty() && (map.publish_proxy_enabled || map.remove_proxy_enabled) {
        problem("client_key", "cannot be used together with a proxy, which chooses the key");
    }
    for (low_option, low, high_option, high) in [
        ("min_page_size", map.min_page_size, "max_page_size", map.max_page_size),
        ("default_page_size", map.default_page_size, "max_page_size", map.max_page_size),
        ("min_page_size", map.min_page_size, "default_page_size", map.default_page_size),
    ] {
        if low > high && high > 0 {
            problem(low_option, &format!("cannot be more than `{high_option}`"));
        }
    }
}

fn presence_prefix(
    report: &mut Report<'_>,
    option: &str,
    prefix: &str,
    kind: SubscriptionType,
    config: &Config,
) {
    let boundary = &config.channel.namespace_boundary;
    let namespace = if boundary.is_empty() { None } else { prefix.split_once(boundary.as_str()) };
    let target = match namespace {
        None => Some(&config.channel.without_namespace),
        Some((name, _)) => {
            let found = config.channel.namespaces.iter().find(|namespace| namespace.name == name);
            found.map(|namespace| &namespace.options)
        }
    };
    match target {
        None => report.problem(option, format!("{prefix:?} is in no namespace that exists")),
        Some(target) if target.subscription_type != kind => {
            report.problem(
                option,
                format!("{prefix:?} is in a namespace whose subscription_type is not {}", kind.to_value()),
            );
        }
        Some(_) => {}
    }
}

/// Options that do nothing because another is missing.
fn dormant(report: &mut Report<'_>, path: &str, options: &ChannelOptions) {
    let pairs = [
        (
            "allow_subscribe_for_anonymous",
            options.allow_subscribe_for_anonymous,
            options.allow_subscribe_for_client,
            "allow_subscribe_for_client",
        ),
        ("force_push_join_leave", options.force_push_join_leave, options.join_leave, "join_leave"),
        (
            "delta_publish",
            options.delta_publish,
            !options.allowed_delta_types.is_empty(),
            "allowed_delta_types",
        ),
    ];
    for (option, on, needed, other) in pairs {
        if on && !needed {
            report.note(&format!("{path}.{option}"), format!("does nothing without `{other}`"));
        }
    }
}

fn personal(report: &mut Report<'_>, config: &Config) {
    let personal = &config.client.subscribe_to_user_personal_channel;
    if !personal.enabled {
        return;
    }
    let path = "client.subscribe_to_user_personal_channel";
    if config.channel.user_boundary.is_empty() {
        report.problem(
            "channel.user_boundary",
            format!("must be set, because `{path}` is: a user id alone could be the name of any channel"),
        );
    }
    let name = &personal.personal_channel_namespace;
    let options = if name.is_empty() {
        Some(&config.channel.without_namespace)
    } else {
        let found = config.channel.namespaces.iter().find(|namespace| namespace.name == *name);
        found.map(|namespace| &namespace.options)
    };
    match options {
        None => {
            report.problem(
                &format!("{path}.personal_channel_namespace"),
                format!("there is no namespace {name:?}"),
            );
        }
        Some(options) if personal.single_connection && !options.presence => {
            report.problem(
                &format!("{path}.single_connection"),
                "needs `presence` in the namespace of personal channels",
            );
        }
        Some(_) => {}
    }
}

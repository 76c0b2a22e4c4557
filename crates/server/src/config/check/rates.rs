//! Limits of how fast one connection may ask, and send.

use crate::config::report::Report;
use crate::config::typed::{ClientRateLimit, CommandRateLimit, Config, RateLimit};

pub(super) fn check(report: &mut Report<'_>, config: &Config) {
    let ClientRateLimit { client_command, user_command, client_error, received_bytes } =
        &config.client.rate_limit;
    commands(report, "client.rate_limit.client_command", client_command, config);
    commands(report, "client.rate_limit.user_command", &user_command.commands, config);
    if user_command.commands.enabled {
        buckets(report, "client.rate_limit.user_command.connect", &user_command.connect);
    }
    if client_error.enabled {
        buckets(report, "client.rate_limit.client_error.total", &client_error.total);
    }
    buckets(report, "client.rate_limit.received_bytes", received_bytes);
}

fn commands(report: &mut Report<'_>, path: &str, limits: &CommandRateLimit, config: &Config) {
    if !limits.enabled {
        return;
    }
    let own = [
        ("total", &limits.total),
        ("default", &limits.default),
        ("refresh", &limits.refresh),
        ("rpc", &limits.rpc.base),
    ];
    for (name, limit) in own {
        buckets(report, &format!("{path}.{name}"), limit);
    }
    for (name, limit) in limits.of_channels() {
        buckets(report, &format!("{path}.{name}"), &limit.base);
        let path = format!("{path}.{name}.namespace_overrides");
        let overrides = limit.namespace_overrides.iter().map(|one| (one.namespace.as_str(), &one.limit));
        for (at, name) in overridden(report, &path, "namespace", overrides) {
            if !config.channel.namespaces.iter().any(|namespace| namespace.name == name) {
                let reason = format!("there is no namespace {name:?} in `channel.namespaces`");
                report.problem(&format!("{path}[{at}].namespace"), reason);
            }
        }
    }
    let overrides = limits.rpc.method_overrides.iter().map(|one| (one.method.as_str(), &one.limit));
    overridden(report, &format!("{path}.rpc.method_overrides"), "method", overrides);
}

/// Checks limits that replace others, each for one name. Returns the names with their places.
fn overridden<'a>(
    report: &mut Report<'_>,
    path: &str,
    option: &str,
    overrides: impl Iterator<Item = (&'a str, &'a RateLimit)>,
) -> Vec<(usize, &'a str)> {
    let mut names: Vec<(usize, &str)> = Vec::new();
    for (at, (name, limit)) in overrides.enumerate() {
        if names.iter().any(|(_, before)| *before == name) {
            report.problem(&format!("{path}[{at}].{option}"), "is there twice");
        }
        buckets(report, &format!("{path}[{at}]"), limit);
        names.push((at, name));
    }
    names
}

fn buckets(report: &mut Report<'_>, path: &str, limit: &RateLimit) {
    if !limit.enabled {
        return;
    }
    if limit.buckets.is_empty() {
        report.problem(&format!("{path}.buckets"), "must have a bucket, since the limit is enabled");
    }
    for (at, bucket) in limit.buckets.iter().enumerate() {
        if bucket.interval.is_zero() {
            report.problem(&format!("{path}.buckets[{at}].interval"), "must not be zero");
        }
        if bucket.rate == 0 {
            report.problem(&format!("{path}.buckets[{at}].rate"), "must not be 0");
        }
    }
}

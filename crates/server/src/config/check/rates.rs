//! Limits of how fast one connection may ask, and send.

use crate::config::report::Report;
use crate::config::typed::{ClientRateLimit, CommandRateLimit, RateLimit};

pub(super) fn check(report: &mut Report<'_>, limits: &ClientRateLimit) {
    let ClientRateLimit { client_command, user_command, client_error, received_bytes } = limits;
    commands(report, "client.rate_limit.client_command", client_command);
    commands(report, "client.rate_limit.user_command", &user_command.commands);
    if user_command.commands.enabled {
        buckets(report, "client.rate_limit.user_command.connect", &user_command.connect);
    }
    if client_error.enabled {
        buckets(report, "client.rate_limit.client_error.total", &client_error.total);
    }
    buckets(report, "client.rate_limit.received_bytes", received_bytes);
}

fn commands(report: &mut Report<'_>, path: &str, limits: &CommandRateLimit) {
    let own = [
        ("total", &limits.total),
        ("default", &limits.default),
        ("subscribe", &limits.subscribe),
        ("unsubscribe", &limits.unsubscribe),
        ("publish", &limits.publish),
        ("history", &limits.history),
        ("presence", &limits.presence),
        ("presence_stats", &limits.presence_stats),
        ("refresh", &limits.refresh),
        ("sub_refresh", &limits.sub_refresh),
        ("rpc", &limits.rpc.base),
    ];
    if !limits.enabled {
        return;
    }
    for (name, limit) in own {
        buckets(report, &format!("{path}.{name}"), limit);
    }
    let overrides = &limits.rpc.method_overrides;
    for (at, one) in overrides.iter().enumerate() {
        let path = format!("{path}.rpc.method_overrides[{at}]");
        if overrides[..at].iter().any(|before| before.method == one.method) {
            report.problem(&format!("{path}.method"), "is there twice");
        }
        buckets(report, &path, &one.limit);
    }
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

//! Limits of how fast one connection may ask, and send.

use crate::config::report::Report;
use crate::config::typed::{ClientRateLimit, RateLimit};

pub(super) fn check(report: &mut Report<'_>, limits: &ClientRateLimit) {
    let commands = &limits.client_command;
    let own = [
        ("total", &commands.total),
        ("default", &commands.default),
        ("subscribe", &commands.subscribe),
        ("unsubscribe", &commands.unsubscribe),
        ("publish", &commands.publish),
        ("history", &commands.history),
        ("presence", &commands.presence),
        ("presence_stats", &commands.presence_stats),
        ("refresh", &commands.refresh),
        ("sub_refresh", &commands.sub_refresh),
        ("rpc", &commands.rpc),
    ];
    for (name, limit) in own.into_iter().filter(|_| commands.enabled) {
        buckets(report, &format!("client.rate_limit.client_command.{name}"), limit);
    }
    buckets(report, "client.rate_limit.received_bytes", &limits.received_bytes);
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

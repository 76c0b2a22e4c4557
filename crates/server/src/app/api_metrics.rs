//! Metrics of the server API.

use super::metrics::{Page, families};
use crate::api::access::Usages;
use crate::api::stats::{BUCKETS, Stats};

/// Use of the keys of the server API, by their names.
pub(super) fn calls(page: &mut Page, usages: &Usages) {
    let all = usages.all();
    page.head(&families::API_CALLS);
    for (key, usage) in &all {
        for (method, count) in usage.calls() {
            page.row(&families::API_CALLS, &[("key", key), ("method", method)], count);
        }
    }
    page.head(&families::API_CALLS_DENIED);
    for (key, usage) in &all {
        for (reason, count) in usage.denials() {
            page.row(&families::API_CALLS_DENIED, &[("key", key), ("reason", reason)], count);
        }
    }
}

/// Calls by the way they came, with their durations and errors. Methods that were not called are left out.
pub(super) fn durations(page: &mut Page, stats: &Stats) {
    let all = stats.calls();
    let family = &families::API_DURATION;
    page.head(family);
    for calls in &all {
        let labels = [("protocol", calls.via), ("method", calls.method)];
        page.part(family, "_sum", &labels, &calls.durations.sum.as_secs_f64());
        page.part(family, "_count", &labels, &calls.durations.count);
    }
    let family = &families::API_DURATION_HISTOGRAM;
    page.head(family);
    for calls in &all {
        let [via, method] = [("protocol", calls.via), ("method", calls.method)];
        for (bound, count) in BUCKETS.iter().zip(calls.durations.buckets) {
            page.part(family, "_bucket", &[via, method, ("le", &bound.to_string())], &count);
        }
        page.part(family, "_bucket", &[via, method, ("le", "+Inf")], &calls.durations.count);
        page.part(family, "_sum", &[via, method], &calls.durations.sum.as_secs_f64());
        page.part(family, "_count", &[via, method], &calls.durations.count);
    }
    let family = &families::API_ERRORS;
    page.head(family);
    for errors in stats.errors() {
        let code = errors.code.to_string();
        let labels = [("protocol", errors.via), ("method", errors.method), ("error", &code)];
        page.row(family, &labels, errors.count);
    }
}

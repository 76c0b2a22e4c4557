//! Metrics of event proxies.

use super::metrics::{Family, Page, families};
use crate::session::{ChannelEventCounts, ClientEventCounts, ClientEventKind, PROXY_BUCKETS, ProxyReport};

/// Event proxies, where there are any.
pub(super) fn proxies(page: &mut Page, reports: &[ProxyReport]) {
    if reports.is_empty() {
        return;
    }
    let each = |page: &mut Page, family: &Family, count: &dyn Fn(&ProxyReport) -> u64| {
        for one in reports {
            page.row(family, &labels(one), count(one));
        }
    };
    let family = &families::PROXY_DURATION;
    page.head(family);
    for one in reports {
        page.part(family, "_sum", &labels(one), &one.counts.time.as_secs_f64());
        page.part(family, "_count", &labels(one), &one.counts.calls);
    }
    let family = &families::PROXY_DURATION_HISTOGRAM;
    page.head(family);
    for one in reports {
        let [protocol, event, proxy] = labels(one);
        for (bound, count) in PROXY_BUCKETS.iter().zip(one.counts.buckets) {
            let bound = bound.to_string();
            page.part(family, "_bucket", &[protocol, event, proxy, ("le", &bound)], &count);
        }
        page.part(family, "_bucket", &[protocol, event, proxy, ("le", "+Inf")], &one.counts.calls);
        page.part(family, "_sum", &[protocol, event, proxy], &one.counts.time.as_secs_f64());
        page.part(family, "_count", &[protocol, event, proxy], &one.counts.calls);
    }
    page.head(&families::PROXY_ERRORS);
    each(page, &families::PROXY_ERRORS, &|one| one.counts.failures.iter().map(|(_, count)| count).sum());
    page.head(&families::PROXY_INFLIGHT);
    each(page, &families::PROXY_INFLIGHT, &|one| one.counts.in_flight);
    page.head(&families::PROXY_FAILURES);
    for one in reports {
        let [protocol, event, proxy] = labels(one);
        for (reason, count) in &one.counts.failures {
            let labels = [protocol, event, proxy, ("reason", *reason)];
            page.row(&families::PROXY_FAILURES, &labels, *count);
        }
    }
    page.head(&families::PROXY_BREAKER);
    each(page, &families::PROXY_BREAKER, &|one| one.open.into());
    page.head(&families::PROXY_WAITING);
    each(page, &families::PROXY_WAITING, &|one| one.waiting as u64);
    page.head(&families::PROXY_STREAMS);
    each(page, &families::PROXY_STREAMS, &|one| one.streams as u64);
    page.head(&families::PROXY_HEADERS);
    each(page, &families::PROXY_HEADERS, &|one| one.counts.headers_left_out);
}

/// Channel events, where a namespace asks for them.
pub(super) fn channel_events(page: &mut Page, counts: &ChannelEventCounts) {
    let family = &families::CHANNEL_EVENTS;
    page.head(family);
    for (kind, count) in ["occupied", "vacated"].into_iter().zip(counts.confirmed) {
        page.row(family, &[("type", kind)], count);
    }
    for (family, count) in [
        (&families::CHANNEL_EVENTS_DROPPED, counts.dropped),
        (&families::CHANNEL_EVENTS_MERGED, counts.merged),
        (&families::CHANNEL_EVENTS_WAITING, counts.waiting as u64),
        (&families::CHANNEL_EVENTS_CHANNELS, counts.channels as u64),
    ] {
        page.head(family);
        page.row(family, &[], count);
    }
}

/// Client events, where there is a proxy for them.
pub(super) fn client_events(page: &mut Page, counts: &ClientEventCounts) {
    let family = &families::CLIENT_EVENTS;
    page.head(family);
    for (kind, count) in ClientEventKind::ALL.into_iter().zip(counts.confirmed) {
        page.row(family, &[("type", kind.name())], count);
    }
    for (family, count) in [
        (&families::CLIENT_EVENTS_DROPPED, counts.dropped),
        (&families::CLIENT_EVENTS_WAITING, counts.waiting as u64),
    ] {
        page.head(family);
        page.row(family, &[], count);
    }
}

/// The labels of a proxy.
fn labels(report: &ProxyReport) -> [(&str, &str); 3] {
    [("protocol", report.protocol), ("type", report.event), ("name", &report.name)]
}

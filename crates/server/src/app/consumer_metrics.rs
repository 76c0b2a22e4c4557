//! Metrics of consumers.

use super::metrics::{Family, Page, families};
use spinward_consumers::Counts;

/// Consumers, where there are any.
pub(super) fn consumers(page: &mut Page, counts: &[(String, Counts)]) {
    if counts.is_empty() {
        return;
    }
    let each = |page: &mut Page, family: &Family, count: &dyn Fn(&Counts) -> u64| {
        page.head(family);
        for (consumer, counts) in counts {
            page.row(family, &[("consumer_name", consumer)], count(counts));
        }
    };
    each(page, &families::CONSUMERS_PROCESSED, &|counts| counts.processed);
    each(page, &families::CONSUMERS_ERRORS, &|counts| {
        counts.undecodable + counts.refused + counts.failed + counts.source_errors
    });
    let family = &families::CONSUMERS_FAILURES;
    page.head(family);
    for (consumer, counts) in counts {
        for (reason, count) in [
            ("undecodable", counts.undecodable),
            ("refused", counts.refused),
            ("failed", counts.failed),
            ("source", counts.source_errors),
        ] {
            page.row(family, &[("consumer_name", consumer), ("reason", reason)], count);
        }
    }
    let family = &families::CONSUMERS_LAG;
    page.head(family);
    for (consumer, counts) in counts {
        page.seconds(family, &[("consumer_name", consumer)], counts.lag);
    }
    each(page, &families::CONSUMERS_UP, &|counts| counts.up.into());
}

//! The start of a subscriber: its position, and the publications that it missed.

use crate::channel::params::{Recover, SubscribeParams};
use crate::clock::Now;
use crate::engine::broker::History;
use crate::engine::memory::stream::Stream;
use crate::publication::{Position, Publication};
use spinward_wire::filter::Filter;
use std::sync::Arc;

/// The start of a subscriber.
#[derive(Clone, Debug, Default)]
pub(crate) struct StartState {
    pub(crate) top: Position,
    /// Publications that it missed, oldest first; empty unless `recovered`. Its filter is applied.
    pub(crate) publications: Vec<Arc<Publication>>,
    /// Nothing is missing between its position and the start.
    pub(crate) recovered: bool,
    /// The publication before the start, as a base for patches, whether or not it passes the filter.
    pub(crate) last: Option<Arc<Publication>>,
}

/// In cache mode being up to date means having the latest publication, even if earlier ones were missed.
pub(crate) fn start_from_cache(
    stream: &mut Stream,
    recover: &Recover,
    filter: Option<&Filter>,
    now: Now,
) -> StartState {
    let top = stream.top();
    let at_top = recover.since == top && !top.epoch.is_empty() && top.offset > 0;
    let latest = match filter {
        None => stream.latest(now.mono),
        Some(filter) => {
            stream.latest_matching(recover.limit, now.mono, |publication| passes(publication, filter))
        }
    };
    let last = stream.latest(now.mono);
    let publications = if at_top { Vec::new() } else { latest.into_iter().collect::<Vec<_>>() };
    StartState { recovered: at_top || !publications.is_empty(), top, publications, last }
}

/// Judges whether a slice of a remote stream and what followed it bring a subscriber up to date.
pub(super) fn start_from_slice(
    history: &History,
    fresh: Vec<Arc<Publication>>,
    top: Position,
    params: &SubscribeParams,
) -> StartState {
    let filter = params.filter.as_ref();
    let Some(recover) = params.recover.as_ref().filter(|recover| !recover.over) else {
        return StartState { top, ..StartState::default() };
    };
    // The read may give more than this subscriber needs: others are served by it too.
    let after = if recover.cache { 0 } else { recover.since.offset };
    let read = history.publications.iter().chain(&fresh);
    let last = read.clone().max_by_key(|publication| publication.offset).cloned();
    let mut missed: Vec<_> = read.filter(|publication| publication.offset > after).cloned().collect();
    // A read for the cache comes newest first.
    missed.sort_by_key(|publication| publication.offset);
    if recover.cache {
        let at_top = recover.since == top && !top.epoch.is_empty() && top.offset > 0;
        let latest = filtered(missed, filter).pop();
        let publications = if at_top { Vec::new() } else { latest.into_iter().collect::<Vec<_>>() };
        return StartState { recovered: at_top || !publications.is_empty(), top, publications, last };
    }
    let since = &recover.since;
    let same = since.epoch.is_empty() || since.epoch == top.epoch;
    let whole = top.offset >= since.offset && missed.len() as u64 == top.offset - since.offset;
    let few = recover.limit == 0 || missed.len() <= recover.limit;
    if same && whole && few {
        StartState { top, publications: filtered(missed, filter), recovered: true, last }
    } else {
        StartState { top, ..StartState::default() }
    }
}

/// Applies a subscriber's filter.
pub(crate) fn filtered(
    publications: Vec<Arc<Publication>>,
    filter: Option<&Filter>,
) -> Vec<Arc<Publication>> {
    match filter {
        None => publications,
        Some(filter) => publications.into_iter().filter(|publication| passes(publication, filter)).collect(),
    }
}

fn passes(publication: &Publication, filter: &Filter) -> bool {
    match &publication.tags {
        Some(tags) => filter.matches(tags),
        None => filter.matches(&std::collections::BTreeMap::new()),
    }
}

//! The parameters of a subscriber that enters a channel.

use crate::engine::broker::{HistoryFilter, HistoryOptions};
use crate::publication::Position;
use spinward_wire::filter::Filter;

/// A subscriber's requirements when it enters.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubscribeParams {
    /// It wants its position: the channel has history and the subscription is positioned.
    pub(crate) positioned: bool,
    pub(crate) history: HistoryOptions,
    pub(crate) recover: Option<Recover>,
    pub(crate) filter: Option<Filter>,
}

impl SubscribeParams {
    /// Returns the slice to read of the stream of a remote broker.
    pub(crate) fn history_filter(&self) -> HistoryFilter {
        match &self.recover {
            None => HistoryFilter { limit: 0, since: None, reverse: false },
            // With a filter the latest publication that passes it may be anywhere.
            Some(recover) if recover.cache => HistoryFilter {
                limit: if self.filter.is_some() { -1 } else { 1 },
                since: None,
                reverse: true,
            },
            Some(recover) => {
                // One more than the limit shows that there are too many.
                let limit = if recover.limit == 0 {
                    -1
                } else {
                    i64::try_from(recover.limit + 1).unwrap_or(i64::MAX)
                };
                HistoryFilter { limit, since: Some(recover.since.clone()), reverse: false }
            }
        }
    }
}

/// From where a subscriber wants to be brought up to date.
#[derive(Clone, Debug)]
pub(crate) struct Recover {
    pub(crate) since: Position,
    /// The latest publication alone will do.
    pub(crate) cache: bool,
    /// Most publications.
    pub(crate) limit: usize,
}

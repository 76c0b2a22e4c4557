//! The parameters of a subscriber that enters a channel.

use crate::engine::broker::{HistoryOptions, Limit, Read, Since};
use crate::publication::Position;
use spinward_wire::filter::Filter;
use std::num::NonZeroUsize;

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
    pub(crate) fn slice(&self) -> Read {
        match &self.recover {
            None => Read::Top,
            Some(recover) if recover.over => Read::Top,
            // With a filter the latest publication that passes it may be anywhere.
            Some(recover) if recover.cache && self.filter.is_some() => Read::Latest { limit: Limit::All },
            Some(recover) if recover.cache => Read::Latest { limit: Limit::Most(NonZeroUsize::MIN) },
            Some(recover) => {
                // One more than the limit shows that there are too many.
                let limit = match recover.limit {
                    0 => Limit::All,
                    limit => Limit::Most(NonZeroUsize::MIN.saturating_add(limit)),
                };
                // Without the epoch, so that those who are in another one can share the read. They see by its top that they are.
                Read::After { since: Since { offset: recover.since.offset, epoch: None }, limit }
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
    /// Its position turned out to be of a history that is over: it is only told where the stream is now.
    pub(crate) over: bool,
}

//! Tags filters of a connection: how much they may hold together.

use crate::channel::local::LocalChannel;
use crate::session::subscribe::Stage;
use crate::session::{Cx, Session};
use spinward_wire::filter::Filter;

impl Session {
    /// Returns true if the connection may have this filter beside those that it has. A refusal is logged, with the
    /// limit's name.
    pub(in crate::session) fn may_have_filter(&self, cx: &Cx<'_>, filter: &Filter) -> bool {
        let limit = cx.config.tags_filter_max_size;
        if limit == 0 {
            return true;
        }
        let slot = cx.handle.slot();
        let own = self.subscriptions.channels().iter().filter_map(|channel| cx.local.get(*channel));
        let bytes = own.map(|channel| channel.filter_weight(slot)).sum::<usize>() + filter.weight();
        if bytes > limit {
            cx.hub.filter_refused(self.id, bytes, limit);
        }
        bytes <= limit
    }
}

impl Cx<'_> {
    /// Returns true if there is room for another filter in the channel that is being entered.
    pub(in crate::session) fn takes_filter(&self, stage: &Stage) -> bool {
        let Stage::Entering { local, .. } = stage else { return true };
        self.local.get(*local).is_none_or(LocalChannel::takes_filter)
    }
}

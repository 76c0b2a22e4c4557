//! Events from a remote broker.

use crate::answer::BoxFuture;
use crate::backend::remote::Remote;
use crate::channel::delivery::Delivery;
use crate::channel::record::{Channel, ChannelState};
use crate::engine::broker::{BrokerError, Event, Interest, JoinLeave, StreamId};
use crate::engine::sink::{Receive, Scope};
use crate::hub::Hub;
use crate::mailbox::fan_out::Wake;
use crate::mailbox::inbox::{Entry, Inbox};
use crate::publication::{ClientInfo, Position, Publication};
use std::sync::Arc;

impl Receive for Remote {
    fn deliver(&self, channel: &str, stream: Option<&StreamId>, event: Event) {
        let Some(hub) = self.hub() else { return };
        let epoch = stream.map(|stream| self.epochs.of(stream));
        let late = matches!(&event, Event::Publication(publication) if hub.is_late(publication));
        let wake = hub.directory.with_existing(channel, |record, state| match event {
            // A channel of another engine has the same name: this delivery is late, or not asked for.
            _ if state.engine() != self.id => Wake::NOBODY,
            Event::Publication(publication) => {
                let epoch = epoch.filter(|_| publication.offset > 0);
                // Before the inboxes, so that no shard is ahead of it.
                self.recent.deliver(record.id, &publication, epoch.as_ref());
                record.deliver(state, &hub.admission, |seq| Delivery::new(publication, seq, epoch))
            }
            Event::JoinLeave(JoinLeave::Join(info)) => hub.deliver_join_leave(record, state, &info, true),
            Event::JoinLeave(JoinLeave::Leave(info)) => hub.deliver_join_leave(record, state, &info, false),
        });
        if let Some(wake) = wake {
            wake.wake(&hub.inboxes);
        }
        if late {
            self.compare_soon(self.watched(&hub, Scope::Channels(&[channel])));
        }
    }

    fn interest(&self, channel: &str, asked: Interest, result: Result<(), BrokerError>) {
        let Some(hub) = self.hub() else { return };
        if let Err(error) = &result {
            hub.engine_failed("interest", error);
        }
        if let Some(record) = hub.directory.find(channel).filter(|record| self.has(record)) {
            self.interest_answered(&hub, &record, asked, result.is_ok());
        }
    }

    fn interrupted(&self, scope: Scope<'_>) {
        let Some(hub) = self.hub() else { return };
        crate::metrics::bump(&hub.metrics.interruptions);
        self.doubt(&hub, scope);
        self.compare_soon(self.watched(&hub, scope));
    }

    fn replaced(&self, scope: Scope<'_>, incarnation: &str) {
        let Some(hub) = self.hub() else { return };
        let incarnation: Arc<str> = incarnation.into();
        self.doubt(&hub, scope);
        for record in self.watched(&hub, scope) {
            hub.incarnation_told(&record, &incarnation);
        }
    }

    fn wanted(&self) -> Vec<Arc<str>> {
        let Some(hub) = self.hub() else { return Vec::new() };
        hub.directory.wanted(self.id)
    }

    fn has_room(&self, channel: &str) -> bool {
        self.hub().is_none_or(|hub| hub.concerned(channel).iter().all(|inbox| inbox.takes_from_reader()))
    }

    fn room(self: Arc<Self>, channel: &str) -> BoxFuture<()> {
        let concerned = self.hub().map_or_else(Vec::new, |hub| hub.concerned(channel));
        Box::pin(async move {
            for inbox in concerned {
                inbox.reader_room().await;
            }
        })
    }
}

impl Remote {
    /// Ends the slices of a scope, whose streams may be over.
    fn doubt(&self, hub: &Hub, scope: Scope<'_>) {
        match scope {
            Scope::All => self.recent.forget_all(),
            Scope::Channels(names) => {
                let known = names.iter().filter_map(|name| hub.directory.find(name));
                known.for_each(|record| self.recent.forget(record.id));
            }
        }
    }

    /// The channels of a scope whose positions are compared. Those that are named are looked up: a search for each name
    /// among all channels would take their product.
    fn watched(&self, hub: &Hub, scope: Scope<'_>) -> Vec<Arc<Channel>> {
        let mut watched = match scope {
            Scope::All => hub.comparisons.watched(|_| true),
            Scope::Channels(names) => {
                let known = names.iter().filter_map(|name| hub.directory.find(name));
                known.filter_map(|record| hub.comparisons.watched_one(&record)).collect()
            }
        };
        watched.retain(|record| self.has(record));
        watched
    }
}

impl Hub {
    /// Returns true for a publication that took longer than it may: what follows it is late too, or lost.
    fn is_late(&self, publication: &Publication) -> bool {
        let limit = self.config.channel_position_max_time_lag;
        !limit.is_zero()
            && publication.offset > 0
            && publication.time > 0
            && i128::from(self.clock.now().wall) - i128::from(publication.time) > limit.as_millis() as i128
    }

    /// The inboxes of the shards with subscribers of a channel: a busy shard holds back only what is for it.
    fn concerned(&self, channel: &str) -> Vec<Arc<Inbox>> {
        let Some(record) = self.directory.find(channel) else { return Vec::new() };
        let shards = record.lock().shards;
        shards.iter().filter_map(|shard| self.inboxes.get(shard)).cloned().collect()
    }

    /// The broker reported the top of a channel's stream: passes it on to the shards with subscribers.
    pub(super) fn position_told(&self, record: &Channel, top: &Position) {
        let shards = record.lock().shards;
        shards
            .iter()
            .for_each(|shard| self.send(shard, Entry::Position { channel: record.id, top: top.clone() }));
    }

    /// The broker named the present life of a channel's store: passes it on to the shards with subscribers.
    pub(super) fn incarnation_told(&self, record: &Channel, incarnation: &Arc<str>) {
        let shards = record.lock().shards;
        shards.iter().for_each(|shard| {
            let incarnation = Arc::clone(incarnation);
            self.send(shard, Entry::Incarnation { channel: record.id, incarnation });
        });
    }

    /// Joins and leaves of other nodes do not wait: without room, the clients here do not receive them.
    fn deliver_join_leave(
        &self,
        record: &Arc<Channel>,
        state: &mut ChannelState,
        info: &Arc<ClientInfo>,
        join: bool,
    ) -> Wake {
        if state.blocked(&self.admission, state.share(&self.admission, 0)).is_some() {
            crate::metrics::bump(&self.metrics.announcements_dropped);
            return Wake::NOBODY;
        }
        record.deliver_join_leave(state, &self.admission, info, join)
    }
}

//! Delivery of publications, losses, joins and leaves to the local subscribers of a channel.

use crate::channel::delivery::{Delivery, On};
use crate::channel::encoded::Encoded;
use crate::channel::local::stream::Verdict;
use crate::clock::Now;
use crate::fault;
use crate::metrics::add;
use crate::publication::ClientInfo;
use crate::shard::core::{Core, Execute};
use crate::shard::slots::{Marks, State, Taken};
use crate::shard::work::DELIVERY;
use crate::to_wire::info_to_wire;
use spinward_wire::code::DisconnectCode;
use spinward_wire::message::{Join, Leave, Push};
use std::sync::Arc;

/// A fan-out to more subscribers than this is sent beside what is sent else, and not before it.
const BULK: usize = 256;

impl Core {
    /// Gives a publication to the local subscribers of its channel.
    pub(super) fn deliver(&mut self, channel: u64, delivery: &Delivery, now: Now, exec: &mut impl Execute) {
        let Some(number) = self.local.find_id(channel) else { return };
        let Some(local) = self.local.get_mut(number) else { return };
        if let Some(entrants) = local.entrants() {
            entrants.keep(&delivery.publication, delivery.epoch.as_ref());
        }
        match local.judge(delivery) {
            Verdict::Repeated => return,
            Verdict::Deliver => {}
            Verdict::Gap(gap) => {
                let lost = local.with_gap(delivery, gap);
                self.tell_gap(number, lost, now, exec);
            }
        }
        let Some(local) = self.local.get_mut(number) else { return };
        let record = Arc::clone(&local.record);
        let (queue, mark) = if local.len() > BULK {
            (&mut self.bulk, Marks::BULK)
        } else {
            (&mut self.express, Marks::EXPRESS)
        };
        let (slots, limit) = (&mut self.slots, self.config.queue_max_size);
        let mut slow = Vec::new();
        let mut count = 0;
        let metrics = &self.hub.metrics.shards[usize::from(self.shard)];
        let on = On { channel: &record.name, metrics };
        let filtering = local.for_each_wanting(delivery, |slot, content| {
            let entry = &mut slots[slot as usize];
            if entry.state != State::Open {
                return;
            }
            let frame = delivery.frame(&on, entry.form, content);
            let Some(frame) = fault::on_frame(record.id, slot, frame) else { return };
            let taken = entry.take(number, frame);
            count += 1;
            if taken != Taken::Alone && entry.is_slow(limit) {
                slow.push(slot);
            }
            if taken != Taken::Held && !entry.marks.has(Marks::EXPRESS | Marks::BULK | Marks::BLOCKED) {
                entry.marks.set(mark);
                queue.push_back(slot);
            }
        });
        self.spent += count as usize * DELIVERY;
        add(&metrics.deliveries, count);
        add(&metrics.filtered, filtering.held_back);
        add(&metrics.filter_evaluations, filtering.evaluated);
        for slot in slow {
            self.end(slot, DisconnectCode::SLOW, now, exec, None);
        }
    }

    /// Tells subscribers of a channel that they lost something.
    pub(super) fn tell_gap(&mut self, channel: u32, lost: Vec<u32>, now: Now, exec: &mut impl Execute) {
        if !lost.is_empty() {
            add(&self.metrics().gaps, 1);
        }
        for slot in lost {
            let was_busy = self.is_busy(slot);
            self.with(slot, now, |session, cx| session.on_gap(cx, channel));
            self.settle(slot, now, exec);
            if was_busy {
                self.resume(slot);
            }
            self.settle_event(slot, now, exec);
        }
    }

    pub(super) fn tell_join_leave(
        &mut self,
        channel: u64,
        info: &Arc<ClientInfo>,
        join: bool,
        now: Now,
        exec: &mut impl Execute,
    ) {
        let Some(number) = self.local.find_id(channel) else { return };
        let Some(local) = self.local.get(number) else { return };
        let name = local.record.name.clone();
        let wanting = local.receiving_joins();
        self.spent += wanting.len() * DELIVERY;
        let encoded = Encoded::new();
        for slot in wanting {
            let entry = &mut self.slots[slot as usize];
            let bytes = encoded.frame(entry.form, |dialect| {
                let info = Some(info_to_wire(info, dialect.encoding()));
                let mut push = Push { channel: name.to_string(), ..Push::default() };
                if join {
                    push.join = Some(Join { info });
                } else {
                    push.leave = Some(Leave { info });
                }
                let mut payload = Vec::new();
                spinward_wire::append_push(dialect, &push, &mut payload, true);
                payload
            });
            if entry.state == State::Open && entry.take(number, bytes) != Taken::Held {
                self.mark(slot);
            }
            self.close_if_slow(slot, now, exec);
        }
    }
}

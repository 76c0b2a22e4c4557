//! Delivery of publications, losses, joins and leaves to the local subscribers of a channel.

use crate::channel::delivery::{Delivery, On};
use crate::channel::encoded::Encoded;
use crate::channel::local::stream::Verdict;
use crate::clock::Now;
use crate::fault;
use crate::metrics::add;
use crate::publication::ClientInfo;
use crate::shard::core::{Core, Execute};
use crate::shard::slots::{Marks, Placement, SlotState};
use crate::shard::unsent::Way;
use crate::shard::work::DELIVERY;
use crate::to_wire::info_to_wire;
use bytes::Bytes;
use spinward_wire::code::DisconnectCode;
use spinward_wire::message::{Join, Leave, Push};
use std::sync::Arc;

/// Room for slots that is kept between fan-outs.
const GIVEN: usize = 4 << 10;

impl Core {
    /// Gives a publication to the local subscribers of its channel. Returns the way by which it is sent.
    pub(super) fn deliver(
        &mut self,
        channel: u64,
        delivery: &Delivery,
        now: Now,
        exec: &mut impl Execute,
    ) -> Way {
        let Some(number) = self.local.find_id(channel) else { return Way::Express };
        let Some(local) = self.local.get_mut(number) else { return Way::Express };
        if let Some(entrants) = local.entrants() {
            entrants.keep(&delivery.publication, delivery.epoch.as_ref());
        }
        match local.judge(delivery) {
            Verdict::Repeated => return Way::Express,
            Verdict::Deliver => {}
            Verdict::Gap(gap) => {
                let lost = local.with_gap(delivery, gap);
                self.tell_gap(number, lost, now, exec);
            }
        }
        let Some(local) = self.local.get_mut(number) else { return Way::Express };
        let record = Arc::clone(&local.record);
        let way = Way::of(local.len());
        let (queue, mark) = match way {
            Way::Bulk => (&mut self.bulk, Marks::BULK),
            Way::Express => (&mut self.express, Marks::EXPRESS),
        };
        let queued = way.marks();
        let (slots, limit) = (&mut self.slots, self.config.queue_max_size);
        // Put into the queue at once: each time for itself costs a call.
        let given = &mut self.given;
        let (mut slow, mut with_ids) = (Vec::new(), Vec::new());
        let mut count = 0;
        let metrics = &self.hub.metrics.shards[usize::from(self.shard)];
        let on = On { channel: &record.name, metrics, deflater: &self.deflater };
        let filtering = local.for_each_wanting(delivery, |slot, content| {
            let entry = &mut slots[slot as usize];
            if entry.state != SlotState::Open {
                return;
            }
            let frame = delivery.frame(&on, entry.form, content);
            let Some(frame) = fault::on_frame(record.id, slot, frame) else { return };
            count += 1;
            if entry.marks.has(Marks::EVENT_IDS) {
                return with_ids.push((slot, frame));
            }
            let taken = entry.take(number, frame);
            if taken != Placement::Alone && entry.is_slow(limit) {
                slow.push(slot);
            }
            if taken != Placement::Held && !entry.marks.has(queued) {
                entry.marks.set(mark);
                given.push(slot);
            }
        });
        queue.extend(&*given);
        given.clear();
        given.shrink_to(GIVEN);
        if !with_ids.is_empty() {
            self.deliver_with_ids(number, delivery, with_ids, way, &mut slow);
        }
        let metrics = &self.hub.metrics.shards[usize::from(self.shard)];
        self.spent += count as usize * DELIVERY;
        add(&metrics.deliveries, count);
        add(&metrics.filtered, filtering.held_back);
        add(&metrics.filter_evaluations, filtering.evaluated);
        for slot in slow {
            self.end(slot, DisconnectCode::SLOW, now, exec, None);
        }
        way
    }

    /// Gives frames of a publication to connections whose events have ids, once the channel counts it as delivered.
    ///
    /// Out of line, so that the loop over all others is as short as it can be.
    #[inline(never)]
    fn deliver_with_ids(
        &mut self,
        channel: u32,
        delivery: &Delivery,
        frames: Vec<(u32, Bytes)>,
        way: Way,
        slow: &mut Vec<u32>,
    ) {
        for (slot, mut frame) in frames {
            if delivery.publication.offset > 0 {
                frame = self.with_event_id(slot, &frame);
            }
            if self.slots[slot as usize].take(channel, frame) != Placement::Held {
                self.mark_for(slot, way);
            }
            if self.slots[slot as usize].is_slow(self.config.queue_max_size) {
                slow.push(slot);
            }
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
                self.resume(slot, now, exec);
            }
            self.settle_event(slot, now, exec);
        }
    }

    /// Tells the subscribers of a channel that want to know it that a client came or went. Returns the way by which
    /// that is sent.
    pub(super) fn tell_join_leave(
        &mut self,
        channel: u64,
        info: &Arc<ClientInfo>,
        join: bool,
        now: Now,
        exec: &mut impl Execute,
    ) -> Way {
        let Some(number) = self.local.find_id(channel) else { return Way::Express };
        let Some(local) = self.local.get(number) else { return Way::Express };
        let name = local.record.name.clone();
        let wanting = local.receiving_joins();
        let way = Way::of(wanting.len());
        self.spent += wanting.len() * DELIVERY;
        let encoded = Encoded::new();
        for slot in wanting {
            let entry = &mut self.slots[slot as usize];
            let bytes = encoded.frame(entry.form, &self.deflater, |dialect| {
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
            if entry.state == SlotState::Open && entry.take(number, bytes) != Placement::Held {
                self.mark_for(slot, way);
            }
            self.close_if_slow(slot, now, exec);
        }
        way
    }
}

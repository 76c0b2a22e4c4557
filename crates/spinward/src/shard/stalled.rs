//! Connections that take nothing of what waits for them.

use crate::clock::Now;
use crate::mailbox::pipe::Source;
use crate::session::extras::Stalled;
use crate::shard::core::{Core, Execute};
use crate::shard::slots::{Marks, SlotState};
use spinward_wire::code::DisconnectCode;

impl Core {
    /// The carrier takes no more. If it takes nothing until the time for that is over, the connection ends. A body is
    /// given with it: what is pulled of that is not reported.
    pub(crate) fn blocked(&mut self, slot: u32, body: Option<Source>, now: Now) {
        self.set_blocked(slot, true);
        let limit = self.write_timeout(slot);
        let entry = &mut self.slots[slot as usize];
        if limit == 0 || entry.state != SlotState::Open || entry.marks.has(Marks::STALLED) {
            return;
        }
        entry.marks.set(Marks::STALLED);
        let body = body.map(|body| {
            let pulled = body.pulled();
            (body, pulled)
        });
        self.extras.set_stalled(slot, Stalled { until: now.mono + limit, body });
        self.rearm(slot, now);
    }

    /// Returns the time to take something in, in milliseconds; 0 means no limit.
    fn write_timeout(&self, slot: u32) -> u64 {
        let entry = &self.slots[slot as usize];
        let (websocket, config) = (entry.form.framing().is_websocket(), &self.config);
        let limit = match (websocket, entry.form.dialect().is_unidirectional()) {
            (true, true) => config.uni_write_timeout,
            (true, false) => config.write_timeout,
            (false, _) if entry.transport.is_response() => config.response_write_timeout,
            // Of others, the limit of what waits is the only one.
            (false, _) => return 0,
        };
        limit.as_millis() as u64
    }

    /// The carrier has taken something.
    pub(super) fn end_stall(&mut self, slot: u32) {
        let marks = &mut self.slots[slot as usize].marks;
        if marks.has(Marks::STALLED) {
            marks.clear(Marks::STALLED);
            self.extras.take_stalled(slot);
        }
    }

    /// Returns the time at which a connection ends if it takes nothing until then.
    pub(super) fn stalled_until(&self, slot: u32) -> u64 {
        if !self.slots[slot as usize].marks.has(Marks::STALLED) {
            return u64::MAX;
        }
        let stalled = self.extras.get(slot).and_then(|extra| extra.stalled.as_ref());
        stalled.map_or(u64::MAX, |stalled| stalled.until)
    }

    /// Ends a connection that has taken nothing for too long. Returns true if it was one.
    pub(super) fn end_stalled(&mut self, slot: u32, now: Now, exec: &mut impl Execute) -> bool {
        if self.stalled_until(slot) > now.mono {
            return false;
        }
        let limit = self.write_timeout(slot);
        if self.extras.is_pulled_on(slot, now.mono + limit) {
            return false;
        }
        // Nothing more can be sent, so there are no last bytes to wait for.
        self.with(slot, now, |session, cx| session.close(cx, DisconnectCode::WRITE_ERROR));
        self.settle(slot, now, exec);
        self.out.clear();
        self.control.clear();
        self.gone(slot);
        true
    }
}

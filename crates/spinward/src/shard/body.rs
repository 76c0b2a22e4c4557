//! The body carrier: hands output to the bodies of HTTP responses, see [`crate::mailbox::pipe`].

use crate::handle::Handle;
use crate::mailbox::pipe::Writer;
use crate::metrics::add;
use crate::shard::Driver;
use crate::shard::slots::SlotState;

/// The bodies of a shard, by slot.
#[derive(Default)]
pub(super) struct Bodies(Vec<Option<Writer>>);

impl Bodies {
    /// Takes the body of a slot. Returns false if its reader has gone already.
    pub(super) fn start(&mut self, slot: u32, handle: Handle, writer: Writer) -> bool {
        let index = slot as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        writer.attach(handle);
        let has_reader = !writer.is_gone();
        self.0[index] = Some(writer);
        has_reader
    }

    fn get(&self, slot: u32) -> Option<&Writer> {
        self.0.get(slot as usize)?.as_ref()
    }

    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(entry) = self.0.get_mut(slot as usize) {
            *entry = None;
        }
    }
}

impl Driver {
    /// Hands what waits for a slot to its body. Returns true if the slot has one.
    pub(super) fn flush_body(&mut self, slot: u32) -> bool {
        let Some(writer) = self.bodies.get(slot) else { return false };
        let state = self.core.state(slot);
        if state == SlotState::Gone {
            self.release(slot);
            return true;
        }
        let filled = writer.fill(self.core.outbox(slot).iter());
        let ends = state == SlotState::Closing && !filled.is_full;
        if ends {
            writer.finish();
        }
        if filled.bytes > 0 {
            let traffic = &self.hub.metrics.shards[self.shard].traffic[self.core.transport(slot).index()];
            add(&traffic.sends, 1);
            add(&traffic.bytes_sent, filled.bytes as u64);
            self.core.sent(slot, filled.bytes);
        }
        if ends || filled.is_gone {
            let now = self.hub.clock.now();
            self.core.eof(slot, now, &mut self.exec);
        } else if filled.is_full {
            let source = writer.source();
            self.core.blocked(slot, Some(source), self.hub.clock.now());
        }
        true
    }

    /// The reader of a body has made room, or is gone.
    pub(super) fn pulled(&mut self, handle: Handle) {
        let Some(slot) = self.core.resolve(handle) else { return };
        match self.bodies.get(slot) {
            Some(writer) if writer.is_gone() => {
                let now = self.hub.clock.now();
                self.core.eof(slot, now, &mut self.exec);
            }
            _ => self.core.set_blocked(slot, false),
        }
    }
}

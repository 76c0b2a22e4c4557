//! Messages of clients that come by HTTP requests of their own, beside the connection that takes the answers.

use crate::clock::Now;
use crate::handle::Handle;
use crate::metrics::add;
use crate::session_id::Secret;
use crate::shard::core::{Core, Execute};
use crate::shard::slots::{Marks, SlotState};
use bytes::Bytes;
use spinward_wire::code::DisconnectCode;
use spinward_wire::framing::Decoder;
use spinward_wire::ws::Payload;

/// Messages of the largest size that may wait for one connection. Nothing holds requests back as a socket that is not
/// read does, so what is beyond that ends the connection.
const WAITING: usize = 4;

impl Core {
    /// A message for a connection of this shard. If that is gone, or the secret is another's, nothing happens: what a
    /// stranger can observe is the same in both cases.
    pub(super) fn request(
        &mut self,
        handle: Handle,
        secret: &Secret,
        message: &Bytes,
        now: Now,
        exec: &mut impl Execute,
    ) {
        let Some(slot) = self.resolve(handle) else { return };
        let entry = &self.slots[slot as usize];
        let proven =
            self.extras.get(slot).and_then(|extra| extra.secret).is_some_and(|own| own.matches(secret));
        if proven && entry.state == SlotState::Open && matches!(entry.decoder, Decoder::Whole) {
            self.receive_whole(slot, message, now, exec);
        }
    }

    /// Takes the message that came with the request of a new connection.
    pub(crate) fn first(&mut self, slot: u32, message: &Bytes, now: Now, exec: &mut impl Execute) {
        if matches!(self.slots[slot as usize].decoder, Decoder::Whole) {
            return self.receive_whole(slot, message, now, exec);
        }
        self.spent = 0;
        add(&self.traffic(slot).bytes_received, message.len() as u64);
        add(&self.traffic(slot).messages_received, 1);
        self.message(slot, Payload::Owned(message.to_vec()), now, exec);
        self.settle_event(slot, now, exec);
        self.go_on(slot);
    }

    /// Takes a whole message: at once, or in its turn behind what waits already.
    pub(crate) fn receive_whole(&mut self, slot: u32, message: &Bytes, now: Now, exec: &mut impl Execute) {
        self.spent = 0;
        if message.is_empty() {
            self.report(slot, &"an empty message", DisconnectCode::BAD_REQUEST.code, now);
            return self.end(slot, DisconnectCode::BAD_REQUEST, now, exec, None);
        }
        let entry = &self.slots[slot as usize];
        if entry.pending.is_none() && !entry.marks.has(Marks::THROTTLED) && self.may_go_on(slot) {
            return self.input(slot, &mut message.to_vec(), now, exec);
        }
        add(&self.traffic(slot).bytes_received, message.len() as u64);
        add(&self.traffic(slot).messages_received, 1);
        self.throttle(slot, message.len(), now);
        let most = WAITING * self.limits(slot).message as usize;
        let encoding = self.slots[slot as usize].form.dialect().encoding();
        let pending = self.slots[slot as usize].pending.get_or_insert_default();
        if pending.message.len() + message.len() > most {
            return self.end(slot, DisconnectCode::TOO_MANY_REQUESTS, now, exec, None);
        }
        pending.message.append(encoding, message);
        self.rearm(slot, now);
        self.go_on(slot);
    }
}

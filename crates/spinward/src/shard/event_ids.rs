//! Ids of server-sent events, for connections that have them: see [`crate::event_id`].

use crate::channel::local::special::SubscriberFlags;
use crate::event_id::Composer;
use crate::session::MayPush;
use crate::shard::core::Core;
use bytes::Bytes;

impl Core {
    /// Puts an id into events: it says what the client has once it has seen the last of them, and so it belongs to that one.
    pub(super) fn with_event_id(&self, slot: u32, events: &[u8]) -> Bytes {
        const END: &[u8] = b"\n\n";
        // Text in events has no line breaks of its own.
        let before = events.strip_suffix(END).unwrap_or(events);
        let last = before.windows(END.len()).rposition(|pair| pair == END).map_or(0, |at| at + END.len());
        let mut out = Vec::with_capacity(events.len() + 128);
        out.extend_from_slice(&events[..last]);
        self.event_id(slot).append_line(&mut out);
        out.extend_from_slice(&events[last..]);
        out.into()
    }

    /// The positions of a connection, behind all that was sent to it.
    fn event_id(&self, slot: u32) -> Composer {
        let mut id = Composer::new();
        let Some(session) = &self.slots[slot as usize].session else { return id };
        for channel in session.channels() {
            let Some(local) = self.local.get(*channel) else { continue };
            // What waits to be sent of a subscription that the client does not know yet is not behind it.
            if local.is(slot, SubscriberFlags::POSITIONED)
                && session.may_push(*channel) == MayPush::Yes
                && let Some(position) = local.cursor(slot).position
            {
                id.add(&local.record.name, &position);
            }
        }
        id
    }
}

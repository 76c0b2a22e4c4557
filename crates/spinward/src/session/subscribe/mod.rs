//! A subscription of a connection, from the command to its end.
//!
//! In the order of what happens: `ask` (the command, and the application), `enter` (into the channel), `tell` (the reply,
//! presence and the join), `end`. `list` is what the connection is subscribed to.

mod ask;
mod end;
mod enter;
mod filters;
pub(super) mod list;
mod tell;

use crate::channel::local::stream::Cursor;
use crate::channel::record::Channel;
use crate::event::SubscribeOptions;
use crate::handle::CallToken;
use crate::lazy_vec::LazyVec;
use crate::mailbox::inbox::Delivering;
use crate::publication::Position;
use crate::session::subscribe::list::Details;
use spinward_wire::filter::Filter;
use spinward_wire::message::SubscribeResult;
use std::sync::Arc;

/// A subscription on its way into a channel.
pub(super) struct Entering {
    /// Names the entry within the session.
    pub(super) number: CallToken,
    pub(super) channel: Arc<str>,
    pub(super) purpose: Purpose,
    pub(super) options: Box<SubscribeOptions>,
    pub(super) requested: Requested,
    pub(super) stage: Stage,
    /// Publications for this connection alone, which follow the reply.
    pub(super) held: LazyVec<Box<Delivering>>,
}

impl Entering {
    /// It is in this channel, and only the presence store has yet to answer.
    pub(super) const fn is_listing(&self, channel: u32) -> bool {
        matches!(self.stage, Stage::Listing { local, .. } if local == channel)
    }
}

/// Progress of an entry.
pub(super) enum Stage {
    /// A remote broker is asked. The place in the channel is held.
    Entering { record: Arc<Channel>, local: u32 },
    /// It is in; the presence store is asked, under this token.
    Listing { token: CallToken, local: u32, result: Box<SubscribeResult> },
}

/// Origin of the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A subscribe command with this id.
    Command(u32),
    /// The connect reply.
    Connect,
    /// The server, while the connection lives.
    Server,
}

/// Parameters of the client that a subscription was asked for with.
#[derive(Default)]
pub(super) struct Requested {
    pub(super) recover: bool,
    pub(super) since: Position,
    pub(super) delta: bool,
    pub(super) filter: Option<Filter>,
    pub(super) flag: i64,
    /// The subscription that it takes the place of.
    pub(super) replaces: Option<Box<Replaced>>,
}

/// A subscription that another one takes the place of.
pub(super) struct Replaced {
    /// Place of the replaced subscription, if the other one goes on from there.
    pub(super) cursor: Option<Cursor>,
    pub(super) own: Details,
}

//! Shared parts of the targets.

use spinward_wire::message::{Command, PingRequest};
use spinward_wire::{Incoming, Request};

/// The command that a client would have sent to get this one read.
pub fn command(incoming: Incoming) -> Command {
    let mut command = Command { id: incoming.id, ..Command::default() };
    match incoming.request {
        None => {}
        Some(Request::Connect(request)) => command.connect = Some(*request),
        Some(Request::Subscribe(request)) => command.subscribe = Some(*request),
        Some(Request::Unsubscribe(request)) => command.unsubscribe = Some(request),
        Some(Request::Publish(request)) => command.publish = Some(request),
        Some(Request::Presence(request)) => command.presence = Some(request),
        Some(Request::PresenceStats(request)) => command.presence_stats = Some(request),
        Some(Request::History(request)) => command.history = Some(request),
        Some(Request::Ping) => command.ping = Some(PingRequest::default()),
        Some(Request::Send(request)) => command.send = Some(request),
        Some(Request::Rpc(request)) => command.rpc = Some(request),
        Some(Request::Refresh(request)) => command.refresh = Some(request),
        Some(Request::SubRefresh(request)) => command.sub_refresh = Some(*request),
    }
    command
}

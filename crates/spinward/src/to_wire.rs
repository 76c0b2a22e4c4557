//! Publications and clients as messages of the protocol.

use crate::publication::{ClientInfo, Publication};
use bytes::Bytes;
use spinward_wire::{Protocol, json, message};

/// A publication as a message of the protocol. A payload that is not JSON is made so for JSON clients.
///
/// The first publication of a stream says its epoch, since a subscriber that was there before it has none yet.
pub(crate) fn to_wire(publication: &Publication, epoch: &str, protocol: Protocol) -> message::Publication {
    message::Publication {
        data: payload(&publication.data, protocol),
        info: publication.info.as_deref().map(|info| info_to_wire(info, protocol)),
        offset: publication.offset,
        tags: publication.tags.as_deref().cloned().unwrap_or_default(),
        version: publication.version,
        channel: publication.channel.as_deref().map_or_else(String::new, str::to_owned),
        epoch: if publication.offset == 1 { epoch.to_owned() } else { String::new() },
        ..message::Publication::default()
    }
}

/// Converts a client's info to a message of the protocol.
pub(crate) fn info_to_wire(info: &ClientInfo, protocol: Protocol) -> message::ClientInfo {
    message::ClientInfo {
        user: info.user.as_ref().to_owned(),
        client: info.client.as_ref().to_owned(),
        conn_info: payload(&info.conn_info, protocol),
        chan_info: payload(&info.chan_info, protocol),
    }
}

/// A payload as a client of that protocol may be given it.
pub(crate) fn payload(data: &Bytes, protocol: Protocol) -> Bytes {
    match protocol {
        Protocol::Json if !data.is_empty() => json::payload(data.clone()),
        Protocol::Json | Protocol::Protobuf => data.clone(),
    }
}

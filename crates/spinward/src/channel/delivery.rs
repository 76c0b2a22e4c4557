//! A publication on its way to subscribers: encoded once for all of them, when a form is first needed.

use crate::metrics::{ShardMetrics, add};
use crate::publication::{ClientInfo, Publication};
use bytes::Bytes;
use spinward_wire::ws::{Opcode, append_header};
use spinward_wire::{Protocol, delta, json, message};
use std::sync::{Arc, OnceLock};

/// A publication in the inboxes of shards.
pub(crate) struct Delivery {
    pub(crate) publication: Arc<Publication>,
    /// Number of this delivery in its channel record, from 1.
    pub(crate) seq: u64,
    /// Epoch of the stream, where the publication was stored in one.
    pub(crate) epoch: Option<Arc<str>>,
    plain_json: OnceLock<Bytes>,
    plain_protobuf: OnceLock<Bytes>,
    /// For JSON subscribers with deltas: the payload as a JSON string.
    text_json: OnceLock<Bytes>,
    patch: OnceLock<Patch>,
}

/// A publication as a patch against one base.
struct Patch {
    base: Arc<Publication>,
    json: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
    /// Absent if the patch is not smaller than the payload.
    bytes: Option<Bytes>,
}

/// Channel and shard that a frame is made for.
pub(crate) struct On<'a> {
    /// In this channel.
    pub(crate) channel: &'a str,
    /// In the shard that counts here.
    pub(crate) metrics: &'a ShardMetrics,
}

/// Form in which a subscriber wants the payload.
#[derive(Clone, Copy)]
pub(crate) enum Form<'a> {
    /// As it was published.
    Plain,
    /// Deltas were agreed on; this is what the subscriber has, if it has anything.
    Delta(Option<&'a Arc<Publication>>),
}

impl Delivery {
    pub(crate) const fn new(publication: Arc<Publication>, seq: u64, epoch: Option<Arc<str>>) -> Self {
        Self {
            publication,
            seq,
            epoch,
            plain_json: OnceLock::new(),
            plain_protobuf: OnceLock::new(),
            text_json: OnceLock::new(),
            patch: OnceLock::new(),
        }
    }

    /// Bytes that this holds in an inbox, for its budget.
    pub(crate) fn weight(&self) -> usize {
        self.publication.weight() + 256
    }

    /// The WebSocket frame that pushes this publication.
    ///
    /// Inlined for subscribers whose frame is already encoded, which are nearly all.
    #[inline]
    pub(crate) fn frame(&self, on: &On<'_>, protocol: Protocol, form: Form<'_>) -> Bytes {
        let encoded = match (&form, protocol) {
            (Form::Plain, Protocol::Json) => self.plain_json.get(),
            (Form::Plain, Protocol::Protobuf) => self.plain_protobuf.get(),
            (Form::Delta(_), _) => None,
        };
        encoded.map_or_else(|| self.make_frame(on, protocol, form), Bytes::clone)
    }

    #[inline(never)]
    fn make_frame(&self, on: &On<'_>, protocol: Protocol, form: Form<'_>) -> Bytes {
        match (form, protocol) {
            (Form::Plain, Protocol::Json) => {
                self.plain_json.get_or_init(|| self.encode(on, protocol, None)).clone()
            }
            (Form::Plain | Form::Delta(None), Protocol::Protobuf) => {
                self.plain_protobuf.get_or_init(|| self.encode(on, protocol, None)).clone()
            }
            (Form::Delta(None), Protocol::Json) => self.full_text(on),
            (Form::Delta(Some(base)), _) if self.publication.delta && self.publication.offset > 0 => {
                self.patched(on, protocol, base)
            }
            (Form::Delta(Some(_)), _) => self.make_frame(on, protocol, Form::Delta(None)),
        }
    }

    fn full_text(&self, on: &On<'_>) -> Bytes {
        let encode = || {
            let text = json::escape_string(&self.publication.data);
            self.encode(on, Protocol::Json, Some((text, false)))
        };
        self.text_json.get_or_init(encode).clone()
    }

    fn patched(&self, on: &On<'_>, protocol: Protocol, base: &Arc<Publication>) -> Bytes {
        let mut own = None;
        let make = || {
            add(&on.metrics.patches, 1);
            Patch::new(base, &self.publication)
        };
        let cached = self.patch.get_or_init(make);
        // Two shards may be at different places of a channel for a moment; the one whose base is not the cached one
        // pays for its own patch.
        let patch = if Arc::ptr_eq(&cached.base, base) || cached.base.data == base.data {
            cached
        } else {
            &*own.insert(make())
        };
        let Some(bytes) = &patch.bytes else {
            return match protocol {
                Protocol::Json => self.full_text(on),
                Protocol::Protobuf => {
                    let whole = || self.encode(on, protocol, Some((self.publication.data.clone(), false)));
                    patch.protobuf.get_or_init(whole).clone()
                }
            };
        };
        match protocol {
            // A patch may cut a character in two. JSON cannot carry that.
            Protocol::Json if std::str::from_utf8(bytes).is_err() => self.full_text(on),
            Protocol::Json => {
                let encode = || self.encode(on, protocol, Some((json::escape_string(bytes), true)));
                patch.json.get_or_init(encode).clone()
            }
            Protocol::Protobuf => {
                let encode = || self.encode(on, protocol, Some((bytes.clone(), true)));
                patch.protobuf.get_or_init(encode).clone()
            }
        }
    }

    fn encode(&self, on: &On<'_>, protocol: Protocol, replaced: Option<(Bytes, bool)>) -> Bytes {
        add(&on.metrics.encodings, 1);
        let mut message = to_wire(&self.publication, self.epoch.as_deref().unwrap_or_default(), protocol);
        if let Some((data, delta)) = replaced {
            message = message::Publication { data, delta, epoch: String::new(), version: 0, ..message };
        }
        let mut payload = Vec::with_capacity(message.data.len() + on.channel.len() + 96);
        spinward_wire::append_publication_push(protocol, on.channel, &message, &mut payload, true);
        frame(protocol, &payload)
    }
}

impl Patch {
    fn new(base: &Arc<Publication>, next: &Publication) -> Self {
        Self {
            base: Arc::clone(base),
            json: OnceLock::new(),
            protobuf: OnceLock::new(),
            bytes: patch(&base.data, &next.data),
        }
    }
}

/// The patch from one payload to the next, if it is smaller than the payload.
pub(crate) fn patch(base: &[u8], next: &[u8]) -> Option<Bytes> {
    let mut out = Vec::new();
    delta::create(base, next, &mut out);
    (out.len() < next.len()).then(|| out.into())
}

/// Puts a payload into one WebSocket frame of the kind that the protocol uses.
pub(crate) fn frame(protocol: Protocol, payload: &[u8]) -> Bytes {
    let opcode = match protocol {
        Protocol::Json => Opcode::Text,
        Protocol::Protobuf => Opcode::Binary,
    };
    let mut out = Vec::with_capacity(payload.len() + 10);
    append_header(opcode, payload.len(), &mut out);
    out.extend_from_slice(payload);
    out.into()
}

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

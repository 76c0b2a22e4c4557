//! A publication on its way to subscribers: encoded once for all of them, when a form is first needed.

use crate::channel::encoded::Encoded;
use crate::metrics::{ShardMetrics, add};
use crate::publication::Publication;
use crate::to_wire::to_wire;
use bytes::Bytes;
use spinward_wire::ws::Deflater;
use spinward_wire::{Dialect, Form, Protocol, delta, json, message};
use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

/// A publication in the inboxes of shards.
pub(crate) struct Delivery {
    pub(crate) publication: Arc<Publication>,
    /// Number of this delivery in its channel record, from 1.
    pub(crate) seq: u64,
    /// Epoch of the stream, where the publication was stored in one.
    pub(crate) epoch: Option<Arc<str>>,
    plain: Encoded,
    /// For subscribers with deltas for whom no patch is of use: the whole payload, in JSON as a string.
    whole: OnceLock<Box<Encoded>>,
    patch: OnceLock<Box<Patch>>,
}

/// A publication as a patch against one base.
struct Patch {
    base: Arc<Publication>,
    encoded: Encoded,
    /// Absent if the patch is not smaller than the payload.
    bytes: Option<Bytes>,
}

/// Channel and shard that a frame is made for.
pub(crate) struct On<'a> {
    /// In this channel.
    pub(crate) channel: &'a str,
    /// In the shard that counts here.
    pub(crate) metrics: &'a ShardMetrics,
    /// By the compressor of that shard.
    pub(crate) deflater: &'a RefCell<Deflater>,
}

/// Content of the push that a subscriber is sent for a publication.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    /// The payload as it was published.
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
            plain: Encoded::new(),
            whole: OnceLock::new(),
            patch: OnceLock::new(),
        }
    }

    /// Returns the same publication as the next delivery of its channel: see [`crate::fault`].
    pub(crate) fn repeated(&self) -> Self {
        Self::new(Arc::clone(&self.publication), self.seq + 1, self.epoch.clone())
    }

    /// Bytes that this holds in an inbox, for its budget.
    pub(crate) fn weight(&self) -> usize {
        self.publication.weight() + 256
    }

    /// The frame that pushes this publication to connections of this form.
    ///
    /// Inlined for subscribers whose frame is already encoded, which are nearly all.
    #[inline]
    pub(crate) fn frame(&self, on: &On<'_>, form: Form, content: Content<'_>) -> Bytes {
        let ready = match content {
            Content::Plain => self.plain.ready(form),
            Content::Delta(_) => None,
        };
        ready.map_or_else(|| self.make_frame(on, form, content), Bytes::clone)
    }

    #[inline(never)]
    fn make_frame(&self, on: &On<'_>, form: Form, content: Content<'_>) -> Bytes {
        match (content, form.dialect().encoding()) {
            (Content::Delta(Some(base)), _) if self.publication.delta && self.publication.offset > 0 => {
                self.patched(on, form, base)
            }
            (Content::Delta(_), Protocol::Json) => self.whole(on, form),
            (Content::Delta(_), Protocol::Protobuf) | (Content::Plain, _) => {
                self.plain.frame(form, on.deflater, |dialect| self.encode(on, dialect, None))
            }
        }
    }

    fn whole(&self, on: &On<'_>, form: Form) -> Bytes {
        let data = &self.publication.data;
        let encoded = self.whole.get_or_init(|| Box::new(Encoded::new()));
        encoded.frame(form, on.deflater, |dialect| {
            self.encode(on, dialect, Some((in_deltas(data, dialect), false)))
        })
    }

    fn patched(&self, on: &On<'_>, form: Form, base: &Arc<Publication>) -> Bytes {
        let mut own = None;
        let make = || {
            add(&on.metrics.patches, 1);
            Patch::new(base, &self.publication)
        };
        let cached = self.patch.get_or_init(|| Box::new(make()));
        // Two shards may be at different places of a channel for a moment; the one whose base is not the cached one
        // pays for its own patch.
        let patch = if Arc::ptr_eq(&cached.base, base) || cached.base.data == base.data {
            cached
        } else {
            &*own.insert(make())
        };
        // A patch may cut a character in two. JSON cannot carry that.
        let fits = |patch: &&Bytes| {
            form.dialect().encoding() != Protocol::Json || std::str::from_utf8(patch).is_ok()
        };
        match patch.bytes.as_ref().filter(fits) {
            Some(bytes) => patch.encoded.frame(form, on.deflater, |dialect| {
                self.encode(on, dialect, Some((in_deltas(bytes, dialect), true)))
            }),
            None => self.whole(on, form),
        }
    }

    fn encode(&self, on: &On<'_>, dialect: Dialect, replaced: Option<(Bytes, bool)>) -> Vec<u8> {
        add(&on.metrics.encodings, 1);
        let epoch = self.epoch.as_deref().unwrap_or_default();
        let mut message = to_wire(&self.publication, epoch, dialect.encoding());
        if let Some((data, delta)) = replaced {
            message = message::Publication { data, delta, epoch: String::new(), version: 0, ..message };
        }
        let mut payload = Vec::with_capacity(message.data.len() + on.channel.len() + 96);
        spinward_wire::append_publication_push(dialect, on.channel, &message, &mut payload, true);
        payload
    }
}

/// A payload or patch as subscribers with deltas take it: JSON has it in a string.
fn in_deltas(bytes: &Bytes, dialect: Dialect) -> Bytes {
    match dialect.encoding() {
        Protocol::Json => json::escape_string(bytes),
        Protocol::Protobuf => bytes.clone(),
    }
}

impl Patch {
    fn new(base: &Arc<Publication>, next: &Publication) -> Self {
        Self { base: Arc::clone(base), encoded: Encoded::new(), bytes: patch(&base.data, &next.data) }
    }
}

/// The patch from one payload to the next, if it is smaller than the payload.
pub(crate) fn patch(base: &[u8], next: &[u8]) -> Option<Bytes> {
    let mut out = Vec::new();
    delta::create(base, next, &mut out);
    (out.len() < next.len()).then(|| out.into())
}

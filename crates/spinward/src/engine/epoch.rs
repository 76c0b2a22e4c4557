//! Epochs as clients see them: the incarnation of a store and its own name for a stream, in one.
//!
//! They are composed and taken apart here and nowhere else. So no broker can forget to change its epochs when its store
//! has lost acknowledged publications: another incarnation makes another epoch.
//!
//! The form is `incarnation.epoch`. A store that is shared with other software, whose epochs are known by their own
//! names, has no incarnation: such an epoch is composed to itself. In the incarnation, `%` and `.` are escaped, so that two pairs never make the same
//! epoch. Clients take it as it is. Epochs of the memory engine do not pass through here: they are bound to the life of
//! the process by their own scheme (`memory/epochs.rs`).

use crate::engine::broker::{Place, Since, StreamId};
use crate::publication::Position;
use foldhash::fast::FixedState;
use parking_lot::Mutex;
use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Streams whose epochs are kept composed, by hash.
const KEPT: usize = 64;

/// Composes epochs. Those composed lately are kept, so that publications of one stream share an epoch.
pub(crate) struct Epochs {
    names: FixedState,
    kept: Box<[Mutex<Kept>]>,
}

/// A stream and its epoch.
type Kept = Option<(StreamId, Arc<str>)>;

impl Epochs {
    pub(crate) fn new(seed: u64) -> Self {
        Self { names: FixedState::with_seed(seed), kept: (0..KEPT).map(|_| Mutex::default()).collect() }
    }

    /// The epoch that names a stream.
    pub(crate) fn of(&self, stream: &StreamId) -> Arc<str> {
        let place = (self.names.hash_one(stream) >> 32) as usize % KEPT;
        let mut kept = self.kept[place].lock();
        match &*kept {
            Some((known, epoch)) if known == stream => Arc::clone(epoch),
            _ => {
                let epoch = compose(stream);
                *kept = Some((stream.clone(), Arc::clone(&epoch)));
                epoch
            }
        }
    }

    /// A store's place as clients see it.
    pub(crate) fn position(&self, place: &Place) -> Position {
        Position { offset: place.offset, epoch: self.of(&place.stream) }
    }
}

fn compose(stream: &StreamId) -> Arc<str> {
    if stream.incarnation.is_empty() && !stream.epoch.is_empty() && !stream.epoch.contains('.') {
        return Arc::clone(&stream.epoch);
    }
    format!("{}.{}", escaped(&stream.incarnation), stream.epoch).into()
}

fn escaped(incarnation: &str) -> Cow<'_, str> {
    if incarnation.contains(['%', '.']) {
        incarnation.replace('%', "%25").replace('.', "%2E").into()
    } else {
        incarnation.into()
    }
}

/// A client's place in the store's own words. `None` if its epoch was never composed here.
///
/// The incarnation is left out: the store is asked whatever it is, and its answer says of which one it is.
pub(crate) fn taken_apart(since: &Since) -> Option<Since> {
    let epoch = match &since.epoch {
        Some(epoch) => match epoch.split_once('.') {
            Some((_, own)) => Some(own.into()),
            // Of a store without incarnations, or from elsewhere: the store decides.
            None if !epoch.is_empty() => Some(Arc::clone(epoch)),
            None => return None,
        },
        None => None,
    };
    Some(Since { offset: since.offset, epoch })
}

/// Returns true if an epoch is of a life of its store.
pub(crate) fn is_of(epoch: &str, incarnation: &str) -> bool {
    match epoch.split_once('.') {
        Some((own, _)) => own == escaped(incarnation),
        None => incarnation.is_empty() && !epoch.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(incarnation: &str, epoch: &str) -> StreamId {
        StreamId { incarnation: incarnation.into(), epoch: epoch.into() }
    }

    proptest! {
        #![proptest_config(crate::engine::memory::stream::tests::config())]

        #[test]
        fn an_epoch_names_one_stream_of_one_life(
            one in ("[ab.%2E5]{0,4}", "[ab.%]{0,3}"),
            other in ("[ab.%2E5]{0,4}", "[ab.%]{0,3}"),
        ) {
            let epochs = Epochs::new(1);
            let (first, second) = (epochs.of(&stream(&one.0, &one.1)), epochs.of(&stream(&other.0, &other.1)));
            prop_assert_eq!(first == second, one == other);
            prop_assert!(is_of(&first, &one.0));
            prop_assert_eq!(is_of(&first, &other.0), one.0 == other.0);
            let since = Since { offset: 7, epoch: Some(first) };
            let own = taken_apart(&since).map(|since| (since.offset, since.epoch));
            prop_assert_eq!(own, Some((7, Some(Arc::from(one.1)))));
        }
    }

    #[test]
    fn publications_of_a_stream_share_an_epoch() {
        let epochs = Epochs::new(1);
        let first = epochs.of(&stream("a", "e"));
        assert!(Arc::ptr_eq(&first, &epochs.of(&stream("a", "e"))));
        assert_ne!(first, epochs.of(&stream("b", "e")), "a replica took over and kept the name");
    }

    #[test]
    fn epochs_from_elsewhere_are_of_no_life() {
        assert_eq!(taken_apart(&Since { offset: 1, epoch: Some("".into()) }), None);
        assert!(!is_of("", ""));
        for epoch in ["abcd", "17x-3"] {
            let since = Since { offset: 1, epoch: Some(epoch.into()) };
            assert_eq!(taken_apart(&since), Some(since), "the store is asked for {epoch}");
            assert!(!is_of(epoch, "a"), "whatever it answers is of its life");
            assert!(is_of(epoch, "") && *compose(&stream("", epoch)) == *epoch);
        }
        let present = Since { offset: 1, epoch: None };
        assert_eq!(taken_apart(&present), Some(present.clone()));
    }
}

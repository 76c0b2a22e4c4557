//! Messages of Pub/Sub channels.
//!
//! ```text
//! s<incarnation>:<epoch>:<offset>:<event>     of a publication that was stored
//! u<event>                                    of everything else
//! ```

use super::super::lives::Lives;
use crate::codec;
use bytes::{Buf, Bytes};
use spinward::engine::broker::{Event, StreamId};
use std::sync::Arc;

/// Longest of each name in a message, and longest offset.
const LONGEST: usize = 128;

/// A message of an event that is not stored.
pub(in super::super) fn unstored(event: &Event) -> Vec<u8> {
    let mut message = vec![b'u'];
    message.extend_from_slice(&codec::event(event));
    message
}

/// Reads a message: the stream, the event, and the bytes of the message. The life of the store that it is of is noted
/// first. `None` if it is not one of ours.
pub(super) fn read(mut message: Bytes, lives: &Lives) -> Option<(Option<StreamId>, Event, usize)> {
    let weight = message.len();
    let kind = *message.first()?;
    message.advance(1);
    match kind {
        b'u' => Some((None, codec::read_event(message).ok()?, weight)),
        b's' => {
            let (incarnation, epoch) = (name(&mut message)?, name(&mut message)?);
            let offset: u64 = std::str::from_utf8(&name(&mut message)?).ok()?.parse().ok()?;
            let event = match codec::read_event(message).ok()? {
                Event::Publication(mut publication) => {
                    Arc::make_mut(&mut publication).offset = offset;
                    Event::Publication(publication)
                }
                Event::JoinLeave(_) => return None,
            };
            let epoch = std::str::from_utf8(&epoch).ok()?.into();
            let incarnation = std::str::from_utf8(&incarnation).ok().filter(|_| offset > 0)?;
            let (incarnation, _) = lives.note(incarnation);
            Some((Some(StreamId { incarnation, epoch }), event, weight))
        }
        _ => None,
    }
}

/// Takes the text before the next colon.
fn name(message: &mut Bytes) -> Option<Bytes> {
    let end = message.iter().take(LONGEST).position(|byte| *byte == b':').filter(|end| *end > 0)?;
    let name = message.split_to(end);
    message.advance(1);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use spinward::Publication;
    use tokio::sync::watch;

    fn lives() -> Arc<Lives> {
        Lives::new(watch::Sender::new(0))
    }

    #[test]
    fn a_stored_publication_has_its_place() {
        let lives = lives();
        let event = Event::Publication(Arc::new(Publication { data: "x".into(), ..Publication::default() }));
        let message = [b"sabc:e:18446744073709551615:", &codec::event(&event)[..]].concat();
        let Some((Some(stream), Event::Publication(read), _)) = read(message.into(), &lives) else {
            panic!("not read");
        };
        assert_eq!((&*stream.incarnation, &*stream.epoch, read.offset), ("abc", "e", u64::MAX));
        assert_eq!((&*lives.present(), &read.data[..]), ("abc", &b"x"[..]));
        let Some((None, Event::Publication(read), 4..)) = super::read(unstored(&event).into(), &lives) else {
            panic!("not read");
        };
        assert_eq!(read.offset, 0);
    }

    #[test]
    fn other_messages_are_none() {
        for message in ["", "x", "s", "sa:b:1:", "sa:b:0:p", "s:b:1:p", "sa:b:x:p", "sa:b:1:l", "uq", "sa:b"]
        {
            let lives = lives();
            assert!(read(Bytes::from_static(message.as_bytes()), &lives).is_none(), "{message}");
            assert!(lives.present().is_empty(), "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(message in "[su][a-z:0-9]{0,12}", rest: Vec<u8>) {
            let _ = read([message.as_bytes(), &rest].concat().into(), &lives());
        }
    }
}

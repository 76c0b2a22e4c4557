use super::*;
use crate::ws::{Event, Reader};
use crate::{Dialect, Direction, Form, Protocol};
use proptest::collection::vec;
use proptest::prelude::*;

const WINDOWS: [Window; Window::COUNT] = [Window::Full, Window::Medium, Window::Small];

fn deflater(level: i8, min_size: usize) -> Deflater {
    let options = Compression { level, min_size };
    Deflater::new(options, options)
}

fn inflate(payload: &[u8], text: bool, limits: &Limits) -> Result<Vec<u8>, CloseError> {
    let message = Compressed { payload: Payload::Owned(payload.to_vec()), text };
    Inflater::default().inflate(limits, &message).map(|inflated| inflated.to_vec())
}

/// Inflates by a window of this size alone: repetitions from further back are an error.
fn inflate_by(window: Window, payload: &[u8]) -> Vec<u8> {
    let mut state = Inflate::new(false, window.bits());
    let (mut out, mut used) = (Vec::new(), 0);
    let input = [payload, &TAIL_AND_LAST].concat();
    loop {
        let mut piece = [0; 64];
        let before = state.total_out();
        let status = state.decompress(&input[used..], &mut piece, InflateFlush::NoFlush).unwrap();
        used = state.total_in() as usize;
        out.extend(&piece[..(state.total_out() - before) as usize]);
        if status == Status::StreamEnd {
            return out;
        }
    }
}

/// Text with repetitions near and far.
fn text(len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 64);
    let mut at = 0_u64;
    while out.len() < len {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(format!("{{\"id\":{},\"value\":\"{:x}\"}},", at >> 60, at >> 40).as_bytes());
    }
    out.truncate(len);
    out
}

#[test]
fn examples_of_the_rfc() {
    let limits = Limits::default();
    // RFC 7692 §7.2.3: a block, an uncompressed block, a last block, two blocks, an empty message.
    for payload in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ] {
        assert_eq!(inflate(payload, true, &limits).unwrap(), b"Hello", "{payload:x?}");
    }
    assert_eq!(inflate(&[0x00], true, &limits).unwrap(), b"");
    // Without the zero byte behind the last block.
    assert_eq!(inflate(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], true, &limits).unwrap(), b"Hello");
}

#[test]
fn every_level_and_window_is_inflated_again() {
    for level in -2..=9 {
        for window in WINDOWS {
            let mut deflater = deflater(level, 0);
            for len in [5, 100, 1_000, 5_000, 40_000, 200_000] {
                let message = text(len);
                let Some(sent) = deflater.compress(window, false, &message) else {
                    assert_eq!(level, 0);
                    continue;
                };
                assert!(sent.len() < len || len < 100, "{level} {window:?} {len}: {}", sent.len());
                assert_eq!(inflate_by(window, sent), message, "{level} {window:?} {len}");
                let limits = Limits { message: 0, decompressed: u32::try_from(len).unwrap() };
                assert_eq!(inflate(sent, true, &limits).unwrap(), message);
            }
        }
    }
}

#[test]
fn a_message_does_not_depend_on_those_before_it() {
    let mut used = deflater(1, 0);
    let message = text(3_000);
    let first = used.compress(Window::Full, false, &message).unwrap().to_vec();
    used.compress(Window::Full, false, &text(100_000)).unwrap();
    assert_eq!(used.compress(Window::Full, false, &message).unwrap(), first);
    assert!(used.buffer.len() <= KEPT);
}

#[test]
fn what_cannot_be_compressed_is_inflated_again() {
    let mut seed = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    })
    .take(100_000)
    .collect();
    for len in [5, 63, 64, 65, 1_000, 1_023, 1_024, 16_384, 100_000] {
        let mut deflater = deflater(6, 0);
        let sent = deflater.compress(Window::Full, false, &noise[..len]).unwrap();
        assert!(sent.len() <= len + len / 1_000 + 32, "{len}: {}", sent.len());
        assert_eq!(inflate_by(Window::Full, sent), noise[..len]);
    }
}

#[test]
fn small_messages_are_sent_as_they_are() {
    let options = |min_size| Compression { level: 6, min_size };
    let mut deflater = Deflater::new(options(200), options(0));
    assert!(deflater.compress(Window::Full, false, &[b'x'; 200]).is_none());
    assert!(deflater.compress(Window::Full, false, &[b'x'; 201]).is_some());
    assert!(deflater.compress(Window::Full, true, &[b'x'; 5]).is_some());
    assert!(deflater.compress(Window::Full, true, b"{}").is_none(), "a ping");
}

#[test]
fn what_does_not_inflate_ends_the_connection() {
    let limits = Limits::default();
    let mut one = deflater(6, 0);
    let sent = one.compress(Window::Full, false, &text(2_000)).unwrap();
    for end in 0..sent.len() {
        let found = inflate(&sent[..end], false, &limits);
        assert_eq!(found.unwrap_err().code, 1007, "cut at {end}");
    }
    for (payload, error) in [
        (&b"hello, this is no compressed data"[..], CORRUPT),
        (&[], CORRUPT),
        (&[0x00, 0x14, 0x00, 0xeb, 0xff, 0x48], CUT),
        // A repetition from before the message.
        (&[0x02, 0x06, 0x00], CORRUPT),
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00], AFTER_LAST),
        (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf2], AFTER_LAST),
    ] {
        assert_eq!(inflate(payload, false, &limits), Err(error), "{payload:x?}");
    }
    let invalid = one.compress(Window::Full, false, b"{\"a\":\"\xff\"}").unwrap();
    assert_eq!(inflate(invalid, true, &limits).unwrap_err(), CloseError::invalid_utf8("text is not UTF-8"));
    assert!(inflate(invalid, false, &limits).is_ok());
}

#[test]
fn more_than_the_limit_is_refused_when_it_is_there() {
    let limits = Limits::of(65_536);
    let mut deflater = deflater(9, 0);
    let zeros = vec![0; 64 << 20];
    for (len, fits) in [(655_360, true), (655_361, false), (64 << 20, false)] {
        let sent = deflater.compress(Window::Full, false, &zeros[..len]).unwrap();
        assert!(sent.len() <= 65_536);
        let mut inflater = Inflater::default();
        let message = Compressed { payload: Payload::Owned(sent.to_vec()), text: false };
        match inflater.inflate(&limits, &message) {
            Ok(inflated) => {
                assert!(fits && inflated.len() == len);
                inflater.recycle(inflated);
            }
            Err(error) => assert_eq!((fits, error), (false, CloseError::TOO_BIG), "{len}"),
        }
        assert!(inflater.buffer.capacity() <= KEPT, "{}", inflater.buffer.capacity());
        assert!(inflater.state.as_ref().unwrap().total_out() <= 655_361 + KEPT as u64);
    }
    // The limit itself may be anything.
    for (limit, fits) in [(0, false), (4, false), (5, true), (u32::MAX, true)] {
        let sent = deflater.compress(Window::Full, false, b"Hello").unwrap();
        let found = inflate(sent, true, &Limits { message: 9, decompressed: limit });
        assert_eq!(found.is_ok(), fits, "{limit}");
    }
}

#[test]
fn messages_about_as_large_as_the_buffer_come_through() {
    let (mut deflater, mut inflater) = (deflater(6, 0), Inflater::default());
    let limits = Limits { message: 0, decompressed: 1 << 20 };
    for len in [1, FIRST_ROOM - 1, FIRST_ROOM, FIRST_ROOM + 1, KEPT - 1, KEPT, KEPT + 1, 2 * KEPT, 300_000, 7]
    {
        for message in [text(len), vec![b'a'; len]] {
            let sent = deflater.compress(Window::Full, false, &message);
            let Some(sent) = sent.filter(|_| len > TINY) else { continue };
            let sent = Compressed { payload: Payload::Owned(sent.to_vec()), text: true };
            let inflated = inflater.inflate(&limits, &sent).unwrap();
            assert!(*inflated == message[..], "{len}");
            assert!(inflated.bytes.capacity() <= KEPT.max(len + 1));
            inflater.recycle(inflated);
            assert!(inflater.buffer.capacity() <= KEPT);
        }
    }
}

#[test]
fn frames_of_a_form_are_read_by_a_client() {
    let message = br#"{"push":{"channel":"news","pub":{"data":{"text":"the same, the same, the same"}}}}"#;
    let pushes = [&message[..], b"\n", message].concat();
    for (direction, frames) in [(Direction::Bidirectional, 1), (Direction::Unidirectional, 2)] {
        for window in WINDOWS {
            let form = Form::deflate(Dialect::new(Protocol::Json, direction), window);
            let mut bytes = form.frame_with(&pushes, &mut deflater(1, 0)).to_vec();
            assert!(bytes.len() < form.frame(&pushes).len());
            let (mut reader, mut inflater) = (Reader::client().with_deflate(), Inflater::default());
            let (mut at, mut seen) = (0, Vec::new());
            while at < bytes.len() {
                let (used, event) = reader.read(&Limits::default(), &mut bytes[at..]);
                let Ok(Some(Event::Compressed(found))) = event else { panic!("{event:?}") };
                seen.push(inflater.inflate(&Limits::default(), &found).unwrap().to_vec());
                at += used;
            }
            assert_eq!(seen.len(), frames);
            assert_eq!(seen.join(&b'\n'), pushes);
            let plain = form.frame_with(&pushes, &mut deflater(1, 1_000));
            assert_eq!(plain, Form::websocket(form.dialect()).frame(&pushes), "below the least size");
        }
    }
}

proptest! {
    #[test]
    fn any_message_comes_through(
        message in vec(prop_oneof![4 => b'a'..b'e', 1 => any::<u8>()], 0..3_000),
        repeat in 1_usize..40,
        level in -2_i8..=9,
        window in 0..Window::COUNT,
    ) {
        let message = message.repeat(repeat);
        if let Some(sent) = deflater(level, 0).compress(WINDOWS[window], false, &message) {
            let limits = Limits { message: 0, decompressed: u32::try_from(message.len()).unwrap() };
            prop_assert_eq!(&inflate(sent, false, &limits).unwrap(), &message);
            prop_assert_eq!(inflate_by(WINDOWS[window], sent), message);
        } else {
            prop_assert!(level == 0 || message.len() <= TINY);
        }
    }

    #[test]
    fn any_bytes_are_inflated_or_refused(payload in vec(any::<u8>(), 0..300), limit in 0_u32..5_000) {
        match inflate(&payload, false, &Limits { message: 0, decompressed: limit }) {
            Ok(inflated) => prop_assert!(inflated.len() <= limit as usize),
            Err(error) => prop_assert!(matches!(error.code, 1007 | 1009)),
        }
    }
}

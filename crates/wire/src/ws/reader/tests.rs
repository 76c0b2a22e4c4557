use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ws::{append_close, append_frame, append_masked_frame};

const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// An event without borrows, or the error that ended the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Compressed(bool, Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Error(u16, &'static str),
}

fn feed(reader: &mut Reader, limits: &Limits, input: &[u8], seen: &mut Vec<Seen>) {
    let mut scratch = input.to_vec();
    let mut rest = &mut scratch[..];
    while !rest.is_empty() {
        let len = rest.len();
        let (consumed, result) = reader.read(limits, rest);
        match result {
            Ok(Some(event)) => {
                assert!(consumed > 0);
                seen.push(match event {
                    Event::Text(payload) => Seen::Text(payload.into_vec()),
                    Event::Binary(payload) => Seen::Binary(payload.into_vec()),
                    Event::Compressed(Compressed { payload, text }) => {
                        Seen::Compressed(text, payload.into_vec())
                    }
                    Event::Ping(payload) => Seen::Ping(payload.into_vec()),
                    Event::Pong => Seen::Pong,
                    Event::Close(code) => Seen::Close(code),
                });
            }
            Ok(None) => assert_eq!(consumed, len, "no event, so all is consumed"),
            Err(error) => {
                assert_eq!(consumed, len);
                seen.push(Seen::Error(error.code, error.reason));
            }
        }
        rest = &mut rest[consumed..];
    }
}

fn read_all(input: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    feed(&mut Reader::new(), &Limits::default(), input, &mut seen);
    seen
}

/// One masked frame with any first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append_masked_frame(Opcode::Binary, KEY, payload, &mut out);
    out[0] = first;
    out
}

fn frames(parts: &[(u8, &[u8])]) -> Vec<u8> {
    parts.iter().flat_map(|(first, payload)| frame(*first, payload)).collect()
}

#[test]
fn an_idle_reader_is_small_and_owns_no_heap() {
    assert!(size_of::<Reader>() <= 24, "{}", size_of::<Reader>());
    let mut reader = Reader::new();
    let input = frames(&[(0x81, b"one"), (0x01, b"tw"), (0x89, b""), (0x80, b"o")]);
    for byte in input {
        feed(&mut reader, &Limits::default(), &[byte], &mut Vec::new());
    }
    assert!(reader.partial.is_none() && !reader.is_partial() && reader.spilled() == 0);
}

#[test]
fn what_clients_send_and_what_is_seen() {
    let big = vec![b'x'; 65_536];
    let table: Vec<(Vec<u8>, Vec<Seen>)> = vec![
        (frame(0x81, b"hi"), vec![Seen::Text(b"hi".into())]),
        (frame(0x81, b""), vec![Seen::Text(vec![])]),
        (frame(0x82, b"\xff\x00"), vec![Seen::Binary(b"\xff\x00".into())]),
        (frame(0x89, b"p"), vec![Seen::Ping(b"p".into())]),
        (frame(0x89, &[7; 125]), vec![Seen::Ping(vec![7; 125])]),
        (frame(0x8A, b"late"), vec![Seen::Pong]),
        (frame(0x81, &big), vec![Seen::Text(big.clone())]),
        // Fragments, with control frames between them.
        (frames(&[(0x01, b"a"), (0x00, b"b"), (0x80, b"c")]), vec![Seen::Text(b"abc".into())]),
        (frames(&[(0x02, b""), (0x80, b"")]), vec![Seen::Binary(vec![])]),
        (
            frames(&[(0x01, b"a"), (0x89, b"1"), (0x8A, b""), (0x00, b"b"), (0x89, b"2"), (0x80, b"")]),
            vec![Seen::Ping(b"1".into()), Seen::Pong, Seen::Ping(b"2".into()), Seen::Text(b"ab".into())],
        ),
        // A character cut by fragments is whole again in the message.
        (frames(&[(0x01, b"\xe2\x82"), (0x80, b"\xac")]), vec![Seen::Text("€".into())]),
        // Close, and nothing after it.
        (frame(0x88, b""), vec![Seen::Close(None)]),
        (frame(0x88, b"\x03\xe8bye"), vec![Seen::Close(Some(1000))]),
        (frames(&[(0x88, b"\x0f\xa0"), (0x81, b"ignored")]), vec![Seen::Close(Some(4000))]),
        (frames(&[(0x01, b"never ended"), (0x88, b"")]), vec![Seen::Close(None)]),
        // What was complete before an error is seen.
        (
            frames(&[(0x81, b"ok"), (0xC1, b""), (0x81, b"ignored")]),
            vec![Seen::Text(b"ok".into()), Seen::Error(1002, "reserved bits set")],
        ),
    ];
    for (input, expected) in table {
        assert_eq!(read_all(&input), expected, "{:x?}", &input[..input.len().min(40)]);
    }
}

#[test]
fn what_is_refused_and_how() {
    let long = [(0x81, &[b'x'; 65_537][..])];
    let halves = [(0x01, &[b'x'; 40_000][..]), (0x80, &[b'x'; 25_537][..])];
    for (input, code, reason) in [
        (frames(&[(0x80, b"x")]), 1002, "continuation of no message"),
        (frames(&[(0x00, b"x")]), 1002, "continuation of no message"),
        (frames(&[(0x01, b"x"), (0x81, b"y")]), 1002, "message inside a fragmented message"),
        (frames(&[(0x01, b"x"), (0x02, b"y")]), 1002, "message inside a fragmented message"),
        (frames(&[(0x88, b"\x03")]), 1002, "close frame of one byte"),
        (frames(&[(0x88, &[0; 126])]), 1002, "control frame too long"),
        (frames(&[(0x09, b"")]), 1002, "fragmented control frame"),
        (vec![0x81, 0x00], 1002, "frame is not masked"),
        (frames(&[(0x81, b"\xff")]), 1007, "text is not UTF-8"),
        (frames(&[(0x81, b"\xed\xa0\x80")]), 1007, "text is not UTF-8"),
        (frames(&[(0x01, b"\xe2\x82"), (0x80, b"x")]), 1007, "text is not UTF-8"),
        (frames(&[(0x88, b"\x03\xe8\xff")]), 1007, "close reason is not UTF-8"),
        (frames(&long), 1009, ""),
        (frames(&halves), 1009, ""),
    ] {
        assert_eq!(read_all(&input), [Seen::Error(code, reason)]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535_u16] {
        let seen = read_all(&frame(0x88, &code.to_be_bytes()));
        assert_eq!(seen, [Seen::Error(1002, "invalid close code")], "{code}");
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 3501, 4999_u16] {
        assert_eq!(read_all(&frame(0x88, &code.to_be_bytes())), [Seen::Close(Some(code))]);
    }
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_header() {
    let input = frame(0x81, &[b'x'; 65_537]);
    // Two bytes, eight of length, four of mask: the body is not needed.
    assert_eq!(read_all(&input[..13]), []);
    assert_eq!(read_all(&input[..14]), [Seen::Error(1009, "")]);
    let tight = Limits::of(3);
    let mut seen = Vec::new();
    feed(&mut Reader::new(), &tight, &frames(&[(0x82, b"abc"), (0x02, b"ab"), (0x80, b"cd")]), &mut seen);
    assert_eq!(seen, [Seen::Binary(b"abc".into()), Seen::Error(1009, "")]);
}

#[test]
fn a_claimed_length_costs_no_memory() {
    // The largest length there is, under the largest limit there is.
    let mut reader = Reader::new();
    let header = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
    let mut seen = Vec::new();
    feed(&mut reader, &Limits::of(u32::MAX), &header, &mut seen);
    assert_eq!(seen, [Seen::Error(1009, "")]);
    assert!(reader.partial.is_none());

    // A length within the limit: capacity follows what arrives, by doubling, and never exceeds the frame.
    let mut reader = Reader::new();
    let input = frame(0x82, &[9; 60_000]);
    let limits = Limits::default();
    feed(&mut reader, &limits, &input[..8], &mut seen);
    assert_eq!(reader.partial.as_ref().unwrap().bytes.capacity(), 0);
    for part in input[8..input.len() - 1].chunks(100) {
        feed(&mut reader, &limits, part, &mut seen);
        let kept = &reader.partial.as_ref().unwrap().bytes;
        assert!(kept.capacity() <= 60_000.min(kept.len() * 2), "{} for {}", kept.capacity(), kept.len());
    }
    assert_eq!(reader.spilled(), 59_999);
}

#[test]
fn a_million_empty_continuations_keep_nothing() {
    let mut input = frame(0x01, b"a");
    let empty = frame(0x00, b"");
    input.extend(empty.iter().cycle().take(empty.len() * 1_000_000));
    let (mut reader, mut seen) = (Reader::new(), Vec::new());
    feed(&mut reader, &Limits::default(), &input, &mut seen);
    assert_eq!(seen, []);
    assert_eq!(reader.spilled(), 1);
    feed(&mut reader, &Limits::default(), &frame(0x80, b"b"), &mut seen);
    assert_eq!(seen, [Seen::Text(b"ab".into())]);
}

#[test]
fn a_message_in_many_fragments_is_one_message() {
    let mut input = frame(0x01, b"x");
    (0..4_000).for_each(|_| input.extend(frame(0x00, b"x")));
    input.extend(frame(0x80, b"x"));
    assert_eq!(read_all(&input), [Seen::Text(vec![b'x'; 4_002])]);
}

/// The 16-bit and the 64-bit form of a length that a shorter form holds, as some clients send them.
#[test]
fn a_length_in_a_longer_form_is_read() {
    for (len, payload) in [
        (&[0xFE, 0, 5][..], &b"hello"[..]),
        (&[0xFF, 0, 0, 0, 0, 0, 0, 0, 5], b"hello"),
        (&[0xFE, 0, 125], &[b'x'; 125]),
        (&[0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], &[b'x'; 65_535]),
    ] {
        let input = [&[0x81], len, &[0; 4], payload].concat();
        assert_eq!(read_all(&input), [Seen::Text(payload.to_vec())]);
    }
}

#[test]
fn a_whole_frame_is_borrowed_and_unmasked_in_place() {
    let mut input = frames(&[(0x81, b"borrowed"), (0x82, b"more")]);
    let (consumed, result) = Reader::new().read(&Limits::default(), &mut input);
    let Ok(Some(Event::Text(Payload::Borrowed(bytes)))) = result else {
        panic!("{result:?}");
    };
    assert_eq!(bytes, b"borrowed");
    assert_eq!(consumed, 14);
}

#[test]
fn a_client_reads_what_a_server_writes() {
    let mut out = Vec::new();
    append_frame(Opcode::Text, b"reply", &mut out);
    append_close(3501, "bad request", &mut out);
    let mut seen = Vec::new();
    feed(&mut Reader::client(), &Limits::default(), &out, &mut seen);
    assert_eq!(seen, [Seen::Text(b"reply".into()), Seen::Close(Some(3501))]);

    seen.clear();
    feed(&mut Reader::client(), &Limits::default(), &frame(0x81, b"x"), &mut seen);
    assert_eq!(seen, [Seen::Error(1002, "frame is masked")]);
}

#[test]
fn a_compressed_message_is_given_as_it_came_in() {
    let read = |input: &[u8]| {
        let mut seen = Vec::new();
        feed(&mut Reader::new().with_deflate(), &Limits::default(), input, &mut seen);
        seen
    };
    let input = frames(&[(0xC1, b"\xffa"), (0x81, b"b"), (0xC2, b""), (0x82, b"c")]);
    let (compressed, text) = (Seen::Compressed(true, b"\xffa".into()), Seen::Text(b"b".into()));
    assert_eq!(
        read(&input),
        [compressed, text, Seen::Compressed(false, Vec::new()), Seen::Binary(b"c".into())]
    );
    // The first frame says it for all of the message, and for none after it.
    let input = frames(&[(0x41, b"a"), (0x89, b"p"), (0x00, b"b"), (0x80, b"c"), (0x01, b"d"), (0x80, b"e")]);
    let (compressed, text) = (Seen::Compressed(true, b"abc".into()), Seen::Text(b"de".into()));
    assert_eq!(read(&input), [Seen::Ping(b"p".into()), compressed, text]);
    for later in [0x40, 0xC0, 0xC9] {
        let input = frames(&[(0x41, b"a"), (later, b"b")]);
        let reason = "compression bit on a frame that begins no message";
        assert_eq!(read(&input), [Seen::Error(1002, reason)], "{later:x}");
    }
    assert_eq!(read_all(&frame(0xC1, b"a")), [Seen::Error(1002, "reserved bits set")], "not agreed on");
}

/// Frames that are mostly good, in orders that are mostly not.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81_u8, 0x01, 0x00, 0x80, 0x02, 0x82, 0x89, 0x8A, 0xC1, 0x41, 0x42]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        6 => "[a-z€é]{0,20}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..20),
        1 => vec(Just(b'x'), 120..140),
        1 => Just(b"\x03\xe8bye".to_vec()),
    ];
    (first, payload, any::<[u8; 4]>()).prop_map(|(first, payload, key)| {
        let mut out = Vec::new();
        append_masked_frame(Opcode::Binary, key, &payload, &mut out);
        out[0] = first;
        out
    })
}

proptest! {
    #[test]
    fn every_split_gives_the_same_events(frames in vec(any_frame(), 1..6), deflate: bool) {
        let new = || if deflate { Reader::new().with_deflate() } else { Reader::new() };
        let input = frames.concat();
        let limits = Limits::of(150);
        let mut whole = Vec::new();
        let mut reader = new();
        feed(&mut reader, &limits, &input, &mut whole);
        let end = (reader.is_partial(), reader.spilled());
        for split in 0..=input.len() {
            let mut seen = Vec::new();
            let mut reader = new();
            feed(&mut reader, &limits, &input[..split], &mut seen);
            prop_assert!(reader.spilled() <= 150 + 139);
            feed(&mut reader, &limits, &input[split..], &mut seen);
            prop_assert_eq!(&seen, &whole, "split at {}", split);
            prop_assert_eq!((reader.is_partial(), reader.spilled()), end);
        }
        let mut seen = Vec::new();
        let mut reader = new();
        for byte in &input {
            feed(&mut reader, &limits, std::slice::from_ref(byte), &mut seen);
        }
        prop_assert_eq!(&seen, &whole, "byte by byte");
        prop_assert_eq!((reader.is_partial(), reader.spilled()), end);
    }

    #[test]
    fn arbitrary_bytes_cost_no_more_than_the_limits(chunks in vec(vec(any::<u8>(), 0..60), 0..8)) {
        let limits = Limits::of(100);
        let (mut reader, mut seen) = (Reader::new(), Vec::new());
        for chunk in chunks {
            feed(&mut reader, &limits, &chunk, &mut seen);
            prop_assert!(reader.spilled() <= 100 + 139);
        }
        let errors = seen.iter().filter(|seen| matches!(seen, Seen::Error(..) | Seen::Close(_))).count();
        prop_assert!(errors <= 1);
    }
}

use super::*;
use proptest::prelude::*;

type Seen = Vec<Result<Vec<u8>, &'static str>>;

/// Reads a stream in pieces that end at these places.
fn read(protocol: Protocol, limit: u32, stream: &[u8], cuts: &[usize]) -> (Seen, usize) {
    let limits = Limits::of(limit);
    let mut reader = Reader::new();
    let (mut seen, mut most, mut from) = (Vec::new(), 0, 0);
    for to in cuts.iter().copied().chain([stream.len()]) {
        let mut part = stream[from..to].to_vec();
        from = to;
        let mut rest = &mut part[..];
        while !rest.is_empty() {
            let len = rest.len();
            let (used, found) = reader.read(protocol, &limits, rest);
            assert!(used > 0 && used <= len);
            match found {
                Ok(Some(message)) => seen.push(Ok(message.to_vec())),
                Ok(None) => assert_eq!(used, len),
                Err(cause) => seen.push(Err(cause)),
            }
            rest = &mut rest[used..];
            most = most.max(reader.spilled());
        }
    }
    (seen, most)
}

fn at_every_byte(protocol: Protocol, limit: u32, stream: &[u8]) -> Seen {
    let whole = read(protocol, limit, stream, &[]).0;
    for cut in 0..=stream.len() {
        assert_eq!(read(protocol, limit, stream, &[cut]).0, whole, "cut at {cut}");
    }
    let all: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(read(protocol, limit, stream, &all).0, whole, "byte by byte");
    whole
}

#[test]
fn lines() {
    assert_eq!(
        at_every_byte(Protocol::Json, 5, b"{}\n\n12345\n{\"a"),
        [Ok(b"{}".to_vec()), Ok(vec![]), Ok(b"12345".to_vec())]
    );
    assert_eq!(at_every_byte(Protocol::Json, 5, b"{}\n123456\n{}\n"), [Ok(b"{}".to_vec()), Err(TOO_LONG)]);
}

#[test]
fn counted_messages_keep_their_length() {
    let long = [&[0x80, 0x01][..], &[7; 128]].concat();
    let stream = [&[0, 2, 1, 2][..], &long, &[3, 1]].concat();
    assert_eq!(at_every_byte(Protocol::Protobuf, 128, &stream), [Ok(vec![0]), Ok(vec![2, 1, 2]), Ok(long)]);
    assert_eq!(at_every_byte(Protocol::Protobuf, 4, &[0, 5, 1, 2, 3, 4, 5, 0]), [Ok(vec![0]), Err(TOO_LONG)]);
    assert_eq!(at_every_byte(Protocol::Protobuf, 4, &[0x80; 12]), [Err(BAD_LENGTH)]);
    // More than 64 bits.
    let huge = [&[0xFF; 9][..], &[0x02, 1]].concat();
    assert_eq!(at_every_byte(Protocol::Protobuf, 4, &huge), [Err(BAD_LENGTH)]);
    let most = [&[0xFF; 9][..], &[0x01, 1]].concat();
    assert_eq!(at_every_byte(Protocol::Protobuf, 4, &most), [Err(TOO_LONG)]);
}

#[test]
fn nothing_is_kept_between_messages() {
    for (protocol, stream) in [(Protocol::Json, &b"{\"a\":1}\n"[..]), (Protocol::Protobuf, &[3, 1, 2, 3])] {
        let mut reader = Reader::new();
        for byte in stream {
            let _ = reader.read(protocol, &Limits::default(), &mut [*byte]);
        }
        assert!(reader.partial.is_none(), "{protocol:?}");
    }
}

proptest! {
    #[test]
    fn messages_do_not_depend_on_the_pieces(
        protobuf in any::<bool>(),
        limit in 0..40_u32,
        stream in prop::collection::vec(prop_oneof![Just(b'\n'), 0..20_u8, any::<u8>()], 0..80),
        cuts in prop::collection::btree_set(0..80_usize, 0..10),
    ) {
        let protocol = if protobuf { Protocol::Protobuf } else { Protocol::Json };
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= stream.len()).collect();
        let (whole, _) = read(protocol, limit, &stream, &[]);
        let (pieces, most) = read(protocol, limit, &stream, &cuts);
        prop_assert_eq!(&whole, &pieces);
        prop_assert!(most <= limit as usize + LONGEST_LENGTH);
        let ends = whole.iter().position(Result::is_err);
        prop_assert!(ends.is_none_or(|at| at + 1 == whole.len()), "something follows an error");
        prop_assert!(whole.iter().flatten().all(|message| message.len() <= limit as usize + LONGEST_LENGTH));
    }
}

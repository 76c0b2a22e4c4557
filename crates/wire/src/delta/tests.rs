use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn delta(source: &[u8], target: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    create(source, target, &mut out);
    out
}

#[test]
fn deltas_byte_for_byte() {
    let a = b"the quick brown fox jumps over the lazy dog";
    for (source, target, expected) in [
        (&b""[..], &b""[..], &b"0\n0;"[..]),
        (b"anything", b"", b"0\n0;"),
        (b"", b"abc", b"3\n3:abc1XObC0;"),
        (a, a, b"g\ng@0,2OF1KR;"),
        (a, &a[4..], b"c\nc@4,Zpv~w;"),
        (a, b"the quick brown cat jumps over the lazy dog", b"g\nG@0,3:catO@J,2LBX4R;"),
    ] {
        let got = delta(source, target);
        assert_eq!(got, expected, "{}", got.escape_ascii());
    }
}

#[test]
fn what_was_appended_to_is_left_alone() {
    let mut out = b"before".to_vec();
    create(b"", b"abc", &mut out);
    assert_eq!(out, b"before3\n3:abc1XObC0;");
}

#[test]
fn a_moved_part_is_copied() {
    let (a, b, c) = ("a".repeat(10) + "first part", "the second part ".repeat(3), "a third part, longer");
    let got = delta(format!("{a}{b}{c}").as_bytes(), format!("{c}{a}{b}").as_bytes());
    assert!(got.len() < 30, "{}", got.escape_ascii());
}

#[test]
fn a_source_of_one_byte_repeated_is_no_trouble() {
    for (source, target) in [(1_000_000, 999_999), (1_000_000, 1_500_000), (100, 1_000_000)] {
        let (source, target) = (vec![b'a'; source], vec![b'a'; target]);
        let got = delta(&source, &target);
        assert_eq!(apply(&source, &got, target.len()), Ok(target));
    }
}

#[test]
fn what_is_wrong_with_a_delta_is_said() {
    use DeltaError::{Checksum, Command, Length, Malformed, Number, Source, TooLarge, Trailing, Truncated};
    let source = b"0123456789";
    for (patch, expected) in [
        (&b""[..], Truncated),
        (b"3", Truncated),
        (b"3\n", Truncated),
        (b"3\n3", Truncated),
        (b"3\n3@", Truncated),
        (b"3\n3@0", Truncated),
        (b"3\n3@0,", Truncated),
        (b"3\n3:ab", Truncated),
        (b"\n0;", Number),
        (b"3\n@0,", Number),
        (b"3\n3@,", Number),
        (b"3\n~~~~~~~~~~~@0,", Number),
        (b"3 ", Malformed),
        (b"3\n3@0;", Malformed),
        (b"3\n3?", Command(b'?')),
        (b"3\n8@3,", Source),
        (b"3\nF~~~~~~~~~~@F~~~~~~~~~~,", Source),
        (b"3\n4@0,", Length),
        (b"3\n3@0,1:x", Length),
        (b"3\n2:ab1XObC0;", Length),
        (b"3\n3:abc1XObC1;", Checksum),
        // The right sum with a 33rd bit set.
        (b"3\n3:abc5XObC0;", Checksum),
        (b"3\n3:abc1XObC0;x", Trailing),
        (b"11\n", TooLarge { size: 65, limit: 64 }),
        (b"F~~~~~~~~~~\n", TooLarge { size: u64::MAX, limit: 64 }),
    ] {
        assert_eq!(apply(source, patch, 64), Err(expected), "{}", patch.escape_ascii());
    }
    assert_eq!(apply(source, b"3\n3:abc1XObC0;", 3), Ok(b"abc".to_vec()));
}

#[test]
fn a_document_with_small_changes_shrinks_as_well_as_with_another_implementation() {
    let document = |price: u32, note: &str| {
        let rows: Vec<String> = (0..40)
            .map(|row| {
                let price = if row % 7 == 0 { price + row } else { row * 3 };
                format!(r#"{{"id":{row},"symbol":"SYM{row}","price":{price},"note":"{note}"}}"#)
            })
            .collect();
        format!("[{}]", rows.join(","))
    };
    let (source, target) = (document(1_000, "calm"), document(2_345, "calm"));
    let ours = delta(source.as_bytes(), target.as_bytes());
    let other = fossil_delta::delta(&target, &source);
    assert!(ours.len() * 10 <= other.len() * 11, "{} against {}", ours.len(), other.len());
    assert!(ours.len() * 8 < target.len(), "{} of {}", ours.len(), target.len());
}

/// A source, and a target made of pieces of it and of new bytes.
fn related() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let alphabet = prop_oneof![Just(2_u8), Just(16), Just(255)];
    alphabet.prop_flat_map(|top| vec(0..=top, 0..600)).prop_flat_map(|source| {
        let len = source.len();
        let piece = prop_oneof![
            3 => (0..=len, 0..=len).prop_map(|(a, b)| (a.min(b)..a.max(b), Vec::new())),
            2 => vec(any::<u8>(), 0..30).prop_map(|new| (0..0, new)),
        ];
        vec(piece, 0..8).prop_map(move |pieces| {
            let mut target = Vec::new();
            for (range, new) in pieces {
                target.extend_from_slice(&source[range]);
                target.extend(new);
            }
            (source.clone(), target)
        })
    })
}

proptest! {
    #[test]
    fn what_is_created_applies((source, target) in related()) {
        let got = delta(&source, &target);
        prop_assert!(got.len() <= target.len() + 20);
        prop_assert_eq!(apply(&source, &got, target.len()), Ok(target));
    }

    #[test]
    fn another_implementation_applies_ours_and_we_its((source, target) in related()) {
        prop_assert_eq!(&fossil_delta::apply(&source, delta(&source, &target)).unwrap(), &target);
        let theirs = fossil_delta::delta(&target, &source);
        prop_assert_eq!(apply(&source, &theirs, target.len()), Ok(target));
    }

    #[test]
    fn arbitrary_patches_are_harmless(
        source in vec(any::<u8>(), 0..40),
        patch in vec(prop_oneof![any::<u8>(), prop::sample::select(b"0123Az~@:,;\n".to_vec())], 0..40),
        limit in 0_usize..100,
    ) {
        if let Ok(target) = apply(&source, &patch, limit) {
            prop_assert!(target.len() <= limit && target.capacity() <= limit);
        }
    }

    #[test]
    fn a_damaged_delta_never_passes_for_more_than_it_says((source, target) in related(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut patch = delta(&source, &target);
        let at = at.index(patch.len());
        patch[at] = byte;
        if let Ok(made) = apply(&source, &patch, target.len()) {
            prop_assert!(made.len() <= target.len());
        }
    }
}

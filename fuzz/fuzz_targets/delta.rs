//! Fossil delta: what is created applies, and no patch makes more than it may.
//!
//! Input: two bytes of source length, the source, then a target or a patch.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward_wire::delta;

const LIMIT: usize = 4_096;

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first_chunk() else {
        return;
    };
    let (source, rest) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
    round_trip(source, rest);
    round_trip(rest, source);
    // A target that shares much with its source.
    round_trip(source, &[rest, source, rest].concat());

    if let Ok(made) = delta::apply(source, rest, LIMIT) {
        assert!(made.len() <= LIMIT && made.capacity() <= LIMIT);
        round_trip(source, &made);
    }
});

fn round_trip(source: &[u8], target: &[u8]) {
    let mut patch = Vec::new();
    delta::create(source, target, &mut patch);
    assert!(patch.len() <= target.len() + 20, "{} for {}", patch.len(), target.len());
    damage(&mut patch);
    assert_eq!(delta::apply(source, &patch, target.len()).as_deref(), Ok(target));
    if !target.is_empty() {
        assert!(delta::apply(source, &patch, target.len() - 1).is_err(), "the limit is not kept");
    }
}

/// With the planted fault, the offset of a copy is wrong where a delta has two.
fn damage(_patch: &mut [u8]) {
    #[cfg(planted_fault)]
    {
        let mut copies = (0.._patch.len()).filter(|at| _patch[*at] == b'@');
        if let (Some(_), Some(at)) = (copies.next(), copies.next())
            && _patch.get(at + 1) == Some(&b'0')
        {
            _patch[at + 1] = b'1';
        }
    }
}

//! Messages of nodes to each other: what is read is written and read the same, and agrees with a plain reading.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward::cluster::{Body, Envelope};

/// Most bytes of a node's name.
const NAME: usize = 256;

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = Envelope::decode(data.to_vec().into()) else { return };
    assert_eq!(plain_number(data), Some(envelope.number));
    if let Body::Heartbeat(heartbeat) = &envelope.body {
        assert!(heartbeat.name.len() <= NAME && heartbeat.version.len() <= NAME, "names are cut off");
    }
    let written = envelope.encode();
    assert_eq!(Envelope::decode(written).as_ref(), Ok(&envelope));
});

/// The field `number` of an envelope, read as plainly as possible. Of several, the last one counts.
fn plain_number(mut data: &[u8]) -> Option<u64> {
    let mut number = None;
    while !data.is_empty() {
        let tag = varint(&mut data)?;
        match (tag >> 3, tag & 7) {
            (4, 0) => {
                let value = varint(&mut data)?;
                // Numbers of long-lived nodes taken for those of short-lived ones.
                #[cfg(planted_fault)]
                let value = value & 0xffff;
                number = Some(value);
            }
            (_, 0) => drop(varint(&mut data)?),
            (_, 1) => data = data.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut data)?).ok()?;
                data = data.get(length..)?;
            }
            (field, 3) => skip_group(&mut data, field)?,
            (_, 5) => data = data.get(4..)?,
            _ => return None,
        }
    }
    number
}

/// A group, which nobody writes any more, up to its end.
fn skip_group(data: &mut &[u8], group: u64) -> Option<()> {
    loop {
        let tag = varint(data)?;
        match (tag >> 3, tag & 7) {
            (field, 4) => return (field == group).then_some(()),
            (field, 3) => skip_group(data, field)?,
            (_, 0) => drop(varint(data)?),
            (_, 1) => *data = data.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(data)?).ok()?;
                *data = data.get(length..)?;
            }
            (_, 5) => *data = data.get(4..)?,
            _ => return None,
        }
    }
}

fn varint(data: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = data.split_first()?;
        *data = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

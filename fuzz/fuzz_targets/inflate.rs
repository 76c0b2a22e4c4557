//! Compressed messages: what inflates does so within the limit and to the same bytes whatever was inflated before, what
//! was inflated can be compressed and inflated again in every window, and neither buffer stays large.
//!
//! Input: one byte of level and window, one of limit, then the compressed message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spinward_wire::ws::{
    CloseError, Compression, Deflater, Event, Inflater, Limits, Opcode, Reader, Window, append_masked_deflated,
    append_masked_frame,
};
use spinward_wire::{Form, Protocol};

fuzz_target!(|data: &[u8]| {
    let [parameters, limit, payload @ ..] = data else { return };
    let limits = Limits { message: 1 << 20, decompressed: u32::from(*limit) * 64 };
    let mut fresh = Inflater::default();
    let found = inflate(&mut fresh, &limits, payload);
    // With a past: a message that filled the window, and one that was refused.
    let mut used = Inflater::default();
    let past = Limits { message: 1 << 20, decompressed: 1 << 20 };
    let options = Compression { level: (parameters % 12) as i8 - 2, min_size: 0 };
    let mut deflater = Deflater::new(options, options);
    let mut before = Vec::new();
    append_masked_deflated(Opcode::Binary, [0; 4], &[7; 40_000], &mut deflater, &mut before);
    let _ = read(&mut used, &past, &mut before, false);
    let _ = inflate(&mut used, &past, b"no compressed data");
    let again = inflate(&mut used, &limits, payload);
    assert_eq!(found, again, "with a past");
    let bytes = match found {
        Ok(bytes) => bytes,
        Err(error) => return assert!(matches!(error.code, 1007 | 1009), "{error}"),
    };
    assert!(bytes.len() <= limits.decompressed as usize, "over the limit");

    // Compressed and inflated again, as the frame of a form.
    let window = [Window::Full, Window::Medium, Window::Small][usize::from(parameters / 12 % 3)];
    let mut frame = Form::deflate(Protocol::Protobuf, window).frame_with(&bytes, &mut deflater).to_vec();
    let whole = Limits { message: 1 << 20, decompressed: u32::try_from(bytes.len()).unwrap_or(u32::MAX) };
    assert_eq!(read(&mut used, &whole, &mut frame, true), Ok(bytes.clone()), "compressed and inflated again");
    if let Some(less) = whole.decompressed.checked_sub(1)
        && frame[0] & 0x40 != 0
    {
        let less = Limits { decompressed: less, ..whole };
        assert_eq!(read(&mut used, &less, &mut frame, true).map_err(|error| error.code), Err(1009));
    }
});

fn inflate(inflater: &mut Inflater, limits: &Limits, payload: &[u8]) -> Result<Vec<u8>, CloseError> {
    let mut frame = Vec::new();
    append_masked_frame(Opcode::Binary, [0; 4], payload, &mut frame);
    frame[0] |= 0x40;
    read(inflater, limits, &mut frame, false)
}

/// The message of one frame.
fn read(
    inflater: &mut Inflater,
    limits: &Limits,
    frame: &mut [u8],
    from_server: bool,
) -> Result<Vec<u8>, CloseError> {
    let reader = if from_server { Reader::client() } else { Reader::new() };
    let (_, event) = reader.with_deflate().read(limits, frame);
    match event? {
        Some(Event::Compressed(message)) => {
            let inflated = inflater.inflate(limits, &message)?;
            #[allow(unused_mut, reason = "the planted fault changes it")]
            let mut bytes = inflated.to_vec();
            // A byte lost at the end.
            #[cfg(planted_fault)]
            if from_server && bytes.last() == Some(&b'z') {
                bytes.pop();
            }
            inflater.recycle(inflated);
            Ok(bytes)
        }
        Some(Event::Binary(payload)) => Ok(payload.into_vec()),
        other => panic!("{other:?} in place of a message"),
    }
}

//! Messages of consumers: a method in an attribute and one in the payload give the same call, and a publication has
//! the channels that a plain reading finds.
//!
//! Input: lines with method, channels, version and delta, then the payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use spinward_consumers::{Call, Decoder, Message, Method, PublicationNames};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(5, |byte| *byte == b'\n');
    let mut line = || parts.next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    let (method, channels, version, delta) = (line(), line(), line(), line());
    let payload = parts.next().unwrap_or_default().to_vec();

    api(method, &payload);
    let names = PublicationNames::default();
    let attributes = vec![
        (names.channels.as_str(), channels),
        (names.version.as_str(), version),
        (names.delta.as_str(), delta),
    ];
    let decoder = Decoder { publications: Some(names.clone()), ..Decoder::default() };
    let message = Message { attributes, payload: payload.clone().into() };
    match decoder.decode(&message) {
        Ok(Call::Publish(publication)) => {
            assert_eq!(&*publication.data, &*payload, "the data is the payload as it is");
            assert_eq!(publication.channels, plain(channels));
            let expected = if version.is_empty() { 0 } else { version.parse().expect("a number") };
            assert_eq!(publication.version, expected);
        }
        Ok(Call::Api { .. }) => panic!("a call where publications are read"),
        Err(error) => drop(error.to_string()),
    }
});

/// Channels, read as plainly as possible.
fn plain(text: &str) -> Vec<&str> {
    // Spaces taken for a part of the separator.
    #[cfg(planted_fault)]
    let text = text.trim_start();
    text.split(',').filter(|channel| !channel.is_empty()).collect()
}

fn api(method: &str, payload: &[u8]) {
    let decoder = Decoder::default();
    let attributes = vec![(decoder.method.as_str(), method)];
    let decoded = decoder.decode(&Message { attributes, payload: payload.to_vec().into() });
    let Ok(Call::Api { method: found, params }) = decoded else { return };
    // What is not UTF-8 is replaced, as in bodies of the server API.
    let text = &*String::from_utf8_lossy(payload);
    if method.is_empty() {
        let raw: &RawValue = serde_json::from_str(text).expect("an envelope is JSON");
        assert!(raw.get().starts_with('{'));
        return;
    }
    assert_eq!((found.name(), &*params), (method, text));
    assert!(Method::ALL.contains(&found));
    // The same call with the method in the payload.
    let Ok(raw) = serde_json::from_str::<&RawValue>(text) else { return };
    let envelope = format!("{{\"payload\":{},\"method\":\"{method}\"}}", raw.get());
    let message = Message { attributes: Vec::new(), payload: envelope.into() };
    match decoder.decode(&message) {
        Ok(Call::Api { method: again, params }) => {
            assert_eq!(again, found);
            // A text holds JSON of its own.
            if !raw.get().starts_with('"') {
                assert_eq!(params, raw.get());
            }
        }
        Ok(Call::Publish(_)) => panic!("a publication where calls are read"),
        Err(_) => assert!(raw.get().starts_with('"'), "an envelope around {}", raw.get()),
    }
}

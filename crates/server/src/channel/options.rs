//! The meaning of channel options. The options themselves are in the catalogue.

use crate::config::typed::{ChannelOptions, PublicationFormat};

impl ChannelOptions {
    /// Returns true if publications are kept. That takes both a size and a time.
    #[must_use]
    pub const fn has_history(&self) -> bool {
        self.history_size > 0 && !self.history_ttl.is_zero()
    }
}

impl PublicationFormat {
    /// Returns true if a payload has this format. Passes over the payload only for the two JSON formats.
    #[must_use]
    pub fn admits(self, data: &[u8]) -> bool {
        match self {
            Self::NotEmpty => !data.is_empty(),
            Self::Binary => true,
            Self::Json => is_json(data),
            Self::JsonObject => {
                data.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') && is_json(data)
            }
        }
    }
}

fn is_json(data: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(data).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_held_against_the_format() {
        use PublicationFormat::{Binary, Json, JsonObject, NotEmpty};
        for (data, admitted) in [
            (&b""[..], &[Binary][..]),
            (b" ", &[Binary, NotEmpty]),
            (b"\x00\x01hi", &[Binary, NotEmpty]),
            (b"{\"a\":", &[Binary, NotEmpty]),
            (b"{} {}", &[Binary, NotEmpty]),
            (b"\"\"", &[Binary, NotEmpty, Json]),
            (b"null", &[Binary, NotEmpty, Json]),
            (b"[{}]", &[Binary, NotEmpty, Json]),
            (b" \n{\"a\":1} ", &[Binary, NotEmpty, Json, JsonObject]),
        ] {
            for format in [NotEmpty, Json, JsonObject, Binary] {
                assert_eq!(format.admits(data), admitted.contains(&format), "{format:?} {data:?}");
            }
        }
    }
}

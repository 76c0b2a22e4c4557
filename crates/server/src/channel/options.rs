//! The options of a namespace (and of `channel.without_namespace`), in the form in which they are decided by.

use super::regex::Regex;
use super::{DeltaType, SubscriptionType};
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// Options of a namespace.
///
/// Names and defaults are those of Centrifugo v6; everything is off unless it is switched on. Durations are
/// written `"300s"`, `"1h30m"` or as a number of nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Keep a list of who is in the channel.
    pub presence: bool,
    /// Make join and leave events.
    pub join_leave: bool,
    /// Send them to every subscriber, asked or not.
    pub force_push_join_leave: bool,
    /// Most publications kept; 0 keeps none.
    pub history_size: u32,
    /// Time to keep publications; zero keeps none.
    #[serde(deserialize_with = "duration")]
    pub history_ttl: Duration,
    /// Time to keep offset and epoch; zero takes `channel.history_meta_ttl`.
    #[serde(deserialize_with = "duration")]
    pub history_meta_ttl: Duration,
    /// Watch the position of every subscriber.
    pub force_positioning: bool,
    /// Watch the position of subscribers that ask for it.
    pub allow_positioning: bool,
    /// Every subscriber may recover.
    pub force_recovery: bool,
    /// Subscribers that ask for it may recover.
    pub allow_recovery: bool,
    /// Recovery mode.
    pub force_recovery_mode: RecoveryMode,
    /// In cache mode, give the latest publication without being asked.
    pub auto_cache_recover: bool,
    /// Delta encodings that subscribers may agree on.
    pub allowed_delta_types: Vec<DeltaType>,
    /// Publish everything so that it may be sent as a delta.
    pub delta_publish: bool,
    /// Subscribers may filter by tags.
    pub allow_tags_filter: bool,
    /// Every client with a user id may subscribe.
    pub allow_subscribe_for_client: bool,
    /// With `allow_subscribe_for_client`: anonymous clients too.
    pub allow_subscribe_for_anonymous: bool,
    /// Every client with a user id may publish.
    pub allow_publish_for_client: bool,
    /// Subscribers may publish.
    pub allow_publish_for_subscriber: bool,
    /// With one of the two above: anonymous clients too.
    pub allow_publish_for_anonymous: bool,
    /// Every client with a user id may see who is in the channel.
    pub allow_presence_for_client: bool,
    /// Subscribers may see who is in the channel.
    pub allow_presence_for_subscriber: bool,
    /// With one of the two above: anonymous clients too.
    pub allow_presence_for_anonymous: bool,
    /// Every client with a user id may read history.
    pub allow_history_for_client: bool,
    /// Subscribers may read history.
    pub allow_history_for_subscriber: bool,
    /// With one of the two above: anonymous clients too.
    pub allow_history_for_anonymous: bool,
    /// The users after the user boundary of a name may subscribe, and nobody else.
    pub allow_user_limited_channels: bool,
    /// Required form of names; decides alone, so that it may admit more than ASCII.
    #[serde(deserialize_with = "super::regex::optional")]
    pub channel_regex: Option<Regex>,
    /// Required form of publications; takes `channel.publication_data_format` if empty.
    pub publication_data_format: PublicationFormat,
    /// The kind of the namespace's channels.
    pub subscription_type: SubscriptionType,
    /// The application's back end is asked about each subscribe.
    pub subscribe_proxy_enabled: bool,
    /// Proxy that is asked about subscribes.
    pub subscribe_proxy_name: String,
    /// The application's back end is asked about each publish.
    pub publish_proxy_enabled: bool,
    /// Proxy that is asked about publishes.
    pub publish_proxy_name: String,
    /// The application's back end is asked when a subscription expires; the client does not learn of the expiry.
    pub sub_refresh_proxy_enabled: bool,
    /// The application's back end streams the channel to each subscriber.
    pub subscribe_stream_proxy_enabled: bool,
    /// Proxy that streams.
    pub subscribe_stream_proxy_name: String,
    /// That stream also takes publications.
    pub subscribe_stream_proxy_bidirectional: bool,
    /// The pattern that names of this namespace match, such as `/users/:name`; needs `channel.patterns`. A
    /// namespace with a pattern is reached through it alone.
    pub pattern: String,
}

impl Options {
    /// Returns true if publications are kept. That takes both a size and a time.
    #[must_use]
    pub const fn has_history(&self) -> bool {
        self.history_size > 0 && !self.history_ttl.is_zero()
    }
}

/// Recovery mode: what a returning subscriber gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryMode {
    /// Everything it missed, or nothing.
    #[default]
    #[serde(alias = "")]
    Stream,
    /// The latest publication.
    Cache,
}

/// Required form of a channel's publications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationFormat {
    /// Anything but nothing: empty data is refused.
    #[default]
    #[serde(rename = "")]
    NotEmpty,
    /// JSON.
    Json,
    /// A JSON object.
    JsonObject,
    /// Any bytes, none included.
    Binary,
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

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Nanoseconds(u64),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Nanoseconds(n) => Ok(Duration::from_nanos(n)),
        Written::Text(text) => parse_duration(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!("{text:?} is not a duration such as \"300s\" or \"1h30m\""))
        }),
    }
}

/// A duration in the notation of Go: numbers with a unit (`ns`, `us`, `µs`, `ms`, `s`, `m`, `h`), one after
/// another; `0` and the empty string mean zero.
fn parse_duration(text: &str) -> Option<Duration> {
    if text.is_empty() || text == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|&at| at > 0)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let nanoseconds = match &tail[..unit] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        let part = number.parse::<f64>().ok()? * nanoseconds / 1e9;
        total = total.checked_add(Duration::try_from_secs_f64(part).ok()?)?;
        rest = &tail[unit..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_off_by_default() {
        let empty: Options = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, Options::default());
        assert!(!empty.has_history());
        assert_eq!(empty.force_recovery_mode, RecoveryMode::Stream);
        assert_eq!(empty.publication_data_format, PublicationFormat::NotEmpty);
        assert_eq!(empty.subscription_type, SubscriptionType::Stream);
    }

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

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, ms) in
            [("300s", 300_000), ("1h30m", 5_400_000), ("1.5s", 1_500), ("250ms", 250), ("", 0), ("0", 0)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["5", "s", "1x", "1s2", "-1s", "1 s", "."] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}

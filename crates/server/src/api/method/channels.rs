//! `channels`: the channels that have subscribers.

use super::{Method, Reach};
use crate::api::describe::{Describe, Schemas};
use crate::api::error::ApiError;
use crate::api::output::{Object, ToJson, output};
use crate::api::parameter::{Rejection, parameters};
use crate::api::{Context, neighbours};
use crate::grpc::proto::api as proto;
use globset::ErrorKind;
use serde_json::{Value, json};
use spinward::Node;
use spinward::id::NodeId;

/// See [`Method::SUMMARY`].
pub(crate) struct Channels;

parameters! {
    /// Parameters of `channels`.
    struct Params {
        /// A glob, such as `chat:*`; without it, all.
        pattern: String,
    }
}

output! {
    /// Channels that have subscribers.
    struct Listing as "Channels" {
        /// Channels by their names.
        channels: Occupied,
        /// Nodes of a cluster whose channels are not included, because they did not answer in time.
        missing: Vec<String> = optional,
    }
}

output! {
    /// A channel that has subscribers.
    struct Channel as "Channel" {
        /// Connections that are subscribed.
        num_clients: u32,
    }
}

/// Names of channels, and how many connections are subscribed to each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Occupied(Vec<(Box<str>, u32)>);

impl Method for Channels {
    const NAME: &'static str = "channels";
    const NUMBER: Option<u8> = Some(8);
    const SUMMARY: &'static str = "Lists the channels that have subscribers. Walks through all of them.";
    const ERRORS: &'static [ApiError] = &[];
    const EXAMPLE: &'static str = r#"{"pattern": "chat:*"}"#;

    type Params = Params;
    type Output = Listing;
    type Request = proto::ChannelsRequest;
    type Result = proto::ChannelsResult;

    fn params(proto::ChannelsRequest { pattern }: proto::ChannelsRequest) -> Result<Self::Params, Rejection> {
        Ok(Params { pattern })
    }

    fn reach(_: &Self::Params) -> Reach<'_> {
        Reach::All
    }

    async fn call(cx: &Context<'_>, Params { pattern }: Params) -> Result<Listing, ApiError> {
        if !cx.node().is_clustered() {
            let channels = Occupied(occupied(cx.node(), &pattern).map_err(|BadPattern| ApiError::INTERNAL)?);
            return Ok(Listing { channels, missing: Vec::new() });
        }
        let (channels, missing) = neighbours::channels(cx.node(), &pattern).await?;
        Ok(Listing { channels: Occupied(channels), missing: missing.iter().map(NodeId::to_string).collect() })
    }
}

/// The pattern is not a glob.
#[derive(Debug)]
pub(crate) struct BadPattern;

/// The channels of a node that match a pattern; without one, all.
///
/// # Errors
/// The pattern cannot be read.
pub(crate) fn occupied(node: &Node, pattern: &str) -> Result<Vec<(Box<str>, u32)>, BadPattern> {
    if pattern.is_empty() {
        return Ok(node.channels(|_| true));
    }
    let pattern = plain_carets(pattern);
    let glob = globset::GlobBuilder::new(&pattern).literal_separator(false).backslash_escape(true).build();
    let matcher = match glob {
        Ok(glob) => glob.compile_matcher(),
        // A pattern that begins too late or ends too early is one that nothing matches, as in Centrifugo v6.9.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnclosedAlternates | ErrorKind::UnopenedAlternates | ErrorKind::DanglingEscape
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(_) => return Err(BadPattern),
    };
    Ok(node.channels(|channel| matcher.is_match(channel)))
}

/// Turns carets that begin a class into ordinary characters: Centrifugo's patterns negate by `!`. globset takes a caret
/// at the end of a class as one.
fn plain_carets(pattern: &str) -> String {
    let mut parts = pattern.split("[^");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']') {
            Some((class, rest)) if !class.is_empty() => {
                out.extend(["[", class, "^]", rest]);
            }
            _ => out.extend(["[^", part]),
        }
    }
    out
}

impl From<Listing> for proto::ChannelsResult {
    fn from(Listing { channels: Occupied(channels), missing }: Listing) -> Self {
        let channels =
            channels.into_iter().map(|(name, num_clients)| (name.into(), proto::ChannelInfo { num_clients }));
        Self { channels: channels.collect(), missing }
    }
}

impl ToJson for Occupied {
    fn append(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        for (channel, clients) in &self.0 {
            object.entry(channel, &Channel { num_clients: *clients });
        }
        object.end();
    }
}

impl Describe for Occupied {
    const LABEL: &'static str = "object";

    fn schema(schemas: &mut Schemas) -> Value {
        json!({"type": "object", "additionalProperties": Channel::schema(schemas)})
    }
}

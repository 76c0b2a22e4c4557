//! The connections that a call applies to.

use super::Reach;
use crate::api::describe::{Describe, Schemas};
use crate::api::error::ApiError;
use crate::api::parameter::{Arguments, Name, Parameter, Rejection, parameters};
use crate::grpc::proto::api as proto;
use crate::params::{Malformed, Params};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use spinward::ClientFilter;
use spinward::cluster::LabelFilter;
use spinward::wire::filter::MAX_DEPTH;
use spinward::wire::message::FilterNode;

parameters! {
    /// Connections that a call applies to.
    struct Target {
        /// The user whose connections are meant; empty is the anonymous one.
        user: String,
        /// Only the connection with this id.
        client: String,
        /// Only the connection with this session. WebSocket connections have none.
        session: String,
        /// Only connections with such labels.
        label_filter: Labelled,
        /// Connections of all users. There is no `user` then.
        all_users: bool,
    }
}

impl Target {
    /// Returns the channels that a call without a channel is about. What is done to all users concerns all channels.
    pub(super) const fn reach(&self) -> Reach<'_> {
        if self.all_users { Reach::All } else { Reach::Nothing }
    }

    /// Returns the user and the connections that are meant. `None`: there are none, since WebSocket connections have no
    /// session.
    ///
    /// # Errors
    /// One user is named beside all users.
    pub(super) fn select(self, except: Vec<String>) -> Result<Option<(String, ClientFilter)>, ApiError> {
        let Self { user, client, session, label_filter: Labelled(labels), all_users } = self;
        if all_users && !user.is_empty() {
            return Err(ApiError::BAD_REQUEST);
        }
        let client = (!client.is_empty()).then_some(client);
        let filter = ClientFilter { client, except, labels, all_users };
        Ok(session.is_empty().then_some((user, filter)))
    }
}

/// A filter over labels, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labelled(pub(super) Option<LabelFilter>);

impl TryFrom<Option<proto::FilterNode>> for Labelled {
    type Error = Rejection;

    fn try_from(node: Option<proto::FilterNode>) -> Result<Self, Rejection> {
        let filter = node.map(|node| LabelFilter::new(plain(node))).transpose();
        filter.map(Self).map_err(|_| Rejection::Refused(ApiError::BAD_REQUEST))
    }
}

/// The decoder has bounded the depth.
fn plain(node: proto::FilterNode) -> FilterNode {
    let proto::FilterNode { op, key, cmp, val, vals, nodes } = node;
    FilterNode { op, key, cmp, val, vals, nodes: nodes.into_iter().map(plain).collect() }
}

impl Parameter for Labelled {
    fn read(arguments: &Arguments<'_>, name: Name) -> Result<Self, Malformed> {
        let text = arguments.raw(name);
        if text == "null" {
            return Ok(Self(None));
        }
        let Some(node) = read(text, MAX_DEPTH).map_err(|_| Malformed(name.plain))? else {
            arguments.refuse();
            return Ok(Self(None));
        };
        let filter = LabelFilter::new(node).ok();
        if filter.is_none() {
            arguments.refuse();
        }
        Ok(Self(filter))
    }
}

/// Reads a filter. `None`: it is nested too deeply.
fn read(text: &str, depth: usize) -> Result<Option<FilterNode>, Malformed> {
    let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
    let fields = Params::parse(text)?;
    let within = fields.raw("nodes").map(serde_json::from_str::<Option<Vec<&RawValue>>>);
    let within = within.transpose().map_err(|_| Malformed("nodes"))?.flatten().unwrap_or_default();
    let mut nodes = Vec::with_capacity(within.len());
    for node in within {
        let Some(node) = read(node.get(), depth)? else { return Ok(None) };
        nodes.push(node);
    }
    let text = |name| fields.string(name);
    Ok(Some(FilterNode {
        op: text("op")?,
        key: text("key")?,
        cmp: text("cmp")?,
        val: text("val")?,
        vals: fields.strings("vals")?,
        nodes,
    }))
}

impl Describe for Labelled {
    const LABEL: &'static str = "object";

    fn schema(schemas: &mut Schemas) -> Value {
        schemas.refer("FilterNode", |schemas| {
            let node = Self::schema(schemas);
            json!({
                "type": "object",
                "description": "A filter over the labels of connections.",
                "properties": {
                    "op": {
                        "type": "string",
                        "enum": ["", "and", "or", "not"],
                        "description": "`and`, `or` and `not` over `nodes`; empty for a comparison.",
                    },
                    "key": {"type": "string", "description": "The label to compare."},
                    "cmp": {
                        "type": "string",
                        "description": "One of eq, neq, in, nin, ex, nex, sw, ew, ct, lt, lte, gt, gte.",
                    },
                    "val": {"type": "string"},
                    "vals": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "The values of `in` and `nin`.",
                    },
                    "nodes": {"type": "array", "items": node},
                },
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::parameter;

    fn target(text: &str) -> Result<Option<ClientFilter>, Rejection> {
        let target: Target = parameter::read(Params::parse(text).unwrap())?;
        let selected = target.select(Vec::new()).map_err(Rejection::Refused)?;
        Ok(selected.map(|(_, filter)| filter))
    }

    #[test]
    fn filters_are_read_and_checked() {
        let filter = target(
            r#"{"all_users":true,"label_filter":{"op":"and","nodes":[
                {"key":"plan","cmp":"in","vals":["free","trial"]},
                {"op":"not","nodes":[{"key":"beta","cmp":"ex"}]}]}}"#,
        );
        let filter = filter.unwrap().unwrap();
        assert!(filter.all_users);
        assert_eq!(filter.labels.unwrap().node().nodes[0].vals, ["free", "trial"]);
        assert_eq!(target(r#"{"user":"u","label_filter":null}"#).unwrap().unwrap().labels, None);
        let refused = Err(Rejection::Refused(ApiError::BAD_REQUEST));
        assert_eq!(target(r#"{"user":"u","label_filter":{}}"#), refused, "an empty filter is no filter");
        assert_eq!(target(r#"{"label_filter":{"key":"a","cmp":"like","val":"b"}}"#), refused);
        assert_eq!(target(r#"{"user":"u","all_users":true}"#), refused, "one user, or all");
        let mut deep = r#"{"key":"a","cmp":"ex"}"#.to_owned();
        for _ in 0..10_000 {
            deep = format!(r#"{{"op":"not","nodes":[{deep}]}}"#);
        }
        assert_eq!(target(&format!(r#"{{"label_filter":{deep}}}"#)), refused);
        let malformed = target(r#"{"label_filter":{"key":5}}"#);
        assert_eq!(malformed, Err(Malformed("label_filter").into()));
    }

    #[test]
    fn no_websocket_connection_has_a_session() {
        assert_eq!(target(r#"{"user":"u","session":"s"}"#), Ok(None));
    }
}

//! `connections`: the connections of a user, or of all users.

use super::target::Labelled;
use super::{Method, Reach};
use crate::api::describe::{Describe, Schemas};
use crate::api::error::ApiError;
use crate::api::output::{Object, ToJson, output};
use crate::api::parameter::{Rejection, parameters};
use crate::api::{Context, listing};
use crate::grpc::proto::api as proto;
use serde_json::{Value, json};
use spinward::id::NodeId;
use spinward::publication::Tags;

/// See [`Method::SUMMARY`].
pub(crate) struct Connections;

parameters! {
    /// Parameters of `connections`.
    struct Params {
        /// Only the connections of this user; without it, those of all users.
        user: String,
        /// An expression of Centrifugo PRO, which Spinward does not have: a call with one is refused.
        expression: String,
        /// Only connections with such labels.
        label_filter: Labelled,
        /// Most connections to return, at most 1,000; 0 means 1,000.
        limit: u32,
        /// The `cursor` of the page before.
        cursor: String,
    }
}

output! {
    /// A page of connections.
    struct Page as "Connections" {
        /// Connections by their ids, in the order of these.
        connections: Connected,
        /// Start of the next page; absent on the last.
        cursor: Option<String> = optional,
        /// Nodes of a cluster whose connections are not included, because they did not answer in time.
        missing: Vec<String> = optional,
    }
}

output! {
    /// A connection.
    struct Connection as "Connection" {
        /// The name that the client application gives.
        app_name: Option<String> = optional,
        /// The version that it gives.
        app_version: Option<String> = optional,
        /// The transport.
        transport: String,
        /// The encoding: `json` or `protobuf`.
        protocol: String,
        /// The user; empty for an anonymous client.
        user: String,
        /// The labels that it was given at login.
        labels: Tags = optional,
        /// The node that holds it.
        node: String,
    }
}

/// Connections by their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connected(Vec<(String, Connection)>);

impl Method for Connections {
    const NAME: &'static str = "connections";
    const SUMMARY: &'static str = "Lists the connections of a user, or of all users, page by page. Each page of all users walks through all.";
    const ERRORS: &'static [ApiError] = &[ApiError::BAD_REQUEST, ApiError::NOT_AVAILABLE];
    const EXAMPLE: &'static str = r#"{"user": "42"}"#;

    type Params = Box<Params>;
    type Output = Box<Page>;
    type Request = proto::ConnectionsRequest;
    type Result = proto::ConnectionsResult;

    fn params(request: proto::ConnectionsRequest) -> Result<Self::Params, Rejection> {
        let proto::ConnectionsRequest { user, expression, label_filter, limit, cursor } = request;
        let label_filter = label_filter.try_into()?;
        Ok(Box::new(Params { user, expression, label_filter, limit, cursor }))
    }

    fn reach(_: &Self::Params) -> Reach<'_> {
        Reach::All
    }

    async fn call(cx: &Context<'_>, params: Box<Params>) -> Result<Box<Page>, ApiError> {
        let Params { user, expression, label_filter, limit, cursor } = *params;
        if !expression.is_empty() {
            return Err(ApiError::NOT_AVAILABLE);
        }
        let query = listing::Query::new(user, label_filter.0.as_ref(), cursor, limit);
        // Boxed, because the future of every call has room for it.
        let (page, missing) = Box::pin(listing::of_all_nodes(cx.node(), query)).await;
        let cursor = page.cursor().map(str::to_owned);
        let connections = page.entries.into_iter().map(|entry| {
            let listing::Entry { id, user, app_name, app_version, transport, protocol, labels, node } = entry;
            let given = |text: String| (!text.is_empty()).then_some(text);
            let (app_name, app_version) = (given(app_name), given(app_version));
            let connection = Connection { app_name, app_version, transport, protocol, user, labels, node };
            (id, connection)
        });
        let connections = Connected(connections.collect());
        let missing = missing.iter().map(NodeId::to_string).collect();
        Ok(Box::new(Page { connections, cursor, missing }))
    }
}

impl From<Box<Page>> for proto::ConnectionsResult {
    fn from(page: Box<Page>) -> Self {
        let Page { connections: Connected(connections), cursor, missing } = *page;
        let connections = connections.into_iter().map(|(id, connection)| {
            let Connection { app_name, app_version, transport, protocol, user, labels, node } = connection;
            let info = proto::ConnectionInfo {
                app_name: app_name.unwrap_or_default(),
                app_version: app_version.unwrap_or_default(),
                transport,
                protocol,
                user,
                labels,
                node,
            };
            (id, info)
        });
        Self { connections: connections.collect(), cursor: cursor.unwrap_or_default(), missing }
    }
}

impl ToJson for Connected {
    fn append(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        self.0.iter().for_each(|(id, connection)| object.entry(id, connection));
        object.end();
    }
}

impl Describe for Connected {
    const LABEL: &'static str = "object";

    fn schema(schemas: &mut Schemas) -> Value {
        json!({"type": "object", "additionalProperties": Connection::schema(schemas)})
    }
}

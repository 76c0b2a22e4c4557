//! Calls carried out by a [`Node`], for applications that embed it.

use crate::call::{Call, Method, Publication};
use crate::target::{Calling, Outcome, Target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use spinward::engine::broker::{BrokerError, PublishOptions};
use spinward::hooks::SubscribeOptions;
use spinward::publication::Tags;
use spinward::wire::code::{DisconnectCode, UnsubscribeCode};
use spinward::{ClientFilter, Node, Position, ServerSubscribe};
use std::sync::Arc;

/// Options of the channels that consumers may use. The application has no configuration to take them from.
pub trait Options: Send + Sync + 'static {
    /// Options for a publish, of which the history counts. `None` refuses it.
    fn publish(&self, channel: &str) -> Option<PublishOptions>;

    /// Options for a subscription. `None` refuses it, and is the default.
    fn subscribe(&self, user: &str, channel: &str) -> Option<SubscribeOptions> {
        let _ = (user, channel);
        None
    }
}

/// A [`Target`] that carries calls out by a node. The parameters are those of the server API.
pub struct OverNode<O> {
    node: Node,
    options: O,
}

impl<O: Options> OverNode<O> {
    /// Calls of a node.
    #[must_use]
    pub const fn new(node: Node, options: O) -> Self {
        Self { node, options }
    }

    async fn publish(&self, publication: Publication) -> Outcome {
        let Publication { channels, data, tags, idempotency_key, delta, version, version_epoch } =
            publication;
        let tags = (!tags.is_empty()).then(|| Arc::new(tags));
        let (mut refused, mut failed) = (0, None);
        for channel in &channels {
            let Some(options) = self.options.publish(channel) else {
                refused += 1;
                continue;
            };
            let options = PublishOptions {
                tags: tags.clone(),
                idempotency_key: idempotency_key.clone(),
                version,
                version_epoch: version_epoch.clone(),
                delta,
                ..options
            };
            match self.node.publish(channel, data.clone(), options).await {
                Ok(_) => {}
                Err(BrokerError::NotSupported) => refused += 1,
                Err(error) => failed = Some(error.to_string()),
            }
        }
        match failed {
            Some(reason) => Outcome::Failed(reason.into()),
            None if refused == channels.len() => Outcome::Refused("the channel is not allowed".into()),
            None => Outcome::Done,
        }
    }

    async fn api(&self, method: Method, params: &str) -> Outcome {
        let params: Params<'_> = match serde_json::from_str(params) {
            Ok(params) => params,
            // The error of the library may show data.
            Err(_) => {
                return Outcome::Refused(format!("parameters of {} are malformed", method.name()).into());
            }
        };
        // Without these the call would do more than it was meant to.
        if params.label_filter.is_some() || params.all_users {
            return Outcome::Refused("label_filter and all_users are not supported".into());
        }
        let filter = ClientFilter {
            client: (!params.client.is_empty()).then(|| params.client.clone()),
            except: params.whitelist.clone(),
            ..ClientFilter::default()
        };
        let user = &*params.user;
        match method {
            Method::Publish | Method::Broadcast => match params.publication(method) {
                Some(publication) => self.publish(publication).await,
                None => Outcome::Refused("a channel and data are needed, and b64data must be base64".into()),
            },
            Method::Subscribe => {
                let Some(mut options) = self.options.subscribe(user, &params.channel) else {
                    return Outcome::Refused("the channel is not allowed".into());
                };
                options.expire_at = params.expire_at.max(0);
                let since = params
                    .recover_since
                    .map(|Since { offset, epoch }| Position { offset, epoch: epoch.into() });
                let made = ServerSubscribe { options, since };
                match self.node.subscribe(user, &filter, &params.channel, made).await {
                    Ok(_) => Outcome::Done,
                    Err(spinward::SubscribeError::Expired) => Outcome::Refused("expire_at has passed".into()),
                    Err(error) => Outcome::Failed(error.to_string().into()),
                }
            }
            Method::Unsubscribe => {
                let channel = (!params.channel.is_empty()).then_some(&*params.channel);
                self.node.unsubscribe(user, &filter, channel, UnsubscribeCode::SERVER).await;
                Outcome::Done
            }
            Method::Disconnect => {
                let code = params.disconnect.filter(|code| code.code != 0);
                let code = code.map_or(DisconnectCode::FORCE_DISCONNECT, |Code { code, reason }| {
                    DisconnectCode { code, reason: reason.into() }
                });
                self.node.disconnect(user, &filter, code).await;
                Outcome::Done
            }
            Method::Refresh => {
                self.node.refresh(user, &filter, params.expired, params.expire_at.max(0), None).await;
                Outcome::Done
            }
            Method::HistoryRemove => match self.node.remove_history(&params.channel).await {
                Ok(()) => Outcome::Done,
                Err(BrokerError::NotSupported) => Outcome::Refused("the channel has no history".into()),
                Err(error) => Outcome::Failed(error.to_string().into()),
            },
        }
    }
}

impl<O: Options> Target for OverNode<O> {
    fn call(&self, call: Call) -> Calling<'_> {
        Box::pin(async move {
            match call {
                Call::Publish(publication) => self.publish(publication).await,
                Call::Api { method, params } => self.api(method, &params).await,
            }
        })
    }
}

/// Parameters of all methods together.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Params<'a> {
    user: String,
    client: String,
    whitelist: Vec<String>,
    label_filter: Option<IgnoredAny>,
    all_users: bool,
    channel: String,
    channels: Vec<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    b64data: String,
    tags: Tags,
    idempotency_key: String,
    delta: bool,
    version: u64,
    version_epoch: String,
    disconnect: Option<Code>,
    expired: bool,
    expire_at: i64,
    recover_since: Option<Since>,
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    epoch: String,
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: u32,
    #[serde(default)]
    reason: String,
}

impl Params<'_> {
    fn publication(self, method: Method) -> Option<Publication> {
        let channels = match method {
            Method::Broadcast => self.channels,
            _ => vec![self.channel],
        };
        if channels.is_empty() || channels.iter().any(String::is_empty) {
            return None;
        }
        let data = match self.b64data.is_empty() {
            true => Bytes::copy_from_slice(self.data?.get().as_bytes()),
            false => STANDARD.decode(&self.b64data).ok()?.into(),
        };
        Some(Publication {
            channels,
            data,
            tags: self.tags,
            idempotency_key: self.idempotency_key,
            delta: self.delta,
            version: self.version,
            version_epoch: self.version_epoch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinward::engine::broker::{HistoryFilter, HistoryOptions};
    use std::time::Duration;

    struct Nobody;
    impl spinward::hooks::Hooks for Nobody {}

    struct News;
    impl Options for News {
        fn publish(&self, channel: &str) -> Option<PublishOptions> {
            let history = HISTORY;
            channel.starts_with("news").then(|| PublishOptions { history, ..PublishOptions::default() })
        }
    }

    const HISTORY: HistoryOptions =
        HistoryOptions { size: 10, ttl: Duration::from_secs(60), meta_ttl: Duration::from_secs(60) };

    fn call(method: Method, params: &str) -> Call {
        Call::Api { method, params: params.to_owned() }
    }

    #[tokio::test]
    async fn calls_have_their_effect_in_the_node() {
        let node = Node::builder(Nobody).build().unwrap();
        let target = OverNode::new(node.clone(), News);
        let publish = call(Method::Publish, r#"{"channel": "news", "data": {"n": 1}, "tags": {"a": "b"}}"#);
        assert_eq!(target.call(publish).await, Outcome::Done);
        let broadcast = r#"{"channels": ["news", "other"], "b64data": "eyJuIjoyfQ=="}"#;
        assert_eq!(target.call(call(Method::Broadcast, broadcast)).await, Outcome::Done);
        let publication = Publication {
            channels: vec!["news".to_owned()],
            data: "{\"n\":3}".into(),
            ..Publication::default()
        };
        assert_eq!(target.call(Call::Publish(publication)).await, Outcome::Done);
        let all = HistoryFilter { limit: -1, ..HistoryFilter::default() };
        let history = node.history("news", all.clone(), HISTORY).await.unwrap();
        let data: Vec<_> =
            history.publications.iter().map(|one| String::from_utf8_lossy(&one.data).into_owned()).collect();
        assert_eq!(data, ["{\"n\": 1}", "{\"n\":2}", "{\"n\":3}"]);
        assert_eq!(target.call(call(Method::HistoryRemove, r#"{"channel": "news"}"#)).await, Outcome::Done);
        assert!(node.history("news", all, HISTORY).await.unwrap().publications.is_empty());
        for (method, params) in [
            (Method::Disconnect, r#"{"user": "u", "disconnect": {"code": 4501, "reason": "x"}}"#),
            (Method::Unsubscribe, r#"{"user": "u"}"#),
            (Method::Refresh, r#"{"user": "u", "expire_at": 4102444800}"#),
        ] {
            assert_eq!(target.call(call(method, params)).await, Outcome::Done, "{params}");
        }
        for (method, params) in [
            (Method::Publish, r#"{"channel": "other", "data": 1}"#),
            (Method::Publish, r#"{"channel": "news"}"#),
            (Method::Publish, r#"{"channel": "news", "b64data": "?"}"#),
            (Method::Publish, r#"{"channel": 5}"#),
            (Method::Broadcast, r#"{"channels": [], "data": 1}"#),
            (Method::Subscribe, r#"{"user": "u", "channel": "news"}"#),
            (Method::Disconnect, r#"{"all_users": true}"#),
            (Method::Refresh, r#"{"user": "u", "label_filter": {"key": "a", "cmp": "ex"}}"#),
            (Method::Publish, "canary"),
        ] {
            let outcome = target.call(call(method, params)).await;
            let Outcome::Refused(reason) = outcome else { panic!("{params}: {outcome:?}") };
            assert!(!reason.contains("canary"));
        }
        node.shutdown(Duration::from_secs(1)).await;
    }
}

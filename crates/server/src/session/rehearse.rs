//! Dry runs of proxies, for explanations: which back end would be asked, with what, and on request what it answers.
//!
//! An account holds no value of a header, no payload, no connection data and no password: an operator may pass it on.

use super::channel_events::ChannelState;
use super::proxy::{ConnectResult, RefreshResult, Renewal, Sender, SubRefreshResult};
use crate::policy::explain::ProxyAccount;
use crate::policy::{Ask, PublishResult, Reply, SubscribeResult};
use serde_json::{Map, Value, json};
use spinward::answer::BoxFuture;
use spinward::hooks::{ConnectEvent, PublishEvent, SubscribeEvent};
use std::time::Duration;

/// Event of a dry run.
pub enum Rehearsal<'a> {
    /// A login without a token.
    Connect(&'a ConnectEvent),
    /// The end of a login.
    Refresh(Sender<'a>),
    /// A subscribe.
    Subscribe(&'a Ask, Sender<'a>, &'a SubscribeEvent),
    /// The end of a subscription to a channel: the name of the proxy.
    SubRefresh(&'a str, Sender<'a>, &'a str),
    /// A publish.
    Publish(&'a Ask, Sender<'a>, &'a PublishEvent),
    /// Events of a channel: the name of the proxy. No call is made: it would report what has not happened.
    ChannelState(&'a str, &'a ChannelState),
    /// A channel with an empty cache: the name of the proxy. No call is made: the back end would publish.
    CacheEmpty(&'a str, &'a str),
}

/// Reply of a proxy in a dry run.
pub enum Rehearsed {
    /// To a login.
    Connect(Reply<Option<ConnectResult>>),
    /// To the end of a login.
    Refresh(Renewal<RefreshResult>),
    /// To a subscribe.
    Subscribe(Reply<SubscribeResult>),
    /// To the end of a subscription.
    SubRefresh(Renewal<SubRefreshResult>),
    /// To a publish.
    Publish(Reply<PublishResult>),
}

/// Outcome of a dry run that called the back end.
pub struct Tried {
    /// Time that the call took, its wait for a turn included.
    pub took: Duration,
    /// The reply, or the failure of the call in words.
    pub reply: Result<Rehearsed, String>,
}

/// The call of a dry run.
pub type Call = BoxFuture<Tried>;

impl Tried {
    /// Adds to an account what came of the call.
    pub(super) fn tell(&self, account: &mut ProxyAccount) {
        account.took_ms = Some(u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX));
        match &self.reply {
            Ok(reply) => account.answer = Some(reply.shown()),
            Err(failure) => account.failure = Some(failure.clone()),
        }
    }
}

impl Rehearsed {
    fn shown(&self) -> Value {
        match self {
            Self::Connect(reply) => shown(reply, |result| match result {
                None => Value::Null,
                Some(told) => {
                    let mut fields = Map::new();
                    fields.insert("user".to_owned(), json!(told.user));
                    end(&mut fields, told.expire_at);
                    for (name, data) in [("info", &told.info), ("data", &told.data), ("meta", &told.meta)] {
                        size(&mut fields, name, Some(data.len()));
                    }
                    if !told.channels.is_empty() {
                        fields.insert("channels".to_owned(), json!(told.channels));
                    }
                    if !told.subs.is_empty() {
                        let names: Vec<&String> = told.subs.keys().collect();
                        fields.insert("subs".to_owned(), json!(names));
                    }
                    if !told.labels.is_empty() {
                        fields.insert("labels".to_owned(), json!(told.labels));
                    }
                    if told.capabilities.is_some() {
                        fields.insert("caps".to_owned(), json!("set"));
                    }
                    fields.into()
                }
            }),
            Self::Subscribe(reply) => shown(reply, |told| {
                let mut fields = Map::new();
                end(&mut fields, told.expire_at);
                size(&mut fields, "info", told.info.as_ref().map(|info| info.len()));
                size(&mut fields, "data", told.data.as_ref().map(|data| data.len()));
                fields.into()
            }),
            Self::Publish(reply) => shown(reply, |told| {
                let mut fields = Map::new();
                size(&mut fields, "data", told.data.as_ref().map(|data| data.len()));
                if told.skip_history {
                    fields.insert("skip_history".to_owned(), json!(true));
                }
                fields.into()
            }),
            Self::Refresh(renewal) => renewed(renewal, |told| told.expire_at),
            Self::SubRefresh(renewal) => renewed(renewal, |told| told.expire_at),
        }
    }
}

fn shown<R>(reply: &Reply<R>, result: impl FnOnce(&R) -> Value) -> Value {
    match reply {
        Reply::Result(told) => json!({ "result": result(told) }),
        Reply::Error(error) => json!({ "error": {
            "code": error.code, "message": error.message, "temporary": error.temporary,
        }}),
        Reply::Disconnect(end) => json!({ "disconnect": { "code": end.code, "reason": end.reason } }),
        Reply::NoProxy => Value::Null,
    }
}

fn renewed<R>(renewal: &Renewal<R>, expire_at: impl FnOnce(&R) -> i64) -> Value {
    match renewal {
        Renewal::Granted(told) => json!({ "result": { "expire_at": expire_at(told) } }),
        Renewal::Over => json!({ "result": { "expired": true } }),
        Renewal::Broken | Renewal::Postponed | Renewal::NoProxy => Value::Null,
    }
}

fn end(fields: &mut Map<String, Value>, expire_at: i64) {
    if expire_at > 0 {
        fields.insert("expire_at".to_owned(), json!(expire_at));
    }
}

/// A payload is shown by its size.
fn size(fields: &mut Map<String, Value>, name: &str, bytes: Option<usize>) {
    if let Some(bytes) = bytes.filter(|bytes| *bytes > 0) {
        fields.insert(name.to_owned(), json!(format!("{bytes} bytes")));
    }
}

//! Meaning of answers, whatever they were encoded in.

use super::failure::Failure;
use super::messages::{self, Answered, ChannelsCapability};
use crate::params::base64;
use crate::policy::{
    Capabilities, CapabilityError, Override, PublishResult, Reply, SubscribeResult, request::BoolValue,
};
use crate::session::{ConnectResult, LoginSub, RefreshResult, Renewal, SubRefreshResult};
use bytes::Bytes;
use spinward::wire::code::{DisconnectCode, ErrorCode};

/// A value that is not of its form.
struct Broken;

/// A result as the session wants it.
pub(super) trait Meaning: Sized {
    /// The session's form.
    type Result;
    /// Reads it.
    fn meaning(self) -> Result<Self::Result, Failure>;
}

/// Reads an answer: a disconnect comes before an error, and an error before a result. `None` is an answer without any
/// of the three.
pub(super) fn reply<M: Meaning>(answered: Answered<M>) -> Result<Reply<Option<M::Result>>, Failure> {
    let Answered { result, error, disconnect } = answered;
    if let Some(end) = disconnect {
        return Ok(Reply::Disconnect(code(end)?));
    }
    if let Some(messages::Error { code, message, temporary }) = error {
        return Ok(Reply::Error(ErrorCode { code, message: message.into(), temporary }));
    }
    Ok(Reply::Result(result.map(M::meaning).transpose()?))
}

/// A disconnect whose number fits a close frame. Ranges are not enforced, as in Centrifugo v6.9.
fn code(end: messages::Disconnect) -> Result<DisconnectCode, Failure> {
    if end.code > u32::from(u16::MAX) {
        return Err(Failure::Code);
    }
    Ok(DisconnectCode { code: end.code, reason: end.reason.into() })
}

/// Base64 comes before the plain field.
fn data(plain: Bytes, encoded: &str) -> Result<Bytes, Broken> {
    if encoded.is_empty() { Ok(plain) } else { base64(encoded).map(Bytes::from).ok_or(Broken) }
}

/// The end of a login or subscription. A negative one is ignored, as in Centrifugo v6.9.
fn end(expire_at: i64) -> i64 {
    expire_at.max(0)
}

fn some(data: Bytes) -> Option<Bytes> {
    (!data.is_empty()).then_some(data)
}

impl From<Broken> for Failure {
    fn from(_: Broken) -> Self {
        Self::Malformed
    }
}

fn overrides(told: Option<messages::Override>) -> Override {
    let told = told.unwrap_or_default();
    let value = |value: Option<messages::BoolValue>| value.map(|value| BoolValue { value: value.value });
    Override {
        presence: value(told.presence),
        join_leave: value(told.join_leave),
        force_push_join_leave: value(told.force_push_join_leave),
        force_positioning: value(told.force_positioning),
        force_recovery: value(told.force_recovery),
    }
}

fn capabilities(caps: &[ChannelsCapability]) -> Result<Option<Capabilities>, Failure> {
    if caps.is_empty() {
        return Ok(None);
    }
    match Capabilities::parse(&super::json::caps(caps)) {
        Ok(caps) => Ok(Some(caps)),
        Err(CapabilityError::Foreign) => Ok(None),
        Err(_) => Err(Failure::Malformed),
    }
}

impl Meaning for messages::ConnectResult {
    type Result = ConnectResult;

    fn meaning(self) -> Result<ConnectResult, Failure> {
        let subs = self.subs.into_iter().map(|(channel, told)| {
            let sub = LoginSub {
                info: some(data(told.info, &told.b64info)?),
                data: some(data(told.data, &told.b64data)?),
                overrides: overrides(told.r#override),
                cache_recover: told.cache_recover,
            };
            Ok((channel, sub))
        });
        let subs = subs.collect::<Result<_, Broken>>()?;
        let labels = self.labels.into_iter().collect();
        crate::labels::check(&labels).map_err(|_| Failure::Labels)?;
        Ok(ConnectResult {
            user: self.user,
            expire_at: end(self.expire_at),
            info: data(self.info, &self.b64info)?,
            data: data(self.data, &self.b64data)?,
            meta: self.meta,
            labels,
            channels: self.channels,
            subs,
            capabilities: capabilities(&self.caps)?,
        })
    }
}

impl Meaning for messages::SubscribeResult {
    type Result = SubscribeResult;

    fn meaning(self) -> Result<SubscribeResult, Failure> {
        Ok(SubscribeResult {
            expire_at: end(self.expire_at),
            info: some(data(self.info, &self.b64info)?),
            data: some(data(self.data, &self.b64data)?),
            overrides: overrides(self.r#override),
        })
    }
}

impl Meaning for messages::PublishResult {
    type Result = PublishResult;

    fn meaning(self) -> Result<PublishResult, Failure> {
        // Here the plain field comes first, as in Centrifugo v6.9.
        let data = if self.data.is_empty() { data(self.data, &self.b64data)? } else { self.data };
        Ok(PublishResult {
            data: some(data),
            skip_history: self.skip_history,
            tags: self.tags.into_iter().collect(),
            idempotency_key: self.idempotency_key,
            delta: self.delta,
            version: self.version,
            version_epoch: self.version_epoch,
        })
    }
}

impl Meaning for messages::RpcResult {
    type Result = Bytes;

    fn meaning(self) -> Result<Bytes, Failure> {
        Ok(data(self.data, &self.b64data)?)
    }
}

/// Reads the answer about a login. Only a result prolongs it, and does so even beside an error.
pub(super) fn refresh(
    answered: Result<Answered<messages::RefreshResult>, Failure>,
    now: i64,
) -> Renewal<RefreshResult> {
    let Ok(answered) = answered else { return Renewal::Postponed };
    match answered.result {
        Some(told) if !told.expired && told.expire_at > now => {
            match (data(told.info, &told.b64info), capabilities(&told.caps)) {
                (Ok(info), Ok(capabilities)) => Renewal::Granted(RefreshResult {
                    expire_at: told.expire_at,
                    info: some(info),
                    meta: some(told.meta),
                    capabilities,
                }),
                _ => Renewal::Broken,
            }
        }
        _ => Renewal::Over,
    }
}

/// Reads the answer about a subscription. One without an end goes on for good.
pub(super) fn sub_refresh(
    answered: Result<Answered<messages::SubRefreshResult>, Failure>,
    now: i64,
) -> Renewal<SubRefreshResult> {
    let Ok(answered) = answered else { return Renewal::Postponed };
    let expire_at = end(answered.result.as_ref().map_or(0, |told| told.expire_at));
    match answered.result {
        Some(told) if !told.expired && (expire_at == 0 || expire_at > now) => {
            match data(told.info, &told.b64info) {
                Ok(info) => Renewal::Granted(SubRefreshResult { expire_at, info: some(info) }),
                Err(Broken) => Renewal::Broken,
            }
        }
        _ => Renewal::Over,
    }
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    fn read<M: Meaning + json::FromJson>(text: &str) -> Result<Reply<Option<M::Result>>, Failure> {
        reply(json::read::<M>(text).map_err(|_| Failure::Malformed)?)
    }

    #[test]
    fn a_disconnect_comes_before_an_error_and_an_error_before_a_result() {
        type Rpc = messages::RpcResult;
        let end = r#""disconnect":{"code":4500,"reason":"r"}"#;
        let error = r#""error":{"code":1000,"message":"m","temporary":true}"#;
        let result = r#""result":{"data":1}"#;
        let ended = Reply::Disconnect(DisconnectCode { code: 4500, reason: "r".into() });
        assert_eq!(read::<Rpc>(&format!("{{{result},{error},{end}}}")), Ok(ended));
        let refused = Reply::Error(ErrorCode { code: 1000, message: "m".into(), temporary: true });
        assert_eq!(read::<Rpc>(&format!("{{{result},{error}}}")), Ok(refused));
        assert_eq!(read::<Rpc>(&format!("{{{result}}}")), Ok(Reply::Result(Some("1".into()))));
        assert_eq!(read::<Rpc>("{}"), Ok(Reply::Result(None)));
        assert_eq!(read::<Rpc>(r#"{"disconnect":{"code":70000}}"#), Err(Failure::Code));
        assert!(read::<Rpc>(r#"{"disconnect":{"code":65535}}"#).is_ok());
    }

    #[test]
    fn labels_of_a_login_are_bounded() {
        let text = r#"{"result":{"user":"u","labels":{"plan":"free","none":null}}}"#;
        let Ok(Reply::Result(Some(result))) = read::<messages::ConnectResult>(text) else { panic!() };
        assert_eq!(serde_json::to_string(&result.labels).unwrap(), r#"{"none":"","plan":"free"}"#);
        let text = format!(r#"{{"result":{{"labels":{{"a":"{}"}}}}}}"#, "x".repeat(3_000));
        assert_eq!(read::<messages::ConnectResult>(&text).unwrap_err(), Failure::Labels);
        let wrong = r#"{"result":{"labels":{"a":5}}}"#;
        assert_eq!(read::<messages::ConnectResult>(wrong).unwrap_err(), Failure::Malformed);
    }

    #[test]
    fn base64_comes_first_but_in_publish() {
        let text = r#"{"result":{"data":1,"b64data":"Mg=="}}"#;
        assert_eq!(read::<messages::RpcResult>(text), Ok(Reply::Result(Some("2".into()))));
        let Ok(Reply::Result(Some(published))) = read::<messages::PublishResult>(text) else { panic!() };
        assert_eq!(published.data, Some("1".into()));
        for bad in ["!!", "eyJiIjoxfQ", "__79"] {
            let text = format!(r#"{{"result":{{"b64data":"{bad}"}}}}"#);
            assert_eq!(read::<messages::RpcResult>(&text), Err(Failure::Malformed), "{bad}");
        }
    }

    #[test]
    fn only_a_result_with_an_end_ahead_prolongs_a_login() {
        let read = |text: &str| {
            let renewal = refresh(json::read(text).map_err(|_| Failure::Malformed), 100);
            format!("{renewal:?}")
        };
        let until = |expire_at, info: Option<&'static str>| {
            let info = info.map(Bytes::from);
            format!("Granted({:?})", RefreshResult { expire_at, info, meta: None, capabilities: None })
        };
        assert_eq!(read(r#"{"result":{"expire_at":101}}"#), until(101, None));
        assert_eq!(read(r#"{"result":{"expire_at":101,"info":{}},"error":{}}"#), until(101, Some("{}")));
        for over in [
            "{}",
            "null",
            r#"{"error":{"code":1000,"temporary":true}}"#,
            r#"{"disconnect":{"code":4000}}"#,
            r#"{"result":{}}"#,
            r#"{"result":{"expire_at":100}}"#,
            r#"{"result":{"expire_at":-1}}"#,
            r#"{"result":{"expire_at":101,"expired":true}}"#,
        ] {
            assert_eq!(read(over), "Over", "{over}");
        }
        assert_eq!(read(r#"{"result":{"expire_at":101,"b64info":"!"}}"#), "Broken");
        let caps = r#"{"result":{"expire_at":101,"caps":[{"channels":["a"],"allow":["sub"]}]}}"#;
        assert!(read(caps).contains("capabilities: Some"), "{}", read(caps));
        let wrong = r#"{"result":{"expire_at":101,"caps":[{"channels":["a"],"allow":["all"]}]}}"#;
        assert_eq!(read(wrong), "Broken");
        for failed in ["", "[]", r#"{"result":5}"#] {
            assert_eq!(read(failed), "Postponed", "{failed}");
        }
    }

    #[test]
    fn a_subscription_without_an_end_goes_on() {
        let read = |text: &str| sub_refresh(json::read(text).map_err(|_| Failure::Malformed), 100);
        let until = |expire_at| Renewal::Granted(SubRefreshResult { expire_at, info: None });
        assert_eq!(read(r#"{"result":{}}"#), until(0));
        assert_eq!(read(r#"{"result":{"expire_at":101}}"#), until(101));
        for over in ["{}", r#"{"result":{"expire_at":99}}"#, r#"{"result":{"expired":true}}"#] {
            assert_eq!(read(over), Renewal::Over, "{over}");
        }
        assert_eq!(read("x"), Renewal::Postponed);
    }

    proptest::proptest! {
        /// Whatever a back end sends, reading it ends, and means the same in every reading of the same bytes.
        #[test]
        fn no_answer_is_more_than_a_failure(bytes: Vec<u8>, text in "[\\[\\]{}:,\"a-z0-9 .\\\\-]{0,200}") {
            for text in [String::from_utf8_lossy(&bytes).into_owned(), text] {
                let _ = read::<messages::ConnectResult>(&text);
                let once = read::<messages::PublishResult>(&text);
                proptest::prop_assert_eq!(once, read::<messages::PublishResult>(&text));
                let refreshed = refresh(json::read(&text).map_err(|_| Failure::Malformed), 100);
                if let Renewal::Granted(result) = refreshed {
                    proptest::prop_assert!(result.expire_at > 100);
                }
            }
            if let Ok(answered) = <messages::RefreshResult as messages::InEnvelope>::answered(bytes.into())
                && let Renewal::Granted(result) = refresh(Ok(answered), 100)
            {
                proptest::prop_assert!(result.expire_at > 100);
            }
        }
    }
}

#[cfg(test)]
#[path = "reply_any_tests.rs"]
mod any_tests;

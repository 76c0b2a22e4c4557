//! The claims of connection and subscription tokens.
//!
//! Tolerance is that of Centrifugo v6.9: names in any case, `null` is as good as absent (but for `aud`), times may
//! have a fraction or be in quotes, `expire_at` is a whole number, base64 is the padded standard alphabet in which line
//! breaks do not count. Unlike there, a name that comes twice refuses the token.

use super::json::{Object, one_line};
use super::jws::string;
use super::reason::{Part, Reason, Refusal};
use super::settings::ClaimSettings;
pub use super::token::{ConnectToken, SubOptions, SubscribeToken};
use crate::params::base64;
use crate::policy::{Capabilities, CapabilityError, Override};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use spinward::publication::Tags;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Rules for checking claims.
pub(super) struct Rules<'a> {
    /// Paths of the claims.
    pub(super) at: &'a ClaimSettings,
    /// Seconds that clocks may differ.
    pub(super) leeway: u32,
    /// True if `exp` is required.
    pub(super) require_exp: bool,
    /// The present time in Unix seconds.
    pub(super) now: i64,
}

/// Issuer and audience of a token: read before the signature is checked, to select the key.
pub(super) struct Origin {
    pub(super) iss: Option<String>,
    pub(super) aud: Vec<String>,
}

/// Every claim that means something.
const NAMES: [&str; 22] = [
    "sub",
    "exp",
    "nbf",
    "iat",
    "jti",
    "iss",
    "aud",
    "expire_at",
    "info",
    "b64info",
    "meta",
    "labels",
    "caps",
    "channel",
    "channels",
    "subs",
    "client",
    "data",
    "b64data",
    "override",
    "allow",
    "eto",
];

impl Origin {
    pub(super) fn read(claims: &Object<'_>) -> Result<Self, Refusal> {
        let aud = match claims.raw("aud") {
            None => Vec::new(),
            Some(value) => match string(value) {
                Some(one) => vec![one],
                None => of_type(value, "aud", "a string or a list of strings")?,
            },
        };
        Ok(Self { iss: text(claims, "iss")?, aud })
    }
}

/// Reads the claims of a connection token whose signature is good.
pub(super) fn connect(claims: &Object<'_>, rules: &Rules<'_>) -> Result<ConnectToken, Refusal> {
    let at = rules.at;
    let user = user(claims, at)?;
    let times = Times::read(claims)?;
    let (issuer, jti) = (text(claims, "iss")?, text(claims, "jti")?);
    let channel = text(claims, "channel")?;
    let channels: Vec<Option<String>> = match &at.channels {
        Some(path) => of_type(mapped(claims, path)?, path, "a list of strings")?,
        None => typed(claims, "channels", "a list of strings")?.unwrap_or_default(),
    };
    let subs = subs(claims)?;
    let b64info = text(claims, "b64info")?;
    let meta = match &at.meta {
        Some(path) => Some(one_line(mapped(claims, path)?)),
        None => claims.raw("meta").map(one_line),
    };
    let labels = labels(claims, at)?;
    let mut caps_ignored = false;
    let caps = match &at.caps {
        Some(path) => Some(capabilities(mapped(claims, path)?, path)?),
        None => match claims.get("caps").map(|value| capabilities(value, "caps")) {
            // The claim of another application, which Centrifugo ignores: it allows nothing.
            Some(Err(CapabilityFault { foreign: true, .. })) => {
                caps_ignored = true;
                None
            }
            other => other.transpose()?,
        },
    };
    let mapped_info = at.info.as_ref().map(|path| mapped(claims, path)).transpose()?;
    if channel.is_some_and(|channel| !channel.is_empty()) {
        return Err(Refusal::new(
            Reason::SubscriptionTokenUsedToConnect,
            "the token has the claim channel, as only subscription tokens have",
            "connect with a token without that claim; pass this one to the subscription",
        ));
    }
    times.check(rules)?;
    distinct(claims)?;
    let info = match mapped_info {
        Some(value) => Some(one_line(value)),
        None => bytes(b64info, claims.raw("info"), Part::B64Info)?,
    };
    let mut made = subs.into_iter().map(Sub::decode).collect::<Result<BTreeMap<_, _>, _>>()?;
    if made.is_empty() {
        made = channels.into_iter().flatten().map(|channel| (channel, SubOptions::default())).collect();
    }
    // Centrifugo makes nothing of an empty name.
    made.remove("");
    let expire_at = times.expire_at(rules.leeway);
    let Times { exp, iat, .. } = times;
    Ok(ConnectToken {
        user,
        expire_at,
        exp,
        iat,
        jti,
        issuer,
        info,
        meta,
        labels,
        subs: made,
        caps,
        caps_ignored,
    })
}

/// Reads the claims of the token of a caller of the server API whose signature is good: the scopes, in a text with
/// blanks between them, as OAuth has it, or in a list.
pub(super) fn caller(claims: &Object<'_>, rules: &Rules<'_>) -> Result<Vec<String>, Refusal> {
    Times::read(claims)?.check(rules)?;
    let Some(value) = claims.raw("scope") else { return Ok(Vec::new()) };
    match string(value) {
        Some(scopes) => Ok(scopes.split_ascii_whitespace().map(str::to_owned).collect()),
        None => of_type(value, "scope", "a text or a list of texts"),
    }
}

/// Reads the claims of a subscription token whose signature is good.
pub(super) fn subscribe(claims: &Object<'_>, rules: &Rules<'_>) -> Result<SubscribeToken, Refusal> {
    let user = user(claims, rules.at)?;
    let times = Times::read(claims)?;
    let (issuer, jti) = (text(claims, "iss")?, text(claims, "jti")?);
    let channel = text(claims, "channel")?.unwrap_or_default();
    let client = text(claims, "client")?.unwrap_or_default();
    // Of another type it is another application's.
    let only_token_expires = claims.get("eto").is_some_and(|value| value.get() == "true");
    let (b64info, b64data) = (text(claims, "b64info")?, text(claims, "b64data")?);
    let overrides = overrides(claims)?;
    let allow = typed(claims, "allow", "a list of \"sub\", \"pub\", \"hst\", \"prs\"")?.unwrap_or_default();
    times.check(rules)?;
    distinct(claims)?;
    if channel.is_empty() {
        return Err(Refusal::new(
            Reason::ConnectionTokenUsedToSubscribe,
            "the token has no claim channel, as a connection token",
            "add the claim channel: a subscription token is for one channel",
        ));
    }
    let info = bytes(b64info, claims.raw("info"), Part::B64Info)?;
    let data = bytes(b64data, claims.raw("data"), Part::B64Data)?;
    let expire_at = times.expire_at(rules.leeway);
    let Times { exp, iat, .. } = times;
    Ok(SubscribeToken {
        user,
        channel,
        client,
        only_token_expires,
        expire_at,
        exp,
        iat,
        jti,
        issuer,
        info,
        data,
        overrides,
        allow,
    })
}

const OVERRIDE: &str = "an object such as {\"presence\": {\"value\": true}}";

struct Times {
    exp: Option<i64>,
    nbf: Option<i64>,
    iat: Option<i64>,
    expire_at: Option<i64>,
}

impl Times {
    fn read(claims: &Object<'_>) -> Result<Self, Refusal> {
        Ok(Self {
            exp: date(claims, "exp", f64::floor)?,
            nbf: date(claims, "nbf", f64::ceil)?,
            iat: date(claims, "iat", f64::floor)?,
            expire_at: typed(claims, "expire_at", "a whole number of seconds")?,
        })
    }

    fn check(&self, rules: &Rules<'_>) -> Result<(), Refusal> {
        let (now, leeway) = (rules.now, i64::from(rules.leeway));
        if let Some(exp) = self.exp
            && exp.saturating_add(leeway) <= now
        {
            return Err(Refusal::new(
                Reason::Expired,
                format!("exp passed {} s ago", now.saturating_sub(exp)),
                "get a new token; if clocks differ, set leeway in the token options",
            ));
        }
        if let Some(nbf) = self.nbf
            && nbf.saturating_sub(leeway) > now
        {
            return Err(Refusal::new(
                Reason::NotYetValid,
                format!("nbf lies {} s ahead", nbf.saturating_sub(now)),
                "compare the clocks of backend and server, or set leeway in the token options",
            ));
        }
        if self.exp.is_none() && rules.require_exp {
            return Err(missing("exp"));
        }
        Ok(())
    }

    /// `expire_at` wins over `exp`; zero and less is never.
    fn expire_at(&self, leeway: u32) -> Option<i64> {
        self.expire_at
            .map_or(self.exp, |at| (at > 0).then_some(at))
            .map(|at| at.saturating_add(i64::from(leeway)))
    }
}

/// The user id: `sub`, absent for anonymous, or another claim, which must be there.
fn user(claims: &Object<'_>, at: &ClaimSettings) -> Result<String, Refusal> {
    let sub = text(claims, "sub")?;
    let Some(path) = &at.user_id else { return Ok(sub.unwrap_or_default()) };
    let value = mapped(claims, path)?;
    let user = match string(value) {
        Some(user) => user,
        // Numbers are ids in many databases.
        None if is_integer(value.get()) => value.get().to_owned(),
        None => return Err(wrong(path, "a string or a whole number")),
    };
    if user.is_empty() { Err(missing(path)) } else { Ok(user) }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// One member of `subs`, its types checked, its base64 not yet read.
struct Sub<'a> {
    channel: String,
    info: Option<&'a RawValue>,
    b64info: Option<String>,
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    overrides: Override,
}

impl Sub<'_> {
    fn decode(self) -> Result<(String, SubOptions), Refusal> {
        let info = bytes(self.b64info, self.info, Part::Subs)?;
        let data = bytes(self.b64data, self.data, Part::Subs)?;
        Ok((self.channel, SubOptions { info, data, overrides: self.overrides }))
    }
}

fn subs<'a>(claims: &Object<'a>) -> Result<Vec<Sub<'a>>, Refusal> {
    let Some(value) = claims.get("subs") else { return Ok(Vec::new()) };
    let channels = Object::of(value).ok_or_else(|| wrong("subs", "an object with channels as names"))?;
    let sub = |(channel, value): (&str, &'a RawValue)| {
        let channel = channel.to_owned();
        if value.get() == "null" {
            let overrides = Override::NONE;
            return Ok(Sub { channel, info: None, b64info: None, data: None, b64data: None, overrides });
        }
        let options = Object::of(value).ok_or_else(|| wrong("subs", "an object of objects"))?;
        distinct(&options)?;
        let in_subs = |refusal: Refusal| Refusal {
            reason: Reason::ClaimType(Cow::Borrowed("subs")),
            detail: format!("within subs, {}", refusal.detail),
            ..refusal
        };
        Ok(Sub {
            channel,
            info: options.raw("info"),
            b64info: text(&options, "b64info").map_err(in_subs)?,
            data: options.raw("data"),
            b64data: text(&options, "b64data").map_err(in_subs)?,
            overrides: overrides(&options).map_err(in_subs)?,
        })
    };
    channels.members().map(sub).collect()
}

/// The labels of a connection: the claim `labels`, and over it those from other claims. A claim that a label is to come
/// from may be missing.
fn labels(claims: &Object<'_>, at: &ClaimSettings) -> Result<Tags, Refusal> {
    // A claim of this name and another form is the application's own: Centrifugo without a licence reads neither.
    let read: Result<Option<Tags>, Refusal> = typed(claims, "labels", "an object of strings");
    let mut labels = read.ok().flatten().unwrap_or_default();
    for (name, path) in &at.labels {
        let Some(value) = claims.path(path) else { continue };
        let text = match string(value) {
            Some(text) => text,
            None if matches!(value.get().as_bytes(), [b'{' | b'[', ..]) => {
                return Err(wrong(path, "a string, a number or a boolean"));
            }
            None if value.get() == "null" => continue,
            None => value.get().to_owned(),
        };
        labels.insert(name.clone(), text);
    }
    crate::labels::check(&labels).map_err(|error| {
        let reason = Reason::ClaimType(Cow::Borrowed("labels"));
        Refusal::new(reason, error.to_string(), "give the token fewer or shorter labels")
    })?;
    Ok(labels)
}

/// A name in two spellings is one that comes twice.
fn distinct(claims: &Object<'_>) -> Result<(), Refusal> {
    claims.twice(&NAMES).map_or(Ok(()), |name| Err(wrong(name, "there in one spelling only")))
}

fn overrides(claims: &Object<'_>) -> Result<Override, Refusal> {
    let text = claims.raw("override").map_or("null", RawValue::get);
    Override::parse(text).map_err(|_| wrong("override", OVERRIDE))
}

/// A claim that is a string, or absent.
fn text(claims: &Object<'_>, name: &'static str) -> Result<Option<String>, Refusal> {
    typed(claims, name, "a string")
}

fn typed<T: DeserializeOwned>(
    claims: &Object<'_>,
    name: &'static str,
    expected: &str,
) -> Result<Option<T>, Refusal> {
    claims.get(name).map(|value| of_type(value, name, expected)).transpose()
}

fn of_type<T: DeserializeOwned>(value: &RawValue, name: &str, expected: &str) -> Result<T, Refusal> {
    serde_json::from_str(value.get()).map_err(|_| wrong(name, expected))
}

fn mapped<'a>(claims: &Object<'a>, path: &str) -> Result<&'a RawValue, Refusal> {
    claims.path(path).ok_or_else(|| missing(path))
}

/// Fault in capabilities.
struct CapabilityFault {
    /// The claim has another form than ours.
    foreign: bool,
    refusal: Refusal,
}

impl From<CapabilityFault> for Refusal {
    fn from(fault: CapabilityFault) -> Self {
        fault.refusal
    }
}

fn capabilities(value: &RawValue, name: &str) -> Result<Capabilities, CapabilityFault> {
    Capabilities::parse(value.get()).map_err(|error| CapabilityFault {
        foreign: error == CapabilityError::Foreign,
        refusal: Refusal::new(Reason::ClaimType(Cow::Owned(name.to_owned())), error.to_string(), CAPS_FIX),
    })
}

/// The form of the claim `caps`, for who has written another.
pub(crate) const CAPS_FIX: &str =
    "write caps as [{\"channels\": [\"news:*\"], \"match\": \"wildcard\", \"allow\": [\"sub\"]}]";

/// A time in seconds: a number, with a fraction or not, or one in quotes. An invalid time is long past, as in
/// Centrifugo v6.9: as `exp` it refuses the token.
fn date(claims: &Object<'_>, name: &'static str, round: fn(f64) -> f64) -> Result<Option<i64>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let quoted = string(value);
    let number = quoted.as_deref().unwrap_or_else(|| value.get());
    let whole = number.bytes().next_back().is_some_and(|last| last.is_ascii_digit())
        && number.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    /// 2^63, the first number that does not fit an `i64`.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    match serde_json::from_str::<f64>(number) {
        #[allow(clippy::cast_possible_truncation, reason = "bounded by the guard")]
        Ok(number) if whole && (-LIMIT..LIMIT).contains(&number) => Ok(Some(round(number) as i64)),
        Ok(_) if whole => Ok(Some(i64::MIN)),
        _ => Err(wrong(name, "a time in seconds since 1970")),
    }
}

/// Base64 text if there is some, else a raw value.
fn bytes(b64: Option<String>, raw: Option<&RawValue>, part: Part) -> Result<Option<Bytes>, Refusal> {
    let Some(text) = b64.filter(|text| !text.is_empty()) else { return Ok(raw.map(one_line)) };
    base64(&text).map(|bytes| Some(bytes.into())).ok_or_else(|| {
        Refusal::new(
            Reason::Malformed(part),
            "a claim that begins with b64 is not base64",
            "encode it with the standard alphabet (+ and /) and with padding (=)",
        )
    })
}

fn missing(claim: &str) -> Refusal {
    Refusal::new(
        Reason::ClaimMissing(Cow::Owned(claim.to_owned())),
        format!("the token has no claim {claim}, which the configuration asks for"),
        "add the claim to the token, or change the token options that name it",
    )
}

fn wrong(claim: &str, expected: &str) -> Refusal {
    Refusal::new(
        Reason::ClaimType(Cow::Owned(claim.to_owned())),
        format!("the claim {claim} is not {expected}"),
        format!("make {claim} {expected}"),
    )
}

//! The table of methods: names and numbers, parameters, results and errors. What is read of a call is in
//! [`super::command`]; a test holds the two together.

use super::reply::ApiError;
use crate::params::Params;

/// A method of the server API.
#[derive(Debug)]
pub struct Method {
    /// Its name, in paths, batches and the old form.
    pub name: &'static str,
    /// Its effect, in a sentence.
    pub about: &'static str,
    /// Its parameters, in groups that methods share.
    pub params: &'static [&'static [Field]],
    /// The name of the schema of its result.
    pub result: &'static str,
    /// The errors that it answers besides [`ApiError::INTERNAL`].
    pub errors: &'static [ApiError],
    /// Parameters of a call, in JSON.
    pub example: &'static str,
}

/// A parameter.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its meaning.
    pub about: &'static str,
    /// Kind of value.
    pub kind: Kind,
    /// A call without it is refused.
    pub required: bool,
}

/// Kind of a parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// Bytes in standard base64 with padding.
    Base64,
    /// A truth value.
    Flag,
    /// A number that may be below zero.
    Integer,
    /// A number from zero.
    Natural,
    /// Unix seconds.
    Time,
    /// Any JSON.
    Json,
    /// A list of texts.
    Texts,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// An object with the schema of this name.
    Object(&'static str),
}

const fn field(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, about, kind, required: false }
}

const fn needed(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, about, kind, required: true }
}

const CHANNEL: &[Field] = &[needed("channel", Kind::Text, "The channel.")];

const MESSAGE: &[Field] = &[
    field("data", Kind::Json, "The payload. JSON subscribers get it byte for byte."),
    field("b64data", Kind::Base64, "The payload as bytes, in place of `data`."),
    field("skip_history", Kind::Flag, "Deliver it and store nothing."),
    field("tags", Kind::Object("Tags"), "Labels, for subscribers and their filters."),
    field(
        "idempotency_key",
        Kind::Text,
        "The same key again in the same channel within five minutes publishes nothing and gets the first answer.",
    ),
    field("delta", Kind::Flag, "Subscribers that agreed on deltas may be sent a patch."),
    field("version", Kind::Natural, "One that is not above the channel's last is dropped. Needs history."),
    field("version_epoch", Kind::Text, "Versions of another epoch start over."),
];

const WHO: &[Field] = &[
    field("user", Kind::Text, "The user whose connections are meant; empty is the anonymous one."),
    field("client", Kind::Text, "Only the connection with this id."),
    field("session", Kind::Text, "Only the connection with this session. WebSocket connections have none."),
];

const EXPIRE_AT: &[Field] = &[field("expire_at", Kind::Time, "When it ends; without it, never.")];

const IN_CHANNEL: &[ApiError] = &[ApiError::UNKNOWN_CHANNEL, ApiError::BAD_REQUEST];
const OPTIONAL_IN_CHANNEL: &[ApiError] =
    &[ApiError::UNKNOWN_CHANNEL, ApiError::BAD_REQUEST, ApiError::NOT_AVAILABLE];
const PUBLISHED_IN_CHANNEL: &[ApiError] =
    &[ApiError::UNKNOWN_CHANNEL, ApiError::BAD_REQUEST, ApiError::TOO_MANY_REQUESTS];
const BAD: &[ApiError] = &[ApiError::BAD_REQUEST];

const KEY: &[Field] = &[needed("key", Kind::Text, "The key.")];

const KEYED: &[Field] = &[
    field("data", Kind::Json, "The payload."),
    field("b64data", Kind::Base64, "The payload as bytes, in place of `data`."),
    field("version", Kind::Natural, "Its version."),
];

const MAP_PUBLISH: &[Field] = &[
    field("stream_data", Kind::Json, "The payload for the stream, where it is another."),
    field("b64stream_data", Kind::Base64, "The same as bytes."),
    field("tags", Kind::Object("Tags"), "Labels."),
    field("idempotency_key", Kind::Text, "Do it once."),
    field("delta", Kind::Flag, "Subscribers may be sent a patch."),
    field("version_epoch", Kind::Text, "Versions of another epoch start over."),
    field("score", Kind::Integer, "Its place in the order."),
    field("key_mode", Kind::Text, "Whether the key must be there already, or not."),
];

const MAP_STATE: &[Field] = &[
    field("key", Kind::Text, "This key only."),
    field("cursor", Kind::Text, "Where the last page ended."),
    field("limit", Kind::Integer, "At most so many."),
    field("asc", Kind::Flag, "From the lowest score."),
    field("revision_offset", Kind::Natural, "Of this revision: offset."),
    field("revision_epoch", Kind::Text, "Of this revision: epoch."),
];

const MAP_STREAM: &[Field] = &[
    field("since_offset", Kind::Natural, "After this offset."),
    field("since_epoch", Kind::Text, "Of this epoch."),
    field("limit", Kind::Integer, "At most so many."),
    field("reverse", Kind::Flag, "From the newest."),
];

/// A method of channels of other kinds than streams. Every channel is one of streams.
const fn of_another_kind(
    name: &'static str,
    params: &'static [&'static [Field]],
    example: &'static str,
) -> Method {
    Method {
        name,
        about: "For channels of another kind, which are not built: refused in every channel.",
        params,
        result: "Empty",
        errors: IN_CHANNEL,
        example,
    }
}

/// Number of methods with a number in the old form: theirs is their place in the table.
const NUMBERED: usize = 13;

/// Every method.
pub const METHODS: &[Method] = &[
    Method {
        name: "publish",
        about: "Publishes to a channel.",
        params: &[CHANNEL, MESSAGE],
        result: "Published",
        errors: PUBLISHED_IN_CHANNEL,
        example: r#"{"channel": "news", "data": {"text": "hello"}, "tags": {"lang": "en"}}"#,
    },
    Method {
        name: "broadcast",
        about: "Publishes the same to many channels, at most 10,000.",
        params: &[&[needed("channels", Kind::Texts, "The channels.")], MESSAGE],
        result: "Broadcast",
        errors: BAD,
        example: r#"{"channels": ["news", "sports"], "data": {"text": "hello"}}"#,
    },
    Method {
        name: "unsubscribe",
        about: "Ends subscriptions of a user's connections.",
        params: &[WHO, &[field("channel", Kind::Text, "The channel; without it, all.")]],
        result: "Empty",
        errors: &[ApiError::UNKNOWN_CHANNEL],
        example: r#"{"user": "42", "channel": "news"}"#,
    },
    Method {
        name: "disconnect",
        about: "Closes a user's connections.",
        params: &[
            WHO,
            &[
                field("whitelist", Kind::Texts, "Not the connections with these ids."),
                field("disconnect", Kind::Object("Disconnect"), "The code; 3503 without it."),
            ],
        ],
        result: "Empty",
        errors: &[],
        example: r#"{"user": "42", "disconnect": {"code": 4501, "reason": "logged out"}}"#,
    },
    Method {
        name: "presence",
        about: "Lists the clients in a channel.",
        params: &[CHANNEL],
        result: "Presence",
        errors: OPTIONAL_IN_CHANNEL,
        example: r#"{"channel": "news"}"#,
    },
    Method {
        name: "presence_stats",
        about: "Counts the clients and users in a channel.",
        params: &[CHANNEL],
        result: "PresenceStats",
        errors: OPTIONAL_IN_CHANNEL,
        example: r#"{"channel": "news"}"#,
    },
    Method {
        name: "history",
        about: "Reads the publications that a channel keeps.",
        params: &[
            CHANNEL,
            &[
                field("limit", Kind::Integer, "Most publications; 0 tells the position alone, -1 gives all."),
                field("since", Kind::Object("Position"), "After this position, or before it with `reverse`."),
                field("reverse", Kind::Flag, "Newest first."),
            ],
        ],
        result: "History",
        errors: &[
            ApiError::UNKNOWN_CHANNEL,
            ApiError::BAD_REQUEST,
            ApiError::NOT_AVAILABLE,
            ApiError::UNRECOVERABLE_POSITION,
        ],
        example: r#"{"channel": "news", "limit": 20}"#,
    },
    Method {
        name: "history_remove",
        about: "Forgets the publications of a channel. Offsets go on.",
        params: &[CHANNEL],
        result: "Empty",
        errors: OPTIONAL_IN_CHANNEL,
        example: r#"{"channel": "news"}"#,
    },
    Method {
        name: "channels",
        about: "Lists the channels that have subscribers. Walks through all of them.",
        params: &[&[field("pattern", Kind::Text, "A glob, such as `chat:*`; without it, all.")]],
        result: "Channels",
        errors: &[],
        example: r#"{"pattern": "chat:*"}"#,
    },
    Method {
        name: "info",
        about: "Tells facts about the nodes.",
        params: &[],
        result: "Info",
        errors: &[],
        example: "{}",
    },
    Method {
        name: "rpc",
        about: "Calls a method that an extension registered. There are none yet.",
        params: &[&[needed("method", Kind::Text, "The method.")]],
        result: "Empty",
        errors: &[ApiError::NOT_FOUND, ApiError::BAD_REQUEST],
        example: r#"{"method": "example"}"#,
    },
    Method {
        name: "subscribe",
        about: "Subscribes a user's connections to a channel.",
        params: &[
            CHANNEL,
            WHO,
            EXPIRE_AT,
            &[
                field("info", Kind::Json, "What others see with the subscription."),
                field("b64info", Kind::Base64, "The same as bytes, in place of `info`."),
                field("data", Kind::Json, "What the client gets with the push."),
                field("b64data", Kind::Base64, "The same as bytes, in place of `data`."),
                field("recover_since", Kind::Object("Position"), "Brings the client up to date from here."),
                field("override", Kind::Object("Override"), "Options that differ from the namespace's."),
            ],
        ],
        result: "Empty",
        errors: IN_CHANNEL,
        example: r#"{"user": "42", "channel": "news", "override": {"presence": {"value": true}}}"#,
    },
    Method {
        name: "refresh",
        about: "Prolongs or ends the login of a user's connections.",
        params: &[
            WHO,
            EXPIRE_AT,
            &[
                field("expired", Kind::Flag, "End it now."),
                field("info", Kind::Json, "What others see with the connection from now on."),
            ],
        ],
        result: "Empty",
        errors: &[],
        example: r#"{"user": "42", "expire_at": 4102444800}"#,
    },
    Method {
        name: "block_user",
        about: "Shuts a user out, and closes its connections.",
        params: &[&[needed("user", Kind::Text, "The user.")], EXPIRE_AT],
        result: "Empty",
        errors: BAD,
        example: r#"{"user": "13", "expire_at": 4102444800}"#,
    },
    Method {
        name: "unblock_user",
        about: "Lets a user in again.",
        params: &[&[needed("user", Kind::Text, "The user.")]],
        result: "Empty",
        errors: BAD,
        example: r#"{"user": "13"}"#,
    },
    Method {
        name: "revoke_token",
        about: "Takes back one token, and closes connections that were made with it.",
        params: &[&[needed("uid", Kind::Text, "Its claim `jti`.")], EXPIRE_AT],
        result: "Empty",
        errors: BAD,
        example: r#"{"uid": "7f9c2ba4", "expire_at": 4102444800}"#,
    },
    Method {
        name: "invalidate_user_tokens",
        about: "Takes back a user's tokens that were issued before a time.",
        params: &[
            &[
                needed("user", Kind::Text, "The user."),
                needed("issued_before", Kind::Time, "Tokens with an earlier `iat`, or none, are taken back."),
                field("channel", Kind::Text, "Only subscription tokens of this channel."),
            ],
            EXPIRE_AT,
        ],
        result: "Empty",
        errors: BAD,
        example: r#"{"user": "13", "issued_before": 1800000000, "expire_at": 4102444800}"#,
    },
    Method {
        name: "explain",
        about: "Tells what the server would decide, by which rule, and what to change.",
        params: &[&[
            needed("action", Kind::OneOf(ACTIONS), "What would be asked for."),
            field("channel", Kind::Text, "In this channel; connect and refresh need none."),
            field("user", Kind::Text, "By this user; that of the token without it."),
            field("client", Kind::Text, "On the connection of this id."),
            field("token", Kind::Text, "With this connection token."),
            field("headers", Kind::Object("Headers"), "With these headers of the upgrade request."),
            field("subscription_token", Kind::Text, "With this subscription token."),
            field("subscribed", Kind::Flag, "While it is subscribed."),
        ]],
        result: "Explanation",
        errors: BAD,
        example: r#"{"user": "42", "channel": "news", "action": "subscribe"}"#,
    },
    of_another_kind(
        "map_publish",
        &[CHANNEL, KEY, KEYED, MAP_PUBLISH],
        r#"{"channel": "news", "key": "1", "data": {"text": "hello"}}"#,
    ),
    of_another_kind(
        "map_remove",
        &[CHANNEL, KEY, &[field("idempotency_key", Kind::Text, "Do it once.")]],
        r#"{"channel": "news", "key": "1"}"#,
    ),
    of_another_kind("map_read_state", &[CHANNEL, MAP_STATE], r#"{"channel": "news"}"#),
    of_another_kind("map_read_stream", &[CHANNEL, MAP_STREAM], r#"{"channel": "news"}"#),
    of_another_kind("map_stats", &[CHANNEL], r#"{"channel": "news"}"#),
    of_another_kind("map_clear", &[CHANNEL], r#"{"channel": "news"}"#),
    of_another_kind(
        "shared_poll_publish",
        &[CHANNEL, KEY, KEYED, &[field("epoch", Kind::Text, "Of what is published.")]],
        r#"{"channel": "news", "key": "1", "data": {"text": "hello"}, "version": 1}"#,
    ),
];

const ACTIONS: &[&str] =
    &["connect", "refresh", "subscribe", "sub_refresh", "publish", "presence", "presence_stats", "history"];

impl Method {
    /// Its parameters one by one.
    pub fn fields(&self) -> impl Iterator<Item = &'static Field> {
        self.params.iter().copied().flatten()
    }
}

/// The method with this number in the old form.
#[must_use]
pub fn by_number(number: i64) -> Option<&'static str> {
    let numbered = METHODS.get(..NUMBERED)?;
    usize::try_from(number).ok().and_then(|number| numbered.get(number)).map(|method| method.name)
}

/// The method of this name, as it is written in the table.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static str> {
    METHODS.iter().find(|method| method.name == name).map(|method| method.name)
}

/// The method of this name in the old form, which does not mind case.
#[must_use]
pub fn by_any_name(name: &str) -> Option<&'static str> {
    METHODS.iter().find(|method| method.name.eq_ignore_ascii_case(name)).map(|method| method.name)
}

/// The method that a command of a batch names, and its parameters. Of several, the first in this order counts,
/// as in Centrifugo v6.9; the others follow in the order of the table.
#[must_use]
pub fn of_batch<'a>(command: &Params<'a>) -> Option<(&'static str, &'a str)> {
    const FIRST: [&str; NUMBERED] = [
        "publish",
        "broadcast",
        "subscribe",
        "unsubscribe",
        "disconnect",
        "history",
        "history_remove",
        "presence",
        "presence_stats",
        "info",
        "rpc",
        "refresh",
        "channels",
    ];
    let mut names = FIRST.into_iter().chain(METHODS.iter().skip(NUMBERED).map(|method| method.name));
    names.find_map(|name| Some((name, command.raw(name).filter(|value| *value != "null")?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::command::Command;
    use crate::session::Asked;
    use std::collections::BTreeSet;

    /// The parameters in the table are those that are read from a call, field by field.
    #[test]
    fn the_table_tells_what_is_read() {
        for method in METHODS {
            let params = Params::parse("{}").unwrap();
            Command::read(method.name, &params).unwrap();
            let told: BTreeSet<&str> = method.fields().map(|field| field.name).collect();
            assert_eq!(told, params.asked(), "{}", method.name);
            assert_eq!(told.len(), method.fields().count(), "{}: a field twice", method.name);
        }
        assert!(ACTIONS.iter().copied().eq(Asked::ALL.map(Asked::name)));
    }

    #[test]
    fn examples_are_read_and_name_only_what_is_told() {
        for method in METHODS {
            let params = Params::parse(method.example).unwrap();
            Command::read(method.name, &params).unwrap();
            for (name, _) in params.fields() {
                assert!(method.fields().any(|field| field.name == name), "{}: {name}", method.name);
            }
            for field in method.fields().filter(|field| field.required) {
                assert!(params.raw(field.name).is_some(), "{}: {}", method.name, field.name);
            }
        }
    }

    #[test]
    fn numbers_are_those_of_centrifugo() {
        assert_eq!(by_number(0), Some("publish"));
        assert_eq!(by_number(12), Some("refresh"));
        assert_eq!(by_number(13), None, "the rest has no number");
        assert_eq!(by_number(-1), None);
    }

    #[test]
    fn a_batch_may_name_every_method() {
        for method in METHODS {
            let command = format!(r#"{{"unknown":1,"info":null,"{}":{{}}}}"#, method.name.to_uppercase());
            let command = Params::parse(&command).unwrap();
            assert_eq!(of_batch(&command).map(|(name, _)| name), Some(method.name));
        }
    }
}

//! The codes: number, text, cause and remedy. The first paragraph of a doc comment is the cause.

use super::{DisconnectCode, Entry, ErrorCode, UnsubscribeCode, reconnects_after};
use std::borrow::Cow;

macro_rules! catalogue {
    (errors { $($(#[doc = $edoc:literal])+ $ename:ident = $ecode:literal, $etext:literal, $temp:literal => $eremedy:literal;)* }
     unsubscribes { $($(#[doc = $udoc:literal])+ $uname:ident = $ucode:literal, $utext:literal => $uremedy:literal;)* }
     disconnects { $($(#[doc = $ddoc:literal])+ $dname:ident = $dcode:literal, $dtext:literal => $dremedy:literal;)* }) => {
        impl ErrorCode {
            $($(#[doc = $edoc])+ pub const $ename: Self = Self { code: $ecode, message: Cow::Borrowed($etext), temporary: $temp };)*
            /// Every error of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$ename),*];
            /// Every error of the catalogue, with cause and remedy.
            pub const CATALOGUE: &'static [Entry] = &[$(
                Entry { code: $ecode, text: $etext, again: $temp, cause: concat!($($edoc),+), remedy: $eremedy },
            )*];
        }
        impl UnsubscribeCode {
            $($(#[doc = $udoc])+ pub const $uname: Self = Self { code: $ucode, reason: Cow::Borrowed($utext) };)*
            /// Every unsubscribe code of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$uname),*];
            /// Every unsubscribe code of the catalogue, with cause and remedy.
            pub const CATALOGUE: &'static [Entry] = &[$(
                Entry { code: $ucode, text: $utext, again: $ucode >= 2500, cause: concat!($($udoc),+), remedy: $uremedy },
            )*];
        }
        impl DisconnectCode {
            $($(#[doc = $ddoc])+ pub const $dname: Self = Self { code: $dcode, reason: Cow::Borrowed($dtext) };)*
            /// Every disconnect code of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$dname),*];
            /// Every disconnect code of the catalogue, with cause and remedy.
            pub const CATALOGUE: &'static [Entry] = &[$(
                Entry {
                    code: $dcode,
                    text: $dtext,
                    again: reconnects_after($dcode),
                    cause: concat!($($ddoc),+),
                    remedy: $dremedy,
                },
            )*];
        }
    };
}

catalogue! {
    errors {
        /// Something failed on the server or behind it: an engine or a proxy did not answer, a key set cannot be
        /// fetched, a decision took too long.
        INTERNAL = 100, "internal server error", true =>
            "Look into the server's log and at `/readyz`; the client tries again by itself.";
        /// Credentials are missing. Spinward never sends it by itself; a proxy of the application may.
        UNAUTHORIZED = 101, "unauthorized", false =>
            "Ask the application that answers with it.";
        /// The name begins with a namespace that is not configured, or matches no pattern.
        UNKNOWN_CHANNEL = 102, "unknown channel", false =>
            "Add the namespace to `channel.namespaces`, or correct the name.";
        /// No rule allows it: no option of the namespace, no token, no capability, no proxy.
        PERMISSION_DENIED = 103, "permission denied", false =>
            "`spinward explain` names the rule and the line to add.";
        /// There is no such RPC method, or nothing answers RPCs.
        METHOD_NOT_FOUND = 104, "method not found", false =>
            "Configure a proxy for the method (`rpc`), or correct its name.";
        /// The connection is subscribed to that channel, or subscribes to it right now.
        ALREADY_SUBSCRIBED = 105, "already subscribed", false =>
            "Use one subscription object for each channel. A channel of the token needs no subscribe.";
        /// The connection has as many channels as it may, or its tags filters take too much memory.
        LIMIT_EXCEEDED = 106, "limit exceeded", false =>
            "Unsubscribe from something, or raise `client.channel_limit` or `client.tags_filter_max_size`.";
        /// The request is well-formed but makes no sense: a name that is too long or has the wrong form, a filter that
        /// is not allowed or malformed, data in another format than `publication_data_format` asks for.
        BAD_REQUEST = 107, "bad request", false =>
            "The server's log says what is wrong; `spinward explain` does so for channel names.";
        /// Presence, history or a proxy is off for that channel, or the engine has no such feature.
        NOT_AVAILABLE = 108, "not available", false =>
            "Switch on `presence`, or `history_size` and `history_ttl`, in the namespace.";
        /// `exp` of the token has passed, or `nbf` lies ahead.
        TOKEN_EXPIRED = 109, "token expired", false =>
            "Give the SDK a `getToken` function: it gets a new token and tries again. Check the clocks.";
        /// The token is good, but its `expire_at` has passed, or the refresh was refused.
        EXPIRED = 110, "expired", false =>
            "Correct `expire_at` where the token is made.";
        /// A rate limit was hit, or subscribers of the channel are too far behind to take another publication.
        TOO_MANY_REQUESTS = 111, "too many requests", true =>
            "Send less often, or raise the limit in `client.rate_limit`.";
        /// History does not reach back to the position that was asked for, or it is one of another epoch.
        UNRECOVERABLE_POSITION = 112, "unrecoverable position", false =>
            "Load the state from the application and start from the present position.";
        /// Another page of the same map channel is being read. There are no map channels yet.
        CONCURRENT_PAGINATION = 113, "concurrent pagination", true =>
            "None is needed.";
    }
    unsubscribes {
        /// The client asked for it.
        CLIENT = 0, "client unsubscribed" =>
            "None is needed.";
        /// The connection is gone. Seen by applications of the library only.
        DISCONNECTED = 1, "client disconnected" =>
            "None is needed.";
        /// The backend called `unsubscribe` of the server API.
        SERVER = 2000, "server unsubscribe" =>
            "None is needed. Subscribe again once the application allows it.";
        /// Publications are missing, so that going on would leave a gap.
        INSUFFICIENT_STATE = 2500, "insufficient state" =>
            "None is needed: the SDK subscribes again and recovers. If it is frequent, look at the engine.";
        /// The grant behind the subscription has expired or was revoked: its token, or `caps` of the connection's.
        EXPIRED = 2501, "subscription expired" =>
            "Give the subscription a `getToken` function.";
        /// The client must drop its token and saved position. Spinward never sends it by itself.
        STATE_INVALIDATED = 2502, "state invalidated" =>
            "Load the state from the application.";
    }
    disconnects {
        /// The client closed the connection, or it broke.
        CONNECTION_CLOSED = 3000, "connection closed" =>
            "None is needed.";
        /// The server stops, or is being drained.
        SHUTDOWN = 3001, "shutdown" =>
            "None is needed: the SDK connects again, to another node if there is one.";
        /// A login could not be decided, because something failed on the server or behind it; or a hook panicked.
        SERVER_ERROR = 3004, "internal server error" =>
            "Look into the server's log.";
        /// The login has expired and was not refreshed within `client.expired_close_delay`.
        EXPIRED = 3005, "connection expired" =>
            "Give the SDK a `getToken` function; find out why it failed.";
        /// The grant behind a server-side subscription has expired and was not refreshed in time.
        SUBSCRIPTION_EXPIRED = 3006, "subscription expired" =>
            "Refresh the token in time, or make it longer.";
        /// More than `client.queue_max_size` bytes wait for the client, which reads too slowly.
        SLOW = 3008, "slow" =>
            "Send less to one connection: fewer channels, deltas, filters, smaller messages. See *Tuning* before you              raise `client.queue_max_size`.";
        /// The client took nothing of what waits for it for as long as `websocket.write_timeout`.
        WRITE_ERROR = 3009, "write error" =>
            "None is needed: the network or the device is gone. The SDK connects again.";
        /// Publications of a server-side subscription are missing, or the new token has other channels than the old one.
        INSUFFICIENT_STATE = 3010, "insufficient state" =>
            "None is needed: the SDK connects again and recovers.";
        /// The application wants the client to connect again. Spinward never sends it by itself.
        FORCE_RECONNECT = 3011, "force reconnect" =>
            "None is needed.";
        /// The client did not answer a ping within `client.pong_timeout`.
        NO_PONG = 3012, "no pong" =>
            "Without an SDK, answer each empty message with an empty message. Otherwise the network is to blame.";
        /// A message without a reply was beyond a rate limit.
        TOO_MANY_REQUESTS = 3013, "too many requests" =>
            "Send less often, or raise the limit in `client.rate_limit`.";
        /// The client must drop its token and saved state. Spinward never sends it to a client with a current SDK.
        STATE_INVALIDATED = 3014, "state invalidated" =>
            "Load the state from the application.";
        /// The token is not acceptable, and the same one never will be: signature, claims, another user, revoked.
        INVALID_TOKEN = 3500, "invalid token" =>
            "`spinward checktoken TOKEN` names the claim or option. Compare the secrets of backend and server.";
        /// The client violated the protocol, or connected without a token where that is not allowed.
        BAD_REQUEST = 3501, "bad request" =>
            "Send a token, or set `client.allow_anonymous_connect_without_token`. For anything else see the server's log.";
        /// The client did not log in within `client.stale_close_delay`.
        STALE = 3502, "stale" =>
            "Send the connect command first. Health checks of load balancers belong to `/livez` or `/readyz`.";
        /// The backend called `disconnect` of the server API.
        FORCE_DISCONNECT = 3503, "force disconnect" =>
            "None is needed.";
        /// The user has `client.user_connection_limit` connections, or logged in elsewhere under `single_connection`.
        CONNECTION_LIMIT = 3504, "connection limit" =>
            "Close connections that are not needed, or raise the limit.";
        /// The token has more channels than `client.channel_limit`, or the server API subscribed to one too many.
        CHANNEL_LIMIT = 3505, "channel limit" =>
            "Name fewer channels, or raise the limit.";
        /// The transport cannot carry what was asked. Spinward never sends it by itself.
        INAPPROPRIATE_PROTOCOL = 3506, "inappropriate protocol" =>
            "Use a client that fits the transport.";
        /// The login is not allowed: a token without a user, a cookie for a page of an origin that is not listed, a user
        /// who is blocked, or whose personal channel others could read.
        PERMISSION_DENIED = 3507, "permission denied" =>
            "`spinward checktoken TOKEN` and the server's log name the reason.";
        /// The client sent a message without a reply, and nothing takes them.
        NOT_AVAILABLE = 3508, "not available" =>
            "Use RPC calls. The server takes no such messages; an application with the library may.";
        /// More commands were answered with an error than `client.rate_limit.client_error` allows.
        TOO_MANY_ERRORS = 3509, "too many errors" =>
            "Find the error that the client repeats, or raise the limit.";
    }
}

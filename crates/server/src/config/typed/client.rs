//! `client`: connections, tokens, limits and timers.

use super::Proxy;
use crate::config::catalogue::{Pem, options};
use crate::config::duration::Duration;
use crate::secret::Secret;
use std::collections::BTreeMap;

options! {
    /// Client connections.
    pub struct Client {
        /// Connection events that are sent to the application backend.
        proxy: ClientProxy;
        /// Client events.
        events: ClientEventsOptions => ours;
        /// Allowed origins of browsers, as glob patterns; `*` allows any. Requests without an origin are allowed.
        allowed_origins: Vec<String> => since("2.8.3");
        /// Verification of connection tokens, and of subscription tokens unless `subscription_token` is enabled.
        token: Token;
        /// Subscription tokens.
        subscription_token: SubscriptionToken => since("5.0.0");
        /// Revocation of tokens and blocking of users.
        revocation: ClientRevocation => ours;
        /// Accepts clients without a token as anonymous.
        allow_anonymous_connect_without_token: bool;
        /// Refuses tokens without a user.
        disallow_anonymous_connection_tokens: bool => since("4.1.1");
        /// Ping interval.
        ping_interval: Duration = Duration::secs(25) => since("4.0.0");
        /// Maximum time for the answer to a ping; must be shorter than `ping_interval`.
        pong_timeout: Duration = Duration::secs(8) => since("4.0.0");
        /// Time that an expired connection has to refresh its token.
        expired_close_delay: Duration = Duration::secs(25);
        /// Time that an expired subscription has to refresh its token.
        expired_sub_close_delay: Duration = Duration::secs(25);
        /// Time that a new connection has to send its connect command.
        stale_close_delay: Duration = Duration::secs(10);
        /// Maximum number of channels per connection.
        channel_limit: u32 = 128u32;
        /// Maximum size of all tags filters of a connection in bytes; 0 means no limit.
        tags_filter_max_size: u64 = 131_072u64 => ours;
        /// Maximum size of the output queue of a connection in bytes.
        queue_max_size: u64 = 1_048_576u64;
        /// Interval between presence updates and expiry checks.
        presence_update_interval: Duration = Duration::secs(27);
        /// Maximum number of commands of a connection that are handled concurrently.
        concurrency: u32 => since("2.8.0");
        /// Interval between checks of a subscription's position against the broker.
        channel_position_check_delay: Duration = Duration::secs(40) => since("3.0.0");
        /// Maximum age of a publication that arrives from an engine; an older one has the positions of its channel's subscriptions compared with the engine at once. 0 means no limit.
        channel_position_max_time_lag: Duration => since("5.4.0");
        /// Maximum number of connections per node; 0 means no limit.
        connection_limit: u32 => since("3.0.0");
        /// Maximum number of connections per user and node; 0 means no limit.
        user_connection_limit: u32;
        /// Maximum number of new connections per second and node; 0 means no limit.
        connection_rate_limit: u32 => since("4.1.1");
        /// Maximum time that a connection waits for its turn under `connection_rate_limit`; 0 refuses it at once (503).
        connection_rate_wait: Duration => ours;
        /// Maximum number of connections per IPv4 address or IPv6 /64 network; 0 means no limit.
        ip_connection_limit: u32 => ours;
        /// Maximum number of new connections per second and address; 0 means no limit.
        ip_connection_rate_limit: u32 => ours;
        /// Maximum number of connections per address that are not logged in; 0 means no limit.
        ip_unauthenticated_connection_limit: u32 => ours;
        /// Maximum number of connections per node that are not logged in; 0 means half of the process's limit of open files.
        unauthenticated_connection_limit: u32 => ours;
        /// Overload protection: limits beyond which no new clients are accepted.
        overload: ClientOverload => ours;
        /// Rate limits of connections and users.
        rate_limit: ClientRateLimit => ours;
        /// Accepts clients that speak protocol version 1, as SDKs of 2018 to 2022 do.
        legacy: bool = true => ours;
        /// Includes the server time in connect replies.
        connect_include_server_time: bool => since("5.4.0");
        /// Maximum number of publications in a history reply.
        history_max_publication_limit: u32 = 300u32 => since("3.0.0");
        /// Maximum number of publications that are recovered; if more were missed, recovery fails.
        recovery_max_publication_limit: u32 = 300u32 => since("3.0.0");
        /// Accepts tokens without verifying the signature. Insecure.
        insecure_skip_token_signature_verify: bool => since("5.0.4");
        /// Header with the user id, in requests of `http_server.trusted_proxies` only.
        user_id_http_header: String => since("5.1.1");
        /// Cookie with the token, if the connect command has none, for pages whose origin is in `allowed_origins`.
        connect_token_cookie: String => ours;
        /// Header of the upgrade request with the token, if the connect command has none; may begin with `Bearer`.
        connect_token_http_header: String => ours;
        /// Disables all authentication and permissions of clients. Insecure.
        insecure: bool;
        /// Personal channel of each user.
        subscribe_to_user_personal_channel: PersonalChannel;
        /// Disconnect codes for failed connects of unidirectional clients.
        connect_code_to_unidirectional_disconnect: ConnectCodeToDisconnect;
    }

    /// Client events, which `client.proxy.events` is told of.
    pub struct ClientEventsOptions {
        /// Kinds of events; all if empty.
        types: Vec<String> => ours one_of(&["connected", "disconnected", "subscribed", "unsubscribed"]);
        /// Maximum number of events that wait for the backend; further ones are dropped.
        max_waiting: u32 = 100_000u32 => ours between(1, 10_000_000);
        /// Maximum number of events per request.
        max_events: u32 = 100u32 => ours between(1, 10_000);
    }

    /// Rate limits of connections and users.
    pub struct ClientRateLimit {
        /// Commands of one connection. One beyond a limit is refused with error 111.
        client_command: CommandRateLimit;
        /// Commands of all connections of a user on this node. One beyond a limit is refused with error 111. Users without an id are not limited.
        user_command: UserCommandRateLimit;
        /// Replies with an error to one connection. One beyond the limit closes it with code 3509.
        client_error: ErrorRateLimit;
        /// Received bytes. A connection beyond the limit is not read for a while.
        received_bytes: RateLimit => ours;
    }

    /// Limits of replies with an error.
    pub struct ErrorRateLimit {
        /// Enables the limit of errors.
        enabled: bool;
        /// All errors together.
        total: RateLimit;
    }

    /// Limits of the commands of a user.
    pub struct UserCommandRateLimit {
        /// All commands but connect.
        #[serde(flatten)]
        commands: CommandRateLimit;
        /// Connect commands with a valid login.
        connect: RateLimit;
    }

    /// Limits of commands, by kind.
    pub struct CommandRateLimit {
        /// Enables the limits of commands.
        enabled: bool;
        /// All commands together.
        total: RateLimit;
        /// Commands without a limit of their own, together.
        default: RateLimit;
        /// Subscribe commands.
        subscribe: ChannelRateLimit;
        /// Unsubscribe commands.
        unsubscribe: ChannelRateLimit;
        /// Publish commands.
        publish: ChannelRateLimit;
        /// History commands.
        history: ChannelRateLimit;
        /// Presence commands.
        presence: ChannelRateLimit;
        /// Presence stats commands.
        presence_stats: ChannelRateLimit;
        /// Refresh commands.
        refresh: RateLimit;
        /// Subscription refresh commands.
        sub_refresh: ChannelRateLimit;
        /// RPC commands.
        rpc: RpcRateLimit;
    }

    /// Limits of commands about a channel.
    pub struct ChannelRateLimit {
        /// Commands about any channel.
        #[serde(flatten)]
        base: RateLimit;
        /// Namespaces with limits of their own, in place of those above.
        namespace_overrides: Vec<NamespaceRateLimit>;
    }

    /// Rate limit of commands about channels of a namespace.
    pub struct NamespaceRateLimit {
        /// Name of the namespace.
        namespace: String;
        /// Its limit.
        #[serde(flatten)]
        limit: RateLimit;
    }

    /// Limits of RPC commands.
    pub struct RpcRateLimit {
        /// RPC commands, whatever their method.
        #[serde(flatten)]
        base: RateLimit;
        /// Methods with limits of their own, in place of those above.
        method_overrides: Vec<MethodRateLimit>;
    }

    /// Rate limit of an RPC method.
    pub struct MethodRateLimit {
        /// Name of the method.
        method: String;
        /// Its limit.
        #[serde(flatten)]
        limit: RateLimit;
    }

    /// Rate limit.
    pub struct RateLimit {
        /// Enables this limit.
        enabled: bool;
        /// Token buckets; each command or byte takes from all of them.
        buckets: Vec<RateBucket>;
    }

    /// Token bucket: an amount per interval, which is also the largest burst.
    pub struct RateBucket {
        /// Interval.
        interval: Duration = Duration::secs(1);
        /// Amount per interval.
        rate: u32;
    }

    /// Connection events that are sent to the application backend.
    pub struct ClientProxy {
        /// Connect proxy, for clients without a token.
        connect: ClientEventProxy;
        /// Refresh proxy, for expiring connections.
        refresh: ClientEventProxy;
        /// Events proxy, which is told of connections and subscriptions that begin and end: see `client.events`.
        events: ClientEventProxy => ours;
    }

    /// Proxy of an event.
    pub struct ClientEventProxy {
        /// Enables the proxy.
        enabled: bool;
        /// Maximum number of requests per second; further ones wait, or are refused with error 100 if that exceeds the timeout; 0 means no limit.
        rate_limit: u32 => ours;
        /// Proxy options.
        #[serde(flatten)]
        proxy: Proxy;
    }

    /// Token verification.
    pub struct Token {
        /// Keys and claims of the main issuer.
        #[serde(flatten)]
        own: TokenIssuer;
        /// Further issuers, each with its own keys, audience and claims. A token is checked only by the issuer that matches its `iss` and `aud`.
        issuers: Vec<NamedIssuer> => ours;
        /// Tolerated clock difference for times in tokens, in whole seconds.
        leeway: Duration => ours;
        /// Refuses tokens without `exp`, which never expire.
        require_exp: bool => ours;
    }

    /// Token issuer.
    pub struct NamedIssuer {
        /// Name of the issuer in messages and variables.
        name: String;
        /// Keys and claims.
        #[serde(flatten)]
        issuer: TokenIssuer;
    }

    /// Keys of an issuer, and expected claims of its tokens.
    pub struct TokenIssuer {
        /// Key of HS256, HS384 and HS512.
        hmac_secret_key: Secret;
        /// Previous key, still accepted during a rotation.
        hmac_previous_secret_key: Secret => since("6.6.1");
        /// Time until which the previous key is accepted, in Unix seconds; 0 means no end.
        hmac_previous_secret_key_valid_until: i64 => since("6.6.1");
        /// Public key of RS256, RS384 and RS512: PEM, its base64, or a path.
        rsa_public_key: String => since("2.3.0");
        /// Public key of ES256, ES384 and ES512: PEM, its base64, or a path.
        ecdsa_public_key: String => since("2.8.2");
        /// Public key of EdDSA: PEM, its base64, or a path.
        ed25519_public_key: String => ours;
        /// Further keys for a rotation, each with an optional period of validity.
        keys: Vec<TokenKey> => ours;
        /// URL of a JWKS. It replaces the public keys above; HMAC secrets stay valid.
        jwks_public_endpoint: String => since("2.8.2");
        /// Timeout of a JWKS request.
        jwks_timeout: Duration = Duration::secs(1) => ours;
        /// Time that a fetched JWKS is fresh, in whole seconds.
        jwks_ttl: Duration = Duration::secs(3600) => ours;
        /// Time that a stale JWKS may be used while it cannot be fetched, in whole seconds.
        jwks_stale: Duration = Duration::secs(86_400) => ours;
        /// Time before an unknown `kid` is looked up again, in whole seconds.
        jwks_negative_ttl: Duration = Duration::secs(30) => ours;
        /// Certificate authorities trusted for the JWKS, in PEM; empty means those of the system.
        jwks_ca_pem: Pem => ours;
        /// Headers of requests for the JWKS.
        jwks_headers: BTreeMap<String, Secret> => ours;
        /// Required audience of tokens.
        audience: String => since("3.2.0");
        /// Regular expression that the audience of tokens must match.
        audience_regex: String => since("4.1.3");
        /// Required issuer of tokens.
        issuer: String => since("3.2.0");
        /// Regular expression that the issuer of tokens must match.
        issuer_regex: String => since("4.1.3");
        /// Claim with the user id, instead of `sub`; letters and underscores, or such names joined by dots.
        user_id_claim: String => since("5.4.6");
        /// Claim or path (`a.b`) with `info`.
        info_claim: String => ours;
        /// Claim or path with `meta`.
        meta_claim: String => ours;
        /// Claim or path with `channels`.
        channels_claim: String => ours;
        /// Claim or path with `caps`.
        caps_claim: String => ours;
        /// Labels of connections from other claims, beside those in the claim `labels`.
        labels_from_claim: Vec<LabelFromClaim> => ours;
        /// Skips the check of values inserted into the JWKS URL. Insecure.
        insecure_skip_jwks_endpoint_safety_check: bool => since("6.7.0");
    }

    /// Label from a claim.
    pub struct LabelFromClaim {
        /// Name of the label.
        key: String;
        /// Claim or path with its value, a string, number or boolean. A token without it gives no such label.
        value: String;
    }

    /// Key with a period of validity.
    pub struct TokenKey {
        /// Type of key.
        r#type: String => one_of(&["hmac", "rsa", "ecdsa", "ed25519"]);
        /// Secret, or public key: PEM, its base64, or a path.
        key: Secret;
        /// Start of validity, in Unix seconds; 0 means no start.
        valid_from: i64;
        /// Last second of validity, in Unix seconds; 0 means no end.
        valid_until: i64;
    }

    /// Verification of subscription tokens, if it differs from connection tokens.
    pub struct SubscriptionToken {
        /// Verifies subscription tokens with these options only.
        enabled: bool;
        /// Keys and claims.
        #[serde(flatten)]
        token: Token;
    }

    /// Tokens revoked and users blocked through the server API.
    pub struct ClientRevocation {
        /// Path of a file that keeps revocations across restarts; empty keeps them in memory only.
        file: String => ours;
        /// Maximum number of active entries; beyond it, calls that add one fail.
        max_entries: u32 = 1_000_000u32 => ours between(1, 100_000_000);
    }

    /// Overload protection: the node accepts no new clients while it is overloaded.
    pub struct ClientOverload {
        /// Memory of the process in bytes beyond which the node is overloaded; 0 means 90 % of the memory of the machine or its control group.
        memory_limit: u64 => ours;
        /// Lag of a shard beyond which the node is overloaded; 0 means no limit.
        loop_lag_limit: Duration = Duration::secs(1) => ours;
    }

    /// Personal channel of each user.
    pub struct PersonalChannel {
        /// Subscribes each user to their personal channel.
        enabled: bool;
        /// Namespace of personal channels; empty for none.
        personal_channel_namespace: String;
        /// Keeps one connection per user and closes older ones. Needs presence in the channel.
        single_connection: bool;
    }

    /// Other disconnect codes for unidirectional clients.
    pub struct ConnectCodeToDisconnect {
        /// Enables the mapping.
        enabled: bool;
        /// Mappings of error codes to disconnects.
        transforms: Vec<ConnectCodeTransform>;
    }

    /// Mapping of an error code.
    pub struct ConnectCodeTransform {
        /// Error code of a failed connect.
        code: u32;
        /// Disconnect for this code.
        to: DisconnectCode;
    }

    /// Disconnect.
    pub struct DisconnectCode {
        /// Code.
        code: u32;
        /// Reason, in ASCII, at most 123 bytes.
        reason: String;
    }
}

impl CommandRateLimit {
    /// Limits of commands about a channel, by option.
    pub(crate) const fn of_channels(&self) -> [(&'static str, &ChannelRateLimit); 7] {
        [
            ("subscribe", &self.subscribe),
            ("unsubscribe", &self.unsubscribe),
            ("publish", &self.publish),
            ("history", &self.history),
            ("presence", &self.presence),
            ("presence_stats", &self.presence_stats),
            ("sub_refresh", &self.sub_refresh),
        ]
    }
}

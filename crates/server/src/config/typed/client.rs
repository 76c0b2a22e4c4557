//! `client`: connections, tokens, limits and timers.

use super::Proxy;
use crate::config::catalogue::{Pem, options};
use crate::config::duration::Duration;
use crate::secret::Secret;
use std::collections::BTreeMap;

options! {
    /// Client connections.
    pub struct Client {
        /// Events of connections that go to the application's back end.
        proxy: ClientProxy;
        /// Origins that browsers may connect from, as globs; `*` admits any. A request without an origin passes.
        allowed_origins: Vec<String> => since("2.8.3");
        /// Connection tokens, and subscription tokens unless those have keys of their own.
        token: Token;
        /// Subscription tokens.
        subscription_token: SubscriptionToken => since("5.0.0");
        /// Revocation of tokens and blocking of users.
        revocation: ClientRevocation => ours;
        /// Admit clients without a token, as anonymous.
        allow_anonymous_connect_without_token: bool;
        /// Refuse tokens without a user.
        disallow_anonymous_connection_tokens: bool => since("4.1.1");
        /// Ping interval.
        ping_interval: Duration = Duration::secs(25) => since("4.0.0");
        /// Time a client may take to answer a ping; shorter than `ping_interval`.
        pong_timeout: Duration = Duration::secs(8) => since("4.0.0");
        /// Time an expired connection may take to refresh.
        expired_close_delay: Duration = Duration::secs(25);
        /// Time an expired subscription may take to refresh.
        expired_sub_close_delay: Duration = Duration::secs(25);
        /// Time a connection may take to send its connect command.
        stale_close_delay: Duration = Duration::secs(10);
        /// Most channels that a connection may subscribe to.
        channel_limit: u32 = 128u32;
        /// Most bytes that the tags filters of a connection hold together; 0 sets no limit.
        tags_filter_max_size: u64 = 131_072u64 => ours;
        /// Most bytes waiting to be sent to a connection.
        queue_max_size: u64 = 1_048_576u64;
        /// Interval between presence updates and expiry checks.
        presence_update_interval: Duration = Duration::secs(27);
        /// More than 1 runs so many commands of a connection at once.
        concurrency: u32 => planned since("2.8.0");
        /// Interval between comparisons of a subscription's position with the broker's.
        channel_position_check_delay: Duration = Duration::secs(40) => since("3.0.0");
        /// Time a subscription may lag behind before its position counts as lost.
        channel_position_max_time_lag: Duration => planned since("5.4.0");
        /// Most connections of this node; 0 sets no limit.
        connection_limit: u32 => since("3.0.0");
        /// Most connections of a user on this node; 0 sets no limit.
        user_connection_limit: u32;
        /// Most new connections a second on this node; 0 sets no limit.
        connection_rate_limit: u32 => since("4.1.1");
        /// Most connections of an address, or of a /64 network of IPv6; 0 sets no limit.
        ip_connection_limit: u32 => ours;
        /// Most new connections a second of an address; 0 sets no limit.
        ip_connection_rate_limit: u32 => ours;
        /// Most connections of an address that are not logged in; 0 sets no limit.
        ip_unauthenticated_connection_limit: u32 => ours;
        /// Most connections of this node that are not logged in; 0 takes half of the open files that the process may have.
        unauthenticated_connection_limit: u32 => ours;
        /// Overload protection: limits beyond which no new clients are accepted.
        overload: ClientOverload => ours;
        /// Rate limits for the commands and bytes of one connection.
        rate_limit: ClientRateLimit => ours;
        /// Put the server's time into the connect reply.
        connect_include_server_time: bool => since("5.4.0");
        /// Most publications in the answer to a history call.
        history_max_publication_limit: u32 = 300u32 => since("3.0.0");
        /// Most publications that are recovered; more than that is not recovered at all.
        recovery_max_publication_limit: u32 = 300u32 => since("3.0.0");
        /// Accept tokens without looking at their signature. Insecure.
        insecure_skip_token_signature_verify: bool => since("5.0.4");
        /// Header from which the user is taken, in requests of `http_server.trusted_proxies` alone.
        user_id_http_header: String => since("5.1.1");
        /// Cookie from which the token is taken where the connect command has none, for pages of an origin that `allowed_origins` names.
        connect_token_cookie: String => ours;
        /// Header of the upgrade request with the token if the connect command has none; may begin with `Bearer`.
        connect_token_http_header: String => ours;
        /// Admit everybody to everything. Insecure.
        insecure: bool;
        /// A channel of its own for each user.
        subscribe_to_user_personal_channel: PersonalChannel;
        /// Other disconnect codes for unidirectional clients whose connect fails.
        connect_code_to_unidirectional_disconnect: ConnectCodeToDisconnect => planned;
    }

    /// Limits of how fast one connection may ask, and send.
    pub struct ClientRateLimit {
        /// Commands. One beyond a limit is refused with error 111.
        client_command: CommandRateLimit;
        /// Received bytes. A connection beyond the limit is not read for a while.
        received_bytes: RateLimit => ours;
    }

    /// Limits of the commands of one connection. Connect commands are not counted.
    pub struct CommandRateLimit {
        /// Limit commands.
        enabled: bool;
        /// All commands together.
        total: RateLimit;
        /// Commands without a limit of their own, together.
        default: RateLimit;
        /// Subscribe commands.
        subscribe: RateLimit;
        /// Unsubscribe commands.
        unsubscribe: RateLimit;
        /// Publish commands.
        publish: RateLimit;
        /// History commands.
        history: RateLimit;
        /// Presence commands.
        presence: RateLimit;
        /// Presence stats commands.
        presence_stats: RateLimit;
        /// Refresh commands.
        refresh: RateLimit;
        /// Subscription refresh commands.
        sub_refresh: RateLimit;
        /// RPC commands.
        rpc: RateLimit;
    }

    /// A limit with a switch.
    pub struct RateLimit {
        /// Use this limit.
        enabled: bool;
        /// Buckets; what is limited takes from each of them.
        buckets: Vec<RateBucket>;
    }

    /// So much in an interval, and as much at once after a pause of that length.
    pub struct RateBucket {
        /// The interval.
        interval: Duration = Duration::secs(1);
        /// Amount per interval.
        rate: u32;
    }

    /// Proxied events of connections.
    pub struct ClientProxy {
        /// Ask whether a client without a token may connect.
        connect: ClientEventProxy => planned;
        /// Ask whether an expiring connection may go on.
        refresh: ClientEventProxy => planned;
    }

    /// A proxy with a switch.
    pub struct ClientEventProxy {
        /// Use this proxy.
        enabled: bool;
        /// The proxy.
        #[serde(flatten)]
        proxy: Proxy;
    }

    /// Token verification.
    pub struct Token {
        /// Keys and claims of the only issuer, or of one beside `issuers`.
        #[serde(flatten)]
        own: TokenIssuer;
        /// Further issuers, each with keys, audience and claims of its own. A token is checked by that one alone which its `iss` and `aud` name.
        issuers: Vec<NamedIssuer> => ours;
        /// Tolerated clock difference when times in tokens are checked, in whole seconds.
        leeway: Duration => ours;
        /// Refuse tokens without `exp`, which otherwise never end.
        require_exp: bool => ours;
    }

    /// One of several issuers.
    pub struct NamedIssuer {
        /// Its name in messages and variables.
        name: String;
        /// Keys and claims.
        #[serde(flatten)]
        issuer: TokenIssuer;
    }

    /// Keys of an issuer, and what its tokens say.
    pub struct TokenIssuer {
        /// Key of HS256, HS384 and HS512.
        hmac_secret_key: Secret;
        /// Key that is being replaced, still accepted.
        hmac_previous_secret_key: Secret => since("6.6.1");
        /// Until when the key before is accepted, in Unix seconds; 0 sets no end.
        hmac_previous_secret_key_valid_until: i64 => since("6.6.1");
        /// Public key of RS256, RS384 and RS512, in PEM.
        rsa_public_key: String => since("2.3.0");
        /// Public key of ES256, ES384 and ES512, in PEM.
        ecdsa_public_key: String => since("2.8.2");
        /// Public key of EdDSA, in PEM.
        ed25519_public_key: String => ours;
        /// Further keys, for a rotation: each holds from a time to a time.
        keys: Vec<TokenKey> => ours;
        /// Address of a JWKS; replaces the public keys above, while secrets stay valid beside it.
        jwks_public_endpoint: String => since("2.8.2");
        /// Timeout of a JWKS request.
        jwks_timeout: Duration = Duration::secs(1) => ours;
        /// Time a JWKS is fresh, in whole seconds.
        jwks_ttl: Duration = Duration::secs(3600) => ours;
        /// Time a JWKS may be used beyond that while it cannot be fetched, in whole seconds.
        jwks_stale: Duration = Duration::secs(86_400) => ours;
        /// Time before a `kid` that was not found is looked for again, in whole seconds.
        jwks_negative_ttl: Duration = Duration::secs(30) => ours;
        /// Certificates that alone are trusted for the JWKS; the system's if empty.
        jwks_ca_pem: Pem => ours;
        /// Headers of requests for the JWKS.
        jwks_headers: BTreeMap<String, Secret> => ours;
        /// Audience that tokens must name.
        audience: String => since("3.2.0");
        /// Expression that a token's audience must match.
        audience_regex: String => since("4.1.3");
        /// Issuer that tokens must name.
        issuer: String => since("3.2.0");
        /// Expression that a token's issuer must match.
        issuer_regex: String => since("4.1.3");
        /// Claim to take the user from instead of `sub`; letters and underscores, or such names joined by dots.
        user_id_claim: String => since("5.4.6");
        /// Claim or path (`a.b`) to take `info` from.
        info_claim: String => ours;
        /// Claim or path to take `meta` from.
        meta_claim: String => ours;
        /// Claim or path to take `channels` from.
        channels_claim: String => ours;
        /// Claim or path to take `caps` from.
        caps_claim: String => ours;
        /// Do not check what is put into the JWKS address. Insecure.
        insecure_skip_jwks_endpoint_safety_check: bool => since("6.7.0");
    }

    /// A key and when it holds.
    pub struct TokenKey {
        /// Type of key.
        r#type: String => one_of(&["hmac", "rsa", "ecdsa", "ed25519"]);
        /// The secret, or the public key in PEM.
        key: Secret;
        /// Start of validity, in Unix seconds; 0 is always.
        valid_from: i64;
        /// The last second in which it holds, in Unix seconds; 0 sets no end.
        valid_until: i64;
    }

    /// Verification of subscription tokens, if it differs from connection tokens.
    pub struct SubscriptionToken {
        /// Check subscription tokens by what follows alone.
        enabled: bool;
        /// Keys and claims.
        #[serde(flatten)]
        token: Token;
    }

    /// Tokens that were taken back and users that were blocked through the server API.
    pub struct ClientRevocation {
        /// File that keeps them over a restart; empty keeps them in memory alone.
        file: String => ours;
        /// Most entries that have not ended; beyond them a call that adds one fails.
        max_entries: u32 = 1_000_000u32 => ours between(1, 100_000_000);
    }

    /// The state in which the node takes no new clients.
    pub struct ClientOverload {
        /// Bytes of memory from which on the node is overloaded; 0 takes nine tenths of what the machine or the control group allows.
        memory_limit: u64 => ours;
        /// Lag of a shard beyond which the node is overloaded; 0 sets no limit.
        loop_lag_limit: Duration = Duration::secs(1) => ours;
    }

    /// A channel of its own for each user.
    pub struct PersonalChannel {
        /// Subscribe each user to its personal channel.
        enabled: bool;
        /// Namespace of personal channels; empty for none.
        personal_channel_namespace: String;
        /// Keep one connection for each user, closing older ones. Needs presence in the channel.
        single_connection: bool;
    }

    /// Other disconnect codes for unidirectional clients.
    pub struct ConnectCodeToDisconnect {
        /// Use the list.
        enabled: bool;
        /// Maps error codes to disconnects.
        transforms: Vec<ConnectCodeTransform>;
    }

    /// Mapping of an error code.
    pub struct ConnectCodeTransform {
        /// Error code of a failed connect.
        code: u32;
        /// Disconnect to give instead.
        to: DisconnectCode;
    }

    /// A disconnect.
    pub struct DisconnectCode {
        /// Its code.
        code: u32;
        /// Its reason, in ASCII, at most 123 bytes.
        reason: String;
    }
}

//! `channel`: the grammar of names, namespaces and their options.

use super::Proxy;
use crate::config::catalogue::{Kind, Setting, choices, options};
use crate::config::duration::Duration;
use crate::secret::Secret;
use serde_json::Value;
pub use spinward::wire::{DeltaType, SubscriptionType};

choices! {
    /// Required form of a channel's publications.
    pub enum PublicationFormat {
        /// Anything but nothing: empty data is refused.
        NotEmpty = "";
        /// JSON.
        Json = "json";
        /// A JSON object.
        JsonObject = "json_object";
        /// Any bytes, none included.
        Binary = "binary";
    }

    /// Recovery mode: what a returning subscriber gets.
    pub enum RecoveryMode {
        /// Everything it missed, or nothing.
        Stream = "" | "stream";
        /// The latest publication.
        Cache = "cache";
    }
}

impl Setting for SubscriptionType {
    const KIND: Kind = Kind::Text;
    const CHOICES: &'static [&'static str] =
        &["", "stream", "map", "map_clients", "map_users", "shared_poll"];
    fn to_value(&self) -> Value {
        let text = match self {
            Self::Map => "map",
            Self::MapClients => "map_clients",
            Self::MapUsers => "map_users",
            Self::SharedPoll => "shared_poll",
            _ => "",
        };
        text.into()
    }
}

impl Setting for Vec<DeltaType> {
    const KIND: Kind = Kind::Texts;
    const CHOICES: &'static [&'static str] = &["fossil"];
    fn to_value(&self) -> Value {
        self.iter().map(|delta| delta.name()).collect()
    }
}

options! {
    /// Channels.
    pub struct Channel {
        /// Channel events that are sent to the application backend.
        proxy: ChannelProxy;
        /// Events of channels that are occupied or vacated.
        state: ChannelStateOptions;
        /// Options of channels without a namespace.
        without_namespace: ChannelOptions;
        /// Namespaces.
        namespaces: Vec<ChannelNamespace>;
        /// Time that offset and epoch of a channel are kept, in whole seconds.
        history_meta_ttl: Duration = Duration::secs(720 * 3600);
        /// Required format of publications; empty accepts everything.
        publication_data_format: PublicationFormat => since("6.5.2");
        /// Maximum length of a channel name in bytes.
        max_length: u32 = 255u32;
        /// Prefix of private channels.
        private_prefix: String = "$";
        /// Separator between namespace and name.
        namespace_boundary: String = ":";
        /// Separator before the list of users in a name.
        user_boundary: String = "#";
        /// Separator between users in a name.
        user_separator: String = ",";
        /// Assigns names that begin with `/` to the namespace whose `pattern` they match.
        patterns: bool => ours;
    }

    /// Events of channels that are occupied or vacated: see `state_proxy_enabled`.
    pub struct ChannelStateOptions {
        /// Time that a channel has no subscribers on this node before it is reported as vacated.
        vacated_event_delay: Duration = Duration::secs(5) => ours;
        /// Maximum number of channels with an event that waits for the backend; events of others are dropped.
        max_waiting: u32 = 100_000u32 => ours between(1, 10_000_000);
        /// Maximum number of events per request.
        max_events: u32 = 100u32 => ours between(1, 10_000);
    }

    /// Default proxies of channel events.
    pub struct ChannelProxy {
        /// Subscribe proxy.
        subscribe: Proxy;
        /// Publish proxy.
        publish: Proxy;
        /// Subscription refresh proxy.
        sub_refresh: Proxy => since("4.1.1");
        /// Subscribe stream proxy, which feeds the subscription.
        subscribe_stream: Proxy => since("5.1.0");
        /// Cache empty proxy, which is told of channels without a latest publication.
        cache_empty: Proxy => since("5.4.0");
        /// State proxy, which is told of occupied and vacated channels.
        state: Proxy;
        /// Map publish proxy.
        map_publish: Proxy => planned since("6.8.0");
        /// Map remove proxy.
        map_remove: Proxy => planned since("6.8.0");
        /// Shared poll refresh proxy.
        shared_poll_refresh: Proxy => planned since("6.8.0");
    }

    /// Channel namespace.
    pub struct ChannelNamespace {
        /// Name of the namespace: two or more letters, digits, `-`, `_` or `.`.
        name: String;
        /// Pattern of its channels, such as `/users/:name`, in place of a name and boundary; needs `channel.patterns`.
        pattern: String => ours;
        /// Channel options.
        #[serde(flatten)]
        options: ChannelOptions;
    }

    /// Options of channels.
    pub struct ChannelOptions {
        /// Name of an entry of `brokers` that delivers and stores publications; empty means the server's broker.
        broker_name: String;
        /// Name of an entry of `presence_managers` that keeps presence; empty means the server's presence manager.
        presence_manager_name: String;
        /// Enables presence.
        presence: bool;
        /// Enables join and leave events.
        join_leave: bool;
        /// Sends join and leave events to every subscriber, even if it did not ask for them.
        force_push_join_leave: bool => since("4.0.0");
        /// Prefix of map channels with the connections of a channel.
        map_clients_presence_channel_prefix: String => planned since("6.8.0");
        /// Prefix of map channels with the users of a channel.
        map_users_presence_channel_prefix: String => planned since("6.8.0");
        /// Maximum number of publications kept; needs `history_ttl`.
        history_size: u32;
        /// Time that publications are kept, in whole seconds; needs `history_size`.
        history_ttl: Duration;
        /// Time that offset and epoch are kept; 0 means `channel.history_meta_ttl`.
        history_meta_ttl: Duration;
        /// Enables positioning for every subscriber.
        force_positioning: bool;
        /// Enables positioning for subscribers that ask for it.
        allow_positioning: bool => since("4.0.0");
        /// Enables recovery for every subscriber; needs history.
        force_recovery: bool;
        /// Enables recovery for subscribers that ask for it; needs history.
        allow_recovery: bool => since("4.0.0");
        /// Recovery mode: all missed publications (`stream`, the default) or the latest (`cache`).
        force_recovery_mode: RecoveryMode => since("5.4.0");
        /// Sends the latest publication on the first subscribe; needs `force_recovery` in `cache` mode.
        auto_cache_recover: bool => since("6.8.3");
        /// Delta types that subscribers may negotiate; only `fossil` exists.
        allowed_delta_types: Vec<DeltaType> => since("5.4.0");
        /// Allows subscribers to filter publications by tags.
        allow_tags_filter: bool => since("6.4.0");
        /// Enables delta compression for all publications.
        delta_publish: bool => since("5.4.0");
        /// With `allow_subscribe_for_client`: anonymous clients may subscribe too.
        allow_subscribe_for_anonymous: bool => since("4.0.0");
        /// Clients with a user may subscribe.
        allow_subscribe_for_client: bool => since("4.0.0");
        /// With another publish option: anonymous clients may publish too.
        allow_publish_for_anonymous: bool => since("4.0.0");
        /// Subscribers may publish.
        allow_publish_for_subscriber: bool => since("4.0.0");
        /// Clients with a user may publish.
        allow_publish_for_client: bool => since("4.0.0");
        /// With another presence option: anonymous clients may ask for presence too.
        allow_presence_for_anonymous: bool => since("4.0.0");
        /// Subscribers may ask for presence.
        allow_presence_for_subscriber: bool => since("4.0.0");
        /// Clients with a user may ask for presence.
        allow_presence_for_client: bool => since("4.0.0");
        /// With another history option: anonymous clients may ask for history too.
        allow_history_for_anonymous: bool => since("4.0.0");
        /// Subscribers may ask for history.
        allow_history_for_subscriber: bool => since("4.0.0");
        /// Clients with a user may ask for history.
        allow_history_for_client: bool => since("4.0.0");
        /// Limits channels with a list of users in the name to these users.
        allow_user_limited_channels: bool => since("4.0.0");
        /// Regular expression that names must match, after the namespace.
        channel_regex: String => since("4.0.0");
        /// Required format of publications; empty means `channel.publication_data_format`.
        publication_data_format: PublicationFormat => since("6.5.2");
        /// Enables the subscribe proxy.
        subscribe_proxy_enabled: bool => since("2.6.0");
        /// Name of the subscribe proxy.
        subscribe_proxy_name: String = "default" => since("3.1.0");
        /// Enables the publish proxy.
        publish_proxy_enabled: bool => since("2.6.0");
        /// Name of the publish proxy.
        publish_proxy_name: String = "default" => since("3.1.0");
        /// Enables the subscription refresh proxy.
        sub_refresh_proxy_enabled: bool => since("4.1.1");
        /// Name of the subscription refresh proxy.
        sub_refresh_proxy_name: String = "default" => since("4.1.1");
        /// Enables the subscribe stream proxy.
        subscribe_stream_proxy_enabled: bool => since("5.1.0");
        /// Name of the subscribe stream proxy.
        subscribe_stream_proxy_name: String = "default" => since("5.1.0");
        /// Sends publications of the subscriber to the stream.
        subscribe_stream_proxy_bidirectional: bool => since("5.1.0");
        /// Enables the cache empty proxy, which is told when a client recovers in cache mode and there is no publication yet.
        cache_empty_proxy_enabled: bool => since("5.4.0");
        /// Name of the cache empty proxy.
        cache_empty_proxy_name: String = "default" => since("5.4.0");
        /// Enables the state proxy, which is told when a channel gets its first subscriber on a node or loses its last one.
        state_proxy_enabled: bool;
        /// Name of the state proxy.
        state_proxy_name: String = "default";
        /// Events that the state proxy is told of, `occupied` and `vacated`; empty means both.
        state_events: Vec<String> => one_of(&["occupied", "vacated"]);
        /// Subscription type; empty means `stream`.
        subscription_type: SubscriptionType => since("6.8.0");
        /// Map channel options.
        map: MapOptions => planned since("6.8.0");
        /// Shared poll options.
        shared_poll: SharedPollOptions => planned since("6.8.0");
    }

    /// Map channel options.
    pub struct MapOptions {
        /// Lifetime and recovery of entries.
        mode: String => one_of(&["", "ephemeral", "recoverable", "persistent"]);
        /// Lifetime of an entry.
        key_ttl: Duration;
        /// Maximum number of changes kept for recovery.
        stream_size: u32;
        /// Time that changes are kept.
        stream_ttl: Duration;
        /// Time that offset and epoch are kept.
        meta_ttl: Duration;
        /// Removes a client's entry when it unsubscribes.
        remove_client_on_unsubscribe: bool;
        /// Key of entries published by clients.
        client_key: String => one_of(&["", "client_id", "user_id"]);
        /// Clients with a user may publish entries.
        allow_publish_for_client: bool;
        /// Subscribers may publish entries.
        allow_publish_for_subscriber: bool;
        /// Anonymous clients may publish entries too.
        allow_publish_for_anonymous: bool;
        /// Clients with a user may remove entries.
        allow_remove_for_client: bool;
        /// Subscribers may remove entries.
        allow_remove_for_subscriber: bool;
        /// Anonymous clients may remove entries too.
        allow_remove_for_anonymous: bool;
        /// Enables the publish proxy.
        publish_proxy_enabled: bool;
        /// Name of the publish proxy.
        publish_proxy_name: String = "default";
        /// Enables the remove proxy.
        remove_proxy_enabled: bool;
        /// Name of the remove proxy.
        remove_proxy_name: String = "default";
        /// Default number of entries per page.
        default_page_size: u32;
        /// Minimum number of entries per page.
        min_page_size: u32;
        /// Maximum number of entries per page.
        max_page_size: u32;
        /// Maximum number of changes sent when a client goes live.
        live_transition_max_publication_limit: u32;
        /// Maximum time to read all pages.
        subscribe_catch_up_timeout: Duration;
    }

    /// Shared poll options of channels.
    pub struct SharedPollOptions {
        /// Name of the proxy; empty means the default proxy.
        proxy_name: String;
        /// Interval between requests to the backend.
        refresh_interval: Duration;
        /// Maximum number of keys per request.
        refresh_batch_size: u32;
        /// Maximum number of tracked keys per connection.
        max_keys_per_connection: u32;
        /// Use of versions in responses.
        mode: String => one_of(&["", "versionless", "versioned"]);
        /// Time that a channel is kept after its last subscriber.
        channel_shutdown_delay: Duration;
        /// Time that a key is tracked beyond the expiry of its signature.
        track_expired_extra_delay: Duration;
        /// Allows publications in addition to polling.
        publish_enabled: bool;
    }

    /// Shared poll: keys and limits.
    pub struct SharedPoll {
        /// HMAC key for signatures of tracked keys.
        hmac_secret_key: Secret;
        /// Previous key, still accepted during a rotation.
        hmac_previous_secret_key: Secret;
        /// Time until which the previous key is accepted, in Unix seconds; 0 means no end.
        hmac_previous_secret_key_valid_until: i64;
        /// Maximum number of concurrent requests to the backend; 0 means a built-in limit.
        concurrency_limit: u32;
    }
}

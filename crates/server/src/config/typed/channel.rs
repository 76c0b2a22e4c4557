//! `channel`: the grammar of names, namespaces and their options.

use super::Proxy;
use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;

options! {
    /// Channels.
    pub struct Channel {
        /// Events of channels that go to the application's back end.
        proxy: ChannelProxy => planned;
        /// Options of channels without a namespace.
        without_namespace: ChannelOptions;
        /// Namespaces.
        namespaces: Vec<ChannelNamespace>;
        /// Time to keep offset and epoch of a channel, in whole seconds.
        history_meta_ttl: Duration = Duration::secs(720 * 3600);
        /// Required form of publications; empty takes any JSON and refuses nothing at all.
        publication_data_format: String => one_of(&["", "json", "json_object", "binary"]) since("6.5.2");
        /// Most bytes in a channel's name.
        max_length: u32 = 255u32;
        /// Prefix of private channel names; empty for none.
        private_prefix: String = "$";
        /// Separator between the namespace and the rest of a name.
        namespace_boundary: String = ":";
        /// Separator before the list of users in a name.
        user_boundary: String = "#";
        /// Separator between users in a name.
        user_separator: String = ",";
        /// Names that begin with `/` belong to the namespace whose `pattern` they match.
        patterns: bool => ours;
    }

    /// Default proxies of channel events.
    pub struct ChannelProxy {
        /// Asked about subscribes.
        subscribe: Proxy;
        /// Asked about publishes.
        publish: Proxy;
        /// Asked about expiring subscriptions.
        sub_refresh: Proxy => since("4.1.1");
        /// Asked about subscribes, and feeds the subscription.
        subscribe_stream: Proxy => since("5.1.0");
        /// Asked about publishes into maps.
        map_publish: Proxy => since("6.8.0");
        /// Asked about removals from maps.
        map_remove: Proxy => since("6.8.0");
        /// Asked for the state of shared poll channels.
        shared_poll_refresh: Proxy => since("6.8.0");
    }

    /// A namespace.
    pub struct ChannelNamespace {
        /// Its name: two or more letters, digits, `-`, `_` or `.`.
        name: String;
        /// Pattern of its channels, such as `/users/:name`, in place of a name and boundary; needs `channel.patterns`.
        pattern: String => ours;
        /// Its options.
        #[serde(flatten)]
        options: ChannelOptions;
    }

    /// Options of channels.
    pub struct ChannelOptions {
        /// Keep a list of who is in the channel.
        presence: bool;
        /// Make join and leave events.
        join_leave: bool;
        /// Send join and leave events to every subscriber, asked for or not.
        force_push_join_leave: bool => since("4.0.0");
        /// Prefix of the map channels that mirror the connections in a channel.
        map_clients_presence_channel_prefix: String => planned since("6.8.0");
        /// Prefix of the map channels that mirror the users in a channel.
        map_users_presence_channel_prefix: String => planned since("6.8.0");
        /// Most publications kept; needs `history_ttl`.
        history_size: u32;
        /// Time to keep publications, in whole seconds; needs `history_size`.
        history_ttl: Duration;
        /// Time to keep offset and epoch; 0 takes `channel.history_meta_ttl`.
        history_meta_ttl: Duration;
        /// Watch the position of every subscriber.
        force_positioning: bool;
        /// Watch the position of subscribers that ask for it.
        allow_positioning: bool => since("4.0.0");
        /// Let every subscriber recover; needs history.
        force_recovery: bool;
        /// Let subscribers that ask for it recover.
        allow_recovery: bool => since("4.0.0");
        /// Recovery mode: all missed publications (`stream`, the default) or the latest (`cache`).
        force_recovery_mode: String => one_of(&["", "stream", "cache"]) since("5.4.0");
        /// Give the latest publication at the first subscribe; needs `force_recovery` in `cache` mode.
        auto_cache_recover: bool => since("6.8.3");
        /// Delta encodings that subscribers may agree on; `fossil` is the only one.
        allowed_delta_types: Vec<String> => one_of(&["fossil"]) since("5.4.0");
        /// Let subscribers filter publications by tags.
        allow_tags_filter: bool => since("6.4.0");
        /// Let each publication be sent as a delta.
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
        /// Names with a list of users admit those users and nobody else.
        allow_user_limited_channels: bool => since("4.0.0");
        /// Expression that names must match, after the namespace.
        channel_regex: String => since("4.0.0");
        /// Required form of publications; empty takes `channel.publication_data_format`.
        publication_data_format: String => one_of(&["", "json", "json_object", "binary"]) since("6.5.2");
        /// Ask the back end about subscribes.
        subscribe_proxy_enabled: bool => essential since("2.6.0");
        /// Proxy to ask about subscribes.
        subscribe_proxy_name: String = "default" => since("3.1.0");
        /// Ask the back end about publishes.
        publish_proxy_enabled: bool => essential since("2.6.0");
        /// Proxy to ask about publishes.
        publish_proxy_name: String = "default" => since("3.1.0");
        /// Ask the back end about expiring subscriptions.
        sub_refresh_proxy_enabled: bool => essential since("4.1.1");
        /// Proxy to ask about expiring subscriptions.
        sub_refresh_proxy_name: String = "default" => since("4.1.1");
        /// Let a stream of the back end feed each subscription.
        subscribe_stream_proxy_enabled: bool => essential since("5.1.0");
        /// Proxy that feeds subscriptions.
        subscribe_stream_proxy_name: String = "default" => since("5.1.0");
        /// Let publications of the subscriber go into the stream.
        subscribe_stream_proxy_bidirectional: bool => planned since("5.1.0");
        /// The kind of the channels; empty is `stream`.
        subscription_type: String => one_of(&["", "stream", "map", "map_clients", "map_users", "shared_poll"]) since("6.8.0");
        /// Maps.
        map: MapOptions => planned since("6.8.0");
        /// Shared poll.
        shared_poll: SharedPollOptions => planned since("6.8.0");
    }

    /// Options of map channels.
    pub struct MapOptions {
        /// Lifetime of entries, and whether they can be recovered.
        mode: String => one_of(&["", "ephemeral", "recoverable", "persistent"]);
        /// Lifetime of an entry.
        key_ttl: Duration;
        /// Most changes kept for recovery.
        stream_size: u32;
        /// Time to keep changes.
        stream_ttl: Duration;
        /// Time to keep offset and epoch.
        meta_ttl: Duration;
        /// Remove a client's entry when it unsubscribes.
        remove_client_on_unsubscribe: bool;
        /// Force the key of what a client publishes.
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
        /// Ask the back end about publishes.
        publish_proxy_enabled: bool;
        /// Proxy to ask about publishes.
        publish_proxy_name: String = "default";
        /// Ask the back end about removals.
        remove_proxy_enabled: bool;
        /// Proxy to ask about removals.
        remove_proxy_name: String = "default";
        /// Entries on a page when a client does not say.
        default_page_size: u32;
        /// Fewest entries on a page.
        min_page_size: u32;
        /// Most entries on a page.
        max_page_size: u32;
        /// Most changes sent when a client goes live.
        live_transition_max_publication_limit: u32;
        /// Time a client may take to read all pages.
        subscribe_catch_up_timeout: Duration;
    }

    /// Options of shared poll channels.
    pub struct SharedPollOptions {
        /// Proxy to ask; empty is the default one.
        proxy_name: String;
        /// Interval between requests to the back end.
        refresh_interval: Duration;
        /// Most keys in one question.
        refresh_batch_size: u32;
        /// Most keys that a connection may track.
        max_keys_per_connection: u32;
        /// Use of versions in answers.
        mode: String => one_of(&["", "versionless", "versioned"]);
        /// Time to keep a channel after its last subscriber.
        channel_shutdown_delay: Duration;
        /// Time to track a key beyond the expiry of its signature.
        track_expired_extra_delay: Duration;
        /// Allow publications beside polling.
        publish_enabled: bool;
    }

    /// Keys and limits of shared poll subscriptions.
    pub struct SharedPoll {
        /// Key of signatures of tracked keys.
        hmac_secret_key: Secret;
        /// Key that is being replaced, still accepted.
        hmac_previous_secret_key: Secret;
        /// Until when the key before is accepted, in Unix seconds; 0 sets no end.
        hmac_previous_secret_key_valid_until: i64;
        /// Most questions to the back end at once; 0 takes a built-in limit.
        concurrency_limit: u32;
    }
}

//! Engine, broker, presence manager, map broker and controller.

use super::{RedisBroker, RedisEngine, RedisMapBroker, RedisPresenceManager, Tls};
use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;
use std::collections::BTreeMap;

options! {
    /// Broker and presence manager in one.
    pub struct Engine {
        /// Engine for messages and presence.
        r#type: String = "memory" => one_of(&["memory", "redis"]);
        /// Redis.
        redis: RedisEngine => planned;
    }

    /// Message broker.
    pub struct Broker {
        /// Use this broker instead of the engine's.
        enabled: bool;
        /// Type of broker.
        r#type: String = "memory" => one_of(&["memory", "nats", "redis", "redisnats", "postgres"]);
        /// Redis.
        redis: RedisBroker => planned;
        /// NATS.
        nats: NatsBroker => planned;
        /// PostgreSQL.
        postgres: PostgresBroker => planned since("6.8.0");
        /// History in Redis, delivery by NATS.
        redisnats: RedisNatsBroker => planned;
    }

    /// NATS.
    pub struct NatsBroker {
        /// Subject prefix.
        prefix: String = "centrifugo";
        /// Address. It may hold a password, and is treated as secret.
        url: Secret = "nats://localhost:4222";
        /// Connect timeout.
        dial_timeout: Duration = Duration::secs(1);
        /// Write timeout.
        write_timeout: Duration = Duration::secs(1);
        /// TLS.
        tls: Tls;
        /// Let clients subscribe to patterns.
        allow_wildcards: bool;
        /// Take what other programs publish.
        raw_mode: NatsRawMode => since("5.4.0");
    }

    /// Subjects shared with other programs.
    pub struct NatsRawMode {
        /// Use channel names as subjects, and payloads as they are.
        enabled: bool;
        /// Replacements in channel names.
        channel_replacements: BTreeMap<String, String>;
        /// Subject prefix.
        prefix: String;
    }

    /// History in Redis, delivery by NATS.
    pub struct RedisNatsBroker {
        /// Redis.
        redis: RedisBroker;
        /// NATS.
        nats: NatsBroker;
    }

    /// PostgreSQL as a broker.
    pub struct PostgresBroker {
        /// The store.
        #[serde(flatten)]
        store: PostgresStore;
    }

    /// PostgreSQL as a store of streams.
    pub struct PostgresStore {
        /// Connection string.
        dsn: Secret;
        /// TLS.
        tls: Tls;
        /// Most connections.
        pool_size: u32 = 16u32;
        /// Number of shards that channels are spread over.
        num_shards: u32 = 8u32;
        /// Interval between removals of old rows.
        cleanup_interval: Duration = Duration::secs(60);
        /// Time to keep results for repeated calls.
        idempotent_result_ttl: Duration = Duration::secs(300);
        /// Store data as bytes instead of JSON.
        binary_data: bool;
        /// Time to keep rows of streams.
        stream_retention: Duration = Duration::secs(24 * 3600);
        /// Wake by NOTIFY instead of polling alone.
        use_notify: bool;
        /// Connection string for NOTIFY, if another.
        notify_dsn: Secret;
        /// Table prefix.
        table_prefix: String = "cf";
        /// Do not create tables.
        skip_schema_init: bool;
        /// Reading of new rows.
        outbox: Outbox;
        /// For how many days ahead partitions are made.
        partition_lookahead_days: u32 = 2u32;
        /// For how many days partitions are kept.
        partition_retention_days: u32 = 7u32;
    }

    /// Reading of new rows.
    pub struct Outbox {
        /// Poll interval.
        poll_interval: Duration = Duration::millis(100);
        /// Most rows at once.
        batch_size: u32 = 1000u32;
    }

    /// Presence manager.
    pub struct PresenceManager {
        /// Use this presence manager instead of the engine's.
        enabled: bool;
        /// Type of presence manager.
        r#type: String = "memory" => one_of(&["memory", "redis"]);
        /// Redis.
        redis: RedisPresenceManager => planned;
    }

    /// Broker of map subscriptions.
    pub struct MapBroker {
        /// Type of map broker.
        r#type: String = "memory" => one_of(&["memory", "redis", "postgres"]);
        /// Redis.
        redis: RedisMapBroker;
        /// PostgreSQL.
        postgres: PostgresMapBroker;
    }

    /// PostgreSQL as a map broker.
    pub struct PostgresMapBroker {
        /// The store.
        #[serde(flatten)]
        store: PostgresStore;
        /// Interval between checks for expired entries.
        ttl_check_interval: Duration = Duration::secs(1);
    }

    /// Communication between nodes.
    pub struct Controller {
        /// Use this controller instead of the engine's.
        enabled: bool;
        /// Type of controller.
        r#type: String => one_of(&["", "postgres"]);
        /// PostgreSQL.
        postgres: PostgresController;
    }

    /// PostgreSQL as a controller.
    pub struct PostgresController {
        /// Connection string.
        dsn: Secret;
        /// TLS.
        tls: Tls;
        /// Most connections.
        pool_size: u32 = 8u32;
        /// Number of shards that messages are spread over.
        num_shards: u32 = 1u32;
        /// Table prefix.
        table_prefix: String = "cf";
        /// Poll interval.
        poll_interval: Duration = Duration::millis(50);
        /// Wake by NOTIFY instead of polling alone.
        use_notify: bool;
        /// Connection string for NOTIFY, if another.
        notify_dsn: Secret;
        /// For how many days partitions are kept.
        partition_retention_days: u32 = 1u32;
        /// For how many days ahead partitions are made.
        partition_lookahead_days: u32 = 2u32;
        /// Interval between removals of old partitions.
        partition_cleanup_interval: Duration = Duration::secs(60);
        /// Most messages at once.
        batch_size: u32 = 1000u32;
        /// Do not create tables.
        skip_schema_init: bool;
    }
}

//! Engine, broker, presence manager, map broker and controller.

use super::{RedisBroker, RedisEngine, RedisMapBroker, RedisPresenceManager, Tls};
use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;
use std::collections::BTreeMap;

options! {
    /// Broker and presence manager in one.
    pub struct Engine {
        /// Engine type.
        r#type: String = "memory" => one_of(&["memory", "redis"]);
        /// Redis connection.
        redis: RedisEngine => planned;
    }

    /// Message broker.
    pub struct Broker {
        /// Uses this broker instead of the engine's.
        enabled: bool;
        /// Broker type.
        r#type: String = "memory" => one_of(&["memory", "nats", "redis", "redisnats", "postgres"]);
        /// Redis connection.
        redis: RedisBroker => planned;
        /// NATS broker.
        nats: NatsBroker => planned;
        /// PostgreSQL.
        postgres: PostgresBroker => planned since("6.8.0");
        /// History in Redis, delivery by NATS.
        redisnats: RedisNatsBroker => planned;
    }

    /// NATS broker.
    pub struct NatsBroker {
        /// Subject prefix.
        prefix: String = "centrifugo";
        /// Server URL. It may contain a password and is treated as a secret.
        url: Secret = "nats://localhost:4222";
        /// Connect timeout.
        dial_timeout: Duration = Duration::secs(1);
        /// Write timeout.
        write_timeout: Duration = Duration::secs(1);
        /// TLS.
        tls: Tls;
        /// Allows subscriptions to subject patterns.
        allow_wildcards: bool;
        /// Raw mode, for messages of other programs.
        raw_mode: NatsRawMode => since("5.4.0");
    }

    /// Raw mode, for messages of other programs.
    pub struct NatsRawMode {
        /// Uses channel names as subjects and payloads without an envelope.
        enabled: bool;
        /// Replacements in channel names.
        channel_replacements: BTreeMap<String, String>;
        /// Subject prefix.
        prefix: String;
    }

    /// History in Redis, delivery by NATS.
    pub struct RedisNatsBroker {
        /// Redis connection.
        redis: RedisBroker;
        /// NATS broker.
        nats: NatsBroker;
    }

    /// PostgreSQL broker.
    pub struct PostgresBroker {
        /// Storage options.
        #[serde(flatten)]
        store: PostgresStore;
    }

    /// PostgreSQL storage of streams.
    pub struct PostgresStore {
        /// Connection string.
        dsn: Secret;
        /// TLS.
        tls: Tls;
        /// Maximum number of connections.
        pool_size: u32 = 16u32;
        /// Number of shards that channels are distributed over.
        num_shards: u32 = 8u32;
        /// Interval between removals of old rows.
        cleanup_interval: Duration = Duration::secs(60);
        /// Time that results of idempotent calls are kept.
        idempotent_result_ttl: Duration = Duration::secs(300);
        /// Stores data as bytes instead of JSON.
        binary_data: bool;
        /// Time that stream rows are kept.
        stream_retention: Duration = Duration::secs(24 * 3600);
        /// Uses LISTEN/NOTIFY in addition to polling.
        use_notify: bool;
        /// Connection string for LISTEN/NOTIFY; empty means `dsn`.
        notify_dsn: Secret;
        /// Table prefix.
        table_prefix: String = "cf";
        /// Skips the creation of tables.
        skip_schema_init: bool;
        /// Outbox reader.
        outbox: Outbox;
        /// Days ahead for which partitions are created.
        partition_lookahead_days: u32 = 2u32;
        /// Days that partitions are kept.
        partition_retention_days: u32 = 7u32;
    }

    /// Outbox reader.
    pub struct Outbox {
        /// Poll interval.
        poll_interval: Duration = Duration::millis(100);
        /// Maximum number of rows per poll.
        batch_size: u32 = 1000u32;
    }

    /// Presence manager.
    pub struct PresenceManager {
        /// Uses this presence manager instead of the engine's.
        enabled: bool;
        /// Presence manager type.
        r#type: String = "memory" => one_of(&["memory", "redis"]);
        /// Redis connection.
        redis: RedisPresenceManager => planned;
    }

    /// Broker of map subscriptions.
    pub struct MapBroker {
        /// Map broker type.
        r#type: String = "memory" => one_of(&["memory", "redis", "postgres"]);
        /// Redis connection.
        redis: RedisMapBroker;
        /// PostgreSQL.
        postgres: PostgresMapBroker;
    }

    /// PostgreSQL map broker.
    pub struct PostgresMapBroker {
        /// Storage options.
        #[serde(flatten)]
        store: PostgresStore;
        /// Interval between checks for expired entries.
        ttl_check_interval: Duration = Duration::secs(1);
    }

    /// Communication between nodes.
    pub struct Controller {
        /// Uses this controller instead of the engine's.
        enabled: bool;
        /// Controller type.
        r#type: String => one_of(&["", "postgres"]);
        /// PostgreSQL.
        postgres: PostgresController;
    }

    /// PostgreSQL controller.
    pub struct PostgresController {
        /// Connection string.
        dsn: Secret;
        /// TLS.
        tls: Tls;
        /// Maximum number of connections.
        pool_size: u32 = 8u32;
        /// Number of shards that messages are distributed over.
        num_shards: u32 = 1u32;
        /// Table prefix.
        table_prefix: String = "cf";
        /// Poll interval.
        poll_interval: Duration = Duration::millis(50);
        /// Uses LISTEN/NOTIFY in addition to polling.
        use_notify: bool;
        /// Connection string for LISTEN/NOTIFY; empty means `dsn`.
        notify_dsn: Secret;
        /// Days that partitions are kept.
        partition_retention_days: u32 = 1u32;
        /// Days ahead for which partitions are created.
        partition_lookahead_days: u32 = 2u32;
        /// Interval between removals of old partitions.
        partition_cleanup_interval: Duration = Duration::secs(60);
        /// Maximum number of messages per poll.
        batch_size: u32 = 1000u32;
        /// Skips the creation of tables.
        skip_schema_init: bool;
    }
}

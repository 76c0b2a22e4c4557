//! Engine, broker, presence manager, map broker and controller.

use super::{Redis, RedisBroker, RedisEngine, RedisMapBroker, RedisPresenceManager, Tls};
use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;
use std::collections::BTreeMap;

options! {
    /// Broker, presence manager and controller in one.
    pub struct Engine {
        /// Type of the engine for publications, presence and messages between nodes: `memory` serves one node; `redis`, `nats` (with
        /// JetStream) and `postgres` serve any number of nodes.
        r#type: String = "memory" => one_of(&["memory", "redis", "nats", "postgres"]);
        /// Redis or Valkey.
        redis: RedisEngine;
        /// NATS with JetStream.
        nats: NatsEngine => ours;
        /// PostgreSQL.
        postgres: PostgresEngine => ours;
    }

    /// Message broker.
    pub struct Broker {
        /// Uses this broker instead of the engine's.
        enabled: bool;
        /// Broker type: `nats` delivers without history, `jetstream` keeps history in NATS.
        r#type: String = "memory"
            => one_of(&["memory", "nats", "jetstream", "redis", "redisnats", "postgres"]);
        /// Broker options.
        #[serde(flatten)]
        options: BrokerOptions;
    }

    /// A broker for the namespaces that name it in `broker_name`.
    pub struct NamedBroker {
        /// Name.
        name: String;
        /// Uses this broker.
        enabled: bool;
        /// Broker type.
        r#type: String => one_of(&["redis", "nats", "jetstream", "postgres"]);
        /// Broker options.
        #[serde(flatten)]
        options: BrokerOptions;
    }

    /// Options of brokers by type.
    pub struct BrokerOptions {
        /// Redis or Valkey.
        redis: RedisBroker;
        /// NATS without history.
        nats: NatsBroker;
        /// NATS with history in JetStream.
        jetstream: JetStreamBroker => ours;
        /// PostgreSQL.
        postgres: PostgresBroker => since("6.8.0");
        /// History in Redis, delivery by NATS.
        redisnats: RedisNatsBroker => planned;
    }

    /// Connection to NATS.
    pub struct NatsConnection {
        /// Prefix of subjects, streams and buckets.
        prefix: String = "centrifugo";
        /// Server URLs, separated by commas. They may contain passwords and are treated as secrets.
        url: Secret = "nats://localhost:4222";
        /// Connect timeout.
        dial_timeout: Duration = Duration::secs(1);
        /// Write timeout.
        write_timeout: Duration = Duration::secs(1);
        /// TLS.
        tls: Tls;
    }

    /// NATS broker.
    pub struct NatsBroker {
        /// Connection.
        #[serde(flatten)]
        connection: NatsConnection;
        /// Allows subscriptions to subject patterns.
        allow_wildcards: bool;
        /// Raw mode, for messages of other programs.
        raw_mode: NatsRawMode => since("5.4.0");
    }

    /// NATS with history in JetStream (NATS 2.11 and later).
    pub struct JetStreamBroker {
        /// Connection.
        #[serde(flatten)]
        connection: NatsConnection;
        /// Number of streams that channels are distributed over. It must be the same on every node, and stay.
        num_streams: u16 = 4u16 => between(1, 256);
        /// Copies of each stream in a cluster of NATS servers, 1 to 5.
        replicas: u8 = 1u8 => between(1, 5);
        /// Keeps history in the memory of the NATS servers instead of on disk.
        in_memory: bool;
    }

    /// Presence in NATS.
    pub struct NatsPresence {
        /// Connection.
        #[serde(flatten)]
        connection: NatsConnection;
        /// Lifetime of a presence entry that is not refreshed.
        presence_ttl: Duration = Duration::secs(60);
        /// Copies of the bucket in a cluster of NATS servers, 1 to 5.
        replicas: u8 = 1u8 => between(1, 5);
    }

    /// NATS with JetStream as the whole engine.
    pub struct NatsEngine {
        /// Broker options.
        #[serde(flatten)]
        broker: JetStreamBroker;
        /// Lifetime of a presence entry that is not refreshed.
        presence_ttl: Duration = Duration::secs(60);
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

    /// Presence in PostgreSQL.
    pub struct PostgresPresence {
        /// Connection string. It may contain a password and is treated as a secret.
        dsn: Secret;
        /// TLS.
        tls: Tls;
        /// Maximum number of connections.
        pool_size: u32 = 8u32 => between(1, 1_000);
        /// Table prefix.
        table_prefix: String = "cf";
        /// Skips the creation of tables.
        skip_schema_init: bool;
        /// Lifetime of a presence entry that is not refreshed.
        presence_ttl: Duration = Duration::secs(60);
    }

    /// PostgreSQL as the whole engine.
    pub struct PostgresEngine {
        /// Storage options.
        #[serde(flatten)]
        store: PostgresStore;
        /// Lifetime of a presence entry that is not refreshed.
        presence_ttl: Duration = Duration::secs(60);
    }

    /// Presence manager.
    pub struct PresenceManager {
        /// Uses this presence manager instead of the engine's.
        enabled: bool;
        /// Presence manager type.
        r#type: String = "memory" => one_of(&["memory", "redis", "nats", "postgres"]);
        /// Presence options.
        #[serde(flatten)]
        options: PresenceOptions;
    }

    /// A presence manager for the namespaces that name it in `presence_manager_name`.
    pub struct NamedPresenceManager {
        /// Name.
        name: String;
        /// Uses this presence manager.
        enabled: bool;
        /// Presence manager type.
        r#type: String => one_of(&["redis", "nats", "postgres"]);
        /// Presence options.
        #[serde(flatten)]
        options: PresenceOptions;
    }

    /// Options of presence managers by type.
    pub struct PresenceOptions {
        /// Redis or Valkey.
        redis: RedisPresenceManager;
        /// NATS.
        nats: NatsPresence => ours;
        /// PostgreSQL.
        postgres: PostgresPresence => ours;
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
        /// Controller type; empty means that of the broker.
        r#type: String => one_of(&["", "redis", "nats", "postgres"]);
        /// Redis or Valkey.
        redis: Redis => ours;
        /// NATS.
        nats: NatsConnection => ours;
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

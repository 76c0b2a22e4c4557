//! Connections to Redis, written down once for engine, broker, presence manager, map broker and consumer.

use super::Tls;
use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;

options! {
    /// A connection to Redis.
    pub struct RedisConnection {
        /// Addresses; several make shards. They may hold passwords, and are treated as secret.
        address: Vec<Secret> = [Secret::from("redis://127.0.0.1:6379")];
        /// Connect timeout.
        connect_timeout: Duration = Duration::secs(1);
        /// Read and write timeout.
        io_timeout: Duration = Duration::secs(4);
        /// Number of the database.
        db: u32;
        /// User.
        user: String;
        /// Password.
        password: Secret;
        /// Name that the connection gives itself.
        client_name: String;
        /// Use version 2 of the protocol.
        force_resp2: bool;
        /// Addresses of a cluster's nodes.
        cluster_address: Vec<Secret>;
        /// TLS.
        tls: Tls;
        /// Addresses of sentinels.
        sentinel_address: Vec<Secret>;
        /// User for the sentinels.
        sentinel_user: String;
        /// Password for the sentinels.
        sentinel_password: Secret;
        /// Name of the primary that sentinels watch.
        sentinel_master_name: String;
        /// Name that connections to sentinels give themselves.
        sentinel_client_name: String;
        /// TLS towards the sentinels.
        sentinel_tls: Tls;
        /// Reading from replicas.
        replica_client: ReplicaClient;
    }

    /// Reading from replicas.
    pub struct ReplicaClient {
        /// Read from replicas.
        enabled: bool;
    }

    /// Redis with a prefix.
    pub struct Redis {
        /// Prefix of keys and channels.
        prefix: String = "centrifugo";
        /// The connection.
        #[serde(flatten)]
        connection: RedisConnection;
    }

    /// Redis as a broker.
    pub struct RedisBroker {
        /// The connection and its prefix.
        #[serde(flatten)]
        redis: Redis;
        /// Keep history in lists instead of streams.
        history_use_lists: bool;
    }

    /// Storage of presence in Redis.
    pub struct RedisPresence {
        /// Lifetime of an entry without renewal.
        presence_ttl: Duration = Duration::secs(60);
        /// Let Redis expire entries by itself.
        presence_hash_field_ttl: bool;
        /// Count users beside connections.
        presence_user_mapping: bool;
    }

    /// Redis as an engine.
    pub struct RedisEngine {
        /// As a broker.
        #[serde(flatten)]
        broker: RedisBroker;
        /// For presence.
        #[serde(flatten)]
        presence: RedisPresence;
    }

    /// Redis as a presence manager.
    pub struct RedisPresenceManager {
        /// The connection and its prefix.
        #[serde(flatten)]
        redis: Redis;
        /// For presence.
        #[serde(flatten)]
        presence: RedisPresence;
    }

    /// Redis as a map broker.
    pub struct RedisMapBroker {
        /// The connection and its prefix.
        #[serde(flatten)]
        redis: Redis;
        /// Interval between removals of expired entries.
        cleanup_interval: Duration = Duration::secs(1);
        /// Most entries removed at once.
        cleanup_batch_size: u32 = 100u32;
        /// Time to keep results for repeated calls.
        idempotent_result_ttl: Duration = Duration::secs(300);
        /// Do not use publish and subscribe.
        skip_pub_sub: bool;
    }
}

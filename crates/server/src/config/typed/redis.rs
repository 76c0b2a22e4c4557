//! Connections to Redis, written down once for engine, broker, presence manager, map broker and consumer.

use super::Tls;
use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;

options! {
    /// Redis connection.
    pub struct RedisConnection {
        /// Server addresses; several addresses are shards. They may contain passwords and are treated as secrets.
        address: Vec<Secret> = [Secret::from("redis://127.0.0.1:6379")];
        /// Connect timeout.
        connect_timeout: Duration = Duration::secs(1);
        /// Read and write timeout.
        io_timeout: Duration = Duration::secs(4);
        /// Database number.
        db: u32;
        /// User name.
        user: String;
        /// Password.
        password: Secret;
        /// Client name of connections.
        client_name: String;
        /// Uses protocol version 2 (RESP2).
        force_resp2: bool;
        /// Addresses of Redis Cluster nodes.
        cluster_address: Vec<Secret>;
        /// TLS.
        tls: Tls;
        /// Addresses of Redis Sentinel nodes.
        sentinel_address: Vec<Secret>;
        /// User name for Sentinel.
        sentinel_user: String;
        /// Password for Sentinel.
        sentinel_password: Secret;
        /// Name of the primary in Sentinel.
        sentinel_master_name: String;
        /// Client name of connections to Sentinel.
        sentinel_client_name: String;
        /// TLS options for Sentinel.
        sentinel_tls: Tls;
        /// Connections to replicas. Centrifugo reads from them in its PRO version alone; here the primary answers all.
        replica_client: ReplicaClient => planned;
    }

    /// Connections to replicas.
    pub struct ReplicaClient {
        /// Connects to replicas.
        enabled: bool;
    }

    /// Redis connection with a key prefix.
    pub struct Redis {
        /// Prefix of keys and Pub/Sub channels.
        prefix: String = "centrifugo";
        /// Layout of keys and messages: `centrifugo` shares the server with nodes of Centrifugo v6 while a fleet moves.
        layout: String = "spinward" => ours one_of(&["spinward", "centrifugo"]);
        /// Connection options.
        #[serde(flatten)]
        connection: RedisConnection;
    }

    /// Redis broker.
    pub struct RedisBroker {
        /// Connection and prefix.
        #[serde(flatten)]
        redis: Redis;
        /// Keeps history in lists instead of streams.
        history_use_lists: bool;
        /// Replicas that must have a publication before it is acknowledged; 0 does not wait.
        wait_replicas: u32 => ours;
        /// Time that replicas are waited for. The publisher gets an error after it; the publication stays.
        wait_replicas_timeout: Duration = Duration::secs(1) => ours;
    }

    /// Presence in Redis.
    pub struct RedisPresence {
        /// Lifetime of a presence entry that is not refreshed.
        presence_ttl: Duration = Duration::secs(60);
        /// Uses the TTL of hash fields to expire entries (Redis 7.4 and later).
        presence_hash_field_ttl: bool;
        /// Keeps a user mapping, so that presence stats do not read all entries.
        presence_user_mapping: bool;
    }

    /// Redis engine.
    pub struct RedisEngine {
        /// Broker options.
        #[serde(flatten)]
        broker: RedisBroker;
        /// Presence options.
        #[serde(flatten)]
        presence: RedisPresence;
    }

    /// Redis presence manager.
    pub struct RedisPresenceManager {
        /// Connection and prefix.
        #[serde(flatten)]
        redis: Redis;
        /// Presence options.
        #[serde(flatten)]
        presence: RedisPresence;
    }

    /// Redis map broker.
    pub struct RedisMapBroker {
        /// Connection and prefix.
        #[serde(flatten)]
        redis: Redis;
        /// Interval between removals of expired entries.
        cleanup_interval: Duration = Duration::secs(1);
        /// Maximum number of entries removed at once.
        cleanup_batch_size: u32 = 100u32;
        /// Time that results of idempotent calls are kept.
        idempotent_result_ttl: Duration = Duration::secs(300);
        /// Disables Pub/Sub.
        skip_pub_sub: bool;
    }
}

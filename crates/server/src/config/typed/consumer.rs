//! `consumers`: queues from which calls of the server API are taken.

use super::{RedisConnection, Tls};
use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;

options! {
    /// A consumer.
    pub struct Consumer {
        /// Name of the consumer: two or more letters, digits or `_`.
        name: String;
        /// Enables the consumer.
        enabled: bool;
        /// Type of the queue.
        r#type: String => one_of(&[
            "postgresql", "kafka", "nats_jetstream", "redis_stream", "google_pub_sub", "aws_sqs", "azure_service_bus",
        ]);
        /// PostgreSQL.
        postgresql: PostgresConsumer;
        /// Kafka.
        kafka: KafkaConsumer;
        /// NATS JetStream.
        nats_jetstream: NatsConsumer => since("6.2.0");
        /// Redis Streams.
        redis_stream: RedisConsumer => since("6.2.0");
        /// Google Pub/Sub.
        google_pub_sub: GoogleConsumer => since("6.2.0");
        /// AWS SQS.
        aws_sqs: SqsConsumer => since("6.2.0");
        /// Azure Service Bus.
        azure_service_bus: AzureConsumer => since("6.2.0");
    }

    /// PostgreSQL outbox table.
    pub struct PostgresConsumer {
        /// Connection string.
        dsn: Secret;
        /// Name of the outbox table.
        outbox_table_name: String;
        /// Number of partitions.
        num_partitions: u32 = 1u32;
        /// Maximum number of rows per poll and partition.
        partition_select_limit: u32 = 100u32;
        /// Poll interval.
        partition_poll_interval: Duration = Duration::millis(300);
        /// Channel for LISTEN/NOTIFY; empty polls only.
        partition_notification_channel: String;
        /// Connection string for LISTEN/NOTIFY; empty means `dsn`.
        partition_notification_dsn: Secret;
        /// TLS.
        tls: Tls;
        /// Uses a lock attempt instead of waiting for the lock.
        use_try_lock: bool;
    }

    /// Kafka topics.
    pub struct KafkaConsumer {
        /// Broker addresses.
        brokers: Vec<String>;
        /// Topics.
        topics: Vec<String>;
        /// Consumer group.
        consumer_group: String;
        /// Maximum number of records per poll.
        max_poll_records: u32 = 100u32;
        /// Maximum response size in bytes; 0 means the client library's default.
        fetch_max_bytes: i32;
        /// Maximum time that the broker waits for data.
        fetch_max_wait: Duration = Duration::millis(500);
        /// Reads records of uncommitted transactions.
        fetch_read_uncommitted: bool;
        /// Maximum number of queued records per partition.
        partition_queue_max_size: u32 = 1000u32;
        /// Connect timeout.
        dial_timeout: Duration = Duration::secs(3);
        /// TLS.
        tls: Tls;
        /// SASL mechanism; empty sends no credentials.
        sasl_mechanism: String;
        /// User name.
        sasl_user: String;
        /// Password.
        sasl_password: Secret;
        /// ARN of the AWS role to assume.
        assume_role_arn: String => planned;
        /// Instance id of a static group member.
        instance_id: String;
        /// Header with the API method.
        method_header: String = "centrifugo-method";
        /// Publication data mode: records are publications instead of API calls.
        publication_data_mode: HeaderDataMode;
    }

    /// Publication data mode, with parameters in headers.
    pub struct HeaderDataMode {
        /// Treats messages as publication data.
        enabled: bool;
        /// Header with the channels.
        channels_header: String = "centrifugo-channels";
        /// Header with the idempotency key.
        idempotency_key_header: String = "centrifugo-idempotency-key";
        /// Header that enables delta compression.
        delta_header: String = "centrifugo-delta";
        /// Header with the version.
        version_header: String = "centrifugo-version";
        /// Header with the version epoch.
        version_epoch_header: String = "centrifugo-version-epoch";
        /// Prefix of headers with tags.
        tags_header_prefix: String = "centrifugo-tag-";
    }

    /// NATS JetStream subjects.
    pub struct NatsConsumer {
        /// Server URL. It may contain a password and is treated as a secret.
        url: Secret = "nats://127.0.0.1:4222";
        /// Path of a credentials file, as `nsc generate creds` writes it. It is read for each connection.
        credentials_file: String;
        /// User name.
        username: String;
        /// Password.
        password: Secret;
        /// Token.
        token: Secret;
        /// Name of the stream.
        stream_name: String;
        /// Uses an existing consumer.
        use_existing_consumer: bool;
        /// Subjects.
        subjects: Vec<String>;
        /// Name of the durable consumer.
        durable_consumer_name: String;
        /// Deliver policy: position to start from.
        deliver_policy: String = "new" => one_of(&["new", "all"]);
        /// Maximum number of unacknowledged messages.
        max_ack_pending: u32 = 100u32;
        /// Header with the API method.
        method_header: String = "centrifugo-method";
        /// Publication data mode: messages are publications instead of API calls.
        publication_data_mode: HeaderDataMode;
        /// TLS.
        tls: Tls;
    }

    /// Redis streams.
    pub struct RedisConsumer {
        /// Connection options.
        #[serde(flatten)]
        connection: RedisConnection;
        /// Names of the streams.
        streams: Vec<String>;
        /// Consumer group.
        consumer_group: String;
        /// Time after which an unacknowledged message is delivered to another consumer.
        visibility_timeout: Duration = Duration::secs(30);
        /// Number of concurrent workers.
        num_workers: u32 = 1u32;
        /// Field with the payload.
        payload_value: String = "payload";
        /// Field with the API method.
        method_value: String = "method";
        /// Publication data mode: messages are publications instead of API calls.
        publication_data_mode: ValueDataMode;
    }

    /// Publication data mode, with parameters in fields.
    pub struct ValueDataMode {
        /// Treats messages as publication data.
        enabled: bool;
        /// Field with the channels.
        channels_value: String = "centrifugo-channels";
        /// Field with the idempotency key.
        idempotency_key_value: String = "centrifugo-idempotency-key";
        /// Field that enables delta compression.
        delta_value: String = "centrifugo-delta";
        /// Field with the version.
        version_value: String = "centrifugo-version";
        /// Field with the version epoch.
        version_epoch_value: String = "centrifugo-version-epoch";
        /// Prefix of fields with tags.
        tags_value_prefix: String = "centrifugo-tag-";
    }

    /// Google Pub/Sub subscriptions.
    pub struct GoogleConsumer {
        /// Project id.
        project_id: String;
        /// Names of the subscriptions.
        subscriptions: Vec<String>;
        /// Maximum number of unacknowledged messages.
        max_outstanding_messages: u32 = 100u32;
        /// Maximum size of unacknowledged messages in bytes.
        max_outstanding_bytes: u32 = 1_000_000u32;
        /// Authentication mechanism: `default`, or `service_account` for the key in `credentials_file`. Empty means
        /// `service_account` where `credentials_file` is set, and else `default`.
        auth_mechanism: String => one_of(&["", "default", "service_account"]);
        /// Path of the key of a service account, in JSON.
        credentials_file: String;
        /// Attribute with the API method.
        method_attribute: String = "centrifugo-method";
        /// Publication data mode: messages are publications instead of API calls.
        publication_data_mode: AttributeDataMode;
    }

    /// Publication data mode, with parameters in attributes.
    pub struct AttributeDataMode {
        /// Treats messages as publication data.
        enabled: bool;
        /// Attribute with the channels.
        channels_attribute: String = "centrifugo-channels";
        /// Attribute with the idempotency key.
        idempotency_key_attribute: String = "centrifugo-idempotency-key";
        /// Attribute that enables delta compression.
        delta_attribute: String = "centrifugo-delta";
        /// Attribute with the version.
        version_attribute: String = "centrifugo-version";
        /// Attribute with the version epoch.
        version_epoch_attribute: String = "centrifugo-version-epoch";
        /// Prefix of attributes with tags.
        tags_attribute_prefix: String = "centrifugo-tag-";
    }

    /// AWS SQS queues.
    pub struct SqsConsumer {
        /// URLs of the queues.
        queues: Vec<String>;
        /// Unwraps the envelope of messages that come through SNS.
        sns_envelope: bool;
        /// Region.
        region: String;
        /// Maximum number of messages per receive.
        max_number_of_messages: i32 = 10i32;
        /// Wait time of long polling. The spelling of the name is Centrifugo's.
        wait_time_time: Duration = Duration::secs(20);
        /// Time after which an unacknowledged message is delivered to another consumer.
        visibility_timeout: Duration = Duration::secs(30);
        /// Number of concurrent readers.
        max_concurrency: u32 = 1u32;
        /// Credentials profile.
        credentials_profile: String;
        /// ARN of the role to assume.
        assume_role_arn: String;
        /// Attribute with the API method.
        method_attribute: String = "centrifugo-method";
        /// URL of LocalStack, for tests.
        localstack_endpoint: String;
        /// Publication data mode: messages are publications instead of API calls.
        publication_data_mode: AttributeDataMode;
    }

    /// Azure Service Bus queues.
    pub struct AzureConsumer {
        /// Connection string.
        connection_string: Secret;
        /// Authenticates with an Azure identity, and not with `connection_string`: `tenant_id`, `client_id` and
        /// `client_secret` of an application.
        use_azure_identity: bool;
        /// Host of the namespace.
        fully_qualified_namespace: String;
        /// Tenant id.
        tenant_id: String;
        /// Client id.
        client_id: String;
        /// Client secret.
        client_secret: Secret;
        /// Names of the queues.
        queues: Vec<String>;
        /// Uses sessions.
        use_sessions: bool => essential;
        /// Maximum number of concurrent calls.
        max_concurrent_calls: u32 = 1u32;
        /// Maximum number of messages per receive.
        max_receive_messages: u32 = 1u32;
        /// Property with the API method.
        method_property: String = "centrifugo-method";
        /// Publication data mode: messages are publications instead of API calls.
        publication_data_mode: PropertyDataMode;
    }

    /// Publication data mode, with parameters in properties.
    pub struct PropertyDataMode {
        /// Treats messages as publication data.
        enabled: bool;
        /// Property with the channels.
        channels_property: String = "centrifugo-channels";
        /// Property with the idempotency key.
        idempotency_key_property: String = "centrifugo-idempotency-key";
        /// Property that enables delta compression.
        delta_property: String = "centrifugo-delta";
        /// Property with the version.
        version_property: String = "centrifugo-version";
        /// Property with the version epoch.
        version_epoch_property: String = "centrifugo-version-epoch";
        /// Prefix of properties with tags.
        tags_property_prefix: String = "centrifugo-tag-";
    }
}

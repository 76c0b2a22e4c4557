//! `consumers`: queues from which calls of the server API are taken.

use super::{RedisConnection, Tls};
use crate::config::catalogue::options;
use crate::config::duration::Duration;
use crate::secret::Secret;

options! {
    /// A consumer.
    pub struct Consumer {
        /// Its name: two or more letters, digits or `_`.
        name: String;
        /// Run it.
        enabled: bool;
        /// Source of the calls.
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

    /// A table of PostgreSQL.
    pub struct PostgresConsumer {
        /// Connection string.
        dsn: Secret;
        /// Table to read.
        outbox_table_name: String;
        /// Number of partitions.
        num_partitions: u32 = 1u32;
        /// Most rows at once.
        partition_select_limit: u32 = 100u32;
        /// Poll interval.
        partition_poll_interval: Duration = Duration::millis(300);
        /// Channel of NOTIFY to listen to.
        partition_notification_channel: String;
        /// Connection string for NOTIFY, if another.
        partition_notification_dsn: Secret;
        /// TLS.
        tls: Tls;
        /// Try to lock instead of waiting for the lock.
        use_try_lock: bool;
    }

    /// Topics of Kafka.
    pub struct KafkaConsumer {
        /// Addresses.
        brokers: Vec<String>;
        /// Topics.
        topics: Vec<String>;
        /// Consumer group.
        consumer_group: String;
        /// Most records at once.
        max_poll_records: u32 = 100u32;
        /// Most bytes in an answer.
        fetch_max_bytes: i32;
        /// Time the broker may wait for data.
        fetch_max_wait: Duration = Duration::millis(500);
        /// Read records of open transactions.
        fetch_read_uncommitted: bool;
        /// Most records waiting for a partition.
        partition_queue_max_size: u32 = 1000u32;
        /// Connect timeout.
        dial_timeout: Duration = Duration::secs(3);
        /// TLS.
        tls: Tls;
        /// SASL mechanism.
        sasl_mechanism: String;
        /// User.
        sasl_user: String;
        /// Password.
        sasl_password: Secret;
        /// Role to take in AWS.
        assume_role_arn: String;
        /// Id of a static member of the group.
        instance_id: String;
        /// Header with the name of the method.
        method_header: String = "centrifugo-method";
        /// Records as plain publications.
        publication_data_mode: HeaderDataMode;
    }

    /// Messages as plain publications, told about by headers.
    pub struct HeaderDataMode {
        /// Take messages as data of publications.
        enabled: bool;
        /// Header with the channels.
        channels_header: String = "centrifugo-channels";
        /// Header with the idempotency key.
        idempotency_key_header: String = "centrifugo-idempotency-key";
        /// Header that asks for delta.
        delta_header: String = "centrifugo-delta";
        /// Header with the version.
        version_header: String = "centrifugo-version";
        /// Header with the epoch of versions.
        version_epoch_header: String = "centrifugo-version-epoch";
        /// Prefix of headers that hold tags.
        tags_header_prefix: String = "centrifugo-tag-";
    }

    /// Subjects of NATS JetStream.
    pub struct NatsConsumer {
        /// Address. It may hold a password, and is treated as secret.
        url: Secret = "nats://127.0.0.1:4222";
        /// File with credentials.
        credentials_file: String;
        /// User.
        username: String;
        /// Password.
        password: Secret;
        /// Token.
        token: Secret;
        /// Stream.
        stream_name: String;
        /// Use a consumer that exists already.
        use_existing_consumer: bool;
        /// Subjects.
        subjects: Vec<String>;
        /// Name of the durable consumer.
        durable_consumer_name: String;
        /// Position to start from.
        deliver_policy: String = "new";
        /// Most messages without acknowledgement.
        max_ack_pending: u32 = 100u32;
        /// Header with the name of the method.
        method_header: String = "centrifugo-method";
        /// Messages as plain publications.
        publication_data_mode: HeaderDataMode;
        /// TLS.
        tls: Tls;
    }

    /// Streams of Redis.
    pub struct RedisConsumer {
        /// The connection.
        #[serde(flatten)]
        connection: RedisConnection;
        /// Streams.
        streams: Vec<String>;
        /// Consumer group.
        consumer_group: String;
        /// After how long a message goes to another consumer.
        visibility_timeout: Duration = Duration::secs(30);
        /// Number of workers that read at once.
        num_workers: u32 = 1u32;
        /// Field with the payload.
        payload_value: String = "payload";
        /// Field with the name of the method.
        method_value: String = "method";
        /// Messages as plain publications.
        publication_data_mode: ValueDataMode;
    }

    /// Messages as plain publications, told about by fields.
    pub struct ValueDataMode {
        /// Take messages as data of publications.
        enabled: bool;
        /// Field with the channels.
        channels_value: String = "centrifugo-channels";
        /// Field with the idempotency key.
        idempotency_key_value: String = "centrifugo-idempotency-key";
        /// Field that asks for delta.
        delta_value: String = "centrifugo-delta";
        /// Field with the version.
        version_value: String = "centrifugo-version";
        /// Field with the epoch of versions.
        version_epoch_value: String = "centrifugo-version-epoch";
        /// Prefix of fields that hold tags.
        tags_value_prefix: String = "centrifugo-tag-";
    }

    /// Subscriptions of Google Pub/Sub.
    pub struct GoogleConsumer {
        /// Project.
        project_id: String;
        /// Subscriptions.
        subscriptions: Vec<String>;
        /// Most messages without acknowledgement.
        max_outstanding_messages: u32 = 100u32;
        /// Most bytes without acknowledgement.
        max_outstanding_bytes: u32 = 1_000_000u32;
        /// Authentication mechanism.
        auth_mechanism: String;
        /// File with credentials.
        credentials_file: String;
        /// Attribute with the name of the method.
        method_attribute: String = "centrifugo-method";
        /// Messages as plain publications.
        publication_data_mode: AttributeDataMode;
    }

    /// Messages as plain publications, told about by attributes.
    pub struct AttributeDataMode {
        /// Take messages as data of publications.
        enabled: bool;
        /// Attribute with the channels.
        channels_attribute: String = "centrifugo-channels";
        /// Attribute with the idempotency key.
        idempotency_key_attribute: String = "centrifugo-idempotency-key";
        /// Attribute that asks for delta.
        delta_attribute: String = "centrifugo-delta";
        /// Attribute with the version.
        version_attribute: String = "centrifugo-version";
        /// Attribute with the epoch of versions.
        version_epoch_attribute: String = "centrifugo-version-epoch";
        /// Prefix of attributes that hold tags.
        tags_attribute_prefix: String = "centrifugo-tag-";
    }

    /// Queues of AWS SQS.
    pub struct SqsConsumer {
        /// Addresses of queues.
        queues: Vec<String>;
        /// Messages come through SNS.
        sns_envelope: bool;
        /// Region.
        region: String;
        /// Most messages at once.
        max_number_of_messages: i32 = 10i32;
        /// Time the queue may wait for messages. Centrifugo's name, misspelled as it is.
        wait_time_time: Duration = Duration::secs(20);
        /// After how long a message goes to another consumer.
        visibility_timeout: Duration = Duration::secs(30);
        /// Number of concurrent readers.
        max_concurrency: u32 = 1u32;
        /// Profile of credentials.
        credentials_profile: String;
        /// Role to take.
        assume_role_arn: String;
        /// Attribute with the name of the method.
        method_attribute: String = "centrifugo-method";
        /// Address of LocalStack.
        localstack_endpoint: String;
        /// Messages as plain publications.
        publication_data_mode: AttributeDataMode;
    }

    /// Queues of Azure Service Bus.
    pub struct AzureConsumer {
        /// Connection string.
        connection_string: Secret;
        /// Authenticate by identity.
        use_azure_identity: bool;
        /// Host of the namespace.
        fully_qualified_namespace: String;
        /// Tenant.
        tenant_id: String;
        /// Client.
        client_id: String;
        /// Secret of the client.
        client_secret: Secret;
        /// Queues.
        queues: Vec<String>;
        /// Use sessions.
        use_sessions: bool;
        /// Number of messages handled at once.
        max_concurrent_calls: u32 = 1u32;
        /// Most messages at once.
        max_receive_messages: u32 = 1u32;
        /// Property with the name of the method.
        method_property: String = "centrifugo-method";
        /// Messages as plain publications.
        publication_data_mode: PropertyDataMode;
    }

    /// Messages as plain publications, told about by properties.
    pub struct PropertyDataMode {
        /// Take messages as data of publications.
        enabled: bool;
        /// Property with the channels.
        channels_property: String = "centrifugo-channels";
        /// Property with the idempotency key.
        idempotency_key_property: String = "centrifugo-idempotency-key";
        /// Property that asks for delta.
        delta_property: String = "centrifugo-delta";
        /// Property with the version.
        version_property: String = "centrifugo-version";
        /// Property with the epoch of versions.
        version_epoch_property: String = "centrifugo-version-epoch";
        /// Prefix of properties that hold tags.
        tags_property_prefix: String = "centrifugo-tag-";
    }
}

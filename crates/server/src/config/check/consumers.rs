//! Consumers: names, types that are built, and options that a type cannot do without.

use crate::config::report::Report;
use crate::config::typed::{Config, Consumer};

pub(super) fn check(report: &mut Report<'_>, config: &Config) {
    let mut names: Vec<&str> = Vec::new();
    for consumer in &config.consumers {
        let path = format!("consumers[{}]", consumer.name);
        let option = format!("{path}.name");
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if consumer.name.len() < 2 || !consumer.name.bytes().all(fits) {
            report.problem(&option, "must be two or more letters, digits or `_`");
        }
        if names.contains(&consumer.name.as_str()) {
            report.problem(&option, "this name is there twice");
        }
        if consumer.r#type.is_empty() {
            report.problem(&format!("{path}.type"), "must be set");
        }
        names.push(&consumer.name);
        if consumer.enabled {
            built(report, &path, &consumer.r#type);
            needed(report, &path, consumer);
        }
    }
}

/// To go on without a consumer that is asked for would leave its queue to grow.
fn built(report: &mut Report<'_>, path: &str, kind: &str) {
    let option = format!("{path}.type");
    let feature = match kind {
        "postgresql" if cfg!(not(feature = "postgres")) => "postgres",
        "nats_jetstream" if cfg!(not(feature = "nats")) => "nats",
        "redis_stream" if cfg!(not(feature = "redis")) => "redis",
        "kafka" if cfg!(not(feature = "kafka")) => "kafka",
        "aws_sqs" if cfg!(not(feature = "sqs")) => "sqs",
        "google_pub_sub" if cfg!(not(feature = "pubsub")) => "pubsub",
        "azure_service_bus" if cfg!(not(feature = "servicebus")) => "servicebus",
        _ => return,
    };
    let text = format!("this server was built without {kind:?}: build it with the feature `{feature}`");
    report.problem(&option, text);
}

fn needed(report: &mut Report<'_>, path: &str, consumer: &Consumer) {
    let (outbox, nats, redis) = (&consumer.postgresql, &consumer.nats_jetstream, &consumer.redis_stream);
    let (kafka, sqs) = (&consumer.kafka, &consumer.aws_sqs);
    let (google, azure) = (&consumer.google_pub_sub, &consumer.azure_service_bus);
    let needed: &[(&str, bool)] = match consumer.r#type.as_str() {
        "postgresql" => &[
            ("dsn", outbox.dsn.is_empty()),
            ("outbox_table_name", outbox.outbox_table_name.is_empty()),
            ("num_partitions", outbox.num_partitions == 0),
            ("partition_select_limit", outbox.partition_select_limit == 0),
            ("partition_poll_interval", outbox.partition_poll_interval.is_zero()),
        ],
        "kafka" => &[
            ("brokers", kafka.brokers.is_empty()),
            ("topics", kafka.topics.is_empty()),
            ("consumer_group", kafka.consumer_group.is_empty()),
            ("max_poll_records", kafka.max_poll_records == 0),
            ("partition_queue_max_size", kafka.partition_queue_max_size == 0),
            ("fetch_max_wait", kafka.fetch_max_wait.is_zero()),
            ("dial_timeout", kafka.dial_timeout.is_zero()),
            ("method_header", kafka.method_header.is_empty()),
            ("sasl_user", !kafka.sasl_mechanism.is_empty() && kafka.sasl_user.is_empty()),
        ],
        "nats_jetstream" => &[
            ("stream_name", nats.stream_name.is_empty()),
            ("durable_consumer_name", nats.durable_consumer_name.is_empty()),
            ("max_ack_pending", nats.max_ack_pending == 0),
            ("method_header", nats.method_header.is_empty()),
        ],
        "redis_stream" => &[
            ("streams", redis.streams.is_empty()),
            ("consumer_group", redis.consumer_group.is_empty()),
            ("num_workers", redis.num_workers == 0),
            ("payload_value", redis.payload_value.is_empty()),
            ("method_value", redis.method_value.is_empty()),
            ("visibility_timeout", redis.visibility_timeout.is_zero()),
        ],
        "aws_sqs" => &[
            ("queues", sqs.queues.is_empty()),
            ("max_number_of_messages", sqs.max_number_of_messages == 0),
            ("visibility_timeout", sqs.visibility_timeout.is_zero()),
            ("max_concurrency", sqs.max_concurrency == 0),
            ("method_attribute", sqs.method_attribute.is_empty()),
        ],
        "google_pub_sub" => &[
            ("project_id", google.project_id.is_empty()),
            ("subscriptions", google.subscriptions.is_empty()),
            ("max_outstanding_messages", google.max_outstanding_messages == 0),
            ("max_outstanding_bytes", google.max_outstanding_bytes == 0),
            (
                "credentials_file",
                google.auth_mechanism == "service_account" && google.credentials_file.is_empty(),
            ),
            ("method_attribute", google.method_attribute.is_empty()),
        ],
        "azure_service_bus" => &[
            ("connection_string", !azure.use_azure_identity && azure.connection_string.is_empty()),
            ("queues", azure.queues.is_empty()),
            ("max_concurrent_calls", azure.max_concurrent_calls == 0),
            ("max_receive_messages", azure.max_receive_messages == 0),
            ("method_property", azure.method_property.is_empty()),
        ],
        _ => &[],
    };
    let kind = &consumer.r#type;
    for (option, _) in needed.iter().filter(|(_, missing)| *missing) {
        report.problem(&format!("{path}.{kind}.{option}"), "must be set, and not to zero");
    }
}

//! Streams of Redis and Valkey.

use super::super::engines::EngineError;
use super::super::engines::redis::connection;
use super::values;
use crate::config::typed::RedisConsumer;
use spinward_consumers::redis::{Config, Streams};
use spinward_consumers::{Decoder, Source};
use std::sync::Arc;

pub(super) fn source(
    options: &RedisConsumer,
    section: &str,
    node: &str,
) -> Result<(Arc<dyn Source>, Decoder), EngineError> {
    let source = Streams::new(Config {
        connection: connection(&options.connection, section)?,
        streams: options.streams.clone(),
        group: options.consumer_group.clone(),
        node: node.to_owned(),
        visibility_timeout: options.visibility_timeout.get(),
        workers: options.num_workers,
        payload_field: options.payload_value.clone(),
    });
    let source = source.map_err(|error| EngineError::new(section, error))?;
    let decoder = Decoder {
        method: options.method_value.clone(),
        publications: values(&options.publication_data_mode),
    };
    Ok((Arc::new(source), decoder))
}

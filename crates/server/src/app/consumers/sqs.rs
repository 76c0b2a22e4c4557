//! Queues of AWS SQS.

use super::super::engines::EngineError;
use super::attributes;
use crate::config::typed::SqsConsumer;
use spinward_consumers::sqs::{Config, Queues};
use spinward_consumers::{Decoder, Source};
use std::sync::Arc;

pub(super) fn source(
    options: &SqsConsumer,
    section: &str,
) -> Result<(Arc<dyn Source>, Decoder), EngineError> {
    let source = Queues::new(Config {
        queues: options.queues.clone(),
        sns_envelope: options.sns_envelope,
        region: options.region.clone(),
        most: u8::try_from(options.max_number_of_messages).unwrap_or(u8::MAX),
        wait: options.wait_time_time.get(),
        visibility_timeout: options.visibility_timeout.get(),
        readers: options.max_concurrency,
        profile: options.credentials_profile.clone(),
        role: options.assume_role_arn.clone(),
        endpoint: options.localstack_endpoint.clone(),
    });
    let source = source.map_err(|error| EngineError::new(section, error))?;
    let decoder = Decoder {
        method: options.method_attribute.clone(),
        publications: attributes(&options.publication_data_mode),
    };
    Ok((Arc::new(source), decoder))
}

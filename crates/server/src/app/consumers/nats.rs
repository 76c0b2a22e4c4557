//! Subjects of NATS JetStream.

use super::super::engines::EngineError;
use super::headers;
use crate::config::typed::NatsConsumer;
use crate::tls;
use spinward_consumers::nats::{Config, DeliverPolicy, JetStream};
use spinward_consumers::{Decoder, Source};
use spinward_engines::nats;
use std::sync::Arc;

pub(super) fn source(
    options: &NatsConsumer,
    section: &str,
) -> Result<(Arc<dyn Source>, Decoder), EngineError> {
    let path = format!("{section}.tls");
    let tls = tls::client(&options.tls, &path).map_err(|error| EngineError::new(&path, error))?;
    let connection = nats::Config {
        urls: vec![options.url.expose().to_owned()],
        user: options.username.clone(),
        password: options.password.expose().to_owned(),
        token: options.token.expose().to_owned(),
        credentials_file: (!options.credentials_file.is_empty())
            .then(|| options.credentials_file.clone().into()),
        tls,
        ..nats::Config::default()
    };
    let source = JetStream::new(Config {
        connection,
        stream: options.stream_name.clone(),
        durable: options.durable_consumer_name.clone(),
        existing: options.use_existing_consumer,
        subjects: options.subjects.clone(),
        deliver: match options.deliver_policy.as_str() {
            "all" => DeliverPolicy::All,
            _ => DeliverPolicy::New,
        },
        max_ack_pending: options.max_ack_pending,
    });
    let source = source.map_err(|error| EngineError::new(section, error))?;
    let decoder = Decoder {
        method: options.method_header.clone(),
        publications: headers(&options.publication_data_mode),
    };
    Ok((Arc::new(source), decoder))
}

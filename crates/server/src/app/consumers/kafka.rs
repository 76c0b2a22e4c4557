//! Topics of Kafka.

use super::super::engines::EngineError;
use super::headers;
use crate::config::catalogue::Pem;
use crate::config::pem;
use crate::config::typed::{KafkaConsumer, Tls as TlsOptions, TlsVersion};
use crate::tls;
use spinward_consumers::kafka::{Config, Error, Mechanism, Sasl, Tls, Topics};
use spinward_consumers::{Decoder, Source};
use std::sync::Arc;

pub(super) fn source(
    options: &KafkaConsumer,
    section: &str,
) -> Result<(Arc<dyn Source>, Decoder), EngineError> {
    let refused = |error: Error| EngineError::new(section, error);
    let config = Config {
        brokers: options.brokers.clone(),
        topics: options.topics.clone(),
        group: options.consumer_group.clone(),
        max_poll_records: options.max_poll_records,
        fetch_max_bytes: options.fetch_max_bytes,
        fetch_max_wait: options.fetch_max_wait.get(),
        read_uncommitted: options.fetch_read_uncommitted,
        partition_queue: options.partition_queue_max_size,
        dial_timeout: options.dial_timeout.get(),
        tls: encryption(&options.tls, section)?,
        sasl: login(options).map_err(refused)?,
        instance: options.instance_id.clone(),
    };
    let source = Topics::new(config).map_err(refused)?;
    let decoder = Decoder {
        method: options.method_header.clone(),
        publications: headers(&options.publication_data_mode),
    };
    Ok((Arc::new(source), decoder))
}

fn login(options: &KafkaConsumer) -> Result<Option<Sasl>, Error> {
    if options.sasl_mechanism.is_empty() {
        return Ok(None);
    }
    Ok(Some(Sasl {
        mechanism: Mechanism::by_name(&options.sasl_mechanism)?,
        user: options.sasl_user.clone(),
        password: options.sasl_password.expose().to_owned(),
    }))
}

/// The client library makes its TLS itself, of PEM. That of other connections is made too, for its checks.
fn encryption(options: &TlsOptions, section: &str) -> Result<Option<Tls>, EngineError> {
    let path = format!("{section}.tls");
    let refused = |error| EngineError::new(&path, error);
    if tls::client(options, &path).map_err(|error| refused(Box::new(error)))?.is_none() {
        return Ok(None);
    }
    if options.min_version != TlsVersion::default() {
        let text = "min_version has no effect on connections to Kafka: set the versions at the brokers, and leave it out";
        return Err(EngineError::new(&path, text));
    }
    let load = |given: &Pem| (!given.0.is_empty()).then(|| pem::load(given)).transpose();
    let load = |given| load(given).map_err(|error| EngineError::new(&path, error));
    Ok(Some(Tls {
        authorities: load(&options.server_ca_pem)?,
        identity: load(&options.cert_pem)?.zip(load(&options.key_pem)?),
        server_name: options.server_name.clone(),
        insecure: options.insecure_skip_verify,
    }))
}

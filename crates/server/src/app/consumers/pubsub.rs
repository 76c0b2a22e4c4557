//! Subscriptions of Google Pub/Sub.

use super::super::engines::EngineError;
use super::attributes;
use crate::config::typed::GoogleConsumer;
use spinward_consumers::pubsub::{Config, Credentials, Subscriptions};
use spinward_consumers::{Decoder, Source};
use std::sync::Arc;

/// A file with a key, as Google's own clients find it.
const KEY: &str = "GOOGLE_APPLICATION_CREDENTIALS";

pub(super) fn source(
    options: &GoogleConsumer,
    section: &str,
) -> Result<(Arc<dyn Source>, Decoder), EngineError> {
    let emulator = variable("PUBSUB_EMULATOR_HOST");
    let credentials = match emulator.is_empty() {
        true => credentials(options, section)?,
        false => Credentials::default(),
    };
    let source = Subscriptions::new(&Config {
        project: options.project_id.clone(),
        subscriptions: options.subscriptions.clone(),
        most: options.max_outstanding_messages,
        most_bytes: options.max_outstanding_bytes,
        credentials,
        emulator,
    });
    let source = source.map_err(|error| EngineError::new(section, error))?;
    let decoder = Decoder {
        method: options.method_attribute.clone(),
        publications: attributes(&options.publication_data_mode),
    };
    Ok((Arc::new(source), decoder))
}

fn credentials(options: &GoogleConsumer, section: &str) -> Result<Credentials, EngineError> {
    let file = match (options.auth_mechanism.as_str(), options.credentials_file.as_str()) {
        ("default", _) | (_, "") => variable(KEY),
        (_, file) => file.to_owned(),
    };
    if file.is_empty() {
        return Ok(Credentials::Metadata);
    }
    let read = std::fs::read_to_string(&file);
    let path = format!("{section}.credentials_file");
    let refused = |error: std::io::Error| EngineError::new(&path, format!("{file}: {error}"));
    Ok(Credentials::ServiceAccount(read.map_err(refused)?))
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

//! Queues of Azure Service Bus.

use super::super::engines::EngineError;
use crate::config::typed::{AzureConsumer, PropertyDataMode};
use spinward_consumers::servicebus::{Config, Login, Queues};
use spinward_consumers::{Decoder, PublicationNames, Source};
use std::sync::Arc;

pub(super) fn source(
    options: &AzureConsumer,
    section: &str,
) -> Result<(Arc<dyn Source>, Decoder), EngineError> {
    let login = match options.use_azure_identity {
        true => Login::Client {
            namespace: options.fully_qualified_namespace.clone(),
            tenant: options.tenant_id.clone(),
            client: options.client_id.clone(),
            secret: options.client_secret.expose().to_owned(),
        },
        false => Login::ConnectionString(options.connection_string.expose().to_owned()),
    };
    let source = Queues::new(&Config {
        login,
        queues: options.queues.clone(),
        readers: options.max_concurrent_calls,
        most: options.max_receive_messages,
    });
    let source = source.map_err(|error| EngineError::new(section, error))?;
    let decoder = Decoder {
        method: lower(&options.method_property),
        publications: properties(&options.publication_data_mode),
    };
    Ok((Arc::new(source), decoder))
}

/// Properties come as headers, whose names have no case.
fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn properties(mode: &PropertyDataMode) -> Option<PublicationNames> {
    mode.enabled.then(|| PublicationNames {
        channels: lower(&mode.channels_property),
        idempotency_key: lower(&mode.idempotency_key_property),
        delta: lower(&mode.delta_property),
        version: lower(&mode.version_property),
        version_epoch: lower(&mode.version_epoch_property),
        tag_prefix: lower(&mode.tags_property_prefix),
    })
}

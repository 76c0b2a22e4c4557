//! Outbox tables in PostgreSQL.

use super::super::engines::EngineError;
use super::super::engines::postgres::encryption;
use crate::config::typed::PostgresConsumer;
use spinward_consumers::postgres::{Config, Outbox};
use spinward_consumers::{Decoder, Source};
use spinward_engines::postgres::Connection;
use std::sync::Arc;

/// Makes an outbox, and looks at its table: as in Centrifugo v6.9 a server does not start without it.
pub(super) async fn source(
    options: &PostgresConsumer,
    section: &str,
) -> Result<(Arc<dyn Source>, Decoder), EngineError> {
    let outbox = Arc::new(outbox(options, section)?);
    outbox.probe().await.map_err(|error| EngineError::new(section, error))?;
    Ok((outbox, Outbox::decoder()))
}

/// Makes an outbox, without a connection.
pub(super) fn outbox(options: &PostgresConsumer, section: &str) -> Result<Outbox, EngineError> {
    let connection = Connection {
        dsn: options.dsn.expose().to_owned(),
        tls: encryption(&options.tls, &options.dsn, section)?,
        ..Connection::default()
    };
    let outbox = Outbox::new(Config {
        connection,
        table: options.outbox_table_name.clone(),
        partitions: options.num_partitions,
        select_limit: options.partition_select_limit,
        poll_interval: options.partition_poll_interval.get(),
        notification_channel: options.partition_notification_channel.clone(),
        notification_dsn: options.partition_notification_dsn.expose().to_owned(),
        try_lock: options.use_try_lock,
    });
    outbox.map_err(|error| EngineError::new(section, error))
}

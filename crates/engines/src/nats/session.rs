//! The connection to NATS for consumers, which are a crate of their own.

use super::config::{Config, ConfigError};
use super::error::NatsError;
use super::life::Life;
use super::link::Link;
use std::sync::Arc;

/// A way to NATS: one connection after the other.
pub struct Connector(Arc<Link>);

/// A connection that is logged in. Once it is lost, it stays so, with everything that was queued in it.
#[derive(Clone)]
pub struct Connection(Arc<Life>);

impl Connector {
    /// Starts to connect, and connects again whenever the connection is lost. Within a tokio runtime.
    ///
    /// # Errors
    /// There is no runtime.
    pub fn start(config: Config) -> Result<Self, NatsError> {
        let link = Link::new(config).map_err(NatsError::client)?;
        link.start()?;
        Ok(Self(link))
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// This connector was closed.
    pub async fn connected(&self) -> Result<Connection, NatsError> {
        let mut lives = self.0.lives();
        let usable = |life: &Option<Arc<Life>>| life.as_ref().is_some_and(|life| !life.is_over());
        let life = lives.wait_for(usable).await.map_err(|_| NatsError::NotConnected)?;
        life.clone().map(Connection).ok_or(NatsError::NotConnected)
    }

    /// Reason why there is no connection, if there is none.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self.0.health() {
            spinward::engine::EngineHealth::Down { reason } => Some(reason),
            _ => None,
        }
    }

    /// Ends the connection, once the server has what was sent.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Config {
    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// Names the option to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.addresses().map(drop)
    }
}

impl Connection {
    /// The client of the library.
    #[must_use]
    pub fn client(&self) -> &async_nats::Client {
        self.0.client()
    }

    /// Waits until the connection is lost.
    pub async fn lost(&self) {
        self.0.ended().await;
    }

    /// Waits until the server has handled everything that was sent before.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn confirmed(&self) -> Result<(), NatsError> {
        self.0.confirmed().await
    }
}

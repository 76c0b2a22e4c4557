//! Single connections: for readers, and for consumers, which are a crate of their own.

use super::config::Connection;
use super::error::Error;
use super::store::PATIENCE;
use std::future::poll_fn;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::NoTls;
use tokio_postgres::{AsyncMessage, Client};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Something that comes by a connection without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A notification, with its payload.
    Notification(&'a str),
    /// The end of the connection.
    End,
}

/// Is told what comes by a connection.
pub type Listener = Arc<dyn Fn(Heard<'_>) + Send + Sync>;

/// A connection of its own, which ends with this value.
pub struct Session {
    /// Runs statements.
    pub client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects to the server of a connection string, with the TLS of this connection.
    ///
    /// # Errors
    /// The connection string cannot be read, or there is no connection within five seconds.
    pub async fn dial(&self, dsn: &str, listener: Option<Listener>) -> Result<Session, Error> {
        let config = self.parsed(dsn)?;
        let dialed = async {
            Ok::<_, tokio_postgres::Error>(match &self.tls {
                Some(tls) => {
                    let (client, connection) =
                        config.connect(MakeRustlsConnect::new((**tls).clone())).await?;
                    Session { client, driver: tokio::spawn(drive(connection, listener)) }
                }
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    Session { client, driver: tokio::spawn(drive(connection, listener)) }
                }
            })
        };
        let dialed = timeout(PATIENCE, dialed).await.map_err(|_| Error::Slow(PATIENCE))?;
        dialed.map_err(|error| Error::Connect(Error::Statement(error).to_string()))
    }
}

/// Runs a connection, and tells what comes by it.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, listener: Option<Listener>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let (AsyncMessage::Notification(notification), Some(listener)) = (message, &listener) {
            listener(Heard::Notification(notification.payload()));
        }
    }
    // Its user finds the connection closed.
    if let Some(listener) = &listener {
        listener(Heard::End);
    }
}

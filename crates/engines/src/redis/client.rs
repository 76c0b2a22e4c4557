//! Calls to a server or cluster for consumers, which are a crate of their own.

use super::config::Config;
use super::error::Error;
use super::pool::{Pool, StartError};
use super::script::Call;
use bytes::Bytes;
use redis::{Cmd, Value};

/// A server, or a cluster. Its connections end with this value.
pub struct Client(Pool);

impl Client {
    /// Starts to connect. Within a tokio runtime.
    ///
    /// # Errors
    /// An option is not valid, or there is no runtime.
    pub fn start(config: &Config) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Pool::start(config).map(Self).map_err(|error| match error {
            StartError::Config(error) => error.into(),
            StartError::NoRuntime(error) => error.into(),
        })
    }

    /// Makes a call to the server of a key, within `io_timeout`. A command that blocks, blocks the connection: it needs
    /// a client of its own.
    ///
    /// # Errors
    /// The call failed. Unless the error says otherwise it may have had its effect.
    pub async fn call(&self, key: &str, command: Cmd) -> Result<Value, Error> {
        let shard = self.0.shard(key)?;
        let call = Call::command(Bytes::copy_from_slice(key.as_bytes()), command);
        shard.call(&call).await.map(|reply| reply.value)
    }
}

impl Config {
    /// Number of shards that the addresses name.
    ///
    /// # Errors
    /// An option is not valid.
    pub fn shards(&self) -> Result<usize, super::config::ConfigError> {
        self.targets().map(|targets| targets.len())
    }
}

impl Error {
    /// Returns true if the server refused the call with this code, the first word of its answer.
    #[must_use]
    pub fn is_refusal(&self, code: &str) -> bool {
        self.code() == Some(code)
    }
}

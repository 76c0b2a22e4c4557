//! Many calls in one request.

use super::access::Caller;
use super::concurrent::in_order;
use super::error::ApiError;
use super::method::{Command, Reply};
use super::{Api, CONCURRENCY, Enforcing};

/// Most commands of a batch.
pub(crate) const MAX_COMMANDS: usize = 10_000;

impl Api {
    /// Makes the calls of a batch, one after the other or, if `parallel`, at the same time. Replies are in the order of
    /// the commands. A command that could not be read is its error. What the caller may not do is an error of that
    /// command, and the others go on.
    pub(super) async fn batch(
        &self,
        caller: &Caller,
        commands: Vec<Result<Command, ApiError>>,
        parallel: bool,
    ) -> Vec<Result<Reply, ApiError>> {
        let commands = commands.into_iter().map(|command| {
            let command = command?;
            caller.admit(&command)?;
            Ok(command)
        });
        let commands: Vec<Result<Command, ApiError>> = commands.collect();
        let enforcing = Enforcing::default();
        let replies = if parallel {
            let enforcing = &enforcing;
            let call = |command: Result<Command, ApiError>| async move {
                match command {
                    Ok(command) => self.call_beside(command, enforcing).await,
                    Err(error) => Err(error),
                }
            };
            in_order(commands.into_iter(), CONCURRENCY, call).await
        } else {
            let mut replies = Vec::with_capacity(commands.len());
            for command in commands {
                replies.push(match command {
                    Ok(command) => self.call_next(command, &enforcing).await,
                    Err(error) => Err(error),
                });
            }
            replies
        };
        enforcing.end().await;
        replies
    }
}

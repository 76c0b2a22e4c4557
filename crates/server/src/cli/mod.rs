//! The command line. The bare command starts the server; the rest helps to set it up.
//!
//! Standard output has what a command is asked for: a token, a document, a decision. Everything about it (warnings,
//! errors, what was written where) goes to standard error. `Outcome` and `Failure` are the exit codes.

mod check;
mod explain;
mod flags;
mod given;
mod health;
mod mistake;
mod print;
mod serve;
mod shell;
mod token;

use crate::config;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use flags::OptionFlags;
use given::{Given, file};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Self-hosted real-time messaging. Without a command: start the server.
#[derive(Debug, Parser)]
#[command(name = "spinward", version, subcommand_negates_reqs = true)]
struct Cli {
    /// Configuration file: JSON, YAML or TOML, by its extension [default: config.json, if there is one]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    options: OptionFlags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server to try things on: a console in the browser, keys of its own or the configuration named by
    /// --config, and refusals that say why
    Dev(Dev),
    /// Write a configuration to start from, with fresh keys
    #[command(name = "genconfig")]
    GenConfig(file::Written),
    /// Check a configuration; of an old one, print what it amounts to in v6 form
    ///
    /// The exit code is 0 for a configuration that can be used, 4 if it can but sets options of features that are not
    /// built yet, and 1 if the server would not start with it.
    #[command(name = "checkconfig")]
    CheckConfig(check::CheckConfig),
    /// Print the reference of all options
    #[command(name = "configdoc")]
    ConfigDoc(print::ConfigDoc),
    /// Write every option with its default
    #[command(name = "defaultconfig")]
    DefaultConfig(print::DefaultConfig),
    /// Print every environment variable with its default
    #[command(name = "defaultenv")]
    DefaultEnv(print::DefaultEnv),
    /// Make a connection token
    #[command(name = "gentoken")]
    GenToken(token::GenConnectionToken),
    /// Check a connection token, and print its claims
    ///
    /// The exit code is 0 if a client would be let in, and 3 if it would be refused.
    #[command(name = "checktoken")]
    CheckToken(token::CheckToken),
    /// Make a subscription token
    #[command(name = "gensubtoken")]
    GenSubToken(token::GenSubToken),
    /// Check a subscription token, and print its claims
    ///
    /// The exit code is 0 if a client would be let in, and 3 if it would be refused.
    #[command(name = "checksubtoken")]
    CheckSubToken(token::CheckSubToken),
    /// Tell what the server would decide, by which rule, and what to change
    ///
    /// The exit code is 0 if the client would be allowed, and 3 if it would be refused.
    Explain(explain::Explain),
    /// Ask a running server on this machine for its health, as health checks of containers do
    ///
    /// The exit code is 0 if it answers that it is well, and 1 if not.
    #[command(name = "healthcheck")]
    HealthCheck(health::HealthCheck),
    /// Serve the files of a directory, for pages to try things with
    Serve(serve::Serve),
    /// Print completions for a shell
    Completions(shell::Completions),
    /// Print the manual page, or write one for each command
    Man(shell::Man),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
struct Dev {
    #[command(flatten)]
    file: file::Tried,
    /// Port to listen on, on this machine alone; 8000, or that of the configuration if one is named
    #[arg(short, long)]
    port: Option<u16>,
}

/// End of a command that did what it was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing is wrong.
    Done = 0,
    /// The answer is that a client would be refused.
    Refused = 3,
    /// The configuration is valid, but options in it have no effect yet.
    Planned = 4,
}

/// Reason why a command failed, in words for the terminal. The exit code is 1, 2 for a [`Usage`], or that of the server.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Arguments that make no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Exit code after wrong usage, as of `clap`.
const EXIT_USAGE: u8 = 2;

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| mistake::explained(error, Cli::command()).exit());
    match run(cli) {
        Ok(outcome) => ExitCode::from(outcome as u8),
        Err(failure) => {
            report(&failure);
            exit_code(&failure).into()
        }
    }
}

fn exit_code(failure: &Failure) -> u8 {
    match failure.downcast_ref::<crate::app::RunError>() {
        Some(error) => error.exit_code(),
        None if failure.is::<Usage>() => EXIT_USAGE,
        None => 1,
    }
}

/// Prints what went wrong, and beside wrong options the warnings about others.
fn report(failure: &Failure) {
    if let Some(config::Error::Options(invalid)) = failure.downcast_ref::<config::Error>() {
        for warning in &invalid.warnings {
            complain(&warning.to_string());
        }
    }
    complain(&format!("error: {failure}"));
}

fn run(cli: Cli) -> Result<Outcome, Failure> {
    let given = Given { config: cli.config, flags: cli.options.set };
    let Some(command) = cli.command else {
        let (loaded, source) = given.for_server()?;
        crate::app::run(loaded, source)?;
        return Ok(Outcome::Done);
    };
    match command {
        Command::Dev(dev) => {
            let (port, own) = given.for_dev(dev.file.config, dev.port)?;
            crate::app::dev(port, own)?;
            Ok(Outcome::Done)
        }
        Command::GenConfig(written) => print::generate(&given.target("genconfig", written.config)?),
        Command::CheckConfig(check) => check::run(given, &check),
        Command::ConfigDoc(doc) => given.unused("configdoc").and_then(|()| print::reference(&doc)),
        Command::DefaultConfig(default) => {
            let file = given.target("defaultconfig", default.file.config.clone())?;
            print::defaults(&file, &default)
        }
        Command::DefaultEnv(default) => given.unused("defaultenv").and_then(|()| print::variables(&default)),
        Command::GenToken(command) => {
            token::generate(&given.load(command.file.config)?.config, &command.token)
        }
        Command::CheckToken(command) => {
            token::check(&given.load(command.file.config.clone())?.config, &command)
        }
        Command::GenSubToken(command) => {
            token::generate_sub(&given.load(command.file.config.clone())?.config, &command)
        }
        Command::CheckSubToken(command) => {
            token::check_sub(&given.load(command.file.config.clone())?.config, &command)
        }
        Command::Explain(command) => explain::run(&given.load(command.file.config.clone())?.config, &command),
        Command::HealthCheck(command) => {
            health::run(&given.load(command.file.config.clone())?.config, &command)
        }
        Command::Serve(command) => given.unused("serve").and_then(|()| serve::run(&command)),
        Command::Completions(command) => given.unused("completions").and_then(|()| shell::complete(&command)),
        Command::Man(command) => given.unused("man").and_then(|()| shell::pages(&command)),
        Command::Version => {
            given.unused("version")?;
            say(&format!("spinward {}", env!("CARGO_PKG_VERSION")))?;
            Ok(Outcome::Done)
        }
    }
}

/// Prints a result. Fails if it cannot be written: a script must not go on with half a file.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        // The reader may have seen enough, as `head` has: that is not a failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}").into())
        }
        _ => Ok(()),
    }
}

/// Prints what should not be mistaken for a result.
#[allow(clippy::print_stderr, reason = "this is for the person at the terminal")]
fn complain(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_made_of_arguments_that_fit() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exit_codes_tell_usage_from_failure() {
        assert_eq!(exit_code(&Usage("x".to_owned()).into()), 2);
        assert_eq!(exit_code(&"x".into()), 1);
        assert_eq!(exit_code(&crate::app::RunError::Shard.into()), 70);
    }
}

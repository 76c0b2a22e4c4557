//! The command line. The bare command starts the server; the rest helps to set it up.

mod check;
mod explain;
mod flags;
mod mistake;
mod print;
mod token;

use crate::config::{self, Loaded, Source, Vars};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use flags::OptionFlags;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Self-hosted real-time messaging. Without a command: start the server.
#[derive(Debug, Parser)]
#[command(name = "spinward", version, subcommand_negates_reqs = true)]
struct Cli {
    /// Configuration file: JSON, YAML or TOML, by its extension
    ///
    /// Without it config.json, and for dev a configuration made for that run.
    #[arg(short, long, global = true, value_name = "FILE")]
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
    GenConfig,
    /// Check a configuration; of an old one, print what it amounts to in v6 form
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
    GenToken(token::GenToken),
    /// Check a connection token
    #[command(name = "checktoken")]
    CheckToken(token::CheckToken),
    /// Make a subscription token
    #[command(name = "gensubtoken")]
    GenSubToken(token::GenSubToken),
    /// Check a subscription token
    #[command(name = "checksubtoken")]
    CheckSubToken(token::CheckSubToken),
    /// Tell what the server would decide, by which rule, and what to change
    Explain(explain::Explain),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
struct Dev {
    /// Port to listen on, on this machine alone; 8000, or that of the configuration if one is named
    #[arg(short, long)]
    port: Option<u16>,
}

/// Reason why a command failed, in words for the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| mistake::explained(error, Cli::command()).exit());
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&format!("error: {failure}"));
            failure
                .downcast_ref::<crate::app::RunError>()
                .map_or(ExitCode::FAILURE, |error| error.exit_code().into())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let file = cli.config.as_deref().unwrap_or_else(|| Path::new("config.json"));
    match cli.command {
        None => {
            let flags = cli.options.set;
            let loaded = load(file, flags.clone())?;
            Ok(crate::app::run(loaded, crate::app::Source { file: file.to_owned(), flags })?)
        }
        Some(Command::Dev(dev)) => {
            let own = cli.config.as_deref().map(|file| load(file, cli.options.set)).transpose()?;
            Ok(crate::app::dev(dev.port, own)?)
        }
        Some(Command::GenConfig) => print::generate(file),
        Some(Command::CheckConfig(check)) => check::run(file, &check),
        Some(Command::ConfigDoc(doc)) => print::reference(&doc),
        Some(Command::DefaultConfig(default)) => print::defaults(file, &default),
        Some(Command::DefaultEnv(default)) => print::variables(&default),
        Some(Command::GenToken(command)) => token::generate(&load(file, Vec::new())?.config, &command),
        Some(Command::CheckToken(command)) => token::check(&load(file, Vec::new())?.config, &command),
        Some(Command::GenSubToken(command)) => token::generate_sub(&load(file, Vec::new())?.config, &command),
        Some(Command::CheckSubToken(command)) => token::check_sub(&load(file, Vec::new())?.config, &command),
        Some(Command::Explain(command)) => explain::run(&load(file, Vec::new())?.config, &command),
        Some(Command::Version) => {
            say(&format!("spinward {}", env!("CARGO_PKG_VERSION")));
            Ok(())
        }
    }
}

fn load(file: &Path, flags: Vec<(String, String)>) -> Result<Loaded, config::Error> {
    let mut loaded = config::load(&Source { file: Some(file), vars: Vars::system(), flags })?;
    if !loaded.found {
        let text = "does not exist: going on with the environment and defaults".to_owned();
        let option = file.display().to_string();
        loaded.warnings.push(config::Warning { level: config::Level::Unknown, option, text });
    }
    Ok(loaded)
}

/// Prints a result.
fn say(text: &str) {
    // The reader may have seen enough, as `head` has: that is not a failure.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// Prints what should not be mistaken for a result.
#[allow(clippy::print_stderr, reason = "this is for the person at the terminal")]
fn complain(text: &str) {
    eprintln!("{text}");
}

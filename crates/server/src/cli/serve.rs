//! `serve`: the files of a directory over HTTP.

use super::{Failure, Outcome, Usage, complain};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Directory to serve
    #[arg(short, long, default_value = ".")]
    dir: PathBuf,
    /// Address to listen on; `::` means all addresses
    #[arg(short, long, default_value = "127.0.0.1")]
    address: String,
    /// Port to listen on; 0 takes any free one
    #[arg(short, long, default_value_t = 3000)]
    port: u16,
}

pub(super) fn run(command: &Serve) -> Result<Outcome, Failure> {
    // As of a variable of the shell that is not set. The system would take it for all addresses.
    if command.address.is_empty() {
        return Err(Usage("--address must not be empty: `::` means all addresses".to_owned()).into());
    }
    let shown = command.dir.display().to_string();
    crate::app::serve_files(&command.dir, &command.address, command.port, |address| {
        complain(&format!("serving {shown} on http://{address}/"));
    })?;
    Ok(Outcome::Done)
}

//! `checkconfig`.

use super::{Failure, complain, load, say};
use crate::config::{Level, doc};
use clap::Args;
use std::path::Path;

#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// Fail on unknown options
    #[arg(short, long)]
    strict: bool,
    /// Print an old file's v6 form with its secrets, to save it
    #[arg(long)]
    show_secrets: bool,
}

pub(super) fn run(file: &Path, check: &CheckConfig) -> Result<(), Failure> {
    let loaded = load(file, Vec::new())?;
    if !loaded.found {
        return Err(format!("{} does not exist", file.display()).into());
    }
    for warning in &loaded.warnings {
        let label = match warning.level {
            Level::Note => "note",
            Level::Planned => "planned",
            Level::Unknown => "unknown",
            Level::Insecure => "INSECURE",
        };
        complain(&format!("{label}: {warning}"));
    }
    if loaded.translated {
        let tree = if check.show_secrets { loaded.file } else { doc::mask(&loaded.file) };
        complain("In v6 form this file is:");
        say(&serde_json::to_string_pretty(&tree)?);
        if !check.show_secrets {
            complain("Secrets are hidden; `checkconfig --show-secrets` prints them.");
        }
    }
    let unknown = loaded.warnings.iter().filter(|warning| warning.level == Level::Unknown).count();
    if check.strict && unknown > 0 {
        return Err(format!("{unknown} unknown options").into());
    }
    // What a server is made of is more than single options: keys, issuers, namespaces together.
    crate::app::onlooker(&loaded.config)?;
    complain(&format!("{}: valid", file.display()));
    Ok(())
}

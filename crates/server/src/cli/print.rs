//! Commands that print or write what the catalogue knows.

use super::given::file;
use super::{Failure, Outcome, Usage, complain, say};
use crate::config::catalogue::Section as _;
use crate::config::generate::{Secrets, starter};
use crate::config::{self, Config, Format, Loaded, Source, Vars, doc, page};
use clap::Args;
use spinward::id::Entropy;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct ConfigDoc {
    /// Only the options of this section, such as `client.token`
    #[arg(short, long)]
    section: Option<String>,
    /// Print Markdown, which it does unless told to serve a page
    #[arg(short, long, conflicts_with = "serve")]
    markdown: bool,
    /// Serve the reference as a page with a search field, on this machine
    #[arg(long)]
    serve: bool,
    /// Port of that page; 0 takes any free one
    #[arg(short, long, default_value_t = 6060, requires = "serve")]
    port: u16,
}

#[derive(Debug, Args)]
pub(super) struct DefaultConfig {
    #[command(flatten)]
    pub(super) file: file::Written,
    /// Configuration to take values from
    #[arg(short, long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Print instead of writing
    #[arg(short, long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct DefaultEnv {
    /// Configuration to take values from
    #[arg(short, long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Only what that configuration sets
    #[arg(long, requires = "base")]
    base_non_zero_only: bool,
}

pub(super) fn generate(file: &Path) -> Result<Outcome, Failure> {
    let format = Format::of(file)?;
    write_new(file, &starter(format, &Secrets::draw(&Entropy::system())))
}

pub(super) fn reference(doc: &ConfigDoc) -> Result<Outcome, Failure> {
    let text = doc::markdown(doc.section.as_deref()).map_err(|error| Usage(format!("--section: {error}")))?;
    if doc.serve {
        crate::app::serve_page(page::html(&text), doc.port, |address| {
            complain(&format!("serving the reference of options on http://{address}/"));
        })?;
    } else {
        say(&text)?;
    }
    Ok(Outcome::Done)
}

pub(super) fn defaults(file: &Path, default: &DefaultConfig) -> Result<Outcome, Failure> {
    let config = base(default.base.as_deref())?.map_or_else(Config::default, |loaded| loaded.config);
    let text = doc::file(Format::of(file)?, config.to_section())?;
    if default.dry_run {
        say(&text)?;
        return Ok(Outcome::Done);
    }
    write_new(file, &text)
}

pub(super) fn variables(default: &DefaultEnv) -> Result<Outcome, Failure> {
    let loaded = base(default.base.as_deref())?;
    let only = loaded.as_ref().filter(|_| default.base_non_zero_only).map(|loaded| &loaded.file);
    let fallback = Config::default();
    let config = loaded.as_ref().map_or(&fallback, |loaded| &loaded.config);
    say(&doc::variables(config, only))?;
    Ok(Outcome::Done)
}

/// Loads a configuration for its own sake, without the environment.
fn base(file: Option<&Path>) -> Result<Option<Loaded>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let loaded = config::load(&Source { file: Some(file), vars: Vars::default(), flags: Vec::new() })?;
    if !loaded.found {
        return Err(format!("{} does not exist", file.display()).into());
    }
    for warning in &loaded.warnings {
        complain(&warning.to_string());
    }
    Ok(Some(loaded))
}

/// Writes a file that is not there yet. It will hold secrets, so nobody else may read it.
fn write_new(path: &Path, text: &str) -> Result<Outcome, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{} exists already: name another file with --config", path.display())
        }
        _ => format!("{}: {error}", path.display()),
    })?;
    file.write_all(text.as_bytes())?;
    complain(&format!("{} is written", path.display()));
    Ok(Outcome::Done)
}

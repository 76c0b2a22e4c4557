//! Completions and manual pages, made of the definition of the command line.

use super::{Cli, Failure, Outcome, complain, say};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Where the shells look for them:
  bash        spinward completions bash > /etc/bash_completion.d/spinward
  zsh         spinward completions zsh > /usr/local/share/zsh/site-functions/_spinward
  fish        spinward completions fish > ~/.config/fish/completions/spinward.fish
  PowerShell  spinward completions powershell | Out-String | Invoke-Expression")]
pub(super) struct Completions {
    /// Shell to print completions for
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Directory to write a page for each command to, such as /usr/local/share/man/man1
    #[arg(short, long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn complete(command: &Completions) -> Result<Outcome, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "spinward", &mut text);
    say(&String::from_utf8(text)?)?;
    Ok(Outcome::Done)
}

pub(super) fn pages(command: &Man) -> Result<Outcome, Failure> {
    match &command.dir {
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut text)?;
            say(&String::from_utf8(text)?)?;
        }
        Some(dir) => {
            write(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
            complain(&format!("pages are written to {}", dir.display()));
        }
    }
    Ok(Outcome::Done)
}

fn write(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
}

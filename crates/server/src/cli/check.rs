//! `checkconfig`.

use super::given::{Given, file};
use super::{Failure, Outcome, complain, report, say};
use crate::config::{self, Config, Level, Loaded, doc};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    file: file::Checked,
    /// Fail on unknown options
    #[arg(short, long)]
    strict: bool,
    /// Print an old file's v6 form with its secrets, to save it
    #[arg(long)]
    show_secrets: bool,
}

pub(super) fn run(given: Given, check: &CheckConfig) -> Result<Outcome, Failure> {
    let (file, loaded) = match given.load_existing(check.file.config.clone()) {
        Ok(loaded) => loaded,
        Err(failure) => return Err(with_faults(failure)?),
    };
    for warning in &loaded.warnings {
        complain(&warning.to_string());
    }
    if loaded.translated {
        print(&loaded, check.show_secrets)?;
    }
    let faults = faults(&loaded.config)?;
    let mut failures: Vec<String> = (!faults.is_empty()).then(|| listed(&faults)).into_iter().collect();
    let unknown = of_level(&loaded, Level::Unknown);
    if check.strict && !unknown.is_empty() {
        failures.push(format!("--strict: no option has these names: {}", unknown.join(", ")));
    }
    if !failures.is_empty() {
        return Err(failures.join("\nerror: ").into());
    }
    let planned = of_level(&loaded, Level::Planned);
    let file = file.display();
    if planned.is_empty() {
        complain(&format!("{file}: valid"));
        return Ok(Outcome::Done);
    }
    let (options, are) = if planned.len() == 1 { ("option", "is") } else { ("options", "are") };
    let names = planned.join(", ");
    complain(&format!("{file}: valid, but {} {options} you use {are} not built yet: {names}", planned.len()));
    Ok(Outcome::Planned)
}

/// Prints an old file in v6 form.
fn print(loaded: &Loaded, with_secrets: bool) -> Result<(), Failure> {
    let tree = if with_secrets { loaded.file.clone() } else { doc::mask(&loaded.file) };
    complain("In v6 form this file is:");
    say(&serde_json::to_string_pretty(&tree)?)?;
    if !with_secrets {
        complain("Secrets are hidden; `checkconfig --show-secrets` prints them.");
    }
    Ok(())
}

/// Options that warnings of a level are about, each once.
fn of_level(loaded: &Loaded, level: Level) -> Vec<&str> {
    let mut options: Vec<&str> =
        loaded.warnings.iter().filter(|one| one.level == level).map(|one| one.option.as_str()).collect();
    options.sort_unstable();
    options.dedup();
    options
}

/// A server is made of more than single options: keys, issuers, namespaces, certificates.
fn faults(config: &Config) -> std::io::Result<Vec<String>> {
    // It is entered and not driven, so that no engine connects.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    Ok(crate::app::faults(config).iter().map(ToString::to_string).collect())
}

/// Adds to wrong options what else a server could not be made of, unless it follows from them.
fn with_faults(failure: Failure) -> std::io::Result<Failure> {
    let Some(config::Error::Options(invalid)) = failure.downcast_ref::<config::Error>() else {
        return Ok(failure);
    };
    let wrong: Vec<&str> =
        invalid.problems.iter().filter_map(|problem| problem.option.split(" (").next()).collect();
    let faults: Vec<String> = faults(&invalid.rest)?
        .into_iter()
        .filter(|fault| {
            let of = fault.split(": ").next().unwrap_or_default();
            !wrong.iter().any(|option| fault.contains(option) || option.starts_with(of))
        })
        .collect();
    if faults.is_empty() {
        return Ok(failure);
    }
    report(&failure);
    Ok(listed(&faults).into())
}

fn listed(faults: &[String]) -> String {
    format!("no server can be made of the configuration:\n  {}", faults.join("\n  "))
}

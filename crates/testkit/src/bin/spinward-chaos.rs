//! Chaos over one engine after another. `cargo xtask chaos` builds and runs it.

use spinward_testkit::chaos::{self, KINDS, Kind, Launch, Settings};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

const USAGE: &str = "\
spinward-chaos [--engine NAME[,NAME…]] [--short] [--seed N] [--minutes M] [--faults N] [--only FAULT[,FAULT…]]
               [--clients N] [--channels N] [--nodes N] [--rate N] [--drain] [--emulated] [--out FOLDER]

SPINWARD_BIN names the server.";

struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|argument| argument == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.0.iter().position(|argument| argument == name) else { return Ok(None) };
        self.0.remove(at);
        if at < self.0.len() { Ok(Some(self.0.remove(at))) } else { Err(format!("{name} needs a value")) }
    }

    fn parsed<T: std::str::FromStr>(&mut self, name: &str, into: &mut T) -> Result<(), String> {
        if let Some(value) = self.value(name)? {
            *into = value.parse().map_err(|_| format!("{name}: {value}"))?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    match run(Arguments(std::env::args().skip(1).collect())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("spinward-chaos: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Returns true if nothing was wrong.
fn run(mut arguments: Arguments) -> Result<bool, String> {
    let binary = std::env::var_os("SPINWARD_BIN").map(PathBuf::from).ok_or("SPINWARD_BIN is not set")?;
    let launch: Launch = Arc::new(move |file| {
        let mut command = Command::new(&binary);
        command.arg("--config").arg(file);
        command
    });
    let names = arguments.value("--engine")?;
    let kinds: Vec<Kind> = match &names {
        Some(names) => names.split(',').map(str::parse).collect::<Result<_, _>>()?,
        None => KINDS.iter().map(|(_, kind)| *kind).collect(),
    };
    let (short, drain, emulated) =
        (arguments.flag("--short"), arguments.flag("--drain"), arguments.flag("--emulated"));
    let mut good = true;
    let given = arguments.0.clone();
    for kind in kinds.into_iter().filter(|kind| kind.is_installed()) {
        let mut arguments = Arguments(given.clone());
        let make = if short { Settings::short } else { Settings::long };
        let mut settings = make(kind, Arc::clone(&launch));
        arguments.parsed("--seed", &mut settings.seed)?;
        let mut minutes = settings.time.as_secs_f64() / 60.0;
        arguments.parsed("--minutes", &mut minutes)?;
        settings.time = Duration::from_secs_f64(minutes * 60.0);
        arguments.parsed("--faults", &mut settings.faults)?;
        arguments.parsed("--clients", &mut settings.clients)?;
        arguments.parsed("--channels", &mut settings.channels)?;
        arguments.parsed("--nodes", &mut settings.nodes)?;
        arguments.parsed("--rate", &mut settings.rate)?;
        arguments.parsed("--out", &mut settings.out)?;
        if let Some(only) = arguments.value("--only")? {
            settings.only = only.split(',').map(str::to_owned).collect();
        }
        if let Some(unknown) = arguments.0.first() {
            return Err(format!("{unknown}: unknown"));
        }
        let failed = |error: std::io::Error| error.to_string();
        if drain || emulated {
            let wrong = if drain { chaos::drain::run(&settings) } else { chaos::emulated::run(&settings) };
            let wrong = wrong.map_err(failed)?;
            wrong.iter().for_each(|wrong| println!("VIOLATION  {wrong}"));
            good &= wrong.is_empty();
            continue;
        }
        println!("\nchaos on {}, seed {}", kind.name(), settings.seed);
        let report = chaos::run(&settings).map_err(failed)?;
        println!("{report}");
        good &= report.is_good();
    }
    Ok(good)
}

//! Arguments before a command, and the configuration that they lead to. Nothing that was given is left out in silence:
//! a command takes it, or refuses it.

use super::{Failure, Usage, complain};
use crate::app;
use crate::config::{self, ENV_FILE, Level, Loaded, Source, Vars, Warning};
use std::path::{Path, PathBuf};

/// The configuration file where none is named.
const DEFAULT: &str = "config.json";

/// Addresses and ports that `dev` does not have: it serves one port, on this machine alone.
const NOT_OF_DEV: [&str; 3] =
    ["http_server.address", "http_server.internal_address", "http_server.internal_port"];

/// Arguments before the command.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// Value of `--config`.
    pub(super) config: Option<PathBuf>,
    /// Options set by flags: full name and text.
    pub(super) flags: Vec<(String, String)>,
}

/// `--config` of the commands, each with its own help.
pub(super) mod file {
    use clap::Args;
    use std::path::PathBuf;

    macro_rules! files {
        ($($Name:ident: $help:literal;)*) => {$(
            #[derive(Debug, Default, Args)]
            pub(in crate::cli) struct $Name {
                #[doc = $help]
                #[arg(short, long, value_name = "FILE")]
                pub(in crate::cli) config: Option<PathBuf>,
            }
        )*};
    }

    files! {
        Written: "File to write: JSON, YAML or TOML, by its extension [default: config.json]";
        Checked: "Configuration file to check [default: config.json]";
        Tried: "Configuration file of your own to try; without it, one made for this run";
        Asked: "Configuration file of the server [default: config.json, if there is one]";
        Signing: "Configuration file with the key to sign with [default: config.json, if there is one]";
        Deciding: "Configuration file by which the server would decide [default: config.json, if there is one]";
    }
}

impl Given {
    /// The configuration to start the server with, and its source for reloads.
    pub(super) fn for_server(self) -> Result<(Loaded, app::Source), Failure> {
        let (file, named) = name(self.config, None)?;
        let loaded = read(&file, named, self.flags.clone())?;
        Ok((loaded, app::Source { file, flags: self.flags }))
    }

    /// The configuration that a command asks for.
    pub(super) fn load(self, own: Option<PathBuf>) -> Result<Loaded, Failure> {
        let (file, named) = name(self.config, own)?;
        let loaded = read(&file, named, self.flags)?;
        if !loaded.found {
            complain(&missing(&file).to_string());
        }
        Ok(loaded)
    }

    /// The configuration for `checkconfig`, which must be there, and its file.
    pub(super) fn load_existing(self, own: Option<PathBuf>) -> Result<(PathBuf, Loaded), Failure> {
        let (file, _) = name(self.config, own)?;
        let loaded = read(&file, true, self.flags)?;
        Ok((file, loaded))
    }

    /// The port and the configuration for `dev`.
    pub(super) fn for_dev(
        self,
        own: Option<PathBuf>,
        port: Option<u16>,
    ) -> Result<(Option<u16>, Option<Loaded>), Failure> {
        if let Some((flag, _)) = self.flags.iter().find(|(flag, _)| NOT_OF_DEV.contains(&flag.as_str())) {
            return Err(usage(format!(
                "--{flag} has no effect on `dev`, which serves one port on this machine alone"
            )));
        }
        let (file, named) = name(self.config, own)?;
        if named {
            return Ok((port, Some(read(&file, true, self.flags)?)));
        }
        let mut port = port;
        for (flag, text) in &self.flags {
            if flag != "http_server.port" {
                return Err(usage(format!(
                    "--{flag} has no effect on `dev` without a configuration of your own: name one with --config"
                )));
            }
            let before = text.parse().map_err(|_| usage(format!("--{flag}: {text:?} is not a port")))?;
            if port.replace(before).is_some_and(|port| port != before) {
                return Err(usage(format!("two ports are given: remove --{flag} or --port")));
            }
        }
        Ok((port, None))
    }

    /// The file that a command writes.
    pub(super) fn target(self, command: &str, own: Option<PathBuf>) -> Result<PathBuf, Failure> {
        let (file, _) = name(self.config, own)?;
        Self { config: None, flags: self.flags }.unused(command)?;
        Ok(file)
    }

    /// Refuses what has no effect on a command that reads no configuration.
    pub(super) fn unused(self, command: &str) -> Result<(), Failure> {
        match self.flags.first() {
            Some((flag, _)) => Err(usage(format!("--{flag} has no effect on `{command}`"))),
            None if self.config.is_some() => Err(usage(format!("--config has no effect on `{command}`"))),
            None => Ok(()),
        }
    }
}

fn usage(text: String) -> Failure {
    Usage(text).into()
}

/// The file, and true if it was named.
fn name(before: Option<PathBuf>, own: Option<PathBuf>) -> Result<(PathBuf, bool), Failure> {
    match (before, own) {
        (Some(before), Some(own)) if before != own => {
            Err(usage("two configuration files are given: remove one --config".to_owned()))
        }
        (None, None) => Ok((PathBuf::from(DEFAULT), false)),
        (before, own) => Ok((own.or(before).unwrap_or_default(), true)),
    }
}

/// Reads a configuration. One that was named must exist.
fn read(file: &Path, named: bool, flags: Vec<(String, String)>) -> Result<Loaded, Failure> {
    let exists = file.try_exists().unwrap_or(true);
    if named && !exists {
        return Err(format!("{} does not exist: write one with `spinward genconfig`", file.display()).into());
    }
    let mut vars = Vars::system();
    let more = vars.add_file(Path::new(ENV_FILE))?;
    let mut loaded = config::load(&Source { file: Some(file), vars, flags })?;
    if more {
        let text = "options are set by variables of this file".to_owned();
        loaded.warnings.insert(0, Warning { level: Level::Note, option: ENV_FILE.to_owned(), text });
    }
    if !loaded.found {
        loaded.warnings.insert(0, missing(file));
    }
    Ok(loaded)
}

fn missing(file: &Path) -> Warning {
    let text = "does not exist: using the environment and defaults".to_owned();
    Warning { level: Level::Note, option: file.display().to_string(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(config: Option<&str>, flags: &[(&str, &str)]) -> Given {
        let flags = flags.iter().map(|(flag, text)| ((*flag).to_owned(), (*text).to_owned())).collect();
        Given { config: config.map(Into::into), flags }
    }

    fn refusal<T>(result: Result<T, Failure>) -> String {
        match result {
            Ok(_) => panic!("accepted"),
            Err(failure) => {
                assert!(failure.is::<Usage>(), "{failure}");
                failure.to_string()
            }
        }
    }

    #[test]
    fn flags_before_dev_take_effect_or_are_refused() {
        let port =
            |flags: &[(&str, &str)], port| given(None, flags).for_dev(None, port).map(|(port, _)| port);
        assert_eq!(port(&[], None).unwrap(), None);
        assert_eq!(port(&[("http_server.port", "27484")], None).unwrap(), Some(27484));
        assert_eq!(port(&[("http_server.port", "9000")], Some(9000)).unwrap(), Some(9000));
        for (flags, expected) in [
            (("http_server.port", "9000"), "two ports"),
            (("http_server.port", "none"), "is not a port"),
            (("log.level", "debug"), "--log.level has no effect"),
            (("http_server.address", "0.0.0.0"), "this machine alone"),
        ] {
            let text = refusal(port(&[flags], Some(8001)));
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        assert!(given(None, &[]).unused("version").is_ok());
        assert_eq!(
            refusal(given(Some("a.json"), &[]).unused("version")),
            "--config has no effect on `version`"
        );
        assert_eq!(
            refusal(given(None, &[("log.level", "x")]).target("genconfig", None)),
            "--log.level has no effect on `genconfig`"
        );
    }

    #[test]
    fn a_file_is_named_before_or_behind_the_command_and_must_exist() {
        let file =
            |before: Option<&str>, own: Option<&str>| name(before.map(Into::into), own.map(Into::into));
        assert_eq!(file(None, None).unwrap(), ("config.json".into(), false));
        assert_eq!(file(Some("a.json"), None).unwrap(), ("a.json".into(), true));
        assert_eq!(file(None, Some("a.json")).unwrap(), ("a.json".into(), true));
        assert_eq!(file(Some("a.json"), Some("a.json")).unwrap(), ("a.json".into(), true));
        assert!(refusal(file(Some("a.json"), Some("b.json"))).contains("two configuration files"));
        let missing = given(Some("/no/such/file.json"), &[]).load(None).unwrap_err().to_string();
        assert!(missing.contains("/no/such/file.json does not exist"), "{missing}");
    }
}

//! Options that can be set by flags: the ones that Centrifugo's server command has.

use crate::config::catalogue::{Field, Kind, Section as _, Status, find, status};
use crate::config::typed::Config;
use clap::error::Error;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use serde_json::Value;

/// The options, with a letter where they have one. Everything else about them is in the catalogue.
const FLAGS: &[(&str, Option<char>)] = &[
    ("http_server.address", Some('a')),
    ("http_server.port", Some('p')),
    ("http_server.internal_address", None),
    ("http_server.internal_port", None),
    ("engine.type", None),
    ("broker.enabled", None),
    ("broker.type", None),
    ("presence_manager.enabled", None),
    ("presence_manager.type", None),
    ("map_broker.type", None),
    ("log.level", None),
    ("log.file", None),
    ("pid_file", None),
    ("debug.enabled", None),
    ("admin.enabled", None),
    ("admin.insecure", None),
    ("admin.external", None),
    ("prometheus.enabled", None),
    ("swagger.enabled", None),
    ("health.enabled", None),
    ("uni_websocket.enabled", None),
    ("uni_sse.enabled", None),
    ("uni_http_stream.enabled", None),
    ("sse.enabled", None),
    ("http_stream.enabled", None),
    ("init.enabled", None),
    ("sockjs.enabled", None),
    ("client.insecure", None),
    ("http_api.insecure", None),
    ("http_api.external", None),
    ("grpc_api.enabled", None),
    ("grpc_api.port", None),
    ("uni_grpc.enabled", None),
    ("uni_grpc.port", None),
];

/// Returns whether an option has a flag.
pub(super) fn has_flag(path: &str) -> bool {
    FLAGS.iter().any(|(known, _)| *known == path)
}

/// Returns whether an option has a flag that takes its value behind a `=` alone.
pub(super) fn is_switch(path: &str) -> bool {
    has_flag(path) && find(Config::fields(), path).is_some_and(|field| matches!(field.kind, Kind::Bool))
}

/// The flags that were given: name of the option and text.
#[derive(Debug, Default)]
pub(super) struct OptionFlags {
    pub(super) set: Vec<(String, String)>,
}

/// Effect, values and default of an option, in a line.
fn help(path: &str, field: &Field) -> String {
    let mut text = field.doc.split_whitespace().collect::<Vec<_>>().join(" ");
    match status(Config::fields(), path) {
        Status::Built => {}
        Status::Planned => text.push_str(" Not built yet: has no effect."),
        Status::Essential => text.push_str(" Not built yet: refused."),
    }
    let choices: Vec<&str> = field.choices.iter().copied().filter(|choice| !choice.is_empty()).collect();
    if !choices.is_empty() {
        text += &format!(" [one of: {}]", choices.join(", "));
    }
    match &field.default {
        Value::String(text) if text.is_empty() => {}
        Value::Bool(false) => {}
        Value::String(default) => text += &format!(" [default: {default}]"),
        default => text += &format!(" [default: {default}]"),
    }
    text
}

impl Args for OptionFlags {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, (path, letter)| {
            let Some(field) = find(Config::fields(), path) else { return command };
            let mut arg = Arg::new(*path)
                .long(*path)
                .help(help(path, field))
                .value_name(field.kind.label().to_uppercase());
            if let Some(letter) = letter {
                arg = arg.short(*letter);
            }
            if matches!(field.kind, Kind::Bool) {
                arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OptionFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for (path, _) in FLAGS {
            if matches.value_source(path) != Some(ValueSource::CommandLine) {
                continue;
            }
            if let Some(text) = matches.get_one::<String>(path) {
                self.set.push(((*path).to_owned(), text.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_an_option() {
        for (path, _) in FLAGS {
            assert!(find(Config::fields(), path).is_some(), "{path}");
        }
    }

    #[test]
    fn help_has_default_values_and_what_is_not_built() {
        let help = |path| help(path, find(Config::fields(), path).unwrap());
        assert!(help("http_server.port").ends_with("[default: 8000]"), "{}", help("http_server.port"));
        assert!(help("engine.type").contains("[one of: memory, "), "{}", help("engine.type"));
        for (path, _) in FLAGS {
            let built = status(Config::fields(), path) == Status::Built;
            assert_eq!(built, !help(path).contains("Not built yet"), "{path}");
        }
        assert_eq!(status(Config::fields(), "debug.enabled"), Status::Planned, "by its section");
    }

    #[test]
    fn flags_are_taken_as_they_are_given() {
        let command = OptionFlags::augment_args(Command::new("spinward"));
        let given = [
            "spinward",
            "-p",
            "9000",
            "--client.insecure",
            "--http_api.insecure=false",
            "--log.level",
            "none",
        ];
        let flags = OptionFlags::from_arg_matches(&command.get_matches_from(given)).unwrap();
        let set: Vec<(&str, &str)> =
            flags.set.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let expected = [
            ("http_server.port", "9000"),
            ("log.level", "none"),
            ("client.insecure", "true"),
            ("http_api.insecure", "false"),
        ];
        assert_eq!(set, expected);
    }
}

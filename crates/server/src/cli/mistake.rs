//! Better words for mistakes that come from older versions.

use super::Cli;
use super::flags::{has_flag, is_switch};
use crate::config::{PREFIXES, Today, today, upper};
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Command, CommandFactory as _};

/// Letters that were flags, and the long names beside them.
const LETTERS: &[(&str, &str)] = &[("d", "debug"), ("e", "engine"), ("n", "name"), ("w", "web")];

/// The same error, or one that says what an old flag is called today.
pub(super) fn explained(error: Error, mut command: Command) -> Error {
    // Not all of them need to be text.
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    match words(&error, &args) {
        Some(words) => Error::raw(error.kind(), format!("{words}\n")).format(&mut command),
        None => error,
    }
}

fn words(error: &Error, args: &[String]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = text(ContextKind::InvalidArg)?;
            behind_command(flag, args).or_else(|| old_flag(flag))
        }
        ErrorKind::InvalidSubcommand => value_apart(text(ContextKind::InvalidSubcommand)?, args),
        _ => None,
    }
}

/// `gentoken --log.level none`, where the flag of an option belongs in front.
fn behind_command(flag: &str, args: &[String]) -> Option<String> {
    let name = flag.strip_prefix("--")?.split('=').next()?;
    let command = args.iter().find(|arg| Cli::command().find_subcommand(arg).is_some())?;
    has_flag(name).then(|| format!("`--{name}` goes before the command: `spinward --{name} … {command}`"))
}

/// `--port`, which is `--http_server.port` today.
fn old_flag(flag: &str) -> Option<String> {
    let name = flag.trim_start_matches('-').split('=').next()?;
    let long = LETTERS.iter().find(|(letter, _)| *letter == name).map_or(name, |(_, long)| long);
    let Today { options, said } = today(long)?;
    if options.is_empty() {
        return Some(format!("`{flag}` is a flag of older versions, {said}"));
    }
    let options: Vec<String> = options
        .iter()
        .map(|option| match has_flag(option) {
            true => format!("`--{option}`"),
            false => format!(
                "`{option}`, which has no flag: set it in the file or by {}{}",
                PREFIXES[1],
                upper(option)
            ),
        })
        .collect();
    Some(format!("`{flag}` is a flag of older versions, since v6 it is {}", options.join(", or ")))
}

/// `--health.enabled true`, where the value looks like a command.
fn value_apart(value: &str, args: &[String]) -> Option<String> {
    let at = args.iter().position(|arg| arg == value)?;
    let flag = args.get(at.checked_sub(1)?)?.strip_prefix("--")?;
    let is_value = matches!(value.to_ascii_lowercase().as_str(), "true" | "false" | "0" | "1" | "t" | "f");
    (is_value && is_switch(flag))
        .then(|| format!("`--{flag}` takes its value behind a `=`, without a space: `--{flag}={value}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn said(args: &[&str]) -> String {
        let error = Cli::try_parse_from([&["spinward"], args].concat()).unwrap_err();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        words(&error, &args).unwrap_or_else(|| error.to_string())
    }

    #[test]
    fn an_old_flag_is_answered_by_its_option() {
        for (args, option) in [
            (&["--port", "1"][..], "`--http_server.port`"),
            (&["--port=1"], "`--http_server.port`"),
            (&["--internal_port", "1"], "`--http_server.internal_port`"),
            (&["--grpc_api"], "`--grpc_api.enabled`"),
            (&["--admin"], "`--admin.enabled`"),
            (&["-e", "memory"], "`--engine.type`"),
            (&["--tls"], "`http_server.tls.enabled`, which has no flag"),
            (&["--ssl_cert", "x"], "`http_server.tls.cert_pem`, which has no flag"),
            (&["--redis_url", "x"], "`engine.redis.address`, which has no flag"),
            (&["--sockjs"], "`--sockjs.enabled`"),
            (&["--nonsense"], "unexpected argument"),
            (
                &["gentoken", "--log.level", "none"],
                "`--log.level` goes before the command: `spinward --log.level … gentoken`",
            ),
            (&["gentoken", "--nonsense"], "unexpected argument"),
        ] {
            let said = said(args);
            assert!(said.contains(option), "{args:?}: {said}");
            assert!(!said.contains("similar"), "{args:?}: {said}");
        }
    }

    #[test]
    fn a_value_apart_from_its_switch_is_not_called_a_command() {
        assert!(said(&["--health.enabled", "true"]).contains("`--health.enabled=true`"));
        assert!(said(&["--log.level", "info", "true"]).contains("unrecognized"));
        // The words survive being made an error again.
        let error = Cli::try_parse_from(["spinward", "--tls"]).unwrap_err();
        assert!(explained(error, Cli::command()).to_string().contains("`http_server.tls.enabled`"));
    }
}

//! Lines of JSON in, lines of JSON out.

use serde_json::Value;
use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, channel};

/// An error, described for the person or program at the other end.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Reads commands on a thread of its own; `wake` is called after each. The channel ends with the input.
pub(crate) fn commands(wake: impl Fn() + Send + 'static) -> Receiver<Result<Value, String>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if line.trim().is_empty() {
                continue;
            }
            let command = serde_json::from_str(&line).map_err(|e| format!("{e} in {line}"));
            if sender.send(command).is_err() {
                return;
            }
            wake();
        }
        drop(sender);
        wake();
    });
    receiver
}

/// Writes one line. A reader that has gone away ends the process: nobody is left to measure for.
pub(crate) fn emit(value: &Value) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{value}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// A whole number among the fields of a command, or its default.
pub(crate) fn number(command: &Value, name: &str, default: u64) -> u64 {
    command.get(name).and_then(Value::as_u64).unwrap_or(default)
}

/// A fraction among the fields of a command, or its default.
pub(crate) fn float(command: &Value, name: &str, default: f64) -> f64 {
    command.get(name).and_then(Value::as_f64).unwrap_or(default)
}

/// A text among the fields of a command, or its default.
pub(crate) fn text<'a>(command: &'a Value, name: &str, default: &'a str) -> &'a str {
    command.get(name).and_then(Value::as_str).unwrap_or(default)
}

/// A yes or no among the fields of a command; no when absent.
pub(crate) fn flag(command: &Value, name: &str) -> bool {
    command.get(name).and_then(Value::as_bool).unwrap_or(false)
}

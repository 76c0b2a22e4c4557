//! Kernel settings, changed for a while.

use crate::shell::Failure;
use std::fs;

/// Settings with the values they had; put back when dropped.
#[derive(Default)]
pub(crate) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    /// Sets a file under `/proc/sys`.
    pub(crate) fn set(&mut self, path: &'static str, value: &str) -> Result<(), Failure> {
        let now = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        fs::write(path, value).map_err(|e| format!("{path} is {}, {value} is needed: {e}", now.trim()))?;
        self.0.push((path, now));
        Ok(())
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        for (path, value) in &self.0 {
            if let Err(error) = fs::write(path, value) {
                eprintln!("{path} was {}, and could not be put back: {error}", value.trim());
            }
        }
    }
}

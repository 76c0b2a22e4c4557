//! Durations as they are written in configuration files: `"1m30s"`, `"25s"`, `"1000ms"`.

use serde::{Deserialize, Deserializer};
use std::fmt;

/// A length of time, never negative, to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number without a unit, such as `"5"`.
    #[error("a unit is missing; write for example \"5s\"")]
    Unit,
    /// A duration below zero.
    #[error("a duration cannot be negative")]
    Negative,
    /// Longer than 292 years, the most that Centrifugo's 64 bits of nanoseconds hold.
    #[error("the duration is too long")]
    TooLong,
    /// Anything else.
    #[error("not a duration; write for example \"300ms\", \"25s\", \"1m30s\" or \"720h\"")]
    Form,
}

impl Duration {
    /// So many seconds.
    #[must_use]
    pub const fn secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    #[must_use]
    pub const fn millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }

    /// So many nanoseconds, which is what a bare number means in a v6 file.
    #[must_use]
    pub const fn nanos(nanoseconds: u64) -> Self {
        Self(std::time::Duration::from_nanos(nanoseconds))
    }

    /// The same as a duration of the standard library.
    #[must_use]
    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    /// Returns true if it is zero, which for most options means "off" or "the default".
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Returns true if it is a whole number of seconds.
    #[must_use]
    pub const fn is_whole_seconds(self) -> bool {
        self.0.subsec_nanos() == 0
    }

    /// Reads numbers with units, largest to smallest or in any order, which add up.
    ///
    /// Units are `ns`, `us`, `µs`, `ms`, `s`, `m` and `h`, the ones of Go's `time.ParseDuration`.
    ///
    /// # Errors
    /// The text is not of that form, is negative, or is too long.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if let Some(positive) = rest.strip_prefix('-') {
            return match Self::parse(positive) {
                Ok(zero) if zero.is_zero() => Ok(zero),
                Ok(_) => Err(DurationError::Negative),
                Err(error) => Err(error),
            };
        }
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(DurationError::Form);
        }
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let (nanos, after) = term(rest)?;
            total = total.checked_add(nanos).ok_or(DurationError::TooLong)?;
            rest = after;
        }
        match u64::try_from(total) {
            Ok(nanos) if i64::try_from(nanos).is_ok() => Ok(Self::nanos(nanos)),
            _ => Err(DurationError::TooLong),
        }
    }
}

/// One number with its unit, in nanoseconds, and what follows.
fn term(text: &str) -> Result<(u128, &str), DurationError> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(DurationError::Form);
    }
    let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" => return Err(DurationError::Unit),
        _ => return Err(DurationError::Form),
    };
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| DurationError::TooLong)? };
    let mut nanos = whole.checked_mul(unit).ok_or(DurationError::TooLong)?;
    let mut scale = unit;
    for digit in fraction.bytes() {
        scale /= 10;
        nanos += u128::from(digit - b'0') * scale;
    }
    Ok((nanos, rest))
}

impl fmt::Display for Duration {
    /// Writes what [`Duration::parse`] reads, in the form that Go prints: `1m30s`, `24h0m0s`, `100ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < 1_000_000_000 {
            let (unit, name) = match nanos {
                0..1_000 => (1, "ns"),
                1_000..1_000_000 => (1_000, "µs"),
                _ => (1_000_000, "ms"),
            };
            return write!(f, "{}{name}", decimal(nanos, unit));
        }
        let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000))
    }
}

/// A count of nanoseconds in units of so many, with as many decimals as it needs.
fn decimal(nanos: u128, unit: u128) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", nanos / unit, nanos % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl From<Duration> for std::time::Duration {
    fn from(value: Duration) -> Self {
        value.0
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos, printed) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("-0s", 0, "0s"),
            ("25s", 25_000_000_000, "25s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("1000ms", 1_000_000_000, "1s"),
            ("720h", 2_592_000_000_000_000, "720h0m0s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            (".5s", 500_000_000, "500ms"),
            ("1.s", 1_000_000_000, "1s"),
            ("+1s", 1_000_000_000, "1s"),
            ("1500us", 1_500_000, "1.5ms"),
            ("7µs", 7_000, "7µs"),
            ("3ns", 3, "3ns"),
            ("61s10ms", 61_010_000_000, "1m1.01s"),
        ] {
            let read = Duration::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(read.get().as_nanos(), nanos, "{text}");
            assert_eq!(read.to_string(), printed, "{text}");
            assert_eq!(Duration::parse(printed), Ok(read), "{printed}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for (text, error) in [
            ("", DurationError::Form),
            ("5", DurationError::Unit),
            ("s", DurationError::Form),
            (".s", DurationError::Form),
            ("1.2.3s", DurationError::Form),
            ("1d", DurationError::Form),
            ("1 s", DurationError::Form),
            ("-1s", DurationError::Negative),
            ("1s-1s", DurationError::Form),
            ("300000000h", DurationError::TooLong),
            ("99999999999999999999999999999999999999999h", DurationError::TooLong),
        ] {
            assert_eq!(Duration::parse(text), Err(error), "{text}");
        }
    }
}

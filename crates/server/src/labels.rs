//! Bounds of the labels that a connection gets at login.

use spinward::publication::Tags;
use thiserror::Error;

/// Most labels of a connection.
const MAX_LABELS: usize = 32;

/// Most bytes of their names and values together. Every connection keeps its own.
const MAX_BYTES: usize = 2_048;

/// Labels that are too many or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum LabelsError {
    /// More than [`MAX_LABELS`].
    #[error("a connection has at most {MAX_LABELS} labels")]
    TooMany,
    /// More than [`MAX_BYTES`].
    #[error("names and values of the labels of a connection have at most {MAX_BYTES} bytes together")]
    TooLong,
}

/// Checks that labels are within the bounds.
///
/// # Errors
/// They are too many or too long.
pub(crate) fn check(labels: &Tags) -> Result<(), LabelsError> {
    if labels.len() > MAX_LABELS {
        return Err(LabelsError::TooMany);
    }
    let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_BYTES { Err(LabelsError::TooLong) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_in_number_and_size() {
        let many = |number: usize| (0..number).map(|at| (format!("l{at}"), String::new())).collect();
        assert_eq!(check(&many(MAX_LABELS)), Ok(()));
        assert_eq!(check(&many(MAX_LABELS + 1)), Err(LabelsError::TooMany));
        let long = |bytes: usize| Tags::from([("name".to_owned(), "v".repeat(bytes - 4))]);
        assert_eq!(check(&long(MAX_BYTES)), Ok(()));
        assert_eq!(check(&long(MAX_BYTES + 1)), Err(LabelsError::TooLong));
    }
}

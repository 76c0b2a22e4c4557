//! Checks one subscription: it gets every publication once and in order, or is notified of a loss.

/// Numbers of a channel that may be there twice: the call was not answered, and made again.
pub(super) type Twice<'a> = &'a dyn Fn(u64) -> bool;

/// State of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    epoch: Option<Box<str>>,
    offset: u64,
    /// Number of the last publication, unless some may have been lost since.
    number: Option<u64>,
}

/// A reply to a subscribe.
#[derive(Default)]
pub(super) struct Entered {
    pub(super) epoch: Box<str>,
    pub(super) offset: u64,
    pub(super) recovered: bool,
    /// Offset and number of each publication.
    pub(super) publications: Vec<(u64, u64)>,
}

impl Seen {
    /// Epoch and offset to recover from.
    pub(super) fn position(&self) -> Option<(&str, u64)> {
        self.epoch.as_deref().map(|epoch| (epoch, self.offset))
    }

    pub(super) fn number(&self) -> Option<u64> {
        self.number
    }

    /// Takes a reply; says whether it announced a loss.
    pub(super) fn on_entered(&mut self, entered: &Entered, twice: Twice<'_>) -> Result<bool, String> {
        if !entered.recovered {
            let announced = self.epoch.is_some();
            *self = Self { epoch: Some(entered.epoch.clone()), offset: entered.offset, number: None };
            return Ok(announced);
        }
        if self.epoch.as_ref() != Some(&entered.epoch) {
            return Err(format!("recovered from epoch {:?} into {}", self.epoch, entered.epoch));
        }
        // A reply that recovers repeats the offset that was asked for, as Centrifugo's does. A publication that it
        // leaves out at the end shows as a gap before the next one.
        if self.offset != entered.offset {
            let (at, said) = (self.offset, entered.offset);
            return Err(format!("asked to recover from offset {at}, the reply says {said}"));
        }
        for &(offset, number) in &entered.publications {
            self.on_publication(offset, number, twice)?;
        }
        Ok(false)
    }

    pub(super) fn on_publication(
        &mut self,
        offset: u64,
        number: u64,
        twice: Twice<'_>,
    ) -> Result<(), String> {
        let last = std::mem::replace(&mut self.offset, offset);
        if offset != last + 1 {
            return Err(format!("offset {offset} after {last}"));
        }
        match self.number.replace(number) {
            Some(before) if number == before + 1 || (number == before && twice(number)) => Ok(()),
            None => Ok(()),
            Some(before) => Err(format!("number {number} after {before} at offset {offset}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Twice<'static> = &|_| false;

    fn entered(epoch: &str, offset: u64, recovered: bool, publications: &[(u64, u64)]) -> Entered {
        Entered { epoch: epoch.into(), offset, recovered, publications: publications.to_vec() }
    }

    fn at_five() -> Seen {
        let mut seen = Seen::default();
        assert_eq!(seen.on_entered(&entered("a", 4, false, &[]), NEVER), Ok(false));
        assert_eq!(seen.on_publication(5, 50, NEVER), Ok(()));
        seen
    }

    #[test]
    fn what_is_in_order_passes() {
        let mut seen = at_five();
        assert_eq!(seen.on_publication(6, 51, NEVER), Ok(()));
        assert_eq!(seen.on_entered(&entered("a", 6, true, &[(7, 52), (8, 53)]), NEVER), Ok(false));
        assert_eq!((seen.position(), seen.number()), (Some(("a", 8)), Some(53)));
        assert_eq!(seen.on_entered(&entered("b", 2, false, &[]), NEVER), Ok(true));
        assert_eq!(seen.on_publication(3, 70, NEVER), Ok(()));
    }

    #[test]
    fn a_gap_and_a_repetition_are_found() {
        assert!(at_five().on_publication(7, 52, NEVER).is_err());
        assert!(at_five().on_publication(5, 50, NEVER).is_err());
        assert!(at_five().on_publication(6, 52, NEVER).is_err());
        assert!(at_five().on_publication(6, 50, NEVER).is_err());
        assert!(at_five().on_publication(6, 50, &|number| number == 50).is_ok());
    }

    #[test]
    fn a_recovery_that_leaves_something_out_is_found() {
        assert!(at_five().on_entered(&entered("a", 5, true, &[(7, 52)]), NEVER).is_err());
        assert!(at_five().on_entered(&entered("a", 7, true, &[]), NEVER).is_err());
        let mut seen = at_five();
        assert_eq!(seen.on_entered(&entered("a", 5, true, &[(6, 51)]), NEVER), Ok(false));
        assert!(seen.on_publication(8, 53, NEVER).is_err());
        assert!(at_five().on_entered(&entered("b", 5, true, &[]), NEVER).is_err());
    }
}

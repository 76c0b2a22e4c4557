//! Decimals as tags hold them, compared exactly.

use std::cmp::Ordering;

/// The longest number, in characters, and the most digits after the point that Centrifugo v6.9 reads.
const LONGEST: usize = 200;
const MOST_DECIMALS: usize = 19;

/// A decimal over borrowed digits. Equal numbers have equal representations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal<'a> {
    /// Never set for zero.
    negative: bool,
    /// Digits before the point, no zeros in front.
    whole: &'a str,
    /// Digits after the point, no zeros at the end.
    fraction: &'a str,
}

impl<'a> Decimal<'a> {
    /// Reads an optional sign, at least one digit, and optionally a point with 1 to 19 digits. No spaces, no
    /// exponent, no names of infinities.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, fraction)) if fraction.is_empty() || fraction.len() > MOST_DECIMALS => return None,
            Some(parts) => parts,
            None => (digits, ""),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let zero = whole.is_empty() && fraction.is_empty();
        Some(Self { negative: negative && !zero, whole, fraction })
    }
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Without leading zeros a longer whole part is a larger one; fractions compare digit by digit.
        let magnitude = (self.whole.len(), self.whole, self.fraction).cmp(&(
            other.whole.len(),
            other.whole,
            other.fraction,
        ));
        match (self.negative, other.negative) {
            (false, false) => magnitude,
            (true, true) => magnitude.reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A decimal that owns its digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OwnedDecimal {
    negative: bool,
    whole: Box<str>,
    fraction: Box<str>,
}

impl OwnedDecimal {
    /// Bytes held outside of the number itself.
    pub(super) fn weight(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    pub(super) fn borrow(&self) -> Decimal<'_> {
        Decimal { negative: self.negative, whole: &self.whole, fraction: &self.fraction }
    }
}

impl From<Decimal<'_>> for OwnedDecimal {
    fn from(decimal: Decimal<'_>) -> Self {
        Self { negative: decimal.negative, whole: decimal.whole.into(), fraction: decimal.fraction.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_a_number() {
        for (text, same) in [
            ("0", "-0.0"),
            ("9", "+9"),
            ("9", "009.000"),
            ("-1.50", "-1.5"),
            ("0.1", "00.10"),
            ("1234567890123456789012345678901234567890.5", "1234567890123456789012345678901234567890.50"),
            ("0.1234567890123456789", "+0.1234567890123456789"),
        ] {
            assert!(Decimal::parse(text).is_some(), "{text}");
            assert_eq!(Decimal::parse(text), Decimal::parse(same), "{text} {same}");
        }
        let (longest, over) = ("1".repeat(200), "1".repeat(201));
        assert!(Decimal::parse(&longest).is_some());
        for text in [
            "",
            "+",
            "-",
            ".",
            ".5",
            "5.",
            "-.5",
            "+-1",
            "--1",
            " 9",
            "9 ",
            "1e1",
            "0x9",
            "1_0",
            "1.2.3",
            "NaN",
            "inf",
            "abc",
            "é",
            "٣",
            "0.12345678901234567890",
            &over,
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn order_is_that_of_integers(a in any::<i64>(), b in any::<i64>(), point in 0_usize..20) {
            let text = |number: i64| {
                let sign = if number < 0 { "-" } else { "" };
                let digits = format!("{:0>20}", number.unsigned_abs());
                let (whole, fraction) = digits.split_at(20 - point);
                if point == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
            };
            let (a_text, b_text) = (text(a), text(b));
            let (x, y) = (Decimal::parse(&a_text).unwrap(), Decimal::parse(&b_text).unwrap());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b), "{} {}", a_text, b_text);
        }
    }
}

//! The few fields of a certificate (RFC 5280 §4.1) that tell whether it can serve.

use std::ops::Range;

/// Facts about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Seconds since 1970 from which and until which it holds.
    pub(super) valid: Range<i64>,
    /// Names as they are encoded, to be compared.
    pub(super) issuer: Vec<u8>,
    pub(super) subject: Vec<u8>,
    /// It may sign other certificates. Those of version 1 do not say, and are taken as roots.
    pub(super) is_ca: bool,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OBJECT: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// Reads a certificate in DER. `None` if it is not a certificate.
pub(super) fn facts(certificate: &[u8]) -> Option<Facts> {
    let mut outer = Der(certificate);
    let mut signed = Der(Der(outer.take(SEQUENCE)?).take(SEQUENCE)?);
    let version = signed.optional(VERSION);
    signed.take(INTEGER)?;
    signed.take(SEQUENCE)?;
    let issuer = signed.take(SEQUENCE)?.to_vec();
    let mut validity = Der(signed.take(SEQUENCE)?);
    let valid = validity.time()?..validity.time()?;
    let subject = signed.take(SEQUENCE)?.to_vec();
    signed.take(SEQUENCE)?;
    let mut is_ca = version.is_none();
    while let Some((tag, content)) = signed.any() {
        if tag == EXTENSIONS {
            is_ca = constraints(Der(Der(content).take(SEQUENCE)?))?;
        }
    }
    Some(Facts { valid, issuer, subject, is_ca })
}

/// Finds the basic constraints among extensions. Without them a certificate signs no others.
fn constraints(mut extensions: Der<'_>) -> Option<bool> {
    while let Some((_, content)) = extensions.any() {
        let mut extension = Der(content);
        if extension.take(OBJECT)? != BASIC_CONSTRAINTS {
            continue;
        }
        let _critical = extension.optional(BOOLEAN);
        let mut constraints = Der(Der(extension.take(OCTETS)?).take(SEQUENCE)?);
        return Some(constraints.optional(BOOLEAN).is_some_and(|value| value != [0]));
    }
    Some(false)
}

/// DER values one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Tag and content of the next value.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if *first >= 0x80 {
            let count = usize::from(*first & 0x7f);
            if count == 0 || count > 4 {
                return None;
            }
            let (bytes, after) = rest.split_at_checked(count)?;
            length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// The next value if it has this tag.
    fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&tag) { self.take(tag) } else { None }
    }

    fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.any()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        let number = |part: &str| part.parse::<u32>().ok();
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = text.split_at_checked(2)?;
                let year = i64::from(number(year)?);
                // RFC 5280 §4.1.2.5.1
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = text.split_at_checked(4)?;
                (i64::from(number(year)?), rest)
            }
            _ => return None,
        };
        let mut parts = [0_i64; 5];
        for (at, part) in parts.iter_mut().enumerate() {
            *part = i64::from(number(rest.get(2 * at..2 * at + 2)?)?);
        }
        let [month, day, hour, minute, second] = parts;
        Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March end with the leap day.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let of_years = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    of_years + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_since_1970() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(1969, 12, 31), -1);
        assert_eq!(days(2000, 2, 29), 11_016);
        assert_eq!(days(2000, 3, 1), 11_017);
        assert_eq!(days(2026, 11, 29), 20_786);
        assert_eq!(days(2100, 3, 1), 47_541);
    }

    #[test]
    fn fields_of_certificates() {
        use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};
        for (is_ca, expected) in [
            (IsCa::NoCa, false),
            (IsCa::ExplicitNoCa, false),
            (IsCa::Ca(BasicConstraints::Unconstrained), true),
            (IsCa::Ca(BasicConstraints::Constrained(1)), true),
        ] {
            let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, "a");
            params.not_before = date_time_ymd(1999, 12, 31);
            params.not_after = date_time_ymd(2051, 3, 1);
            params.is_ca = is_ca;
            let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
            let facts = facts(&der).unwrap();
            assert_eq!(facts.valid, days(1999, 12, 31) * 86_400..days(2051, 3, 1) * 86_400);
            assert_eq!(facts.issuer, facts.subject);
            assert_eq!(facts.is_ca, expected);
            for len in 0..der.len() {
                assert_eq!(super::facts(&der[..len]), None, "cut off at {len}");
            }
        }
    }

    #[test]
    fn no_bytes_are_read_beyond_their_value() {
        for bytes in
            [&[][..], &[0x30], &[0x30, 0x80], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x84, 255, 255, 255, 255]]
        {
            assert_eq!(facts(bytes), None, "{bytes:?}");
        }
    }
}

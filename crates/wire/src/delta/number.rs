//! Numbers in base 64, most significant digit first, with Fossil's own order of digits.

use super::DeltaError;

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/// Values by byte, 64 if the byte is not a digit.
const VALUES: [u8; 256] = {
    let mut values = [64; 256];
    let mut digit = 0;
    while digit < 64 {
        values[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

/// Appends a number without leading zeros.
pub(super) fn append(number: u64, out: &mut Vec<u8>) {
    let mut digits = number.checked_ilog2().unwrap_or(0) / 6 + 1;
    while digits > 0 {
        digits -= 1;
        out.push(DIGITS[(number >> (digits * 6)) as usize & 63]);
    }
}

/// Takes a number of at least one digit from the front of `rest`.
pub(super) fn take(rest: &mut &[u8]) -> Result<u64, DeltaError> {
    let (mut number, mut digits) = (0_u64, 0);
    for byte in *rest {
        let value = VALUES[usize::from(*byte)];
        if value == 64 {
            break;
        }
        if number >> 58 != 0 {
            return Err(DeltaError::Number);
        }
        number = number << 6 | u64::from(value);
        digits += 1;
    }
    if digits == 0 {
        return Err(if rest.is_empty() { DeltaError::Truncated } else { DeltaError::Number });
    }
    *rest = &rest[digits..];
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_fossil_writes_them() {
        for (number, text) in [
            (0, "0"),
            (9, "9"),
            (10, "A"),
            (36, "_"),
            (37, "a"),
            (63, "~"),
            (64, "10"),
            (4_095, "~~"),
            (4_096, "100"),
            (u64::from(u32::MAX), "3~~~~~"),
            (u64::MAX, "F~~~~~~~~~~"),
        ] {
            let mut out = Vec::new();
            append(number, &mut out);
            assert_eq!(out, text.as_bytes());
            out.push(b'@');
            let mut rest = &out[..];
            assert_eq!(take(&mut rest), Ok(number));
            assert_eq!(rest, b"@");
        }
    }

    #[test]
    fn what_is_no_number() {
        assert_eq!(take(&mut &b""[..]), Err(DeltaError::Truncated));
        assert_eq!(take(&mut &b"@"[..]), Err(DeltaError::Number));
        assert_eq!(take(&mut &b"G0000000000"[..]), Err(DeltaError::Number));
        assert_eq!(take(&mut &b"00000000000000000000001:"[..]), Ok(1));
    }
}

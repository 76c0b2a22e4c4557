//! Fossil delta: a target described in terms of a source.
//!
//! The format is the one of the Fossil version control system ("Fossil Delta Format", fossil-scm.org), and
//! what Centrifugo's SDKs apply when a subscription agreed on `delta: "fossil"`. A delta is text but for
//! the literals in it: the target's length and a line feed; then `N@O,` (copy N bytes from offset O of the
//! source) and `N:` (the next N bytes are literal) in any number; then `N;`, the checksum of the target. Numbers are
//! written in base 64, with a digit order of its own.
//!
//! [`create`] looks for what the target has in common with the source in three steps: the common beginning
//! and end; then windows of 16 bytes of the target among evenly spaced windows of the source; each window
//! found is stretched both ways. Time is linear in the sum of the lengths.

mod index;
mod number;

use index::{Index, WINDOW, common_prefix, common_suffix};

/// Reason that a delta cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// The delta ends before its checksum.
    #[error("delta ends early")]
    Truncated,
    /// A number is missing, or exceeds 64 bits.
    #[error("malformed number in delta")]
    Number,
    /// The length is not followed by a line feed, or a copy's offset not by a comma.
    #[error("malformed delta")]
    Malformed,
    /// A command other than `@`, `:` and `;`.
    #[error("unknown delta command {0:#04x}")]
    Command(u8),
    /// The target would be longer than the caller allows.
    #[error("delta makes {size} bytes, {limit} are allowed")]
    TooLarge {
        /// Bytes the delta announces.
        size: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// A copy reaches beyond the source.
    #[error("delta copies from beyond its source")]
    Source,
    /// The commands make another number of bytes than announced.
    #[error("delta makes another length than it announces")]
    Length,
    /// The checksum differs: most likely the delta was made for another source.
    #[error("delta checksum differs")]
    Checksum,
    /// Bytes follow the checksum.
    #[error("bytes after the end of delta")]
    Trailing,
}

/// Appends the delta that turns `source` into `target`.
///
/// Below 1 GiB the result is never longer than `target` and 20 bytes; any applier of the format takes it. Whether it
/// is worth sending is for the caller to see from its length.
pub fn create(source: &[u8], target: &[u8], out: &mut Vec<u8>) {
    number::append(target.len() as u64, out);
    out.push(b'\n');

    let mut writer = Writer { target, told: 0, copy: None, out };
    let prefix = common_prefix(source, target);
    let suffix = common_suffix(&source[prefix..], &target[prefix..]);
    let middle = target.len() - suffix;
    writer.copy_if_worth(0, 0, prefix);
    copy_matches(source, &target[..middle], prefix, &mut writer);
    writer.copy_if_worth(source.len() - suffix, middle, suffix);
    writer.finish();
}

/// Rebuilds the target. `limit` bounds its length, and so the memory used.
///
/// # Errors
/// Anything that is wrong with the delta, [`DeltaError::TooLarge`] before memory is taken.
pub fn apply(source: &[u8], patch: &[u8], limit: usize) -> Result<Vec<u8>, DeltaError> {
    let mut rest = patch;
    let size = number::take(&mut rest)?;
    expect(&mut rest, b'\n')?;
    let Some(size) = usize::try_from(size).ok().filter(|size| *size <= limit) else {
        return Err(DeltaError::TooLarge { size, limit });
    };

    let mut target = Vec::with_capacity(size);
    loop {
        let n = number::take(&mut rest)?;
        let (&command, after) = rest.split_first().ok_or(DeltaError::Truncated)?;
        rest = after;
        let piece = match command {
            b'@' => {
                let offset = number::take(&mut rest)?;
                expect(&mut rest, b',')?;
                slice(source, offset, n).ok_or(DeltaError::Source)?
            }
            b':' => {
                let literal = slice(rest, 0, n).ok_or(DeltaError::Truncated)?;
                rest = &rest[literal.len()..];
                literal
            }
            b';' => {
                if target.len() != size {
                    return Err(DeltaError::Length);
                }
                if n != u64::from(checksum(&target)) {
                    return Err(DeltaError::Checksum);
                }
                return if rest.is_empty() { Ok(target) } else { Err(DeltaError::Trailing) };
            }
            other => return Err(DeltaError::Command(other)),
        };
        if piece.len() > size - target.len() {
            return Err(DeltaError::Length);
        }
        target.extend_from_slice(piece);
    }
}

/// Copies what is found of `target[from..]` in the source.
fn copy_matches(source: &[u8], target: &[u8], from: usize, writer: &mut Writer<'_>) {
    if target.len() - from < WINDOW || source.len() < WINDOW {
        return;
    }
    let index = Index::new(source);
    let mut at = from;
    while let Some(window) = target[at..].first_chunk() {
        match index.longest(window, target, at, writer.told) {
            Some(found) => {
                writer.copy(found.source, found.target, found.len);
                at = found.target + found.len;
            }
            None => at += 1,
        }
    }
}

/// Writes commands; what lies between copies becomes literals.
struct Writer<'a> {
    target: &'a [u8],
    /// The target is encoded up to here.
    told: usize,
    /// The last copy, not yet written because the next may continue it: offset and length in the source.
    copy: Option<(usize, usize)>,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn copy(&mut self, source: usize, target: usize, len: usize) {
        if let Some((offset, copied)) = &mut self.copy
            && target == self.told
            && *offset + *copied == source
        {
            *copied += len;
        } else {
            self.flush_copy();
            self.literal(target);
            self.copy = Some((source, len));
        }
        self.told = target + len;
    }

    /// A copy shorter than a window may cost more than its bytes, unless it continues the last one.
    fn copy_if_worth(&mut self, source: usize, target: usize, len: usize) {
        let continues =
            target == self.told && self.copy.is_some_and(|(offset, copied)| offset + copied == source);
        if len >= WINDOW || (continues && len > 0) {
            self.copy(source, target, len);
        }
    }

    fn flush_copy(&mut self) {
        if let Some((offset, len)) = self.copy.take() {
            number::append(len as u64, self.out);
            self.out.push(b'@');
            number::append(offset as u64, self.out);
            self.out.push(b',');
        }
    }

    fn literal(&mut self, end: usize) {
        let literal = &self.target[self.told..end];
        if !literal.is_empty() {
            number::append(literal.len() as u64, self.out);
            self.out.push(b':');
            self.out.extend_from_slice(literal);
        }
    }

    fn finish(mut self) {
        self.flush_copy();
        self.literal(self.target.len());
        number::append(checksum(self.target).into(), self.out);
        self.out.push(b';');
    }
}

/// The sum of the bytes as big-endian 32-bit words, the last one filled up with zeros.
fn checksum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().fold(u32::from_be_bytes(last), |sum, word| sum.wrapping_add(u32::from_be_bytes(*word)))
}

fn slice(bytes: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    bytes.get(start..end)
}

fn expect(rest: &mut &[u8], byte: u8) -> Result<(), DeltaError> {
    match rest.split_first() {
        Some((first, after)) if *first == byte => {
            *rest = after;
            Ok(())
        }
        Some(_) => Err(DeltaError::Malformed),
        None => Err(DeltaError::Truncated),
    }
}

#[cfg(test)]
mod tests;

//! The file of revocations: a log with one JSON object a line.
//!
//! A record is in the file as a whole or not at all. Where one cannot be written, what there is of it is cut off
//! again; what the file lacks then is written with one of the next records. At start, a file that lost such a
//! cut, as in a crash, is read as far as it can be: half a line is left out, and what follows it is found.

use super::revoke::{Revocation, Revocations, StoreError};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A record.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Record {
    Revoke(Revocation),
    Unblock { unblock_user: String },
}

/// Possible beginnings of a record.
const BEGINNINGS: [&[u8]; 2] = [b"{\"kind\":\"", b"{\"unblock_user\":\""];

/// The log grows by at least so many records before it is written again without what has ended.
const SLACK: usize = 256;

/// Destination of records.
pub(super) trait Medium: Send {
    /// Appends bytes; an error may leave some of them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns once everything that was appended is on disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts off everything behind so many bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

impl Medium for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// A log that is open for appending.
pub(super) struct Log {
    path: PathBuf,
    medium: Box<dyn Medium>,
    /// Bytes of whole records.
    length: u64,
    records: usize,
    /// So many records are a reason to write the log again.
    limit: usize,
    /// Records are missing, or there is more behind the whole ones than could be cut off.
    damaged: bool,
}

impl Log {
    /// Writes a log of what has not ended in the place of the former one.
    pub(super) fn write(path: &Path, state: &Revocations, now: i64) -> io::Result<Self> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        let all = state.snapshot(now);
        let mut text = Vec::new();
        for revocation in &all {
            serde_json::to_writer(&mut text, revocation)?;
            text.push(b'\n');
        }
        let written = write_private(&fresh, &text).and_then(|()| fs::rename(&fresh, path));
        if let Err(error) = written {
            // What there is of it takes room that may be missing elsewhere.
            let _ = fs::remove_file(&fresh);
            return Err(error);
        }
        sync_folder(path)?;
        let medium = Box::new(OpenOptions::new().append(true).open(path)?);
        let records = all.len();
        let limit = 2 * records + SLACK;
        Ok(Self { path: path.to_owned(), medium, length: text.len() as u64, records, limit, damaged: false })
    }

    /// Adds a record, and with it whatever is missing before it. Without a record, it only adds what is missing.
    ///
    /// # Errors
    /// It is not on disk.
    pub(super) fn add(&mut self, record: Option<&Record>, state: &Revocations, now: i64) -> io::Result<()> {
        if let Some(record) = record {
            // A try that costs little, and fails as long as the disk is full.
            self.append(record)?;
        }
        let grown = self.records > self.limit;
        if !grown && !self.damaged {
            return Ok(());
        }
        match Self::write(&self.path, state, now) {
            Ok(fresh) => *self = fresh,
            Err(error) if record.is_some() => {
                tracing::warn!(%error, file = %self.path.display(), "cannot rewrite the revocation file");
                self.limit = self.records + SLACK;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut text = serde_json::to_vec(record)?;
        text.push(b'\n');
        let length = self.length;
        if self.damaged {
            self.medium.truncate(length)?;
        }
        match self.medium.append(&text).and_then(|()| self.medium.sync()) {
            Ok(()) => {
                self.length += text.len() as u64;
                self.records += 1;
                Ok(())
            }
            Err(error) => {
                self.damaged = true;
                // Where this fails too, it is tried again before the next record.
                let _ = self.medium.truncate(length);
                Err(error)
            }
        }
    }
}

/// Writes a file that only its owner can read, to the disk.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A renamed file is there after a crash once its folder is on disk as well.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Contents of a file.
pub(super) struct Loaded {
    pub(super) state: Revocations,
    /// Numbers of lines that were not whole, and how many records were found in them.
    pub(super) mended: Vec<usize>,
    pub(super) found: usize,
}

/// Reads a file; one that does not exist holds nothing.
///
/// # Errors
/// It cannot be read, or is not a file of revocations.
pub(super) fn load(path: &Path, limit: usize, now: i64) -> Result<Loaded, StoreError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(path, &error)),
    };
    let mut loaded = Loaded { state: Revocations::new(limit), mended: Vec::new(), found: 0 };
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        // A file system that lost its journal may have filled up a line that was never written.
        let line = line.trim_ascii_end();
        let line =
            line.strip_prefix(b"\0").map_or(line, |_| &line[line.iter().take_while(|b| **b == 0).count()..]);
        if line.is_empty() {
            continue;
        }
        if let Ok(record) = serde_json::from_slice(line) {
            apply(&mut loaded.state, record, now)?;
            continue;
        }
        if !is_of_a_record(line) {
            let path = path.display();
            return Err(StoreError::Failed(format!("{path}: line {} is not a revocation", at + 1)));
        }
        loaded.mended.push(at + 1);
        for record in whole_records(line) {
            loaded.found += 1;
            apply(&mut loaded.state, record, now)?;
        }
    }
    Ok(loaded)
}

fn apply(state: &mut Revocations, record: Record, now: i64) -> Result<(), StoreError> {
    match record {
        Record::Revoke(revocation) => state.revoke(revocation, now),
        Record::Unblock { unblock_user } => {
            state.unblock_user(&unblock_user);
            Ok(())
        }
    }
}

/// Returns true if an invalid line begins like a record, so that it is the remains of one.
fn is_of_a_record(line: &[u8]) -> bool {
    BEGINNINGS.iter().any(|beginning| line.starts_with(beginning) || beginning.starts_with(line))
}

/// The records that are whole in a line where others are not. In the names of a record no beginning of another can
/// be found, since their quotes are escaped.
fn whole_records(line: &[u8]) -> Vec<Record> {
    let starts = (0..line.len()).filter(|at| BEGINNINGS.iter().any(|start| line[*at..].starts_with(start)));
    let first = |at| serde_json::Deserializer::from_slice(&line[at..]).into_iter::<Record>().next();
    starts.filter_map(first).filter_map(Result::ok).collect()
}

pub(super) fn failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
#[path = "revoke_log_tests.rs"]
mod tests;

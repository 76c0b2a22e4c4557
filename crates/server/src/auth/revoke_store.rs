//! Revocations in memory, and in a file if they are to survive a restart.
//!
//! A revocation is on disk before the call that made it is answered. One that cannot be written is answered with an
//! error and holds all the same, as long as this process runs; the file gets it with one of the next records.

use super::reason::Refusal;
use super::revoke::{Revocation, RevocationStore, Revocations, StoreError, Subject};
use super::revoke_log::{Log, Record, failed, load};
use parking_lot::{Mutex, RwLock};
use std::path::{Path, PathBuf};

/// Revocations in the memory of this process.
pub struct MemoryStore {
    state: RwLock<Revocations>,
    /// Locked before `state`, so that the log has the order in which things were done.
    log: Mutex<Option<Log>>,
    path: PathBuf,
}

impl MemoryStore {
    /// A store that ends with the process and holds at most so many entries.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { state: RwLock::new(Revocations::new(limit)), log: Mutex::new(None), path: PathBuf::new() }
    }

    /// Returns the contents of a file, read-only: the file is not written, whatever is done to the store. A missing
    /// file counts as empty.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path, limit: usize, now: i64) -> Result<Self, StoreError> {
        Ok(Self {
            state: RwLock::new(load(path, limit, now)?.state),
            log: Mutex::new(None),
            path: PathBuf::new(),
        })
    }

    /// A store that is kept in a file, by one process alone. The file is created if it is missing.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else. Lines that are not whole, as a crash or a full
    /// disk leaves them, are left out, and the log says so.
    pub fn open(path: &Path, limit: usize, now: i64) -> Result<Self, StoreError> {
        let loaded = load(path, limit, now)?;
        if !loaded.mended.is_empty() {
            tracing::warn!(
                file = %path.display(),
                lines = ?loaded.mended,
                found = loaded.found,
                "damaged lines in the revocation file: readable entries apply, the rest is lost"
            );
        }
        let log = Log::write(path, &loaded.state, now).map_err(|error| failed(path, &error))?;
        let (state, log) = (RwLock::new(loaded.state), Mutex::new(Some(log)));
        Ok(Self { state, log, path: path.to_owned() })
    }

    /// Entries, some of which may have ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.read().len()
    }

    /// Returns true if there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn record(&self, log: &mut Option<Log>, record: Option<&Record>, now: i64) -> Result<(), StoreError> {
        let Some(log) = log else { return Ok(()) };
        log.add(record, &self.state.read(), now).map_err(|error| failed(&self.path, &error))
    }
}

impl RevocationStore for MemoryStore {
    fn check(&self, subject: &Subject<'_>, now: i64) -> Result<(), Refusal> {
        self.state.read().check(subject, now)
    }

    fn revoke(&self, revocation: Revocation, now: i64) -> Result<(), StoreError> {
        let mut log = self.log.lock();
        // It holds from here on, even if it cannot be written.
        self.state.write().revoke(revocation.clone(), now)?;
        self.record(&mut log, Some(&Record::Revoke(revocation)), now)
    }

    fn unblock_user(&self, user: &str, now: i64) -> Result<(), StoreError> {
        let mut log = self.log.lock();
        let was_blocked = self.state.write().unblock_user(user);
        let record = was_blocked.then(|| Record::Unblock { unblock_user: user.to_owned() });
        // Without a block there is nothing to record, save for an end of it that could not be written before.
        self.record(&mut log, record.as_ref(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::reason::Reason;
    use std::fs;

    /// A file in a folder of its own, removed in the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("spinward-revoke-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn file(&self) -> PathBuf {
            self.0.join("revocations.jsonl")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn token(uid: &str, expire_at: i64) -> Revocation {
        Revocation::Token { uid: uid.into(), expire_at }
    }

    fn block(user: &str) -> Revocation {
        Revocation::User { user: user.into(), expire_at: 0 }
    }

    fn user(user: &str) -> Subject<'_> {
        Subject { user, ..Subject::default() }
    }

    #[test]
    fn revocations_survive_a_restart() {
        let place = Place::new("restart");
        let store = MemoryStore::open(&place.file(), 100, 0).unwrap();
        store.revoke(token("j", 100), 0).unwrap();
        store.revoke(token("short", 10), 0).unwrap();
        store.revoke(block("u"), 0).unwrap();
        store.revoke(block("v"), 0).unwrap();
        store.unblock_user("v", 0).unwrap();
        store.unblock_user("never", 0).unwrap();
        drop(store);
        let store = MemoryStore::open(&place.file(), 100, 50).unwrap();
        assert_eq!(store.check(&user("u"), 50).unwrap_err().reason, Reason::UserBlocked);
        assert_eq!(store.check(&user("v"), 50), Ok(()));
        let by_jti = Subject { jti: Some("j"), ..Subject::default() };
        assert_eq!(store.check(&by_jti, 50).unwrap_err().reason, Reason::Revoked);
        assert_eq!(store.len(), 2, "what has ended is not kept");
        let text = fs::read(place.file()).unwrap();
        let look = MemoryStore::read(&place.file(), 100, 50).unwrap();
        assert!(look.check(&user("u"), 50).is_err());
        look.revoke(block("w"), 50).unwrap();
        assert_eq!(fs::read(place.file()).unwrap(), text, "a look changes nothing");
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_another_file_is_refused() {
        let place = Place::new("torn");
        let store = MemoryStore::open(&place.file(), 100, 0).unwrap();
        store.revoke(block("u"), 0).unwrap();
        let mut text = fs::read(place.file()).unwrap();
        text.extend_from_slice(b"{\"kind\":\"user\",\"user\":\"\xc3");
        fs::write(place.file(), &text).unwrap();
        let store = MemoryStore::open(&place.file(), 100, 0).unwrap();
        assert!(store.check(&user("u"), 0).is_err());
        store.revoke(block("v"), 0).unwrap();
        assert_eq!(MemoryStore::open(&place.file(), 100, 0).unwrap().len(), 2);
        fs::write(place.file(), "{\"kind\":\"user\",\"user\":\"u\",\"expire_at\":0}\nhello\n").unwrap();
        let error = MemoryStore::open(&place.file(), 100, 0).err().unwrap();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(MemoryStore::open(&place.0.join("no/such/folder"), 100, 0).is_err());
    }

    #[test]
    fn the_log_is_written_anew_when_it_is_mostly_past() {
        let place = Place::new("anew");
        let store = MemoryStore::open(&place.file(), 100, 0).unwrap();
        for now in 0..700 {
            store.revoke(token(&format!("j{now}"), now + 10), now).unwrap();
        }
        let lines = fs::read_to_string(place.file()).unwrap().lines().count();
        assert!(lines < 600, "{lines}");
        let again = MemoryStore::open(&place.file(), 100, 699).unwrap();
        let last = Subject { jti: Some("j699"), ..Subject::default() };
        assert!(again.check(&last, 700).is_err());
    }

    #[test]
    fn without_a_file_it_ends_with_the_process() {
        let store = MemoryStore::new(10);
        store.revoke(block("u"), 0).unwrap();
        assert!(store.check(&user("u"), 0).is_err());
        assert!(!store.is_empty());
    }
}

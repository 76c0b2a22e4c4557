use super::*;
use crate::auth::revoke::Subject;
use parking_lot::Mutex;
use proptest::prelude::*;
use std::sync::Arc;

/// A disk with room for so many bytes, which takes what fits before it fails.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    room: usize,
    cannot_sync: bool,
    cannot_cut: bool,
}

impl Medium for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let fits = bytes.len().min(state.room.saturating_sub(state.bytes.len()));
        state.bytes.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.0.lock().cannot_sync { Err(io::Error::other("no sync")) } else { Ok(()) }
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.cannot_cut {
            return Err(io::Error::other("no truncation"));
        }
        state.bytes.truncate(length as usize);
        Ok(())
    }
}

/// A folder of its own, removed in the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("spinward-log-{name}-{}", std::process::id()));
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

fn block(user: &str) -> Record {
    Record::Revoke(Revocation::User { user: user.into(), expire_at: 0 })
}

fn line(record: &Record) -> Vec<u8> {
    let mut line = serde_json::to_vec(record).unwrap();
    line.push(b'\n');
    line
}

fn is_blocked(state: &Revocations, user: &str) -> bool {
    state.check(&Subject { user, ..Subject::default() }, 0).is_err()
}

/// A log on a disk of the test; it is written again to `path`.
fn log(path: PathBuf, disk: &Disk) -> Log {
    Log { path, medium: Box::new(disk.clone()), length: 0, records: 0, limit: usize::MAX, damaged: false }
}

#[test]
fn a_record_is_written_whole_or_not_at_all() {
    let place = Place::new("whole");
    let one = line(&block("u1"));
    for room in 0..3 * one.len() {
        let disk = Disk::default();
        disk.0.lock().room = room;
        // Writing the file again fails too, for want of a folder.
        let mut log = log(place.0.join("none/file"), &disk);
        let mut state = Revocations::new(10);
        for user in ["u1", "u2"] {
            let record = block(user);
            apply(&mut state, serde_json::from_slice(&line(&record)).unwrap(), 0).unwrap();
            let fits = disk.0.lock().bytes.len() + one.len() <= room;
            assert_eq!(log.add(Some(&record), &state, 0).is_ok(), fits, "{user} with {room} bytes");
            assert!(disk.0.lock().bytes.len().is_multiple_of(one.len()), "half a line with {room} bytes");
        }
        // There is room again: the next record is whole.
        disk.0.lock().room = usize::MAX;
        log.add(Some(&block("u3")), &state, 0).unwrap();
        let bytes = disk.0.lock().bytes.clone();
        assert!(bytes.ends_with(&line(&block("u3"))) && bytes.len().is_multiple_of(one.len()));
    }
}

#[test]
fn what_was_not_written_is_written_with_a_later_record() {
    let place = Place::new("later");
    let disk = Disk::default();
    let mut log = log(place.file(), &disk);
    let mut state = Revocations::new(10);
    apply(&mut state, block("u1"), 0).unwrap();
    assert!(log.add(Some(&block("u1")), &state, 0).is_err());
    disk.0.lock().room = 1 << 20;
    apply(&mut state, block("u2"), 0).unwrap();
    log.add(Some(&block("u2")), &state, 0).unwrap();
    let loaded = load(&place.file(), 10, 0).unwrap();
    assert!(is_blocked(&loaded.state, "u1") && is_blocked(&loaded.state, "u2"));
    assert!(loaded.mended.is_empty());
}

#[test]
fn what_cannot_be_cut_off_is_cut_off_before_the_next_record() {
    let place = Place::new("cut");
    let disk = Disk::default();
    *disk.0.lock() = State { room: 10, cannot_cut: true, ..State::default() };
    let mut log = log(place.0.join("none/file"), &disk);
    let state = Revocations::new(10);
    assert!(log.add(Some(&block("u1")), &state, 0).is_err());
    disk.0.lock().room = usize::MAX;
    assert!(log.add(Some(&block("u2")), &state, 0).is_err(), "nothing is glued to the half");
    assert_eq!(disk.0.lock().bytes.len(), 10);
    disk.0.lock().cannot_cut = false;
    log.add(Some(&block("u3")), &state, 0).unwrap();
    assert_eq!(disk.0.lock().bytes, line(&block("u3")));
}

#[test]
fn a_record_that_is_not_on_disk_is_no_record() {
    let disk = Disk::default();
    *disk.0.lock() = State { room: usize::MAX, cannot_sync: true, ..State::default() };
    let mut log = log(PathBuf::from("/none/file"), &disk);
    assert!(log.add(Some(&block("u1")), &Revocations::new(10), 0).is_err());
    assert!(disk.0.lock().bytes.is_empty());
}

#[test]
fn half_and_glued_lines_are_mended() {
    let place = Place::new("glued");
    let (one, two, three) = (line(&block("u1")), line(&block("u2")), line(&block("u3")));
    let half = &one[..one.len() - 8];
    for (text, users, mended) in [
        ([&one[..], &two[..two.len() - 3]].concat(), &["u1"][..], &[2][..]),
        ([&two[..], half, &three[..]].concat(), &["u2", "u3"], &[2]),
        ([&one[..one.len() - 1], &two[..], &three[..]].concat(), &["u1", "u2", "u3"], &[1]),
        ([&one[..], &[0; 512], &two[..]].concat(), &["u1", "u2"], &[]),
        ([&one[..], &two[..two.len() - 1]].concat(), &["u1", "u2"], &[]),
    ] {
        fs::write(place.file(), &text).unwrap();
        let loaded = load(&place.file(), 10, 0).unwrap();
        let shown = String::from_utf8_lossy(&text);
        let blocked: Vec<_> =
            ["u1", "u2", "u3"].into_iter().filter(|user| is_blocked(&loaded.state, user)).collect();
        assert_eq!((&blocked[..], &loaded.mended[..]), (users, mended), "{shown}");
    }
    for other in ["hello\n", "{\"a\":1}\n", "{}\n"] {
        fs::write(place.file(), other).unwrap();
        assert!(load(&place.file(), 10, 0).is_err(), "{other}");
    }
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new("mode");
    fs::write(place.file(), "").unwrap();
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(place.0.join("revocations.jsonl.new"), "left by a crash").unwrap();
    Log::write(&place.file(), &Revocations::new(10), 0).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.file()), 0o600);
    assert!(!place.0.join("revocations.jsonl.new").exists());
}

proptest! {
    /// Whatever a crash leaves of the last record, all before it is there, and nothing that was never written.
    #[test]
    fn a_cut_loses_the_last_record_at_most(users in prop::collection::vec("[a-z\"{\\\\:é]{1,12}", 1..8), cut in 0..60_usize) {
        let place = Place::new(&format!("cut-{cut}-{}", users.len()));
        let mut text: Vec<u8> = users.iter().flat_map(|user| line(&block(user))).collect();
        let last = line(&block(&users[users.len() - 1])).len();
        text.truncate(text.len() - cut.min(last));
        fs::write(place.file(), &text).unwrap();
        let loaded = load(&place.file(), 100, 0).unwrap();
        for user in &users[..users.len() - 1] {
            prop_assert!(is_blocked(&loaded.state, user));
        }
        for one in loaded.state.snapshot(0) {
            let Revocation::User { user, .. } = one else { panic!("it was never written") };
            prop_assert!(users.contains(&user));
        }
    }
}

//! Ends a step of the tests that hangs: one test that waits for ever must not cost all the others their
//! verdict.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Between two looks at what is left, once a step has been asked to end.
const AGAIN: Duration = Duration::from_secs(1);

/// Does the work, which waits for programs that it has started. When it takes longer than the limit, what runs
/// is printed and killed, so that the work sees its programs fail. Tells whether that happened.
pub(super) fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> (T, bool) {
    within_of(std::process::id(), limit, work)
}

/// The same for work that waits for what one process has started.
fn within_of<T>(process: u32, limit: Duration, work: impl FnOnce() -> T) -> (T, bool) {
    std::thread::scope(|scope| {
        let (working, done) = mpsc::channel::<()>();
        let watch = scope.spawn(move || {
            let mut wait = limit;
            let mut late = false;
            while done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                end_descendants(process, !late);
                (wait, late) = (AGAIN, true);
            }
            late
        });
        let result = work();
        drop(working);
        (result, watch.join().unwrap_or(false))
    })
}

/// Kills every process that comes from the one given, children's children too. Their command lines are printed
/// first if asked for.
fn end_descendants(process: u32, print: bool) {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (id, parent) in processes() {
        children.entry(parent).or_default().push(id);
    }
    let mut found = BTreeSet::new();
    let mut waiting = vec![process];
    while let Some(next) = waiting.pop() {
        for &child in children.get(&next).into_iter().flatten() {
            if found.insert(child) {
                waiting.push(child);
            }
        }
    }
    if print {
        for id in &found {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            println!("!!! still runs: {id} {}", line.chars().take(200).collect::<String>());
        }
    }
    if !found.is_empty() {
        let ids = found.iter().map(u32::to_string);
        // A process that has ended by itself in the meantime is not a failure.
        let _ = Command::new("kill").arg("-9").args(ids).status();
    }
}

/// Every process with its parent. None where there is no `/proc`: there a step has no limit.
fn processes() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let of = |entry: std::fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name is in parentheses and may hold anything; state and parent follow it.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((id, parent))
    };
    entries.flatten().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_is_ended_with_what_it_started() {
        let quick = || Command::new("true").status().is_ok_and(|status| status.success());
        assert_eq!(within(Duration::from_secs(60), quick), (true, false));
        // Descendants of a shell of its own: this process has children of other tests too.
        let mut shell = Command::new("sh").args(["-c", "sleep 600 & sleep 600; exit $?"]).spawn().unwrap();
        let (status, late) = within_of(shell.id(), Duration::from_millis(300), || shell.wait());
        assert!(late && !status.unwrap().success());
    }
}

//! The place of a reader in a log whose rows become visible out of order.
//!
//! A row gets its id when it is written, and is visible once its transaction has ended. So rows do not become visible
//! in the order of their ids, and a reader that remembers an id misses what ends later. This reader remembers a
//! *snapshot*: the transactions that had ended when it read. What it lacks is what ended since, however long ago that
//! began:
//!
//! ```text
//! snapshot 10:13:10,11     transactions below 10 have ended; of 10 to 12, those that are not listed
//!
//! xid   8    9   [10] [11]  12 │ 13   14
//!       ended     running ended│ later
//!                  └──────┬──────┘
//!                  lacked once a later snapshot sees them
//! ```
//!
//! A delta (what one snapshot sees and an earlier one does not) is read in pages, in the order of ids. Within a channel
//! that is the order of commits: a stored publication gets its id under a lock of the channel that is held until the
//! commit. The first page is found by transaction, since ids of a delta may be as old as the oldest transaction; those
//! that follow are found by id.

use thiserror::Error;

/// The server did not answer with a snapshot.
#[derive(Debug, Error)]
#[error("{0:?} is not a snapshot")]
pub(super) struct NoSnapshot(String);

/// The transactions that had ended at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The first id above those of transactions that had ended. Some from there on may have been running.
    next: u64,
    /// Those below that were running, in order.
    running: Vec<u64>,
}

impl Snapshot {
    /// Reads what `pg_current_snapshot()` returns as text: `xmin:xmax:xip_list`.
    pub(super) fn parse(text: &str) -> Result<Self, NoSnapshot> {
        let wrong = || NoSnapshot(text.to_owned());
        let mut parts = text.splitn(3, ':').skip(1);
        let next = parts.next().and_then(|next| next.parse().ok()).ok_or_else(wrong)?;
        let running = parts.next().unwrap_or_default().split(',').filter(|id| !id.is_empty());
        let running: Result<Vec<_>, _> = running.map(str::parse).collect();
        let mut running: Vec<u64> = running.map_err(|_| wrong())?;
        running.sort_unstable();
        Ok(Self { next, running })
    }

    /// Returns true if a committed transaction had ended.
    pub(super) fn sees(&self, xid: u64) -> bool {
        xid < self.next && self.running.binary_search(&xid).is_err()
    }

    /// The first id above those of transactions that had ended, as SQL reads it.
    pub(super) fn next(&self) -> String {
        self.next.to_string()
    }

    /// Transactions that were running, as an array that SQL reads.
    pub(super) fn running(&self) -> String {
        let ids: Vec<_> = self.running.iter().map(u64::to_string).collect();
        format!("{{{}}}", ids.join(","))
    }

    /// As SQL reads it.
    pub(super) fn text(&self) -> String {
        let first = self.running.first().copied().unwrap_or(self.next);
        let running = self.running();
        format!("{first}:{}:{}", self.next, running.trim_matches(['{', '}']))
    }

    /// Sees no more than transactions up to this one.
    fn narrow(&mut self, last: u64) {
        self.next = self.next.min(last.saturating_add(1));
        let next = self.next;
        self.running.retain(|xid| *xid < next);
    }
}

/// The highest of what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Transaction id.
    pub(super) xid: u64,
    /// Row id.
    pub(super) id: i64,
}

/// The place of a reader.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    base: Snapshot,
    /// The highest ids among rows that `base` sees.
    seen: Seen,
    delta: Option<Delta>,
}

/// A delta of which a part was read.
#[derive(Clone, Debug)]
struct Delta {
    target: Snapshot,
    /// Rows up to this id were read.
    after: i64,
    seen: Seen,
    /// The server may have crashed since `target`.
    stale: bool,
}

/// The question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Rows of transactions from this one on
    pub(super) next: String,
    /// and of these,
    pub(super) running: String,
    /// and of a page that is not the first of its delta, with ids above the one, as far as the snapshot sees them.
    pub(super) within: Option<(i64, String)>,
}

impl Cursor {
    /// After everything that a snapshot sees.
    pub(super) fn new(base: Snapshot, seen: Seen) -> Self {
        Self { base, seen, delta: None }
    }

    /// Returns false if there is nothing to read for sure, at the moment of a later snapshot.
    pub(super) fn may_lack(&self, present: &Snapshot) -> bool {
        self.delta.is_some()
            || present.next != self.base.next
            || self.base.running.iter().any(|xid| present.sees(*xid))
    }

    /// The highest id of a row that was read. A store that never gave it has lost what it had committed.
    pub(super) fn highest(&self) -> i64 {
        self.seen.id
    }

    /// The next page.
    pub(super) fn page(&self) -> Page {
        Page {
            next: self.base.next(),
            running: self.base.running(),
            within: self.delta.as_ref().map(|delta| (delta.after, delta.target.text())),
        }
    }

    /// A page was answered, by a statement that saw `snapshot`.
    pub(super) fn answered(&mut self, snapshot: Snapshot) {
        if self.delta.is_none() {
            let seen = self.seen;
            self.delta = Some(Delta { target: snapshot, after: 0, seen, stale: false });
        }
    }

    /// A row of the page was handed on.
    pub(super) fn row(&mut self, id: i64, xid: u64) {
        if let Some(delta) = &mut self.delta {
            delta.after = delta.after.max(id);
            delta.seen = Seen { xid: delta.seen.xid.max(xid), id: delta.seen.id.max(id) };
        }
    }

    /// The page was the last one of its delta.
    pub(super) fn finished(&mut self) {
        if let Some(Delta { target, seen, stale, .. }) = self.delta.take() {
            *self = Self::new(target, seen);
            if stale {
                self.distrust();
            }
        }
    }

    /// The connection was lost, and the server may have crashed: ids that it had given and not yet written may be given
    /// again, to transactions and to rows. Those of committed rows are not among them. So only what was read counts.
    pub(super) fn reconnected(&mut self) {
        if let Some(delta) = &mut self.delta {
            delta.stale = true;
        }
        self.distrust();
    }

    fn distrust(&mut self) {
        self.base.narrow(self.seen.xid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text).unwrap()
    }

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let one = snapshot("10:13:10,11");
        let seen: Vec<_> = (8..15).filter(|xid| one.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 12]);
        assert_eq!(one.text(), "10:13:10,11");
        assert_eq!((one.next(), one.running()), ("13".to_owned(), "{10,11}".to_owned()));
        assert_eq!(snapshot("7:7:").text(), "7:7:");
        for wrong in ["", "1", "1:", "1:x:", "1:2:x", "a:b:c:d"] {
            assert!(Snapshot::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_new_is_noticed_without_reading() {
        let cursor = Cursor::new(snapshot("10:13:10"), Seen::default());
        assert!(!cursor.may_lack(&snapshot("10:13:10")));
        assert!(cursor.may_lack(&snapshot("13:13:")), "the transaction that was running has ended");
        assert!(cursor.may_lack(&snapshot("10:14:10")), "one has ended that may have been running");
    }

    /// The answer of a server to a page, of rows by id and transaction.
    fn ask(rows: &[(i64, u64)], ended: &BTreeSet<u64>, page: &Page, limit: usize) -> Vec<(i64, u64)> {
        let next: u64 = page.next.parse().unwrap();
        let running = page.running.trim_matches(['{', '}']).split(',');
        let running: BTreeSet<u64> = running.filter_map(|id| id.parse().ok()).collect();
        let within = page.within.as_ref().map(|(after, target)| (*after, snapshot(target)));
        let wanted = |(id, xid): &(i64, u64)| {
            (*xid >= next || running.contains(xid))
                && ended.contains(xid)
                && within.as_ref().is_none_or(|(after, target)| id > after && target.sees(*xid))
        };
        let mut found: Vec<_> = rows.iter().copied().filter(wanted).collect();
        found.sort_unstable();
        found.truncate(limit);
        found
    }

    /// As the server takes a snapshot: what has not ended is listed up to the last that has.
    fn now(ended: &BTreeSet<u64>) -> Snapshot {
        let next = ended.last().map_or(1, |last| last + 1);
        Snapshot { next, running: (1..next).filter(|xid| !ended.contains(xid)).collect() }
    }

    proptest! {
        /// Transactions begin, write and end in any order, connections break, pages are small: every row of a
        /// committed transaction is read exactly once.
        #[test]
        fn every_row_is_read_once(steps in proptest::collection::vec((0_u8..5, 0_usize..4), 1..120)) {
            let (mut begun, mut last_id) = (1_u64, 0_i64);
            let (mut rows, mut ended) = (Vec::new(), BTreeSet::new());
            let mut open: Vec<u64> = Vec::new();
            let mut cursor = Cursor::new(now(&ended), Seen::default());
            let mut read = Vec::new();
            let mut poll = |cursor: &mut Cursor, rows: &[(i64, u64)], ended: &BTreeSet<u64>| {
                if !cursor.may_lack(&now(ended)) {
                    return false;
                }
                let page = ask(rows, ended, &cursor.page(), 2);
                cursor.answered(now(ended));
                for (id, xid) in &page {
                    cursor.row(*id, *xid);
                    read.push(*id);
                }
                if page.len() < 2 {
                    cursor.finished();
                }
                true
            };
            for (step, which) in steps {
                match step {
                    0 => {
                        open.push(begun);
                        begun += 1;
                    }
                    1 | 2 if !open.is_empty() => {
                        last_id += 1;
                        rows.push((last_id, open[which % open.len()]));
                    }
                    3 if !open.is_empty() => {
                        let index = which % open.len();
                        ended.insert(open.swap_remove(index));
                    }
                    4 if which == 0 => cursor.reconnected(),
                    _ => {
                        poll(&mut cursor, &rows, &ended);
                    }
                }
            }
            ended.extend(open);
            let mut rounds = 0;
            while poll(&mut cursor, &rows, &ended) && rounds < 1_000 {
                rounds += 1;
            }
            read.sort_unstable();
            prop_assert_eq!(read, (1..=last_id).collect::<Vec<_>>());
        }
    }
}

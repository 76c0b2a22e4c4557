//! Checks that need the whole run.

use super::{Check, Checker};
use std::collections::BTreeMap;

impl Checker<'_> {
    pub(super) fn end(&mut self, lines: usize) {
        self.check_publishers(lines);
        self.check_kept();
        self.check_liveness(lines);
        self.check_control(lines);
    }

    fn check_publishers(&mut self, lines: usize) {
        let mut last: BTreeMap<(&str, &str, u32), u64> = BTreeMap::new();
        let mut found = Vec::new();
        for ((ch, epoch, offset), (p, s, _)) in &self.places {
            let last = last.entry((ch, epoch, *p)).or_default();
            if *s <= *last {
                found.push(format!("{ch} {epoch}/{offset}: number {s} of publisher {p} after {last}"));
            }
            *last = *s;
        }
        for what in found {
            self.violation(lines, Check::PublisherOrder, what);
        }
    }

    fn check_kept(&mut self) {
        let mut found = Vec::new();
        for (ch, finals) in &self.finals {
            let first = &finals[0];
            for other in finals {
                let same = (other.epoch, other.offset, other.pubs) == (first.epoch, first.offset, first.pubs);
                if !same {
                    found.push((other.line, Check::Fork, format!("two nodes read {ch} differently")));
                }
                if other.pubs.last().is_some_and(|last| last.offset != other.offset) {
                    found.push((
                        other.line,
                        Check::Kept,
                        format!("the top of {ch} is not the last one kept"),
                    ));
                }
                if other.pubs.windows(2).any(|two| two[1].offset != two[0].offset + 1) {
                    found.push((other.line, Check::Kept, format!("history of {ch} has a hole")));
                }
            }
            let Some(rules) = self.channels.get(ch) else { continue };
            for acked in self.acked.iter().filter(|acked| acked.ch == *ch && acked.offset > 0) {
                let after = |lines: &[usize]| {
                    let from =
                        self.invoked.get(&(acked.p, acked.ch, acked.s)).map_or(0, |invoked| invoked.line);
                    lines.iter().any(|line| *line > from)
                };
                let kept = if acked.epoch == first.epoch {
                    let place = first.pubs.iter().any(|one| one.offset == acked.offset);
                    let trimmed = acked.offset + rules.history as u64 <= first.offset || after(&rules.trims);
                    place || trimmed && acked.offset <= first.offset
                } else {
                    after(&rules.resets) || after(&self.failovers)
                };
                if !kept {
                    let what = format!("{ch} {}/{} was acknowledged and is gone", acked.epoch, acked.offset);
                    found.push((acked.line, Check::Kept, what));
                }
            }
        }
        for (line, check, what) in found {
            self.violation(line, check, what);
        }
    }

    fn check_liveness(&mut self, lines: usize) {
        let mut found = Vec::new();
        if self.calm.is_none() {
            found.push("the run never came to rest".to_owned());
        }
        for ((c, ch), view) in &self.views {
            if view.left {
                continue;
            }
            if !view.on {
                found.push(format!("client {c} is not in {ch}"));
                continue;
            }
            if let Some(last) = self.finals.get(ch).and_then(|finals| finals.first()) {
                if view.position != Some((last.epoch, last.offset)) {
                    let top = (last.epoch, last.offset);
                    found.push(format!(
                        "client {c} in {ch} stands at {:?}, the top is {top:?}",
                        view.position
                    ));
                }
            } else if self.channels.get(ch).is_some_and(|rules| rules.lossless && rules.history == 0) {
                // The last of each publisher since it is in.
                let mut newest: BTreeMap<u32, u64> = BTreeMap::new();
                for acked in self.acked.iter().filter(|acked| acked.ch == *ch) {
                    let since =
                        self.invoked.get(&(acked.p, acked.ch, acked.s)).map_or(0, |invoked| invoked.line);
                    if since > view.subscribed_at {
                        newest.insert(acked.p, acked.s);
                    }
                }
                for (p, s) in newest {
                    if view.numbers.get(&p).is_none_or(|number| number.0 < s) {
                        found.push(format!("client {c} in {ch} has not got number {s} of publisher {p}"));
                    }
                }
            }
        }
        for what in found {
            self.violation(lines, Check::Liveness, what);
        }
    }
}

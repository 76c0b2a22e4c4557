//! Verdicts beside those of the delivery checker: refusals that are final, and the time from a loss to its signal when
//! nobody knows which publications were lost.

use crate::log::{Event, Fault, Line};
use std::collections::{BTreeMap, VecDeque};

/// Errors that ask a client to try again: 100 (internal server error) and 111 (too many requests).
const TEMPORARY: [u32; 2] = [100, 111];

/// Times that clients waited, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// Longest time from an acknowledgement, or from the end of the fault that was in the way, to a delivery.
    pub delivery: u64,
    /// Longest time from the same to a signal: the end of the subscription or connection.
    pub signal: u64,
    /// Number of signals.
    pub signals: u64,
}

/// Delays of a run, and what is wrong.
pub(super) fn judge(lines: &[Line], limit: u64) -> (Delays, Vec<String>) {
    let mut judge = Judge { limit, ..Judge::default() };
    for line in lines {
        if let Event::Fault { fault } = &line.event {
            match fault {
                Fault::Begun { what } => judge.windows.push(Window { what, from: line.t, to: u64::MAX }),
                Fault::Over { what } => {
                    let open = judge.windows.iter_mut().rev();
                    for window in open.filter(|window| window.what == what && window.to == u64::MAX) {
                        window.to = line.t;
                    }
                }
                _ => {}
            }
        }
    }
    for line in lines {
        judge.line(line);
    }
    (judge.delays, judge.wrong)
}

/// Time in which something was in the way.
struct Window<'a> {
    what: &'a str,
    from: u64,
    to: u64,
}

/// A client in a channel.
#[derive(Default)]
struct View<'a> {
    on: bool,
    epoch: &'a str,
    /// Acknowledged publications that it has not got: epoch, offset, time.
    owed: VecDeque<(&'a str, u64, u64)>,
    position: u64,
}

#[derive(Default)]
struct Judge<'a> {
    limit: u64,
    windows: Vec<Window<'a>>,
    views: BTreeMap<&'a str, BTreeMap<u32, View<'a>>>,
    /// Epochs of a channel in the order of their appearance.
    epochs: BTreeMap<&'a str, Vec<&'a str>>,
    delays: Delays,
    wrong: Vec<String>,
}

impl<'a> Judge<'a> {
    /// Position of an epoch among those of its channel.
    fn era(&mut self, ch: &'a str, epoch: &'a str) -> usize {
        let epochs = self.epochs.entry(ch).or_default();
        epochs.iter().position(|own| *own == epoch).unwrap_or_else(|| {
            epochs.push(epoch);
            epochs.len() - 1
        })
    }

    fn line(&mut self, line: &'a Line) {
        let t = line.t;
        match &line.event {
            Event::Ok { ch, epoch, offset, .. } if *offset > 0 => {
                let era = self.era(ch, epoch);
                let epochs = self.epochs.get(ch.as_str()).cloned().unwrap_or_default();
                for view in self.views.entry(ch).or_default().values_mut().filter(|view| view.on) {
                    let same = view.epoch == epoch;
                    let earlier =
                        epochs.iter().position(|own| *own == view.epoch).is_some_and(|own| own < era);
                    if same && view.position < *offset || !same && earlier {
                        view.owed.push_back((epoch, *offset, t));
                    }
                }
            }
            Event::Pub { c, ch, seen } => {
                let view = self.views.entry(ch).or_default().entry(*c).or_default();
                view.position = seen.offset;
                let got =
                    |(epoch, offset, _): &&(&str, u64, u64)| *epoch == view.epoch && *offset <= seen.offset;
                let first = view.owed.iter().find(got).map(|(_, _, since)| *since);
                let epoch = view.epoch;
                view.owed.retain(|(own, offset, _)| *own != epoch || *offset > seen.offset);
                if let Some(since) = first {
                    let took = self.took(since, t);
                    self.delays.delivery = self.delays.delivery.max(took);
                    self.check(took, || format!("client {c} in {ch} got {} after {took} ms", seen.offset));
                }
            }
            Event::Subscribed { c, ch, epoch, offset, pubs, .. } => {
                self.era(ch, epoch);
                let view = self.views.entry(ch).or_default().entry(*c).or_default();
                let position = pubs.last().map_or(*offset, |last| last.offset);
                *view = View { on: true, epoch, owed: VecDeque::new(), position };
            }
            Event::Unsubscribed { c, ch, .. } => self.told(*c, Some(ch), t),
            Event::Disconnected { c, .. } => self.told(*c, None, t),
            Event::Refused { c, ch, code } if !TEMPORARY.contains(code) => {
                self.wrong.push(format!("{t} ms: client {c} was refused {ch} for good: error {code}"));
            }
            _ => {}
        }
    }

    /// A client was told that it may lack something.
    fn told(&mut self, c: u32, ch: Option<&'a str>, t: u64) {
        let mut oldest: Option<(u64, &str)> = None;
        for (channel, views) in self.views.iter_mut().filter(|(own, _)| ch.is_none_or(|ch| ch == **own)) {
            let Some(view) = views.get_mut(&c) else { continue };
            view.on = false;
            let since = view.owed.iter().map(|(_, _, since)| *since).min();
            view.owed.clear();
            if let Some(since) = since
                && oldest.is_none_or(|(own, _)| since < own)
            {
                oldest = Some((since, channel));
            }
        }
        if let Some((since, channel)) = oldest {
            let took = self.took(since, t);
            self.delays.signals += 1;
            self.delays.signal = self.delays.signal.max(took);
            self.check(took, || format!("client {c} in {channel} was told of a loss after {took} ms"));
        }
    }

    fn check(&mut self, took: u64, what: impl FnOnce() -> String) {
        if took > self.limit {
            self.wrong.push(what());
        }
    }

    /// Time from one moment to another, counted from the end of the faults in between.
    fn took(&self, since: u64, until: u64) -> u64 {
        let met = self.windows.iter().filter(|window| window.from <= until && window.to >= since);
        let from = met.map(|window| window.to).max().unwrap_or(since).max(since);
        until.saturating_sub(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::from_text;

    const IN: &str = r#"{"t":1,"e":"subscribed","c":1,"ch":"a","was_recovering":false,"recovered":false,"epoch":"E","offset":0,"pubs":[]}
"#;

    fn of(text: &str) -> (Delays, Vec<String>) {
        let lines = from_text(&format!("{IN}{text}")).unwrap();
        judge(&lines, 5_000)
    }

    #[test]
    fn a_late_delivery_is_found() {
        let ok = r#"{"t":10,"e":"ok","p":1,"ch":"a","s":1,"epoch":"E","offset":1}"#;
        let publication = |t: u64| {
            format!(r#"{{"t":{t},"e":"pub","c":1,"ch":"a","seen":{{"offset":1,"p":1,"s":1,"n":5}}}}"#)
        };
        let (delays, wrong) = of(&format!("{ok}\n{}\n", publication(4_010)));
        assert_eq!((delays.delivery, wrong.len()), (4_000, 0));
        let (_, wrong) = of(&format!("{ok}\n{}\n", publication(6_010)));
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        let fault = r#"{"t":5,"e":"fault","fault":{"kind":"begun","what":"x"}}"#;
        let over = r#"{"t":6000,"e":"fault","fault":{"kind":"over","what":"x"}}"#;
        let (delays, wrong) = of(&format!("{fault}\n{ok}\n{over}\n{}\n", publication(6_010)));
        assert_eq!((delays.delivery, wrong.len()), (10, 0), "counted from the end of the fault");
    }

    #[test]
    fn a_late_signal_and_a_final_refusal_are_found() {
        let ok = r#"{"t":10,"e":"ok","p":1,"ch":"a","s":1,"epoch":"F","offset":1}"#;
        let told = |t: u64| format!(r#"{{"t":{t},"e":"unsubscribed","c":1,"ch":"a","code":2500}}"#);
        let (delays, wrong) = of(&format!("{ok}\n{}\n", told(100)));
        assert_eq!((delays.signal, delays.signals, wrong.len()), (90, 1, 0), "another epoch is a loss");
        assert_eq!(of(&format!("{ok}\n{}\n", told(9_000))).1.len(), 1);
        let refused = |code: u32| format!(r#"{{"t":10,"e":"refused","c":1,"ch":"a","code":{code}}}"#);
        assert_eq!(of(&refused(100)).1.len(), 0);
        assert_eq!(of(&refused(105)).1.len(), 1);
    }
}

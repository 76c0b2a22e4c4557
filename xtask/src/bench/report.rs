//! From rounds to figures: medians, ratios, budgets, the table and the JSON file.

use super::process;
use super::rig::{Round, Rounds, Sample};
use crate::shell::Failure;
use serde_json::{Value, json};

/// Cost of one send of the floor that the absolute budgets assume, in µs.
const FLOOR_US: f64 = 5.0;

/// Interpretation of a figure before it is compared with its budget.
#[derive(Clone, Copy)]
pub(crate) enum Reading {
    /// As measured.
    Plain,
    /// A cost or a time: × 5 µs / the floor's µs of the same round.
    Cost,
    /// Work per CPU second: × the floor's µs of the same round / 5 µs.
    Rate,
    /// Divided by the same value of the floor.
    OfFloor,
}

/// The bound that a figure keeps.
#[derive(Clone, Copy)]
pub(crate) enum Budget {
    None,
    AtMost(f64),
    AtLeast(f64),
}

/// One line of a row's result.
#[derive(Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) key: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) reading: Reading,
    pub(crate) budget: Budget,
}

/// A figure of one server, over the kept rounds.
pub(crate) struct Line {
    row: &'static str,
    figure: Figure,
    server: String,
    raw: f64,
    median: f64,
    min: f64,
    max: f64,
    /// Median over the rounds of this server's raw value over the first server's.
    to_first: Option<f64>,
}

/// Everything that a run found.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    /// Free remarks, by row.
    notes: Vec<(&'static str, String)>,
    /// Deliveries that were lost, sends that coalesced where none may: rows that do not count.
    pub(crate) faults: Vec<String>,
    floors: Vec<(&'static str, f64, f64)>,
}

impl Report {
    /// Adds the figures of a row. `names` are the servers in the order of the samples.
    pub(crate) fn add(&mut self, row: &'static str, names: &[String], figures: &[Figure], rounds: &Rounds) {
        for round in &rounds.kept {
            if let Some(us) = round.floor.get("us") {
                self.floors.push((row, *us, round.floor.get("user_share").copied().unwrap_or(0.0)));
            }
        }
        if !rounds.dropped.is_empty() {
            let note = format!("{} rounds disturbed ({})", rounds.dropped.len(), rounds.dropped.join(", "));
            self.note(
                row,
                if rounds.disturbed { format!("{note}; too few others, so they are used") } else { note },
            );
        }
        let user = median(rounds.kept.iter().filter_map(|r| r.floor.get("user_share").copied()));
        if user > 0.10 {
            self.faults.push(format!(
                "{row}: the floor spent {:.0} % in user space, 10 % is its limit",
                user * 100.0
            ));
        }
        for (index, name) in names.iter().enumerate() {
            for figure in figures {
                let values = |of: &dyn Fn(&Round, &Sample) -> Option<f64>| -> Vec<f64> {
                    rounds.kept.iter().filter_map(|r| of(r, r.samples.get(index)?)).collect()
                };
                let raw = values(&|_, s| s.get(figure.key).copied());
                let read = values(&|r, s| figure.read(&r.floor, s));
                if read.is_empty() {
                    continue;
                }
                let to_first = (index > 0)
                    .then(|| values(&|r, s| Some(s.get(figure.key)? / r.samples.first()?.get(figure.key)?)));
                self.lines.push(Line {
                    row,
                    figure: *figure,
                    server: name.clone(),
                    raw: median(raw),
                    median: median(read.iter().copied()),
                    min: read.iter().copied().fold(f64::INFINITY, f64::min),
                    max: read.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    to_first: to_first.map(median),
                });
            }
            self.deliveries(row, name, index, rounds);
        }
    }

    /// Prints expected, delivered and sends per delivery, where the row has deliveries.
    fn deliveries(&mut self, row: &'static str, name: &str, index: usize, rounds: &Rounds) {
        let sum =
            |key: &str| -> f64 { rounds.kept.iter().filter_map(|r| r.samples.get(index)?.get(key)).sum() };
        let expected = sum("expected");
        if expected == 0.0 {
            return;
        }
        let sends =
            rounds.kept.iter().filter_map(|r| r.samples.get(index)?.get("sends_per_delivery").copied());
        let sends: Vec<f64> = sends.collect();
        let per = if sends.is_empty() {
            "not counted by the server".to_owned()
        } else {
            format!("{:.3}", median(sends))
        };
        let reads =
            rounds.kept.iter().filter_map(|r| r.samples.get(index)?.get("reads_per_delivery").copied());
        let text = format!(
            "{name}: expected {expected}, delivered {}, missing {}, repeated {}, sends per delivery {per}, client reads per delivery {:.3}",
            sum("delivered"),
            sum("missing"),
            sum("repeated"),
            median(reads),
        );
        self.note(row, text);
    }

    pub(crate) fn note(&mut self, row: &'static str, text: String) {
        println!("    {row}: {text}");
        self.notes.push((row, text));
    }

    /// Prints the table. True when no budget of the first server is missed and nothing was at fault.
    pub(crate) fn print(&self) -> bool {
        let mut good = self.faults.is_empty();
        let first = self.lines.first().map_or("", |line| &line.server);
        println!("\n{}", process::machine());
        println!(
            "{:<15} {:<40} {:<11} {:>12} {:>11} {:>23} {:>11} {:>7}",
            "row", "figure", "server", "measured", "as read", "[min … max]", "budget", "verdict"
        );
        for line in &self.lines {
            let verdict = line.verdict();
            good &= verdict != "MISSED";
            println!(
                "{:<15} {:<40} {:<11} {:>12} {:>11} {:>23} {:>11} {:>7}{}",
                line.row,
                format!("{}, {}", line.figure.what, line.figure.unit),
                line.server,
                show(line.raw),
                format!("{}{}", show(line.median), line.figure.reading.mark()),
                format!("[{} … {}]", show(line.min), show(line.max)),
                line.figure.budget.show(),
                verdict,
                line.to_first.map_or(String::new(), |ratio| format!("   {} × {first}", show(ratio))),
            );
        }
        let us = median(self.floors.iter().map(|f| f.1));
        if us > 0.0 {
            let user = median(self.floors.iter().map(|f| f.2)) * 100.0;
            println!("floor: {us:.2} µs a send (median), {user:.0} % of it in user space");
        }
        println!(
            "as read: † × 5 µs / floor, ‡ × floor / 5 µs, × ratio to the floor; the floor is that of the same round"
        );
        self.faults.iter().for_each(|fault| println!("FAULT  {fault}"));
        good
    }

    pub(crate) fn write(&self, file: &str) -> Result<(), Failure> {
        let lines: Vec<Value> = self.lines.iter().map(Line::json).collect();
        let floors: Vec<Value> = self
            .floors
            .iter()
            .map(|(row, us, user)| json!({"row": row, "us": us, "user_share": user}))
            .collect();
        let notes: Vec<Value> =
            self.notes.iter().map(|(row, text)| json!({"row": row, "text": text})).collect();
        let all = json!({"machine": process::machine(), "lines": lines, "floors": floors, "notes": notes, "faults": self.faults});
        Ok(std::fs::write(file, serde_json::to_string_pretty(&all)?)?)
    }
}

impl Figure {
    fn read(&self, floor: &Sample, sample: &Sample) -> Option<f64> {
        let value = *sample.get(self.key)?;
        let us = floor.get("us").copied().filter(|us| *us > 0.0);
        match self.reading {
            Reading::Plain => Some(value),
            Reading::Cost => Some(value * FLOOR_US / us?),
            Reading::Rate => Some(value * us? / FLOOR_US),
            Reading::OfFloor => Some(value / floor.get(self.key).filter(|v| **v > 0.0)?),
        }
    }
}

impl Line {
    /// Budgets are for the first server, the one under test.
    fn verdict(&self) -> &'static str {
        match self.figure.budget {
            _ if self.to_first.is_some() => "",
            Budget::None => "",
            Budget::AtMost(bound) if self.median <= bound => "kept",
            Budget::AtLeast(bound) if self.median >= bound => "kept",
            _ => "MISSED",
        }
    }

    fn json(&self) -> Value {
        json!({
            "row": self.row, "figure": self.figure.what, "unit": self.figure.unit, "server": self.server,
            "measured": self.raw, "read": self.median, "min": self.min, "max": self.max,
            "reading": self.figure.reading.mark(), "budget": self.figure.budget.show(),
            "verdict": self.verdict(), "to_first": self.to_first,
        })
    }
}

impl Reading {
    fn mark(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Cost => " †",
            Self::Rate => " ‡",
            Self::OfFloor => " ×",
        }
    }
}

impl Budget {
    fn show(self) -> String {
        match self {
            Self::None => String::new(),
            Self::AtMost(bound) => format!("≤ {}", show(bound)),
            Self::AtLeast(bound) => format!("≥ {}", show(bound)),
        }
    }
}

/// Middle value; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.get(values.len().wrapping_sub(1) / 2), values.get(values.len() / 2)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => 0.0,
    }
}

/// A number with three figures or so, thousands apart.
fn show(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn absolute_figures_are_read_against_the_floor() {
        let (floor, sample) = (Sample::from([("us", 10.0)]), Sample::from([("us", 15.0), ("rate", 1000.0)]));
        let read = |key, reading| {
            Figure { key, what: "", unit: "", reading, budget: Budget::None }.read(&floor, &sample)
        };
        assert_eq!(read("us", Reading::Cost), Some(7.5));
        assert_eq!(read("us", Reading::OfFloor), Some(1.5));
        assert_eq!(read("rate", Reading::Rate), Some(2000.0));
    }

    #[test]
    fn numbers_are_shown_short() {
        assert_eq!([show(0.123), show(1234.4), show(1_234_567.0)], ["0.12", "1,234", "1,234,567"]);
    }
}

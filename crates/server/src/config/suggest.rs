//! "Did you mean …?"

use super::catalogue::Section as _;
use super::catalogue::{Field, Kind, each};
use super::era;
use super::normalise::join;
use super::typed::Config;

/// What an unknown name in a section was perhaps meant to be.
pub(super) fn field(name: &str, beside: &[&'static Field], path: &str) -> Option<String> {
    if let Some(path) = era::current_name(name) {
        return Some(format!("since v6 it is called `{path}`"));
    }
    let near = closest(name, beside.iter().map(|field| field.name)).map(|near| join(path, near));
    // A name that is right but stands in the wrong section is more helpful than one that is merely alike.
    let elsewhere = || {
        let mut paths = Vec::new();
        paths_named(Config::fields(), "", name, &mut paths);
        match paths.as_slice() {
            [one] => Some(one.clone()),
            _ => None,
        }
    };
    near.or_else(elsewhere).map(|path| format!("did you mean `{path}`?"))
}

/// The closest of some names, if any is close: one edit for each three letters, two at least.
pub(super) fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.len() / 3).max(2).min(name.len().saturating_sub(1));
    known
        .map(|known| (distance(name, known), known))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

fn paths_named(fields: &'static [Field], path: &str, name: &str, found: &mut Vec<String>) {
    for field in each(fields) {
        let path = join(path, field.name);
        if field.name == name {
            found.push(path.clone());
        }
        if let Kind::Section(inner) = field.kind {
            paths_named(inner(), &path, name, found);
        }
    }
}

/// Insertions, deletions, replacements and swaps of neighbours that make one name of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (a, b, edits) in [("", "", 0), ("a", "", 1), ("prot", "port", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn suggests_only_what_is_close() {
        let known = ["port", "address", "tls"];
        assert_eq!(closest("prot", known.into_iter()), Some("port"));
        assert_eq!(closest("adress", known.into_iter()), Some("address"));
        assert_eq!(closest("x", known.into_iter()), None);
        assert_eq!(closest("something", known.into_iter()), None);
    }
}

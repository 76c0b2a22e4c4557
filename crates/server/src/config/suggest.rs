//! "Did you mean …?"

use super::catalogue::Section as _;
use super::catalogue::{Field, Kind, each};
use super::legacy;
use super::normalise::join;
use super::typed::Config;

/// The name that an unknown one in a section is perhaps meant to be.
pub(super) fn field(name: &str, beside: &[&'static Field], path: &str) -> Option<String> {
    // Inside sections short names such as `port` are right or wrong for reasons of their own.
    if (path.is_empty() || name.contains('_') || name == "secret")
        && let Some(today) = legacy::today(name)
    {
        return Some(today.said);
    }
    let near = closest(name, beside.iter().map(|field| field.name));
    if path.is_empty()
        && let Some((old, today)) = legacy::closest(name)
        && near.is_none_or(|near| distance(name, old) < distance(name, near))
    {
        return Some(format!("did you mean `{old}`? {}", today.said));
    }
    let near = near.map(|near| join(path, near));
    // A name that is right but in the wrong section is more helpful than one that is merely alike.
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
    within((name.len() / 3).max(2), name, known)
}

/// The name that differs from another by a slip or two, if there is one.
pub(super) fn misspelt<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    within(2.min(name.len() / 3), name, known)
}

/// The shortest of some names that has all words of another, of which there are two or more.
pub(super) fn longer<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let words: Vec<&str> = name.split('_').collect();
    if words.len() < 2 {
        return None;
    }
    let has_all = |known: &&str| words.iter().all(|word| known.split('_').any(|part| part == *word));
    known.filter(has_all).min_by_key(|known| known.len())
}

fn within<'a>(limit: usize, name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = limit.min(name.len().saturating_sub(1));
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
    fn a_name_with_words_left_out_is_found() {
        let known = ["ADMIN_SECRET", "CLIENT_TOKEN_HMAC_PREVIOUS_SECRET_KEY", "CLIENT_TOKEN_HMAC_SECRET_KEY"];
        assert_eq!(longer("TOKEN_SECRET", known.into_iter()), Some("CLIENT_TOKEN_HMAC_SECRET_KEY"));
        assert_eq!(longer("SECRET", known.into_iter()), None);
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

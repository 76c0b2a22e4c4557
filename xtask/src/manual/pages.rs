//! Documents in Markdown: headings and links.

use crate::shell::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Documents by their paths below the root of the workspace.
#[derive(Default)]
pub(super) struct Pages(BTreeMap<PathBuf, Page>);

/// A document.
pub(super) struct Page {
    path: PathBuf,
    title: String,
    anchors: BTreeSet<String>,
    links: Vec<Link>,
}

struct Link {
    line: usize,
    /// Path below the root; that of the document itself for an anchor alone.
    path: PathBuf,
    anchor: Option<String>,
}

impl Pages {
    pub(super) fn read(&mut self, root: &Path, path: &Path) -> Result<(), Failure> {
        let text = fs::read_to_string(root.join(path)).map_err(|e| format!("{}: {e}", path.display()))?;
        self.0.insert(path.to_owned(), Page::of(path, &text));
        Ok(())
    }

    pub(super) fn read_folder(&mut self, root: &Path, folder: &Path) -> Result<(), Failure> {
        for entry in fs::read_dir(root.join(folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.read_folder(root, &path)?;
            } else if path.extension().is_some_and(|extension| extension == "md") {
                self.read(root, &path)?;
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Page> {
        self.0.get(path)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Page> {
        self.0.values()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn links(&self) -> usize {
        self.iter().map(|page| page.links.len()).sum()
    }

    /// Links to files that do not exist, and to anchors that their documents do not have.
    pub(super) fn broken_links(&self, root: &Path) -> Vec<String> {
        let mut broken = Vec::new();
        for page in self.iter() {
            for link in &page.links {
                let at = format!("{}:{}", page.path.display(), link.line);
                let target = link.path.display();
                if !root.join(&link.path).exists() {
                    broken.push(format!("{at}: there is no {target}"));
                }
                if let (Some(anchor), Some(other)) = (&link.anchor, self.get(&link.path))
                    && !other.anchors.contains(anchor)
                {
                    broken.push(format!("{at}: {target} has no heading or anchor #{anchor}"));
                }
            }
        }
        broken
    }
}

impl Page {
    fn of(path: &Path, text: &str) -> Self {
        let mut page =
            Self { path: path.to_owned(), title: String::new(), anchors: BTreeSet::new(), links: Vec::new() };
        let mut fence: Option<&str> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let bare = line.trim_start();
            if let Some(open) = fence {
                if bare.starts_with(open) {
                    fence = None;
                }
                continue;
            }
            if bare.starts_with("```") {
                fence = Some(&bare[..bare.len() - bare.trim_start_matches('`').len()]);
                continue;
            }
            if let Some((marks, heading)) = line.split_once(' ')
                && (1..=6).contains(&marks.len())
                && marks.bytes().all(|mark| mark == b'#')
            {
                page.heading(heading);
            }
            for part in line.split("<a id=\"").skip(1) {
                page.anchors.extend(part.split_once('"').map(|(id, _)| id.to_owned()));
            }
            for target in targets(&without_code(line)) {
                page.link(number, target);
            }
        }
        page
    }

    fn heading(&mut self, heading: &str) {
        if self.title.is_empty() {
            heading.clone_into(&mut self.title);
        }
        let slug = slug(heading);
        let free = (1..).map(|n| format!("{slug}-{n}")).find(|other| !self.anchors.contains(other));
        let anchor = if self.anchors.contains(&slug) { free.unwrap_or(slug) } else { slug };
        self.anchors.insert(anchor);
    }

    fn link(&mut self, line: usize, target: &str) {
        if target.contains("://") || target.starts_with("mailto:") {
            return;
        }
        let (file, anchor) = target.split_once('#').map_or((target, None), |(file, id)| (file, Some(id)));
        let path = if file.is_empty() { self.path.clone() } else { beside(&self.path, file) };
        self.links.push(Link { line, path, anchor: anchor.map(str::to_owned) });
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Targets of its links.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Path> {
        self.links.iter().map(|link| link.path.as_path())
    }
}

/// A path beside a document, without `..` in it.
pub(super) fn beside(document: &Path, relative: &str) -> PathBuf {
    let mut path = document.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(relative).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// The anchor of a heading, as GitHub and mdBook make it.
fn slug(heading: &str) -> String {
    let mut text = String::new();
    // Of a link only its text counts.
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.trim()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c),
            _ => None,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// A line without its code spans, in which brackets are no links.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Targets of the links and images of a line.
pub(super) fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|part| part.split_once(')')).map(|(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_anchors_and_code_has_neither_headings_nor_links() {
        let text = "# The `[x]` file\n\n```sh\n# comment [a](b.md)\n```\n\n## Twice\n## Twice\n\
                    `[no](link.md)` and [a link](../adr/1.md#why), [here](#twice-1), <a id=\"own.id\"></a>\n";
        let page = Page::of(Path::new("docs/manual/page.md"), text);
        let anchors: Vec<&str> = page.anchors.iter().map(String::as_str).collect();
        assert_eq!(anchors, ["own.id", "the-x-file", "twice", "twice-1"]);
        let links: Vec<(&Path, Option<&str>)> =
            page.links.iter().map(|link| (link.path.as_path(), link.anchor.as_deref())).collect();
        assert_eq!(
            links,
            [(Path::new("docs/adr/1.md"), Some("why")), (Path::new("docs/manual/page.md"), Some("twice-1")),]
        );
    }

    #[test]
    fn broken_links_are_named_with_their_line() {
        let mut pages = Pages::default();
        let path = PathBuf::from("page.md");
        pages.0.insert(
            path.clone(),
            Page::of(&path, "# Page\n\n[no](missing.md) [there](#page)\n[no](#else)\n"),
        );
        let broken = pages.broken_links(Path::new("/nonexistent"));
        assert!(broken.iter().any(|one| one == "page.md:3: there is no missing.md"), "{broken:?}");
        assert!(
            broken.iter().any(|one| one == "page.md:4: page.md has no heading or anchor #else"),
            "{broken:?}"
        );
    }
}

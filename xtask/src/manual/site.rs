//! `cargo xtask site`: the manual as a site, by mdBook.

use super::pages::{beside, targets};
use crate::shell::{self, Failure};
use crate::test::install;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Address of what the documents link to outside of `docs`.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main");

pub(crate) fn run(_: &[String]) -> Result<(), Failure> {
    super::check()?;
    let program = install::mdbook()?;
    let (source, site) = (shell::target().join("site/source"), shell::target().join("site/html"));
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    copy(&shell::root(), Path::new("docs"), &source)?;
    let (book, destination) = (source.join("docs"), site.to_string_lossy());
    shell::run(&mut shell::command(
        program,
        &["build", &book.to_string_lossy(), "--dest-dir", &destination],
    ))?;
    let pages = check(&site)?;
    println!("site: {pages} pages in {destination}/index.html");
    Ok(())
}

/// Copies a folder, with documents as the site needs them.
fn copy(root: &Path, folder: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to.join(folder))?;
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(root, &path, to)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(root.join(&path))?;
            fs::write(to.join(&path), for_site(&path, &text))?;
        } else {
            fs::copy(root.join(&path), to.join(&path))?;
        }
    }
    Ok(())
}

/// Writes a document as the site has it. Links that leave `docs` lead to the repository, and `README.md` is the index
/// of its folder. An option is found by its last part too: the search takes `client.allowed_origins` for one word.
fn for_site(path: &Path, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut line = line.to_owned();
        if let Some((name, _)) = line.strip_prefix("| <a id=\"").and_then(|rest| rest.split_once('"'))
            && let Some((_, last)) = name.rsplit_once('.')
        {
            let (anchor, hidden) = ("\"></a>", format!("\"></a><span hidden>{last} </span>"));
            line = line.replacen(anchor, &hidden, 1);
        }
        let links: BTreeSet<String> = targets(&line).map(str::to_owned).collect();
        for target in links.iter().filter(|target| !target.contains("://")) {
            let leads = beside(path, target);
            if !leads.starts_with("docs") {
                let address = format!("]({REPOSITORY}/{})", leads.display());
                line = line.replace(&format!("]({target})"), &address);
            } else if target.ends_with("README.md") && !path.ends_with("SUMMARY.md") {
                let index = target.replace("README.md", "index.md");
                line = line.replace(&format!("]({target})"), &format!("]({index})"));
            }
        }
        out.push_str(&line);
    }
    out
}

/// Checks that every link within the site leads to a page and an anchor of it. Returns the number of pages.
fn check(site: &Path) -> Result<usize, Failure> {
    let mut pages = BTreeMap::new();
    read(site, Path::new(""), &mut pages)?;
    let attributes = |text: &str, name: &str| -> BTreeSet<String> {
        let parts = text.split(name).skip(1);
        parts.filter_map(|part| part.split_once('"')).map(|(value, _)| value.to_owned()).collect()
    };
    let mut broken = Vec::new();
    for (path, text) in &pages {
        // All chapters on one page, to be printed, and the page for wrong addresses: neither is linked to.
        if matches!(path.to_str(), Some("print.html" | "404.html" | "toc.html")) {
            continue;
        }
        for link in attributes(text, " href=\"") {
            if link.contains(':') || link.starts_with("//") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { path.clone() } else { beside(path, file) };
            let found = match pages.get(&target) {
                Some(page) => {
                    anchor.is_empty() || attributes(page, " id=\"").contains(&anchor.replace("%60", "`"))
                }
                None => site.join(&target).exists(),
            };
            if !found {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    if broken.is_empty() {
        return Ok(pages.len());
    }
    Err(format!("links of the site lead nowhere:\n  {}", broken.join("\n  ")).into())
}

fn read(site: &Path, folder: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<(), Failure> {
    for entry in fs::read_dir(site.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            read(site, &path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "html") {
            let text = fs::read_to_string(site.join(&path))?;
            pages.insert(path, text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_leave_the_documents_lead_to_the_repository() {
        let text =
            "[a](../adr/1.md) [b](../../README.md) [c](../README.md) [d](https://a.b/README.md) [e](#f)\n";
        let out = for_site(Path::new("docs/manual/page.md"), text);
        let expected = format!(
            "[a](../adr/1.md) [b]({REPOSITORY}/README.md) [c](../index.md) [d](https://a.b/README.md) [e](#f)\n"
        );
        assert_eq!(out, expected);
    }

    #[test]
    fn options_are_found_by_their_last_part() {
        let out =
            for_site(Path::new("docs/manual/options.md"), "| <a id=\"log.level\"></a>`log.level` | |\n");
        assert_eq!(out, "| <a id=\"log.level\"></a><span hidden>level </span>`log.level` | |\n");
    }
}

//! The reference of options as a page with a search field.

use std::fmt::Write as _;

/// Before and after the content. The script hides rows without the words that are searched for, and sections without
/// rows.
const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
    <title>Options of Spinward</title>\n<style>\n\
    :root { color-scheme: light dark } body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem }\n\
    input { font: inherit; width: 100%; box-sizing: border-box; padding: .4rem; position: sticky; top: 0 }\n\
    table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-top: 1px solid #8886 }\n\
    code { font-family: ui-monospace, monospace; overflow-wrap: anywhere }\n</style>\n\
    <label>Search <input type=\"search\" autofocus placeholder=\"history_ttl\"></label>\n";
const TAIL: &str = "<script>\n\
    const field = document.querySelector('input');\n\
    field.addEventListener('input', () => {\n\
    \x20 const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);\n\
    \x20 for (const section of document.querySelectorAll('section')) {\n\
    \x20   const rows = [...section.querySelectorAll('tbody tr')];\n\
    \x20   for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));\n\
    \x20   section.hidden = words.length > 0 && rows.every((row) => row.hidden);\n\
    \x20 }\n\
    });\n</script>\n";

/// Turns the Markdown of [`super::doc::markdown`] into a page: headings, paragraphs and tables are all it has.
#[must_use]
pub fn html(markdown: &str) -> String {
    let mut page = HEAD.to_owned();
    let (mut section, mut table) = (false, false);
    // Writing to a string cannot fail.
    for line in markdown.lines().filter(|line| !line.is_empty()) {
        let row = line.strip_prefix("| ").and_then(|row| row.strip_suffix('|'));
        if table && row.is_none() && !line.starts_with("|--") {
            page.push_str("</tbody></table>\n");
            table = false;
        }
        if let Some(title) = line.strip_prefix("## ") {
            page.push_str(if section { "</section>\n" } else { "" });
            let _ = writeln!(page, "<section><h2>{}</h2>", text(title));
            section = true;
        } else if let Some(title) = line.strip_prefix("# ") {
            let _ = writeln!(page, "<h1>{}</h1>", text(title));
        } else if let Some(row) = row {
            let cell = if table { "td" } else { "th" };
            let cells = row.replace("\\|", "\u{0}");
            let cells = cells.split('|').map(|one| text(one.trim()).replace('\u{0}', "|"));
            let cells: String = cells.map(|one| format!("<{cell}>{one}</{cell}>")).collect();
            if table {
                let _ = writeln!(page, "<tr>{cells}</tr>");
            } else {
                let _ = writeln!(page, "<table><thead><tr>{cells}</tr></thead><tbody>");
                table = true;
            }
        } else if !line.starts_with("|--") {
            let _ = writeln!(page, "<p>{}</p>", text(line));
        }
    }
    page.push_str(if table { "</tbody></table>\n" } else { "" });
    page.push_str(if section { "</section>\n" } else { "" });
    page + TAIL
}

/// Escapes a text; what is between backticks is code, and between asterisks emphasised.
fn text(markdown: &str) -> String {
    let mut html = String::new();
    for (at, part) in markdown.split('`').enumerate() {
        let escaped = part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        if at % 2 == 1 {
            let _ = write!(html, "<code>{escaped}</code>");
            continue;
        }
        let mut parts = escaped.split('*');
        html.push_str(parts.next().unwrap_or_default());
        for (at, part) in parts.enumerate() {
            let _ = write!(html, "{}{part}", if at % 2 == 0 { "<em>" } else { "</em>" });
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::doc;

    #[test]
    fn texts_are_escaped_and_marked() {
        assert_eq!(
            text("a <b> & `c*<d>` *Planned.*"),
            "a &lt;b&gt; &amp; <code>c*&lt;d&gt;</code> <em>Planned.</em>"
        );
    }

    #[test]
    fn every_row_of_the_reference_is_on_the_page() {
        let markdown = doc::markdown(None).unwrap();
        let page = html(&markdown);
        let rows = markdown.lines().filter(|line| line.starts_with("| `")).count();
        assert!(rows > 400, "{rows}");
        assert_eq!(page.matches("<tr><td><code>").count(), rows);
        let sections = markdown.lines().filter(|line| line.starts_with("## ")).count();
        assert_eq!(
            (page.matches("<section>").count(), page.matches("</section>").count()),
            (sections, sections)
        );
        assert_eq!(page.matches("<em>").count(), page.matches("</em>").count());
        assert_eq!(page.matches("<table>").count(), page.matches("</tbody></table>").count());
        // Each row has its four cells, also where a text has a `|` in it.
        for row in page.lines().filter(|line| line.starts_with("<tr><td>")) {
            assert_eq!(row.matches("<td>").count(), 4, "{row}");
        }
    }
}

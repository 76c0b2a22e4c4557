//! The description as a page: no scripts, and nothing from other servers.

use super::super::describe::Field;
use super::super::error::ApiError;
use super::super::http::HttpSettings;
use super::super::method::{Descriptor, METHODS};
use std::fmt::Write;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width\">\n<title>Spinward server API</title>\n<style>\n\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark }\n\
table { border-collapse: collapse } td { padding: .1rem 1rem .1rem 0; vertical-align: top }\n\
pre { overflow-x: auto; padding: .6rem; border: 1px solid #8886 } code, pre { font-size: .875rem }\n\
</style>\n";

/// Returns the page. `document` is its link to the document.
#[must_use]
pub(crate) fn page(settings: &HttpSettings, document: &str) -> String {
    let mut out = HEAD.to_owned();
    let prefix = escape(&settings.prefix);
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "<h1>Spinward server API</h1>\n<p>Version {}. For programs: <a href=\"{}\">the OpenAPI document</a>.</p>\n\
         <p>Each method is a <code>POST</code> to <code>{prefix}/METHOD</code> with its parameters as a JSON object, \
         and the key in the header <code>X-API-Key</code>.</p>\n<p>",
        env!("CARGO_PKG_VERSION"),
        escape(document),
    );
    for method in METHODS {
        let _ = writeln!(out, "<a href=\"#{0}\">{0}</a>", method.name);
    }
    out.push_str("</p>\n");
    for method in METHODS {
        append(method, &prefix, &mut out);
    }
    out
}

fn append(method: &Descriptor, prefix: &str, out: &mut String) {
    let _ = write!(out, "<h2 id=\"{0}\">{0}</h2>\n<p>{1}</p>\n", method.name, code(method.summary));
    let fields = (method.fields)();
    if !fields.is_empty() {
        out.push_str("<table>\n");
        fields.iter().for_each(|field| append_field(field, out));
        out.push_str("</table>\n");
    }
    let errors = method.errors.iter().chain([&ApiError::INTERNAL]);
    let errors: Vec<String> = errors.map(|error| format!("{} {}", error.code, error.message)).collect();
    let _ = write!(
        out,
        "<p>Errors: {}.</p>\n<pre>curl -X POST {prefix}/{} -H \"X-API-Key: $KEY\" \\\n  -d '{}'</pre>\n",
        errors.join(", "),
        method.name,
        escape(method.example),
    );
}

fn append_field(field: &Field, out: &mut String) {
    let Field { name, label, about, .. } = field;
    let required = if field.required { ", required" } else { "" };
    let _ = writeln!(out, "<tr><td><code>{name}</code><td>{label}{required}<td>{}</tr>", code(about));
}

/// Returns text for the page, with the parts between backticks as code.
fn code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let marked = parts.map(
        |(at, part)| {
            if at % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) }
        },
    );
    marked.collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_code_is_marked() {
        assert_eq!(code("a `b<c>` & \"d\""), "a <code>b&lt;c&gt;</code> &amp; &quot;d&quot;");
    }
}

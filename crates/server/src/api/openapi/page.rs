//! The description as a page. Its one script tries calls; nothing comes from other servers.

use super::super::describe::Field;
use super::super::error::ApiError;
use super::super::http::HttpSettings;
use super::super::method::{Descriptor, METHODS};
use std::fmt::Write;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width\">\n<title>Spinward server API</title>\n<style>\n\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem }\n:root { color-scheme: light dark; background: light-dark(#fff, #14181b); color: light-dark(#161c20, #e6eaed) }\n\
table { border-collapse: collapse } th, td { padding: .1rem 1rem .1rem 0; vertical-align: top; text-align: left; font-weight: normal }\n\
@media (max-width: 40rem) { tr, td:last-child { display: block } tr { padding-bottom: .6rem } }\n\
pre { overflow-x: auto; padding: .6rem; border: 1px solid #8886 } code, pre, output, textarea { font: .875rem/1.4 monospace }\n\
form { display: grid; gap: .5rem; margin: .5rem 0 } textarea { width: 100%; box-sizing: border-box }\n\
output { white-space: pre-wrap; overflow-wrap: anywhere } button { justify-self: start; font: inherit; padding: .2rem 1rem }\n\
a { color: light-dark(#0b5c6b, #6cd4e6) } [aria-disabled] { opacity: .5 }\n\
</style>\n";

/// Parts of the page that depend on server and request.
pub(crate) struct Place<'a> {
    /// Path of the endpoint.
    pub(crate) path: &'a str,
    /// Host and port of the server, as the request has them.
    pub(crate) host: &'a str,
    /// Path where development mode tells the key.
    pub(crate) info: Option<&'a str>,
}

/// Returns the page.
#[must_use]
pub(crate) fn page(settings: &HttpSettings, place: &Place<'_>) -> String {
    let mut out = HEAD.to_owned();
    let (prefix, path) = (escape(&settings.prefix), escape(place.path));
    let info = place.info.map(|info| format!(" data-info=\"{}\"", escape(info))).unwrap_or_default();
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "<script src=\"{path}/try.js\" defer></script>\n</head>\n<body{info}>\n<main>\n\
         <h1>Spinward server API</h1>\n<p>Version {}. For programs: <a href=\"{path}/openapi.json\">the OpenAPI document</a>.</p>\n\
         <p>Each method is a <code>POST</code> to <code>{prefix}/METHOD</code> with its parameters as a JSON object, \
         and the key in the header <code>X-API-Key</code>.</p>\n\
         <p><label>Key for calls from this page: <input id=\"key\" type=\"password\" autocomplete=\"off\"></label></p>\n<p>",
        env!("CARGO_PKG_VERSION"),
    );
    for method in METHODS {
        let _ = writeln!(out, "<a href=\"#{0}\">{0}</a>", method.name);
    }
    out.push_str("</p>\n");
    for method in METHODS {
        append(method, &prefix, &escape(place.host), &mut out);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn append(method: &Descriptor, prefix: &str, host: &str, out: &mut String) {
    let _ = write!(out, "<h2 id=\"{0}\">{0}</h2>\n<p>{1}</p>\n", method.name, code(method.summary));
    let fields = (method.fields)();
    if !fields.is_empty() {
        out.push_str("<table>\n");
        fields.iter().for_each(|field| append_field(field, out));
        out.push_str("</table>\n");
    }
    let errors = method.errors.iter().chain([&ApiError::INTERNAL]);
    let errors: Vec<String> = errors.map(|error| format!("{} {}", error.code, error.message)).collect();
    let (name, example) = (method.name, escape(method.example));
    let _ = write!(
        out,
        "<p>Errors: {}.</p>\n<pre class=\"curl\" tabindex=\"0\">curl -X POST http://{host}{prefix}/{name} \
         -H \"X-API-Key: $KEY\" \\\n  -d '{example}'</pre>\n\
         <details><summary>Try {name}</summary>\n<form data-url=\"{prefix}/{name}\">\n\
         <label>Parameters<textarea rows=\"3\" spellcheck=\"false\">{example}</textarea></label>\n\
         <button>Send</button>\n<output></output>\n</form></details>\n",
        errors.join(", "),
    );
}

fn append_field(field: &Field, out: &mut String) {
    let Field { name, label, about, .. } = field;
    let required = if field.required { ", required" } else { "" };
    let _ = writeln!(
        out,
        "<tr><th scope=\"row\"><code>{name}</code></th><td>{label}{required}<td>{}</tr>",
        code(about)
    );
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

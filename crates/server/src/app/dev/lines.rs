//! Lines to copy: a call of the API for a shell, and a page that listens.

use serde_json::{Value, json};

/// A line for the shell that publishes to `channel`. `api` is the address of the HTTP API.
pub(super) fn curl(api: &str, key: &str, channel: &str) -> String {
    let body = json!({ "channel": channel, "data": { "hello": "world" } }).to_string();
    let (key, body) = (quoted(&format!("X-API-Key: {key}")), quoted(&body));
    format!("curl -X POST {api}/publish -H {key} -d {body}")
}

/// A page that connects and shows what arrives. `http` is the address of the server, `websocket` that of the endpoint.
pub(super) fn page(http: &str, websocket: &str, token: &str, channel: &str) -> String {
    let (websocket, token, channel) = (literal(websocket), literal(token), literal(channel));
    format!(
        r#"<!doctype html>
<meta charset="utf-8">
<title>Spinward</title>
<pre id="log"></pre>
<script src="{http}/centrifuge.js"></script>
<script>
  const say = (text) => document.getElementById("log").append(text + "\n");
  const centrifuge = new Centrifuge({websocket}, {{ token: {token} }});
  centrifuge.on("connecting", () => say("connecting"));
  centrifuge.on("error", ({{ error }}) => say("error " + error.code + ": " + error.message));
  centrifuge.on("disconnected", ({{ code, reason }}) => say("disconnected " + code + ": " + reason));
  const sub = centrifuge.newSubscription({channel});
  sub.on("subscribed", () => say("listening to " + sub.channel));
  sub.on("unsubscribed", ({{ code, reason }}) => say("unsubscribed " + code + ": " + reason));
  sub.on("publication", ({{ data }}) => say(JSON.stringify(data)));
  sub.subscribe();
  centrifuge.connect();
</script>"#
    )
}

/// An argument for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A string of JavaScript inside an element of HTML, where `</` and `<!--` mean something.
fn literal(text: &str) -> String {
    Value::from(text).to_string().replace('<', r"\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_whole_whatever_they_hold() {
        let line = curl("http://127.0.0.1:8000/api", "it's", "a'b");
        assert_eq!(
            line,
            r#"curl -X POST http://127.0.0.1:8000/api/publish -H 'X-API-Key: it'\''s' -d '{"channel":"a'\''b","data":{"hello":"world"}}'"#
        );
    }

    #[test]
    fn no_string_ends_its_script() {
        let page = page("http://x", "ws://x", "token", "a</script><!--");
        assert_eq!((page.matches("</script>").count(), page.matches("<!--").count()), (2, 0));
    }
}

//! Lines of the log as JSON objects with Centrifugo's fields: `level` in lower case, `time`, `message`, and those of
//! the line.

use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes one object a line.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::with_capacity(256);
        line.push_str("{\"level\":\"");
        line.push_str(level(*event.metadata().level()));
        line.push_str("\",\"time\":\"");
        // Clocks outside of what a date can say give an error; the line is worth more than its time.
        let _ = SystemTime.format_time(&mut Writer::new(&mut line));
        line.push('"');
        event.record(&mut Fields(&mut line));
        line.push('}');
        writer.write_str(&line)?;
        writer.write_char('\n')
    }
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The fields of a line, each added with a comma in front.
struct Fields<'a>(&'a mut String);

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: &(impl serde::Serialize + ?Sized)) {
        // Texts and numbers can always be written.
        let Ok(value) = serde_json::to_string(value) else { return };
        let name = field.name().trim_start_matches("r#");
        // Writing to a string cannot fail.
        let _ = write!(self.0, ",\"{name}\":{value}");
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use std::io;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_the_fields_that_parsers_of_centrifugo_look_for() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Json)
            .with_max_level(Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(channel = "a\"b\n", offset = 7_u64, delta = -1, tls = true, r#type = ?Some(1), "it \"works\"");
            tracing::warn!(load = 0.5, "x");
            tracing::error!("x");
            tracing::debug!("x");
            tracing::trace!("x");
        });
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let levels: Vec<&str> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
        assert_eq!(levels, ["info", "warn", "error", "debug", "trace"]);
        let mut first = lines[0].clone();
        let time = first.as_object_mut().unwrap().remove("time").unwrap();
        let time = time.as_str().unwrap();
        // RFC 3339 in UTC.
        assert!(time.len() == 27 && time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{time}");
        let expected = json!({
            "level": "info", "message": "it \"works\"", "channel": "a\"b\n", "offset": 7, "delta": -1, "tls": true,
            "type": "Some(1)",
        });
        assert_eq!(first, expected);
        assert_eq!(lines[1]["load"], 0.5);
    }
}

//! Publishes at a fixed rate, whatever the receivers do: a closed loop would hide queueing.
//!
//! One connection, requests one behind the other without waiting for answers, so that order is kept and
//! the rate too. The time in a payload is the time it was due, so that a publisher held up by the server
//! counts as latency.
//!
//! Fields of the command: `address`, `rate` (a second), `seconds`, `size` (bytes of data), `channel`,
//! `channels` (published to in turn), `key` (of the HTTP API), `tag` (value of the tag `n`, none if left out); with
//! `raw` it is the floor that is spoken to.

use crate::control::{Error, emit, flag, float, number, text};
use crate::{clock, frame, http, payload};
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Starts the publisher on its own thread; it answers `published` at the end.
pub(crate) fn start(command: &Value) -> Result<(), Error> {
    let job = Job::from_command(command)?;
    std::thread::spawn(move || match job.run() {
        Ok(report) => emit(&report),
        Err(error) => emit(&json!({"event": "error", "message": format!("publish: {error}")})),
    });
    Ok(())
}

struct Job {
    stream: TcpStream,
    address: String,
    rate: f64,
    seconds: f64,
    size: usize,
    channel: String,
    channels: u64,
    key: String,
    /// JSON that follows the data in a request.
    tags: String,
    raw: bool,
}

impl Job {
    fn from_command(command: &Value) -> Result<Self, Error> {
        let address = text(command, "address", "").to_owned();
        let stream = TcpStream::connect(&address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            address,
            rate: float(command, "rate", 1.0),
            seconds: float(command, "seconds", 1.0),
            size: usize::try_from(number(command, "size", 200))?,
            channel: text(command, "channel", "bench").to_owned(),
            channels: number(command, "channels", 1).max(1),
            key: text(command, "key", "").to_owned(),
            tags: match text(command, "tag", "") {
                "" => String::new(),
                tag => format!(",\"tags\":{{\"n\":\"{tag}\"}}"),
            },
            raw: flag(command, "raw"),
        })
    }

    fn run(mut self) -> io::Result<Value> {
        let total = (self.rate * self.seconds).round() as u64;
        let (good, bad) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut reader = self.stream.try_clone()?;
        reader.set_read_timeout(Some(Duration::from_secs(10)))?;
        let expected = if self.raw { 0 } else { total };
        let mut late = 0;
        let start = clock::now();
        std::thread::scope(|scope| {
            let answers = scope.spawn(|| count_answers(&mut reader, expected, &good, &bad));
            late = self.send(total, start)?;
            answers.join().unwrap_or_else(|_| Err(io::Error::other("the reader of answers died")))
        })?;
        Ok(json!({
            "event": "published",
            "sent": total,
            "accepted": good.load(Ordering::Relaxed),
            "refused": bad.load(Ordering::Relaxed),
            "seconds": (clock::now() - start) as f64 / 1e9,
            "late_ms": late as f64 / 1e6,
        }))
    }

    /// Sends all; returns by how much the latest was late.
    fn send(&mut self, total: u64, start: u64) -> io::Result<u64> {
        let (mut body, mut bytes, mut late) = (Vec::new(), Vec::new(), 0);
        for n in 0..total {
            let due = start + (n as f64 * 1e9 / self.rate) as u64;
            clock::sleep_until(due);
            late = late.max(clock::now().saturating_sub(due));
            body.clear();
            bytes.clear();
            let number = n % self.channels;
            if self.raw {
                write!(body, "{{\"push\":{{\"channel\":\"{}{number}\",\"pub\":{{\"data\":", self.channel)?;
                payload::write(&mut body, n, due, self.size);
                body.extend_from_slice(b"}}}");
                frame::write_as_server(&mut bytes, frame::TEXT, &body);
                let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
                self.stream.write_all(&length.to_be_bytes())?;
            } else {
                write!(body, "{{\"channel\":\"{}{number}\",\"data\":", self.channel)?;
                payload::write(&mut body, n, due, self.size);
                body.extend_from_slice(self.tags.as_bytes());
                body.push(b'}');
                http::request(&mut bytes, &self.address, "publish", &self.key, &body);
            }
            self.stream.write_all(&bytes)?;
        }
        Ok(late)
    }
}

fn count_answers(stream: &mut TcpStream, expected: u64, good: &AtomicU64, bad: &AtomicU64) -> io::Result<()> {
    let (mut buffer, mut scratch) = (Vec::new(), [0; 16 * 1024]);
    let mut seen = 0;
    while seen < expected {
        let n = stream.read(&mut scratch)?;
        if n == 0 {
            return Err(io::Error::other("the server closed the connection"));
        }
        buffer.extend_from_slice(&scratch[..n]);
        let mut used = 0;
        while let Some((length, accepted)) = http::answer(&buffer[used..])? {
            used += length;
            seen += 1;
            let counter = if accepted == 0 { bad } else { good };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        buffer.drain(..used);
    }
    Ok(())
}

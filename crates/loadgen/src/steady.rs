//! Publishes every number exactly once, whatever the server does in the meantime: an answer that is an error or does not
//! come is followed by the same publication again, under the same idempotency key.
//!
//! One call at a time over one connection, which is opened again when the server has ended it. The time in a payload
//! is the time it was due, so that a call held up by the server counts as latency of all that are due by then.
//!
//! Fields of the command `steady`: `address`, `key` (of the HTTP API), `rate` (a second), `seconds`, `grace` (how long
//! it may go on after that, in seconds), `channel`, `series` (makes the idempotency keys its own).

use crate::control::{Error, emit, float, text};
use crate::{clock, http, payload};
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Bytes of a publication's data.
const SIZE: usize = 100;

/// Time limit of an answer; after it the call is repeated.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Starts the publisher on its own thread; it answers `steady` at the end.
pub(crate) fn start(command: &Value) -> Result<(), Error> {
    let address = text(command, "address", "");
    let job = Job {
        address: address.parse().map_err(|e| format!("address {address}: {e}"))?,
        key: text(command, "key", "").to_owned(),
        rate: float(command, "rate", 100.0),
        seconds: float(command, "seconds", 1.0),
        grace: float(command, "grace", 30.0),
        channel: text(command, "channel", "witness").to_owned(),
        series: text(command, "series", "").to_owned(),
    };
    std::thread::spawn(move || emit(&job.run()));
    Ok(())
}

struct Job {
    address: SocketAddr,
    key: String,
    rate: f64,
    seconds: f64,
    grace: f64,
    channel: String,
    series: String,
}

impl Job {
    fn run(&self) -> Value {
        let total = (self.rate * self.seconds).round() as u64;
        let start = clock::now();
        let until = start + ((self.seconds + self.grace) * 1e9) as u64;
        let mut caller = Caller::new(self.address);
        let (mut accepted, mut refused, mut failed) = (0_u64, 0_u64, 0_u64);
        let mut first_failure = None;
        'numbers: for number in 0..total {
            let due = start + (number as f64 * 1e9 / self.rate) as u64;
            clock::sleep_until(due);
            let request = self.request(number, due);
            loop {
                match caller.call(&request) {
                    Ok(true) => break,
                    Ok(false) => refused += 1,
                    Err(error) => {
                        failed += 1;
                        first_failure.get_or_insert_with(|| error.to_string());
                    }
                }
                if clock::now() > until {
                    break 'numbers;
                }
                std::thread::sleep(PAUSE);
            }
            accepted += 1;
        }
        json!({
            "event": "steady",
            "sent": total,
            "accepted": accepted,
            "refused": refused,
            "failed": failed,
            "first_failure": first_failure,
            "seconds": (clock::now() - start) as f64 / 1e9,
        })
    }

    fn request(&self, number: u64, due: u64) -> Vec<u8> {
        let Self { channel, series, .. } = self;
        let mut body =
            format!("{{\"channel\":\"{channel}\",\"idempotency_key\":\"{series}-{number}\",\"data\":")
                .into_bytes();
        payload::write(&mut body, number, due, SIZE);
        body.push(b'}');
        let mut request = Vec::new();
        http::request(&mut request, &self.address.to_string(), "publish", &self.key, &body);
        request
    }
}

/// Calls the HTTP API, one call at a time, over a connection that is opened again after a failure.
pub(crate) struct Caller {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Returns true if the answer was a result. After an error it is unknown whether the call was executed.
    pub(crate) fn call(&mut self, request: &[u8]) -> io::Result<bool> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream
            }
        };
        stream.write_all(request)?;
        let (mut answer, mut scratch) = (Vec::new(), [0; 4096]);
        loop {
            let n = stream.read(&mut scratch)?;
            if n == 0 {
                return Err(io::Error::other("the server closed the connection"));
            }
            answer.extend_from_slice(&scratch[..n]);
            if let Some((_, results)) = http::answer(&answer)? {
                self.stream = Some(stream);
                return Ok(results > 0);
            }
        }
    }
}

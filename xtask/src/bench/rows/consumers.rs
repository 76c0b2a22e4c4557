//! Messages that consumers carry out, beside publications through the HTTP API.

use super::engines::Backend;
use super::grpc::measured;
use super::{figure, names, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{KEY, Rig, Sample, rounds};
use crate::bench::server::Server;
use crate::shell::{self, Failure};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Messages of a round.
const MESSAGES: usize = 20_000;
const PARTITIONS: usize = 4;
/// Time that they may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Time for an answer of a source.
const ANSWER: Duration = Duration::from_secs(20);
/// Distance of two looks at the counter, each of which costs the server a little.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn postgresql(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    carried_out(bench, row, Kind::Postgres)
}

pub(super) fn redis(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    carried_out(bench, row, Kind::Redis)
}

pub(super) fn nats(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    carried_out(bench, row, Kind::Nats)
}

/// Kind of a source.
#[derive(Clone, Copy)]
enum Kind {
    Postgres,
    Redis,
    Nats,
}

impl Kind {
    /// Name of the server that has to be started.
    const fn server(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Nats => "jetstream",
        }
    }
}

/// The source of one consumer. Each server has its own.
struct Source {
    backend: Backend,
    kind: Kind,
}

impl Source {
    fn start(kind: Kind) -> Result<Self, Failure> {
        let source = Self { backend: Backend::start(kind.server())?, kind };
        match kind {
            Kind::Postgres => source.sql(
                "CREATE TABLE outbox (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, method TEXT NOT NULL, \
                 payload JSONB NOT NULL, partition INTEGER NOT NULL DEFAULT 0, \
                 created_at TIMESTAMPTZ NOT NULL DEFAULT now()); CREATE INDEX ON outbox (partition, id)",
            )?,
            Kind::Nats => {
                let stream = json!({"name": "MESSAGES", "subjects": ["messages"], "storage": "memory"});
                let (stream, create) = (stream.to_string(), "$JS.API.STREAM.CREATE.MESSAGES");
                let mut nats = Nats::connect(&source.backend.address)?;
                let length = stream.len();
                write!(nats.output, "SUB answer 1\r\nPUB {create} answer {length}\r\n{stream}\r\n")?;
                let answer = nats.until("{")?;
                if answer.contains("\"error\"") {
                    return Err(format!("no stream: {answer}").into());
                }
            }
            // The first entry makes the stream.
            Kind::Redis => {}
        }
        Ok(source)
    }

    /// Options of a server that consumes it.
    fn options(&self) -> Value {
        let address = &self.backend.address;
        let (name, options) = match self.kind {
            Kind::Postgres => (
                "postgresql",
                json!({"dsn": self.dsn(), "outbox_table_name": "outbox", "num_partitions": PARTITIONS}),
            ),
            Kind::Redis => (
                "redis_stream",
                json!({
                    "address": [format!("redis://{address}")], "streams": ["messages"], "consumer_group": "bench",
                }),
            ),
            Kind::Nats => (
                "nats_jetstream",
                json!({
                    "url": format!("nats://{address}"), "stream_name": "MESSAGES", "subjects": ["messages"],
                    "durable_consumer_name": "bench", "deliver_policy": "all",
                }),
            ),
        };
        let mut consumer = json!({"name": "bench", "enabled": true, "type": name});
        consumer[name] = options;
        json!({"consumers": [consumer]})
    }

    /// Adds the messages of a round, at once or nearly so.
    fn feed(&self) -> Result<(), Failure> {
        let payload = json!({"channel": "api", "data": {"text": "x".repeat(117)}}).to_string();
        match self.kind {
            Kind::Postgres => self.sql(&format!(
                "INSERT INTO outbox (method, payload, partition) \
                 SELECT 'publish', '{payload}', n % {PARTITIONS} FROM generate_series(1, {MESSAGES}) n"
            )),
            Kind::Redis => {
                let script = "for n = 1, tonumber(ARGV[1]) do \
                              redis.call('XADD', KEYS[1], '*', 'method', 'publish', 'payload', ARGV[2]) end";
                let mut stream = TcpStream::connect(&self.backend.address)?;
                stream.set_read_timeout(Some(ANSWER))?;
                let count = MESSAGES.to_string();
                let command = ["EVAL", script, "1", "messages", &count, &payload];
                write!(stream, "*{}\r\n", command.len())?;
                for part in command {
                    write!(stream, "${}\r\n{part}\r\n", part.len())?;
                }
                let mut answer = String::new();
                BufReader::new(stream).read_line(&mut answer)?;
                // The script returns nothing.
                if answer.starts_with("$-1") { Ok(()) } else { Err(format!("redis: {answer}").into()) }
            }
            Kind::Nats => {
                let mut nats = Nats::connect(&self.backend.address)?;
                let head = "NATS/1.0\r\ncentrifugo-method: publish\r\n\r\n";
                let total = head.len() + payload.len();
                let message = format!("HPUB messages {} {total}\r\n{head}{payload}\r\n", head.len());
                nats.output.write_all(message.repeat(MESSAGES).as_bytes())?;
                nats.output.write_all(b"PING\r\n")?;
                nats.until("PONG").map(drop)
            }
        }
    }

    fn dsn(&self) -> &str {
        self.backend.config.pointer("/engine/postgres/dsn").and_then(Value::as_str).unwrap_or_default()
    }

    fn sql(&self, statements: &str) -> Result<(), Failure> {
        let arguments = [self.dsn(), "-q", "-v", "ON_ERROR_STOP=1", "-c", statements];
        shell::run(&mut shell::command("psql", &arguments))
    }
}

/// A connection to NATS, in lines of text.
struct Nats {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Nats {
    fn connect(address: &str) -> Result<Self, Failure> {
        let output = TcpStream::connect(address)?;
        output.set_read_timeout(Some(ANSWER))?;
        let mut nats = Self { input: BufReader::new(output.try_clone()?), output };
        nats.until("INFO")?;
        nats.output.write_all(b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n")?;
        Ok(nats)
    }

    /// Reads to a line that begins like this.
    fn until(&mut self, begin: &str) -> Result<String, Failure> {
        loop {
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 || line.starts_with("-ERR") {
                return Err(format!("nats: {begin} does not come: {line}").into());
            }
            if line.starts_with(begin) {
                return Ok(line);
            }
        }
    }
}

/// Messages that have had their effect.
fn processed(server: &Server) -> f64 {
    server.metric("centrifugo_consumers_messages_processed_total", "consumer_name=\"bench\"").unwrap_or(0.0)
}

fn carried_out(bench: &mut Bench, row: &'static str, kind: Kind) -> Result<(), Failure> {
    let figures = [
        figure("rate", "messages per CPU second of the server", "1/s", Reading::Rate, Budget::None),
        figure("wall", "messages per second, their source included", "1/s", Reading::Plain, Budget::None),
        figure("of_http", "CPU, of publishing through the HTTP API", "×", Reading::Plain, Budget::None),
    ];
    let mut floor = usual_floor()?;
    let (mut rigs, mut sources) = (Vec::new(), HashMap::new());
    for target in &bench.targets {
        if !target.is_fresh() {
            return Err("a consumer is given at the start: use --against-bin".into());
        }
        let source = Source::start(kind)?;
        let rig = Rig::new(target.start(&source.options())?)?;
        sources.insert(rig.server.pid, source);
        rigs.push(rig);
    }
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let source = &sources[&rig.server.pid];
        let (answer, spent) = rig.spent(|rig| {
            let before = processed(&rig.server);
            let begin = Instant::now();
            source.feed()?;
            while processed(&rig.server) - before < MESSAGES as f64 {
                if begin.elapsed() > LIMIT {
                    return Err(format!("{}: messages are left", rig.server.name).into());
                }
                std::thread::sleep(LOOK);
            }
            Ok(json!(begin.elapsed().as_secs_f64()))
        })?;
        let rate = MESSAGES as f64 / (spent / 1e9);
        let request = json!({
            "op": "http", "address": rig.server.address, "key": KEY, "seconds": 1.0, "connections": 32, "batch": 1,
            "size": 128, "channel": "api",
        });
        let (http, _) = measured(rig, &request, "http")?;
        let wall = MESSAGES as f64 / answer.as_f64().unwrap_or(f64::NAN);
        Ok(Sample::from([("rate", rate), ("wall", wall), ("of_http", http / rate)]))
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

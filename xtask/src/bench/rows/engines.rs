//! Traffic through the server of an engine, beside the memory of one node.

use super::{figure, names, usual, usual_floor};
use crate::bench::Bench;
use crate::bench::process::Cpu;
use crate::bench::report::{Budget, Reading};
use crate::bench::rig::{KEY, Rig, Sample, number, rounds};
use crate::shell::{self, Failure};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

/// Publications of a batch.
const BATCH: u32 = 100;

const SECONDS: f64 = 2.0;
const SUBSCRIBERS: usize = 2_000;

pub(super) fn redis(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    through(bench, row, "redis")
}

pub(super) fn nats(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    through(bench, row, "nats")
}

pub(super) fn jetstream(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    through(bench, row, "jetstream")
}

pub(super) fn postgres(bench: &mut Bench, row: &'static str) -> Result<(), Failure> {
    through(bench, row, "postgres")
}

/// A server of an engine. It ends with this value.
pub(super) struct Backend {
    child: Child,
    pub(super) config: Value,
    pid: u32,
    pub(super) address: String,
    /// It counts commands.
    counts: bool,
}

impl Backend {
    pub(super) fn start(kind: &str) -> Result<Self, Failure> {
        let arguments = ["build", "--locked", "--quiet", "--package", "spinward-testkit", "--bins"];
        shell::run(&mut shell::cargo(&arguments))?;
        let program = shell::target().join("debug/spinward-servers");
        let mut command = shell::command(program, &[kind]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let said: Value = serde_json::from_str(&line).map_err(|_| format!("{kind} does not start"))?;
        let pid = said.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok());
        Ok(Self {
            child,
            config: said.get("config").cloned().unwrap_or_default(),
            pid: pid.ok_or("no process")?,
            address: said.get("address").and_then(Value::as_str).unwrap_or_default().to_owned(),
            counts: backend_counts(kind),
        })
    }

    /// Statistics of Redis; empty for an engine that does not count.
    pub(super) fn info(&self) -> Result<Info, Failure> {
        let mut text = String::new();
        if self.counts {
            let mut stream = TcpStream::connect(&self.address)?;
            stream.write_all(b"INFO all\r\nQUIT\r\n")?;
            stream.read_to_string(&mut text)?;
        }
        Ok(Info(text))
    }

    /// CPU of its process so far.
    pub(super) fn cpu(&self) -> Result<Cpu, Failure> {
        Cpu::of(self.pid)
    }
}

/// The answer to `INFO` of Redis.
pub(super) struct Info(String);

impl Info {
    fn value(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// A number by its name; 0 where there is none.
    pub(super) fn number(&self, name: &str) -> f64 {
        self.value(name).and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// Commands, each of a script counted.
    pub(super) fn commands(&self) -> f64 {
        self.number("total_commands_processed")
    }

    /// Bytes between Redis and everybody.
    pub(super) fn bytes(&self) -> f64 {
        self.number("total_net_input_bytes") + self.number("total_net_output_bytes")
    }

    /// Calls of a command.
    pub(super) fn calls(&self, command: &str) -> f64 {
        let counted = self.value(&format!("cmdstat_{command}")).and_then(|line| line.strip_prefix("calls="));
        counted.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0.0)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Its standard input ends, so that it ends the server.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Returns true if the server of an engine counts its commands.
fn backend_counts(kind: &str) -> bool {
    matches!(kind, "redis" | "valkey")
}

fn through(bench: &mut Bench, row: &'static str, kind: &'static str) -> Result<(), Failure> {
    let stored = kind != "nats";
    // PostgreSQL is many processes, whose CPU is not that of the first.
    let one_process = kind != "postgres";
    let plain = |key, what, unit| figure(key, what, unit, Reading::Plain, Budget::None);
    let rate = |key, what| figure(key, what, "1/s", Reading::Rate, Budget::None);
    let mut figures = vec![
        rate("rate", "publications per CPU second of the server"),
        plain("wall", "publications per second, load and engine included", "1/s"),
    ];
    if one_process {
        figures.push(plain("engine", "CPU of the engine's server per publication", "µs"));
    }
    if stored {
        figures.push(rate("history", "with history, per CPU second"));
    }
    if stored && one_process {
        figures.push(plain("engine_history", "CPU of the engine's server, with history", "µs"));
    }
    if backend_counts(kind) {
        figures.push(plain("commands", "commands of the engine per publication with history", ""));
        figures.push(plain("bytes", "bytes from and to the engine per publication", "B"));
        figures.push(plain("bytes_history", "the same with history", "B"));
        figures.push(rate("batched", "with history, in batches of 100 in parallel, per CPU second"));
    }
    figures.extend([
        plain("delivery", "CPU per delivery, 2,000 subscribers", "µs"),
        figure("fanout", "CPU of the fan-out, of that in memory", "×", Reading::Plain, Budget::AtMost(1.05)),
        rate("memory_rate", "in memory: publications per CPU second"),
    ]);
    let backend = Backend::start(kind)?;
    let mut floor = usual_floor()?;
    let mut rigs = Vec::new();
    for target in &bench.targets {
        rigs.push(Rig::new(target.start(&backend.config)?)?);
    }
    // The same binary without an engine, for ratios.
    let mut alone = Rig::new(bench.targets[0].start(&json!({}))?)?;
    let plan = json!({"count": SUBSCRIBERS, "subscriptions": 1, "channel": "bench", "channels": 1});
    for rig in rigs.iter_mut().chain([&mut alone]) {
        rig.connect(&plan)?;
    }
    let result = rounds(bench.rounds, &mut floor, &usual(), &mut rigs, |rig| {
        let before = backend.info()?;
        let (mut sample, engine) = publish(rig, "api", &backend, 1)?;
        sample.insert("engine", engine);
        let plain = backend.info()?;
        sample.insert("bytes", (plain.bytes() - before.bytes()) / sample["count"]);
        if stored {
            let (kept, engine) = publish(rig, "hist:api", &backend, 1)?;
            sample.insert("history", kept["rate"]);
            sample.insert("engine_history", engine);
            let after = backend.info()?;
            sample.insert("commands", (after.commands() - plain.commands()) / kept["count"]);
            sample.insert("bytes_history", (after.bytes() - plain.bytes()) / kept["count"]);
            // Elsewhere the publications of one channel take turns, and a batch would measure the waiting.
            if backend.counts {
                sample.insert("batched", publish(rig, "hist:api", &backend, BATCH)?.0["rate"]);
            }
        }
        let (own, bare) = (rig.publish(&usual())?, alone.publish(&usual())?);
        sample.insert("delivery", own["us"]);
        sample.insert("fanout", own["us"] / bare["us"]);
        let (memory, _) = publish(&mut alone, "api", &backend, 1)?;
        sample.insert("memory_rate", memory["rate"]);
        Ok(sample)
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// Publishes through the HTTP API. Returns the rates, and what one publication costs the engine's server in µs.
fn publish(rig: &mut Rig, channel: &str, backend: &Backend, batch: u32) -> Result<(Sample, f64), Failure> {
    let command = json!({
        "op": "http", "address": rig.server.address, "key": KEY, "seconds": SECONDS, "connections": 32,
        "batch": batch, "parallel": true, "size": 128, "channel": channel,
    });
    let before = backend.cpu()?;
    let (answer, spent) = rig.spent(|rig| rig.clients.call(&command, "http"))?;
    let engine = backend.cpu()?.since(&before);
    let count = number(&answer, "results");
    if number(&answer, "failed") > 0.0 || count < 1.0 {
        return Err(format!("{}: publications were refused: {answer}", rig.server.name).into());
    }
    let sample = Sample::from([
        ("rate", count / (spent / 1e9)),
        ("wall", count / number(&answer, "seconds")),
        ("count", count),
    ]);
    Ok((sample, engine / count / 1e3))
}

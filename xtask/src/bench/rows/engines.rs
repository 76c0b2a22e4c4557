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

    /// Commands that Redis has had, those of scripts left out.
    fn commands(&self) -> Result<f64, Failure> {
        if !self.counts {
            return Ok(0.0);
        }
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(b"INFO stats\r\nQUIT\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let line = text.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        Ok(line.unwrap_or("0").trim().parse()?)
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
        let (mut sample, engine) = publish(rig, "api", &backend)?;
        sample.insert("engine", engine);
        if stored {
            let before = backend.commands()?;
            let (kept, engine) = publish(rig, "hist:api", &backend)?;
            sample.insert("history", kept["rate"]);
            sample.insert("engine_history", engine);
            sample.insert("commands", (backend.commands()? - before) / kept["count"]);
        }
        let (own, bare) = (rig.publish(&usual())?, alone.publish(&usual())?);
        sample.insert("delivery", own["us"]);
        sample.insert("fanout", own["us"] / bare["us"]);
        let (memory, _) = publish(&mut alone, "api", &backend)?;
        sample.insert("memory_rate", memory["rate"]);
        Ok(sample)
    })?;
    bench.report.add(row, &names(bench), &figures, &result);
    Ok(())
}

/// Publishes through the HTTP API. Returns the rates, and what one publication costs the engine's server in µs.
fn publish(rig: &mut Rig, channel: &str, backend: &Backend) -> Result<(Sample, f64), Failure> {
    let command = json!({
        "op": "http", "address": rig.server.address, "key": KEY, "seconds": SECONDS, "connections": 32,
        "batch": 1, "size": 128, "channel": channel,
    });
    let before = Cpu::of(backend.pid)?;
    let (answer, spent) = rig.spent(|rig| rig.clients.call(&command, "http"))?;
    let engine = Cpu::of(backend.pid)?.since(&before);
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

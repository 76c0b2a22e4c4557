//! Measurement of a row: clients of a server, the floor beside it, and the loop of rounds.

use super::process::{Agent, Cpu, Machine, ticks};
use super::server::Server;
use crate::shell::Failure;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Signs the tokens; the benches' configuration has it too.
pub(crate) const SECRET: &str = "bench-secret";
/// Key of the HTTP API, as in the benches' configuration.
pub(crate) const KEY: &str = "bench-key";

/// Named values of one measurement.
pub(crate) type Sample = BTreeMap<&'static str, f64>;

/// A paced stream of publications.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) rate: f64,
    pub(crate) seconds: f64,
    pub(crate) size: usize,
    pub(crate) channel: &'static str,
    /// Channels published to in turn.
    pub(crate) channels: u64,
    /// Subscribers of each channel.
    pub(crate) subscribers: usize,
    /// Value of a tag on every publication; empty for no tag.
    pub(crate) tag: &'static str,
    /// A send may carry more than one delivery.
    pub(crate) may_coalesce: bool,
}

/// A server and the process that holds its clients.
pub(crate) struct Rig {
    pub(crate) server: Server,
    pub(crate) clients: Agent,
}

impl Rig {
    pub(crate) fn new(server: Server) -> Result<Self, Failure> {
        Ok(Self { server, clients: Agent::start("clients")? })
    }

    /// Opens connections as `plan` says; all must come up.
    pub(crate) fn connect(&mut self, plan: &Value) -> Result<Value, Failure> {
        connect(&mut self.clients, &self.server.name, &self.server.front, plan)
    }

    /// Publishes a stream through the HTTP API and measures what it costs the server.
    pub(crate) fn publish(&mut self, stream: &Stream) -> Result<Sample, Failure> {
        self.clients.call(&json!({"op": "reset", "step": stream.channels}), "reset")?;
        let (cpu, sends) = (Cpu::of(self.server.pid)?, self.server.sends());
        let published = self.clients.call(
            &json!({
                "op": "publish", "address": self.server.address, "key": KEY, "rate": stream.rate,
                "seconds": stream.seconds, "size": stream.size, "channel": stream.channel,
                "channels": stream.channels, "tag": stream.tag,
            }),
            "published",
        )?;
        let expected = number(&published, "sent") * stream.subscribers as f64;
        let stats = self
            .clients
            .call(&json!({"op": "settle", "deliveries": expected as u64, "quiet_ms": 3000}), "stats")?;
        let spent = Cpu::of(self.server.pid)?.since(&cpu);
        let mut sample = delivered(&stats, expected, spent);
        sample.insert("refused", number(&published, "refused"));
        if let (Some((s0, d0)), Some((s1, d1))) = (sends, self.server.sends()) {
            sample.insert("sends_per_delivery", (s1 - s0) / (d1 - d0).max(1.0));
        }
        Ok(sample)
    }

    /// CPU of the server while `work` runs, in nanoseconds.
    pub(crate) fn spent(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<Value, Failure>,
    ) -> Result<(Value, f64), Failure> {
        let before = Cpu::of(self.server.pid)?;
        let answer = work(self)?;
        Ok((answer, Cpu::of(self.server.pid)?.since(&before)))
    }

    fn pids(&self) -> [u32; 2] {
        [self.server.pid, self.clients.pid()]
    }
}

fn connect(clients: &mut Agent, name: &str, address: &str, plan: &Value) -> Result<Value, Failure> {
    let mut command = json!({"op": "connect", "address": address, "secret": SECRET});
    if let (Some(into), Some(from)) = (command.as_object_mut(), plan.as_object()) {
        into.extend(from.clone());
    }
    let answer = clients.call(&command, "connected")?;
    all_connected(name, &answer, plan)?;
    Ok(answer)
}

/// The bare floor of a login.
pub(crate) struct LoginFloor {
    floor: Agent,
    address: String,
}

impl LoginFloor {
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut floor = Agent::start("handshakes")?;
        let answer = floor.call(&json!({"secret": SECRET}), "address")?;
        let address = answer.get("address").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { floor, address })
    }

    /// Has these clients log in here. Returns the CPU that it took, in nanoseconds.
    pub(crate) fn run(&self, clients: &mut Agent, plan: &Value) -> Result<f64, Failure> {
        let before = Cpu::of(self.floor.pid())?;
        connect(clients, "login floor", &self.address, plan)?;
        Ok(Cpu::of(self.floor.pid())?.since(&before))
    }
}

/// The bare floor and the process that holds its sockets.
pub(crate) struct Floor {
    floor: Agent,
    readers: Agent,
    publisher: String,
    sockets: usize,
}

impl Floor {
    pub(crate) fn new(sockets: usize) -> Result<Self, Failure> {
        let (mut floor, mut readers) = (Agent::start("floor")?, Agent::start("clients")?);
        let ports = floor.expect("ports")?;
        let port = |name: &str| ports.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        floor.send(&json!({"op": "sockets", "count": sockets}))?;
        let plan = json!({"op": "connect", "address": port("subscribers"), "count": sockets, "raw": true, "first": 200_000});
        all_connected("floor", &readers.call(&plan, "connected")?, &plan)?;
        floor.expect("ready")?;
        Ok(Self { floor, readers, publisher: port("publisher"), sockets })
    }

    /// Writes a stream of the same bytes at the same rate; `us` is its CPU per send.
    pub(crate) fn run(&mut self, stream: &Stream) -> Result<Sample, Failure> {
        self.readers.call(&json!({"op": "reset"}), "reset")?;
        let (cpu, (user, system)) = (Cpu::of(self.floor.pid())?, ticks(self.floor.pid())?);
        let sent = self.readers.call(
            &json!({
                "op": "publish", "raw": true, "address": self.publisher, "rate": stream.rate,
                "seconds": stream.seconds, "size": stream.size, "channel": stream.channel,
            }),
            "published",
        )?;
        let sends = number(&self.floor.expect("floor")?, "sends");
        let expected = number(&sent, "sent") * self.sockets as f64;
        let stats = self
            .readers
            .call(&json!({"op": "settle", "deliveries": expected as u64, "quiet_ms": 3000}), "stats")?;
        let mut sample = delivered(&stats, expected, Cpu::of(self.floor.pid())?.since(&cpu));
        let (user_now, system_now) = ticks(self.floor.pid())?;
        let all = user_now - user + system_now - system;
        sample.insert("user_share", if all > 0.0 { (user_now - user) / all } else { 0.0 });
        sample.insert("sends_per_delivery", sends / expected.max(1.0));
        Ok(sample)
    }

    fn pids(&self) -> [u32; 2] {
        [self.floor.pid(), self.readers.pid()]
    }
}

/// One round: the floor before and after, and each server between.
pub(crate) struct Round {
    pub(crate) floor: Sample,
    pub(crate) samples: Vec<Sample>,
}

/// All rounds of a row.
#[derive(Default)]
pub(crate) struct Rounds {
    pub(crate) kept: Vec<Round>,
    /// Reasons for dropped rounds.
    pub(crate) dropped: Vec<String>,
    /// Too few were left: the figures come from disturbed rounds.
    pub(crate) disturbed: bool,
}

/// Runs `wanted` rounds, floor first and last in each, and as many again to replace disturbed ones.
pub(crate) fn rounds(
    wanted: usize,
    floor: &mut Floor,
    bytes: &Stream,
    rigs: &mut [Rig],
    mut measure: impl FnMut(&mut Rig) -> Result<Sample, Failure>,
) -> Result<Rounds, Failure> {
    let (mut result, mut spoilt) = (Rounds::default(), Vec::new());
    for _ in 0..2 * wanted {
        if result.kept.len() == wanted {
            break;
        }
        let machine = Machine::look()?;
        let mut pids: Vec<u32> = rigs.iter().flat_map(Rig::pids).chain(floor.pids()).collect();
        pids.push(std::process::id());
        let before: Vec<Cpu> = pids.iter().map(|pid| Cpu::of(*pid)).collect::<Result<_, _>>()?;
        let first = floor.run(bytes)?;
        let samples = rigs.iter_mut().map(&mut measure).collect::<Result<_, _>>()?;
        let last = floor.run(bytes)?;
        let round = Round { floor: mean(&first, &last), samples };
        let own = pids.iter().zip(&before).map(|(pid, then)| Ok(Cpu::of(*pid)?.since(then)));
        let own: f64 = own.sum::<Result<f64, Failure>>()?;
        match Machine::look()?.disturbed(&machine, own) {
            None => result.kept.push(round),
            Some(why) => {
                result.dropped.push(why);
                spoilt.push(round);
            }
        }
    }
    if result.kept.len() < wanted.min(3) {
        result.disturbed = true;
        result.kept.append(&mut spoilt);
    }
    Ok(result)
}

/// A number among the fields of an answer; 0 when absent.
pub(crate) fn number(answer: &Value, name: &str) -> f64 {
    answer.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}

fn delivered(stats: &Value, expected: f64, spent: f64) -> Sample {
    let deliveries = number(stats, "deliveries");
    Sample::from([
        ("us", spent / 1e3 / deliveries.max(1.0)),
        ("expected", expected),
        ("delivered", deliveries),
        ("missing", number(stats, "missing")),
        ("repeated", number(stats, "repeated")),
        ("p50", number(stats, "p50_ms")),
        ("p99", number(stats, "p99_ms")),
        ("bytes", number(stats, "bytes") / deliveries.max(1.0)),
        ("reads_per_delivery", number(stats, "reads") / deliveries.max(1.0)),
    ])
}

fn all_connected(name: &str, answer: &Value, plan: &Value) -> Result<(), Failure> {
    let errors = answer.get("errors").and_then(Value::as_object).is_some_and(|e| !e.is_empty());
    if number(answer, "count") == number(plan, "count") && number(answer, "failed") == 0.0 && !errors {
        return Ok(());
    }
    Err(format!("{name}: not all connections came up: {answer}").into())
}

fn mean(a: &Sample, b: &Sample) -> Sample {
    a.iter().map(|(key, value)| (*key, (value + b.get(key).unwrap_or(value)) / 2.0)).collect()
}

//! `cargo xtask million`: a million connections on one machine, both ends.
//!
//! One server process where the limit of open files allows, else as many as it demands; as many processes
//! of clients. Each connection logs in with a token of its own, holds one subscription and answers pings.
//! At the end each process gets one publication on a channel that a tenth of its connections hold. By hand:
//! it takes minutes and most of the memory of 24 GiB.

use crate::bench::process::{Cpu, file_limit, machine};
use crate::bench::rig::{KEY, Rig, number};
use crate::bench::server::{Target, binary};
use crate::bench::settings::Settings;
use crate::shell::{self, Failure};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

/// Files that a process needs beside its connections.
const SPARE: usize = 700;

/// One interval of pings.
const WINDOW: Duration = Duration::from_secs(25);

/// `--connections N` scales it down.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let total: usize = shell::option(arguments, "--connections").map_or(Ok(1_000_000), str::parse)?;
    crate::bench::build_load_generator()?;
    let target = Target::Binary { name: "spinward".to_owned(), file: binary()? };
    let _settings = settings(total)?;
    let limit = file_limit().saturating_sub(SPARE).max(1);
    let processes = total.div_ceil(limit);
    println!("{}; {total} connections, {processes} server processes", machine());

    let kernel = Kernel::look()?;
    let begin = Instant::now();
    let (mut rigs, mut base) = (Vec::new(), 0.0);
    for index in 0..processes {
        let first = index * total / processes;
        let count = (index + 1) * total / processes - first;
        let mut rig = Rig::new(target.start(&json!({}))?)?;
        base += rig.server.rss()?;
        rig.connect(
            &json!({"count": count, "first": first, "subscriptions": 1, "channel": "m", "channels": 10}),
        )?;
        rigs.push((rig, count, first));
        if (index + 1).is_multiple_of(10) || index + 1 == processes {
            println!("  {:>9} connections after {:.1} s", first + count, begin.elapsed().as_secs_f64());
        }
    }
    let connecting = begin.elapsed().as_secs_f64();

    std::thread::sleep(WINDOW);
    for (rig, ..) in &mut rigs {
        rig.clients.call(&json!({"op": "reset"}), "reset")?;
    }
    let before = rigs.iter().map(|(rig, ..)| Cpu::of(rig.server.pid)).collect::<Result<Vec<_>, _>>()?;
    let window = Instant::now();
    std::thread::sleep(WINDOW);
    let mut spent = 0.0;
    for ((rig, ..), before) in rigs.iter().zip(&before) {
        spent += Cpu::of(rig.server.pid)?.since(before);
    }
    let seconds = window.elapsed().as_secs_f64();
    let (mut pings, mut rss) = (0.0, 0.0);
    for (rig, count, _) in &mut rigs {
        let stats = rig.clients.call(&json!({"op": "stats"}), "stats")?;
        if number(&stats, "connections") != *count as f64 {
            return Err(format!("connections were lost: {stats}").into());
        }
        pings += number(&stats, "pings");
        rss += rig.server.rss()?;
    }
    let kernel = Kernel::look()?.since(&kernel);

    let (mut expected, mut delivered, mut slowest) = (0.0, 0.0, Vec::new());
    for (rig, count, first) in &mut rigs {
        let holders = (*first..*first + *count).filter(|n| n.is_multiple_of(10)).count();
        let stats = publish_once(rig, holders)?;
        expected += holders as f64;
        delivered += number(&stats, "deliveries");
        slowest.push(number(&stats, "p99_ms"));
    }
    slowest.sort_by(f64::total_cmp);

    let each = total as f64;
    println!("connected           {connecting:.1} s, {:.0} a second, client included", each / connecting);
    println!("server RSS          {:.0} MB in all: {:.0} B per connection", rss / 1e6, rss / each);
    println!("  without base      {:.0} B per connection ({:.0} MB base)", (rss - base) / each, base / 1e6);
    println!(
        "server CPU          {:.2} cores, {:.2} µs per connection and second",
        spent / 1e9 / seconds,
        spent / 1e3 / each / seconds
    );
    println!("pings answered      {pings:.0} in {seconds:.0} s");
    println!(
        "kernel, both ends   {:.0} MB slab: {:.0} B per connection; {:.0} MB still available",
        kernel.slab / 1e6,
        kernel.slab / each,
        kernel.available / 1e6
    );
    println!("delivered           {delivered:.0} of {expected:.0}");
    println!(
        "delivery p99        {:.1} ms median of the processes, {:.1} ms slowest",
        slowest.get(slowest.len() / 2).copied().unwrap_or(0.0),
        slowest.last().copied().unwrap_or(0.0),
    );
    if delivered == expected { Ok(()) } else { Err("deliveries are missing".into()) }
}

fn publish_once(rig: &mut Rig, holders: usize) -> Result<Value, Failure> {
    rig.clients.call(&json!({"op": "reset"}), "reset")?;
    let publish = json!({
        "op": "publish", "address": rig.server.address, "key": KEY, "rate": 1.0, "seconds": 1.0, "size": 200,
        "channel": "m",
    });
    rig.clients.call(&publish, "published")?;
    rig.clients.call(&json!({"op": "settle", "deliveries": holders, "quiet_ms": 5000}), "stats")
}

/// Raises what would stand in the way of so many connections.
fn settings(connections: usize) -> Result<Settings, Failure> {
    let needs = [
        ("/proc/sys/fs/file-max", 2 * connections + 100_000),
        ("/proc/sys/net/netfilter/nf_conntrack_max", 2 * connections + 10_000),
        ("/proc/sys/net/core/somaxconn", 4_096),
    ];
    let mut changed = Settings::default();
    for (path, need) in needs {
        let Ok(now) = fs::read_to_string(path) else { continue };
        if now.trim().parse().is_ok_and(|now: usize| now < need) {
            changed.set(path, &need.to_string())?;
        }
    }
    Ok(changed)
}

/// Memory of the kernel, in bytes.
struct Kernel {
    slab: f64,
    available: f64,
}

impl Kernel {
    fn look() -> Result<Self, Failure> {
        let text = fs::read_to_string("/proc/meminfo")?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).map(|kib| kib * 1024.0)
        };
        match (field("Slab"), field("MemAvailable")) {
            (Some(slab), Some(available)) => Ok(Self { slab, available }),
            _ => Err("/proc/meminfo without Slab or MemAvailable".into()),
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self { slab: self.slab - earlier.slab, available: self.available }
    }
}

//! Kernel statistics of processes and the machine.

use crate::shell::{Failure, target, with_all_files};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// CPU time of each thread of a process, in nanoseconds.
pub(crate) struct Cpu(HashMap<String, u64>);

impl Cpu {
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            let spent = text.split(' ').next().and_then(|t| t.parse().ok()).unwrap_or(0);
            threads.insert(entry.file_name().to_string_lossy().into_owned(), spent);
        }
        Ok(Self(threads))
    }

    /// Nanoseconds spent since an earlier look.
    pub(crate) fn since(&self, earlier: &Self) -> f64 {
        self.0.iter().map(|(id, ns)| ns.saturating_sub(*earlier.0.get(id).unwrap_or(&0)) as f64).sum()
    }
}

/// User and system time of a process, in clock ticks.
pub(crate) fn ticks(pid: u32) -> Result<(f64, f64), Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let rest = text.rsplit(')').next().unwrap_or_default();
    let field = |n: usize| rest.split_whitespace().nth(n).and_then(|f| f.parse().ok()).unwrap_or(0.0);
    Ok((field(11), field(12)))
}

/// Resident memory of a process, in bytes.
pub(crate) fn rss(pid: u32) -> Result<f64, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .ok_or("smaps_rollup without Rss")?;
    Ok(kib * 1024.0)
}

/// Resident memory of a process, in bytes, by the cheap way that is right to a few pages a thread.
pub(crate) fn resident(pid: u32) -> Result<f64, Failure> {
    field(pid, "VmRSS:").map(|kib| kib * 1024.0)
}

/// Threads of a process.
pub(crate) fn threads(pid: u32) -> Result<usize, Failure> {
    field(pid, "Threads:").map(|count| count as usize)
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> Result<usize, Failure> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn field(pid: u32, name: &str) -> Result<f64, Failure> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = text.lines().find_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| format!("status without {name}").into())
}

/// Forgets the highest resident memory so far.
pub(crate) fn reset_peak(pid: u32) -> Result<(), Failure> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// Highest resident memory of a process since start or reset, in bytes.
pub(crate) fn peak(pid: u32) -> Result<f64, Failure> {
    field(pid, "VmHWM:").map(|kib| kib * 1024.0)
}

/// Time of all cores together, in clock ticks.
pub(crate) struct Machine {
    total: f64,
    idle: f64,
    steal: f64,
}

impl Machine {
    pub(crate) fn look() -> Result<Self, Failure> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let f: Vec<f64> = line.split_whitespace().skip(1).take(8).filter_map(|f| f.parse().ok()).collect();
        let [_, _, _, idle, wait, _, _, steal] = f[..] else { return Err("/proc/stat: unknown form".into()) };
        Ok(Self { total: f.iter().sum(), idle: idle + wait, steal })
    }

    /// Returns the reason to discard the time since `earlier`, if there is one. `own` is the CPU time of the
    /// measurement's own processes, in nanoseconds.
    pub(crate) fn disturbed(&self, earlier: &Self, own: f64) -> Option<String> {
        let total = (self.total - earlier.total).max(1.0);
        let steal = (self.steal - earlier.steal) / total;
        // A tick is 10 ms, on every Linux that has a /proc/stat like this one.
        let busy = total - (self.idle - earlier.idle) - (self.steal - earlier.steal);
        let other = (busy - own / 1e7) / total;
        match (steal > 0.05, other > 0.10) {
            (true, _) => Some(format!("{:.0} % stolen by the host", steal * 100.0)),
            (_, true) => Some(format!("{:.0} % of the machine taken by other work", other * 100.0)),
            _ => None,
        }
    }
}

/// Cores, model and kernel, in one line.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, m)| m);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} × {model}, Linux {}", kernel.trim())
}

/// Open files that one process may have.
pub(crate) fn file_limit() -> usize {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    line.split_whitespace().nth(4).and_then(|hard| hard.parse().ok()).unwrap_or(1024)
}

/// A process of the load generator, spoken to in lines of JSON. Ended when dropped.
pub(crate) struct Agent {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Agent {
    pub(crate) fn start(role: &str) -> Result<Self, Failure> {
        let binary = target().join("release/spinward-loadgen");
        Self::spawn(&mut with_all_files(&binary, &[role]))
    }

    /// One that leaves the processor to others, the more so the higher `niceness` is, up to 19.
    pub(crate) fn start_nice(role: &str, niceness: u8) -> Result<Self, Failure> {
        let binary = target().join("release/spinward-loadgen");
        let (niceness, binary) = (niceness.to_string(), binary.to_string_lossy());
        Self::spawn(&mut with_all_files(Path::new("nice"), &["-n", &niceness, &binary, role]))
    }

    fn spawn(command: &mut Command) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = child.stdout.take().ok_or("no standard output")?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&mut self, command: &Value) -> Result<(), Failure> {
        writeln!(self.input, "{command}")?;
        Ok(self.input.flush()?)
    }

    /// Waits for an answer of that kind; an answer of another kind is a failure.
    pub(crate) fn expect(&mut self, event: &str) -> Result<Value, Failure> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("the load generator ended where {event} was due").into());
        }
        let answer: Value = serde_json::from_str(&line)?;
        if answer.get("event").and_then(Value::as_str) == Some(event) {
            return Ok(answer);
        }
        Err(format!("load generator: {} where {event} was due", line.trim()).into())
    }

    pub(crate) fn call(&mut self, command: &Value, event: &str) -> Result<Value, Failure> {
        self.send(command)?;
        self.expect(event)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

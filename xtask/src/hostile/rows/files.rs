//! Files of the server on a disk that is full.

use super::super::Target;
use super::super::arena::{Arena, Outcome, SECRET, configure};
use crate::bench::process::{self, Agent};
use crate::bench::rig::number;
use crate::bench::server::{Launch, Server};
use crate::shell::{self, Failure};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// File size at which the disk is full: in the middle of a line.
const FULL: u64 = 4_000;

/// Users that are blocked, or tried to be, before there is space again; and after.
const BEFORE: usize = 200;
const AFTER: usize = 10;

/// Blocks users until the file is full and again when it is not, kills the server, and asks the next one who is
/// blocked: all those whose call was answered, and the file is in order again.
pub(super) fn disk_full(target: &Target) -> Result<Outcome, Failure> {
    let file = shell::target().join(format!("hostile-{}-revocations.jsonl", target.name));
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let changes = json!({"client": {"revocation": {"file": file.to_string_lossy()}}});
    let launch = Launch { largest_file: Some(FULL), ..Launch::default() };
    let mut arena = Arena::launch(target, &changes, launch)?;
    let mut outcome = Outcome { before: process::resident(arena.server.pid)?, ..Outcome::default() };
    outcome.quiet = arena.stream(1.0, &mut outcome)?;
    let mut blocked = Vec::new();
    let mut block = |arena: &Arena, users: std::ops::Range<usize>| {
        let before = blocked.len();
        let blocks = |user: &usize| arena.api("block_user", &json!({"user": format!("u{user}")})).is_ok();
        blocked.extend(users.filter(blocks));
        blocked.len() - before
    };
    let whole = block(&arena, 0..BEFORE);
    outcome.attacked = arena.stream(1.0, &mut outcome)?;
    let pid = arena.server.pid.to_string();
    shell::run(&mut shell::command("prlimit", &["--pid", &pid, "--fsize=unlimited"]))?;
    let again = block(&arena, BEFORE..BEFORE + AFTER);
    outcome
        .attackers
        .push(format!("{whole} of {BEFORE} users blocked until the disk was full, {again} of {AFTER} after"));
    if whole == BEFORE {
        outcome.faults.push("the disk was never full: the row proves nothing".to_owned());
    }
    if again < AFTER {
        outcome.faults.push(format!("{} calls failed although there was space", AFTER - again));
    }
    let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
    if mode != 0o600 {
        outcome.faults.push(format!("the file has mode {mode:o}, not 600"));
    }
    outcome.peak = process::peak(arena.server.pid)?;
    arena.server.signal("KILL")?;
    drop(arena);

    let config = configure(target, &changes)?;
    let name = format!("hostile-{}", target.name);
    let launch = Launch { name: &name, binary: &target.binary, config: &config, ..Launch::default() };
    let mut server = match Server::launch(&launch) {
        Ok(server) => server,
        Err(error) => {
            outcome.faults.push(format!("does not start again: {error}"));
            return Ok(outcome);
        }
    };
    let admitted = blocked.iter().filter(|user| !is_refused(&server, **user).unwrap_or(false)).count();
    if admitted > 0 {
        outcome.faults.push(format!("{admitted} blocked users may log in after a restart"));
    }
    if is_refused(&server, BEFORE + AFTER + 1)? {
        outcome.faults.push("a user who was never blocked is refused".to_owned());
    }
    outcome.ending = server.terminate(std::time::Duration::from_secs(7))?;
    Ok(outcome)
}

fn is_refused(server: &Server, user: usize) -> Result<bool, Failure> {
    let mut agent = Agent::start("clients")?;
    let plan =
        json!({"op": "connect", "address": server.address, "secret": SECRET, "count": 1, "first": user});
    let answer = agent.call(&plan, "connected")?;
    let errors = answer["errors"].as_object().is_some_and(|errors| !errors.is_empty());
    Ok(errors || number(&answer, "count") == 0.0)
}

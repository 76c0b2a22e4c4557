//! Attacking clients. One process holds a set of them; the command says what they send and whether they read.
//!
//! | `op` | does | answers |
//! |---|---|---|
//! | `attack` | opens the connections of a [`Plan`] and sends until the time is over or all have ended | `attack` |
//! | `quit` | | |
//!
//! The sockets are closed before the answer. Every attack is bounded in time, bytes and connections.

mod attacker;
mod plan;
mod tally;
mod template;
mod unit;

use crate::clock;
use crate::control::{Error, commands, emit};
use attacker::{Attacker, Turn};
use mio::{Events, Interest, Poll, Token};
use plan::Plan;
use serde_json::{Value, json};
use std::io;
use std::time::Duration;
use tally::Tally;

const SCRATCH: usize = 64 * 1024;

/// Interval at which paced attackers are checked.
const TICK: Duration = Duration::from_millis(5);

/// Time for reading the close codes of connections that the server has ended.
const LAST_WORDS: u64 = 300_000_000;

/// Attacks until the input ends.
pub(crate) fn run() -> Result<(), Error> {
    let input = commands(|| ());
    while let Ok(command) = input.recv() {
        let command = command?;
        match command.get("op").and_then(Value::as_str) {
            Some("quit") => break,
            Some("attack") => match Plan::from_command(&command).and_then(|plan| Ok(attack(&plan)?)) {
                Ok(report) => emit(&report),
                Err(error) => emit(&json!({"event": "error", "message": format!("attack: {error}")})),
            },
            other => emit(&json!({"event": "error", "message": format!("unknown op {other:?}")})),
        }
    }
    Ok(())
}

/// The attackers of one plan.
struct Crowd<'a> {
    plan: &'a Plan,
    poll: Poll,
    attackers: Vec<Option<Attacker>>,
    /// Indices without a connection; the last one is opened first.
    free: Vec<usize>,
    opening: usize,
    /// Indices of attackers that can do something.
    busy: Vec<usize>,
    tally: Tally,
}

fn attack(plan: &Plan) -> io::Result<Value> {
    let start = clock::now();
    let until = start + plan.nanoseconds;
    let mut crowd = Crowd {
        plan,
        poll: Poll::new()?,
        attackers: (0..plan.count).map(|_| None).collect(),
        free: (0..plan.count).rev().collect(),
        opening: 0,
        busy: Vec::new(),
        tally: Tally::default(),
    };
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; SCRATCH];
    loop {
        let now = clock::now();
        if now >= until {
            break;
        }
        crowd.open(now);
        if crowd.free.is_empty() && crowd.attackers.iter().all(Option::is_none) {
            break;
        }
        let wait = if crowd.busy.is_empty() { TICK } else { Duration::ZERO };
        crowd.round(wait, &mut events, &mut scratch)?;
    }
    let seconds = (clock::now() - start) as f64 / 1e9;
    crowd.end(&mut events, &mut scratch)?;
    Ok(crowd.tally.report(seconds))
}

impl Crowd<'_> {
    fn open(&mut self, now: u64) {
        while self.opening < self.plan.window
            && self.tally.opened + self.tally.refused < self.plan.most
            && let Some(index) = self.free.pop()
        {
            let opened = Attacker::open(self.plan, index, now).and_then(|mut attacker| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut attacker.stream, Token(index), interest)?;
                Ok(attacker)
            });
            match opened {
                Ok(attacker) => {
                    self.attackers[index] = Some(attacker);
                    self.opening += 1;
                }
                Err(error) => self.tally.refuse(&error),
            }
        }
        if self.tally.opened + self.tally.refused >= self.plan.most {
            self.free.clear();
        }
    }

    fn round(&mut self, wait: Duration, events: &mut Events, scratch: &mut [u8]) -> io::Result<()> {
        match self.poll.poll(events, Some(wait)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        for event in &*events {
            let index = event.token().0;
            if let Some(attacker) = self.attackers.get_mut(index).and_then(Option::as_mut) {
                attacker.on_event(event.is_read_closed() || event.is_write_closed() || event.is_error());
                wake(attacker, index, &mut self.busy);
            }
        }
        if self.plan.pace > 0.0 {
            let now = clock::now();
            for (index, attacker) in self.attackers.iter_mut().enumerate() {
                if let Some(attacker) = attacker.as_mut().filter(|attacker| attacker.is_due(now)) {
                    wake(attacker, index, &mut self.busy);
                }
            }
        }
        for index in std::mem::take(&mut self.busy) {
            self.turn(index, scratch);
        }
        Ok(())
    }

    fn turn(&mut self, index: usize, scratch: &mut [u8]) {
        let Some(attacker) = self.attackers[index].as_mut() else { return };
        attacker.busy = false;
        let was_open = attacker.is_open();
        let turn = attacker.turn(self.plan, &mut self.tally, scratch, clock::now());
        let is_open = attacker.is_open();
        if !was_open && (is_open || matches!(turn, Turn::Ended(_))) {
            self.opening -= 1;
        }
        match turn {
            Turn::More => wake(attacker, index, &mut self.busy),
            Turn::Blocked => {}
            Turn::Ended(how) => {
                self.tally.ended(how, is_open);
                if let Some(mut attacker) = self.attackers[index].take() {
                    // The socket goes with the attacker; a failure here changes nothing.
                    let _ = self.poll.registry().deregister(&mut attacker.stream);
                }
                if self.plan.again {
                    self.free.push(index);
                }
            }
        }
    }

    /// Reads the close codes of connections that the server has ended, and counts the others as open.
    fn end(&mut self, events: &mut Events, scratch: &mut [u8]) -> io::Result<()> {
        self.free.clear();
        let until = clock::now() + LAST_WORDS;
        for (index, attacker) in self.attackers.iter_mut().enumerate() {
            let Some(attacker) = attacker else { continue };
            attacker.stop();
            wake(attacker, index, &mut self.busy);
        }
        while clock::now() < until && self.attackers.iter().flatten().any(Attacker::is_ending) {
            self.round(TICK, events, scratch)?;
        }
        for attacker in self.attackers.iter().flatten() {
            let how = if attacker.is_open() { "open" } else { "opening" };
            self.tally.ended(how.into(), attacker.is_open());
        }
        self.attackers.clear();
        Ok(())
    }
}

fn wake(attacker: &mut Attacker, index: usize, busy: &mut Vec<usize>) {
    if !std::mem::replace(&mut attacker.busy, true) {
        busy.push(index);
    }
}

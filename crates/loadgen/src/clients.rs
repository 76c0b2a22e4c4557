//! One epoll thread that holds a set of connections and does with them what the lines on standard input say.
//!
//! | `op` | does | answers |
//! |---|---|---|
//! | `connect` | opens the connections of a [`Plan`] | `connected` |
//! | `again` | opens those connections that are closed, with their positions | `connected` |
//! | `reset` | forgets counts and numbers; `step` is the distance of a subscriber's numbers | `reset` |
//! | `stats` | | `stats` |
//! | `settle` | waits until `deliveries` have come, or none came for `quiet_ms` | `stats` |
//! | `publish` | see [`publish`]; everything else continues | `published` |
//! | `steady` | see [`steady`]; everything else continues | `steady` |
//! | `http` | see [`http`] | `http` |
//! | `grpc` | see [`grpc`] | `grpc` |
//! | `load` | each connection repeats one command after each reply, for `seconds` | `load` |
//! | `stall`, `resume` | stops and goes on reading where `stall_every` says so | the same |
//! | `drop` | resets every connection | `dropped` |
//! | `quit` | | |

use crate::conn::{Conn, State, Tally};
use crate::control::{Error, commands, emit, float, number, text};
use crate::plan::Plan;
use crate::protocol::{self, Position};
use crate::{clock, grpc, http, payload, publish, steady};
use mio::{Events, Interest, Poll, Token, Waker};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

const WAKER: Token = Token(usize::MAX);
const SCRATCH: usize = 64 * 1024;

/// Holds connections until the input ends.
pub(crate) fn run() -> Result<(), Error> {
    let mut poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let input = commands({
        // The waker lives as long as the loop: closed by the reader at its end, it would take its last
        // wake with it.
        let waker = Arc::clone(&waker);
        move || {
            // A wake that fails leaves the loop to its timeout.
            let _ = waker.wake();
        }
    });
    let mut set = Set::new();
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; SCRATCH];
    loop {
        match poll.poll(&mut events, set.timeout()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() != WAKER {
                set.event(&poll, event, &mut scratch);
            }
        }
        loop {
            match input.try_recv() {
                Ok(Ok(command)) => {
                    if command.get("op").and_then(Value::as_str) == Some("quit") {
                        return Ok(());
                    }
                    if let Err(error) = set.command(&poll, &command) {
                        emit(&json!({"event": "error", "message": error.to_string()}));
                    }
                }
                Ok(Err(message)) => emit(&json!({"event": "error", "message": message})),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        set.tick(&poll);
    }
}

/// Condition that the set waits for before it answers.
enum Goal {
    None,
    Connected { since: u64 },
    Settled { deliveries: u64, quiet: u64, since: u64 },
    Looped { since: u64, until: u64 },
}

struct Set {
    plan: Option<Plan>,
    conns: Vec<Option<Conn>>,
    /// Last positions of connections whose socket is gone.
    positions: Vec<Option<Position>>,
    tally: Tally,
    /// Next connection to open.
    next: usize,
    /// Handshakes under way.
    opening: usize,
    failed: u64,
    first_failure: Option<String>,
    goal: Goal,
}

impl Set {
    fn new() -> Self {
        Self {
            plan: None,
            conns: Vec::new(),
            positions: Vec::new(),
            tally: Tally::new(),
            next: 0,
            opening: 0,
            failed: 0,
            first_failure: None,
            goal: Goal::None,
        }
    }

    fn timeout(&self) -> Option<Duration> {
        match self.goal {
            Goal::None | Goal::Connected { .. } => None,
            Goal::Settled { .. } | Goal::Looped { .. } => Some(Duration::from_millis(5)),
        }
    }

    fn command(&mut self, poll: &Poll, command: &Value) -> Result<(), Error> {
        match text(command, "op", "") {
            "connect" => {
                let mut plan = Plan::from_command(command)?;
                plan.encrypt(command, self.plan.as_ref().and_then(|before| before.tls.clone()))?;
                // A second `connect` with a larger count adds to what is there.
                if plan.count < self.conns.len() {
                    return Err("connect: fewer connections than there are; drop them first".into());
                }
                self.next = self.conns.len();
                self.conns.resize_with(plan.count, || None);
                self.positions.resize_with(plan.count, || None);
                self.plan = Some(plan);
                self.start_connecting();
            }
            "again" => {
                self.next = 0;
                self.start_connecting();
            }
            "reset" => {
                self.tally.reset(number(command, "step", 1).max(1));
                self.conns.iter_mut().flatten().for_each(Conn::forget_number);
                emit(&json!({"event": "reset"}));
            }
            "stats" => emit(&self.stats()),
            "settle" => {
                self.goal = Goal::Settled {
                    deliveries: number(command, "deliveries", u64::MAX),
                    quiet: number(command, "quiet_ms", 500) * 1_000_000,
                    since: clock::now(),
                };
            }
            "publish" => publish::start(command)?,
            "steady" => steady::start(command)?,
            "http" => http::start(command)?,
            "grpc" => grpc::start(command)?,
            "load" => self.start_load(command)?,
            "stall" | "resume" => self.stall(poll, text(command, "op", "") == "stall")?,
            "drop" => {
                for (conn, position) in self.conns.iter_mut().zip(&mut self.positions) {
                    if let Some(conn) = conn.take() {
                        *position = conn.position;
                    }
                }
                if !self.plan.as_ref().is_some_and(|plan| plan.recover) {
                    self.conns.clear();
                    self.positions.clear();
                }
                emit(&json!({"event": "dropped"}));
            }
            other => return Err(format!("unknown op {other}").into()),
        }
        Ok(())
    }

    fn start_connecting(&mut self) {
        self.failed = 0;
        self.first_failure = None;
        self.goal = Goal::Connected { since: clock::now() };
    }

    /// Opens what the window allows and answers what has come true.
    fn tick(&mut self, poll: &Poll) {
        let now = clock::now();
        match self.goal {
            Goal::None => {}
            Goal::Connected { since } => {
                self.open_more(poll);
                if self.opening == 0 && self.next >= self.conns.len() {
                    self.goal = Goal::None;
                    emit(&json!({
                        "event": "connected",
                        "count": self.conns.iter().flatten().filter(|c| c.state == State::Live).count(),
                        "failed": self.failed,
                        "first_failure": self.first_failure,
                        "seconds": seconds(now - since),
                        "errors": self.tally.errors,
                        "closed": self.tally.closed,
                        "recovered": self.tally.recovered,
                        "recovered_publications": self.tally.recovered_publications,
                    }));
                }
            }
            Goal::Settled { deliveries, quiet, since } => {
                if self.tally.deliveries >= deliveries
                    || now.saturating_sub(self.tally.last.max(since)) > quiet
                {
                    self.goal = Goal::None;
                    emit(&self.stats());
                }
            }
            Goal::Looped { since, until } => {
                // Half a second of grace for the last replies.
                if now > until + 500_000_000 {
                    self.goal = Goal::None;
                    let mut stats = self.stats();
                    stats["event"] = json!("load");
                    stats["seconds"] = json!(seconds(until - since));
                    emit(&stats);
                }
            }
        }
    }

    fn open_more(&mut self, poll: &Poll) {
        let Some(plan) = &self.plan else { return };
        while self.opening < plan.window && self.next < self.conns.len() {
            let index = self.next;
            self.next += 1;
            if self.conns[index].is_some() {
                continue;
            }
            let position = if plan.recover { self.positions[index].clone() } else { None };
            let opened = Conn::open(plan, index, position).and_then(|mut conn| {
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut conn.stream, Token(index), interest)?;
                Ok(conn)
            });
            match opened {
                Ok(conn) => {
                    self.conns[index] = Some(conn);
                    self.opening += 1;
                }
                Err(error) => {
                    self.failed += 1;
                    self.first_failure.get_or_insert_with(|| error.to_string());
                }
            }
        }
    }

    fn event(&mut self, poll: &Poll, event: &mio::event::Event, scratch: &mut [u8]) {
        let index = event.token().0;
        let Some(plan) = &self.plan else { return };
        let Some(conn) = self.conns.get_mut(index).and_then(Option::as_mut) else { return };
        let was_live = conn.state == State::Live;
        let mut result = Ok(true);
        if event.is_writable() {
            result = conn.writable(plan, index).map(|()| true);
        }
        if event.is_readable() && matches!(result, Ok(true)) {
            let ends = event.is_read_closed() || event.is_error();
            result = conn.readable(plan, index, &mut self.tally, scratch, ends);
        }
        let state = conn.state;
        if !was_live && state == State::Live {
            self.opening -= 1;
        }
        if matches!(result, Ok(true)) && state != State::Closed {
            return;
        }
        if state != State::Closed {
            *self.tally.closed.entry(0).or_default() += 1;
        }
        if !was_live && state != State::Live {
            self.opening -= 1;
            self.failed += 1;
            let why = result.err().map_or_else(|| "closed by the server".to_owned(), |e| e.to_string());
            self.first_failure.get_or_insert(why);
        }
        if let Some(mut conn) = self.conns[index].take() {
            // The socket goes with the connection; a failure here changes nothing.
            let _ = poll.registry().deregister(&mut conn.stream);
            self.positions[index] = conn.position;
        }
    }

    fn start_load(&mut self, command: &Value) -> Result<(), Error> {
        let since = clock::now();
        let until = since + (float(command, "seconds", 3.0) * 1e9) as u64;
        let kind = text(command, "command", "");
        let channel = text(command, "channel", "bench");
        let share = usize::try_from(number(command, "share", 1)).unwrap_or(1).max(1);
        let limit = i32::try_from(number(command, "limit", 0)).unwrap_or(0);
        let size = usize::try_from(number(command, "size", 128)).unwrap_or(0);
        for (index, conn) in self.conns.iter_mut().enumerate() {
            let Some(conn) = conn else { continue };
            let channel = format!("{channel}{}", index / share);
            let data = || {
                let mut data = Vec::new();
                payload::write(&mut data, 0, 0, size);
                data
            };
            let request = match kind {
                "publish" => protocol::publish(9, channel, data()),
                "rpc" => protocol::rpc(9, channel, data()),
                "history" => protocol::history(9, channel, limit),
                "presence" => protocol::presence(9, channel),
                other => return Err(format!("command {other}: publish, rpc, history or presence").into()),
            };
            conn.start_loop(&request, until)?;
        }
        self.goal = Goal::Looped { since, until };
        Ok(())
    }

    fn stall(&mut self, poll: &Poll, stop: bool) -> Result<(), Error> {
        let Some(plan) = &self.plan else { return Err("stall: nothing is connected".into()) };
        let mut count = 0;
        for (index, conn) in self.conns.iter_mut().enumerate().filter(|(index, _)| plan.may_stall(*index)) {
            let Some(conn) = conn else { continue };
            if stop {
                poll.registry().deregister(&mut conn.stream)?;
            } else {
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut conn.stream, Token(index), interest)?;
            }
            count += 1;
        }
        emit(&json!({"event": if stop { "stall" } else { "resume" }, "count": count}));
        Ok(())
    }

    fn stats(&self) -> Value {
        let live = self.conns.iter().flatten().filter(|conn| conn.state == State::Live).count();
        self.tally.stats(live)
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

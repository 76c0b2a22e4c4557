//! Clients and a publisher that run for hours through any fault of the server, and check all deliveries.
//!
//! | `op` | does | answers |
//! |---|---|---|
//! | `start` | starts `clients` clients of `channels` channels, and a publisher of `rate` numbers a second | `started` |
//! | `secret` | signs the tokens by `secret` from now on | `secret` |
//! | `cut` | resets every second connection | `cut` |
//! | `pause`, `resume` | stops and starts the publisher | the same |
//! | `stats` | | `stats` |
//! | `quit` | | |

mod checker;
mod client;
mod ledger;

use crate::control::{Error, commands, emit, float, number, text};
use crate::protocol::Signer;
use crate::steady::Caller;
use crate::{clock, http, payload};
use client::{Client, Counts, World};
use ledger::Ledger;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(10);
const SCRATCH: usize = 64 * 1024;

/// Bytes of a publication's data.
const SIZE: usize = 200;

/// Name of a channel: its namespace has history and recovery.
fn channel(number: usize) -> String {
    format!("rc:soak{number}")
}

/// Runs until the input ends.
pub(crate) fn run() -> Result<(), Error> {
    let input = commands(|| ());
    let start = input.recv()??;
    let address = text(&start, "address", "");
    let address: SocketAddr = address.parse().map_err(|e| format!("address {address}: {e}"))?;
    let channels = usize::try_from(number(&start, "channels", 20))?.max(1);
    let clients = usize::try_from(number(&start, "clients", 200))?;
    let ledger = Arc::new(Ledger::new(channels));
    std::thread::spawn({
        let (ledger, key) = (Arc::clone(&ledger), text(&start, "key", "").to_owned());
        let rate = float(&start, "rate", 100.0);
        move || publish(&ledger, address, &key, rate, channels)
    });
    let mut signer = Signer::new(text(&start, "secret", ""));
    let mut clients: Vec<Client> = (0..clients).map(|number| Client::new(number, channels)).collect();
    let mut counts = Counts::default();
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; SCRATCH];
    emit(&json!({"event": "started"}));
    loop {
        match poll.poll(&mut events, Some(TICK)) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        let world = World { address, signer: &signer, ledger: &ledger, now: clock::now() };
        for event in &events {
            if let Some(client) = clients.get_mut(event.token().0) {
                client.on_event(&world, &mut counts, &mut scratch);
            }
        }
        for (index, client) in clients.iter_mut().enumerate() {
            if let Some(link) = client.connect(&world) {
                let interest = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut link.stream, Token(index), interest)?;
            }
        }
        let command = match input.try_recv() {
            Ok(command) => command?,
            Err(TryRecvError::Empty) => continue,
            Err(TryRecvError::Disconnected) => break,
        };
        let op = text(&command, "op", "");
        match op {
            "quit" => break,
            "secret" => signer = Signer::new(text(&command, "secret", "")),
            "cut" => clients.iter_mut().step_by(2).for_each(|client| client.cut(world.now)),
            "pause" | "resume" => ledger.paused.store(op == "pause", Ordering::Relaxed),
            "stats" => {
                emit(&stats(&clients, &counts, &ledger));
                continue;
            }
            other => return Err(format!("unknown op {other}").into()),
        }
        emit(&json!({"event": op}));
    }
    ledger.over.store(true, Ordering::Relaxed);
    Ok(())
}

fn stats(clients: &[Client], counts: &Counts, ledger: &Ledger) -> Value {
    json!({
        "event": "stats",
        "live": clients.iter().filter(|client| client.is_live()).count(),
        "level": clients.iter().filter(|client| client.is_level(ledger)).count(),
        "deliveries": counts.deliveries,
        "recovered": counts.recovered,
        "announced": counts.announced,
        "connects": counts.connects,
        "violations": counts.violations,
        "first_violations": counts.first_violations,
        "last_end": counts.last_end,
        "published": ledger.total(),
        "repeated": ledger.repeated.load(Ordering::Relaxed),
    })
}

/// Publishes to each channel in turn; a call that fails is made again.
fn publish(ledger: &Ledger, address: SocketAddr, key: &str, rate: f64, channels: usize) {
    let mut caller = Caller::new(address);
    let interval = (1e9 / rate) as u64;
    let mut due = clock::now();
    let mut turn = 0;
    while !ledger.over.load(Ordering::Relaxed) {
        // What was held up is not made up for: the rate stays what it is.
        due = due.max(clock::now().saturating_sub(interval)) + interval;
        clock::sleep_until(due);
        if ledger.paused.load(Ordering::Relaxed) {
            continue;
        }
        let at = turn % channels;
        let number = ledger.next(at);
        let mut body = format!("{{\"channel\":\"{}\",\"data\":", channel(at)).into_bytes();
        payload::write(&mut body, number, due, SIZE);
        body.push(b'}');
        let mut request = Vec::new();
        http::request(&mut request, &address.to_string(), "publish", key, &body);
        match caller.call(&request) {
            Ok(true) => {
                ledger.accept(at, number);
                turn += 1;
            }
            // An error in the answer: nothing was published.
            Ok(false) => {}
            Err(_) => ledger.again(at, number),
        }
    }
}

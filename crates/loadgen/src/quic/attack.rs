//! Attacks over QUIC. `kind` of the command names one:
//!
//! | `kind` | does |
//! |---|---|
//! | `half-open` | begins `count` handshakes and hears nothing of the answers |
//! | `silent` | opens `count` sessions, and no stream in them |
//! | `deaf` | `count` subscribers to `channel` that do not read |
//! | `resets` | `count` sessions that open streams and reset them at once |
//! | `garbage` | sends datagrams that begin like QUIC, from `count` sockets |

use super::{Target, endpoint};
use crate::control::{Error, float, number, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use wtransport::Connection;
use wtransport::config::QuicTransportConfig;
use wtransport::endpoint::IntoConnectOptions;

/// Handshakes under way at a time.
const WINDOW: usize = 100;

/// Window of a stream that is not read.
const SMALL_WINDOW: u32 = 16 * 1024;

/// Size of a datagram: the least that a server takes for the beginning of a connection.
const DATAGRAM: usize = 1_200;

/// Counts over all attackers.
#[derive(Default)]
struct Tally {
    opened: AtomicU64,
    units: AtomicU64,
    bytes: AtomicU64,
}

/// Runs an attack until its time is over.
pub(super) async fn run(command: &Value) -> Result<Value, Error> {
    let target = Target::from_command(command)?;
    let count = usize::try_from(number(command, "count", 1))?;
    let until = Instant::now() + Duration::from_secs_f64(float(command, "seconds", 1.0));
    let tally = Arc::new(Tally::default());
    let kind = text(command, "kind", "");
    let ended = match kind {
        "garbage" => garbage(&target, count, until, &tally).await?,
        "half-open" => half_open(&target, count, until, &tally).await?,
        "silent" | "deaf" | "resets" => sessions(kind, &target, count, until, &tally).await?,
        other => return Err(format!("an attack of kind {other}").into()),
    };
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Ok(json!({
        "event": "attack", "opened": load(&tally.opened), "units": load(&tally.units),
        "sent_bytes": load(&tally.bytes), "read_bytes": 0, "ended": ended,
    }))
}

/// Ways in which connections ended, and their numbers.
type Ends = BTreeMap<String, u64>;

async fn sessions(
    kind: &str,
    target: &Target,
    count: usize,
    until: Instant,
    tally: &Arc<Tally>,
) -> Result<Ends, Error> {
    let mut transport = QuicTransportConfig::default();
    transport.stream_receive_window(SMALL_WINDOW.into()).receive_window(SMALL_WINDOW.into());
    let endpoint = Arc::new(endpoint(transport)?);
    let window = Arc::new(Semaphore::new(WINDOW));
    let mut tasks = JoinSet::new();
    for index in 0..count {
        let (endpoint, window, tally) = (Arc::clone(&endpoint), Arc::clone(&window), Arc::clone(tally));
        let (target, kind) = (target.clone(), kind.to_owned());
        tasks.spawn(async move {
            let attack = async {
                let permit = window.acquire().await?;
                let connection = endpoint.connect(target.url()).await?;
                drop(permit);
                tally.opened.fetch_add(1, Ordering::Relaxed);
                match kind.as_str() {
                    "deaf" => deaf(&connection, &target.commands(index)).await,
                    "resets" => resets(&connection, &tally).await,
                    _ => Err(connection.closed().await.into()),
                }
            };
            let attack: Result<Result<(), Error>, _> = timeout_at(until, attack).await;
            match attack {
                Err(_) | Ok(Ok(())) => "open".to_owned(),
                Ok(Err(error)) => error.to_string(),
            }
        });
    }
    let mut ends = Ends::new();
    while let Some(end) = tasks.join_next().await {
        *ends.entry(end?).or_default() += 1;
    }
    Ok(ends)
}

/// A subscriber that sends its login and reads nothing.
async fn deaf(connection: &Connection, commands: &[u8]) -> Result<(), Error> {
    let (mut send, _receive) = connection.open_bi().await?.await?;
    send.write_all(commands).await?;
    Err(connection.closed().await.into())
}

/// Opens streams and resets them, the first as well.
async fn resets(connection: &Connection, tally: &Tally) -> Result<(), Error> {
    loop {
        let (mut send, receive) = connection.open_bi().await?.await?;
        send.write_all(b"{").await?;
        send.reset(0_u32.into())?;
        receive.stop(0_u32.into());
        tally.units.fetch_add(1, Ordering::Relaxed);
    }
}

/// Clients that speak to a socket which hands everything on to the server, and nothing of what it says back.
async fn half_open(target: &Target, count: usize, until: Instant, tally: &Arc<Tally>) -> Result<Ends, Error> {
    let hole = UdpSocket::bind("127.0.0.1:0").await?;
    let out = UdpSocket::bind("127.0.0.1:0").await?;
    out.connect(target.address).await?;
    let there = Target { address: hole.local_addr()?, ..target.clone() };
    let endpoint = Arc::new(endpoint(QuicTransportConfig::default())?);
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (endpoint, url) = (Arc::clone(&endpoint), there.url());
        tasks.spawn(async move { endpoint.connect(url.into_options()).await.map(drop) });
        tally.opened.fetch_add(1, Ordering::Relaxed);
    }
    let mut bytes = vec![0; 65_536];
    while let Ok(size) = timeout_at(until, hole.recv(&mut bytes)).await {
        let size = size?;
        // A server whose socket is full refuses it.
        if out.send(&bytes[..size]).await.is_ok() {
            tally.units.fetch_add(1, Ordering::Relaxed);
            tally.bytes.fetch_add(size as u64, Ordering::Relaxed);
        }
    }
    tasks.shutdown().await;
    Ok(Ends::from([("never answered".to_owned(), count as u64)]))
}

/// Datagrams with the head of a first packet and noise after it.
async fn garbage(target: &Target, count: usize, until: Instant, tally: &Tally) -> Result<Ends, Error> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(target.address).await?;
        sockets.push(socket);
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut datagram = vec![0; DATAGRAM];
    while Instant::now() < until {
        for socket in &sockets {
            for chunk in datagram.chunks_exact_mut(8) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                chunk.copy_from_slice(&state.to_be_bytes());
            }
            // The long header of version 1, with the kind of packet left to chance, and two names of 8 bytes.
            datagram[0] |= 0xc0;
            datagram[1..6].copy_from_slice(&[0, 0, 0, 1, 8]);
            datagram[14] = 8;
            if socket.send(&datagram).await.is_ok() {
                tally.units.fetch_add(1, Ordering::Relaxed);
                tally.bytes.fetch_add(DATAGRAM as u64, Ordering::Relaxed);
            }
        }
    }
    Ok(Ends::from([("not answered".to_owned(), count as u64)]))
}

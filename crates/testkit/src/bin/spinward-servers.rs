//! Starts a server that an engine needs, for programs that measure: `spinward-servers redis`. Of PostgreSQL, `pid` is
//! the process that starts the others.
//!
//! It prints a line of JSON: `config`, the options of Spinward that use the server, `pid`, its process, and `address`.
//! It ends with its standard input, and the server with it.

use serde_json::{Value, json};
use spinward_testkit::servers::{nats, postgres, redis};
use std::io::{Read as _, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let kind = std::env::args().nth(1).unwrap_or_default();
    match kind.as_str() {
        "redis" | "valkey" => {
            let options = if kind == "redis" { redis::Options::default() } else { redis::Options::valkey() };
            let server = redis::Server::start(options);
            let address = format!("127.0.0.1:{}", server.port());
            let engine = json!({"type": "redis", "redis": {"address": format!("redis://{address}")}});
            serve(&json!({"engine": engine}), server.id(), &address);
        }
        "nats" | "jetstream" => {
            let jetstream = kind == "jetstream";
            let server = nats::Nats::start(&nats::Options { jetstream, ..nats::Options::default() });
            let broker = json!({"enabled": true, "type": kind, kind.as_str(): {"url": server.url()}});
            let address = format!("127.0.0.1:{}", server.port());
            let config = if jetstream {
                json!({"broker": broker})
            } else {
                // Namespaces with history stay where they are: this broker keeps none.
                let mut named = broker;
                named["name"] = json!("core");
                json!({"brokers": [named], "channel": {"without_namespace": {"broker_name": "core"}}})
            };
            serve(&config, server.id(), &address);
        }
        "postgres" => {
            let server = postgres::Server::start(&postgres::Options::default());
            let dsn = server.dsn(postgres::ADMIN, "postgres");
            let engine = json!({"type": "postgres", "postgres": {"dsn": dsn}});
            serve(&json!({"engine": engine}), server.id(), "");
        }
        _ => {
            eprintln!("usage: spinward-servers redis|valkey|nats|jetstream|postgres");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Says how the server is reached, and waits for the end of standard input.
fn serve(config: &Value, pid: u32, address: &str) {
    println!("{}", json!({"config": config, "pid": pid, "address": address}));
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

//! The end of the process, and things that must not hold it up: a log that nobody reads, clients that close, and
//! anything that blocks.

use crate::{Place, Server, complete, now, signed};
use serde_json::{Value, json};
use spinward::wire::ws::{Opcode, append_masked_frame};
use spinward_testkit::servers::free_port;
use std::io::{PipeReader, Read, Write};
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Maximum time of any step here, however slow the machine.
const LONGEST: Duration = Duration::from_secs(30);

fn config() -> Value {
    json!({
        "client": { "token": { "hmac_secret_key": crate::KEY } },
        "channel": { "without_namespace": { "allow_subscribe_for_client": true } },
        "prometheus": { "enabled": true },
        "health": { "enabled": true },
    })
}

fn token() -> String {
    signed(&json!({ "sub": "ann", "exp": now() + 600 }))
}

fn terminate(process: &Child) {
    let process = rustix::process::Pid::from_child(process);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
}

/// Waits for the end of a process; how it ended, and how long that took.
async fn ended(process: &mut Child) -> (ExitStatus, Duration) {
    let begun = Instant::now();
    while begun.elapsed() < LONGEST {
        if let Some(status) = process.try_wait().unwrap() {
            return (status, begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the process does not end");
}

/// Waits for what a server that is stuck never answers.
async fn answered<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONGEST, answer).await.expect("the server answers")
}

/// A pipe that takes nothing more: the end that a process writes to, and the other one.
fn full_pipe() -> (Stdio, PipeReader) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let filler = writer.try_clone().unwrap();
    // The last of these writes blocks until somebody reads, or until both ends are closed.
    std::thread::spawn(move || {
        let mut filler = filler;
        while filler.write_all(&[b'\n'; 4096]).is_ok() {}
    });
    std::thread::sleep(Duration::from_millis(300));
    let _ = writer.flush();
    (writer.into(), reader)
}

async fn start_with(place: &Place, mut config: Value, stderr: Stdio) -> Server {
    let port = free_port();
    complete(&mut config, port);
    let file = place.0.join("config.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let process = Process::new(env!("CARGO_BIN_EXE_spinward"))
        .arg("--config")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let server = Server { process, port, config: file };
    server.listens().await;
    server
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_nobody() {
    let place = Place::new();
    let mut config = config();
    config["log"] = json!({ "level": "debug" });
    config["shutdown"] = json!({ "timeout": "5s" });
    let (stderr, _reader) = full_pipe();
    let mut server = start_with(&place, config, stderr).await;
    for _ in 0..30 {
        assert_eq!(
            answered(server.connect("not a token")).await.1,
            Some(3500),
            "refusals are answered, and logged nowhere"
        );
    }
    let (_client, refused) = answered(server.connect(&token())).await;
    assert_eq!(refused, None, "a client is served");
    assert!(answered(server.hang_up()).await, "the configuration is read again");
    terminate(&server.process);
    let (status, _) = ended(&mut server.process).await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn what_waits_for_a_slow_reader_is_written_once_it_reads() {
    let place = Place::new();
    let mut config = config();
    config["log"] = json!({ "level": "info" });
    let (stderr, mut reader) = full_pipe();
    let mut server = start_with(&place, config, stderr).await;
    assert_eq!(answered(server.connect("not a token")).await.1, Some(3500));
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        let mut chunk = [0; 4096];
        while !text.contains("\"stopping\"") {
            let count = reader.read(&mut chunk).unwrap();
            assert!(count > 0, "it ended without its last lines: {}", text.trim_start());
            text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        }
        text
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    terminate(&server.process);
    assert!(ended(&mut server.process).await.0.success());
    let text = tokio::task::spawn_blocking(move || reading.join().unwrap()).await.unwrap();
    for line in text.lines().filter(|line| !line.is_empty()) {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert!(text.contains("\"serving\"") && text.contains("client refused"), "{}", text.trim_start());
}

#[tokio::test]
async fn a_start_that_fails_logs_what_it_had_to_say() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config();
    config["client"]["insecure"] = json!(true);
    config["log"] = json!({ "level": "info" });
    config["http_server"] = json!({ "address": "127.0.0.1", "port": taken.local_addr().unwrap().port() });
    let file = place.0.join("config.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let output = Process::new(env!("CARGO_BIN_EXE_spinward")).arg("--config").arg(&file).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("\"level\":\"warn\"") && text.contains("client.insecure"), "{text}");
    assert!(text.contains("error: ") && text.contains("cannot listen"), "{text}");
}

#[tokio::test]
async fn clients_that_answer_the_close_frame_are_not_waited_for() {
    let place = Place::new();
    let mut server = Server::start(&place.0, config()).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (client, None) = server.connect(&token()).await else { panic!("refused") };
        clients.push(client);
    }
    let leaving: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                assert!(client.next().await.is_none());
                assert_eq!(client.closed, Some(Some(3001)));
                let mut answer = Vec::new();
                append_masked_frame(Opcode::Close, [1, 2, 3, 4], &3001_u16.to_be_bytes(), &mut answer);
                client.raw(&answer).await;
            })
        })
        .collect();
    terminate(&server.process);
    let (status, took) = ended(&mut server.process).await;
    assert!(status.success(), "{status}");
    for client in leaving {
        client.await.unwrap();
    }
    // The server waits two seconds for those that do not close.
    assert!(took < Duration::from_millis(1_800), "{took:?}");
}

#[tokio::test]
async fn a_drain_fails_readiness_first_and_closes_one_after_another() {
    let place = Place::new();
    let mut config = config();
    config["shutdown"] = json!({ "timeout": "25s", "drain_notice": "2s", "drain_duration": "1500ms" });
    let mut server = Server::start(&place.0, config).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        let (client, None) = server.connect(&token()).await else { panic!("refused") };
        clients.push(client);
    }
    let begun = Instant::now();
    let leaving: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { (crate::closed(&mut client).await, begun.elapsed()) }))
        .collect();
    terminate(&server.process);
    while !server.page("/readyz").await.contains(r#""part":"drain""#) {
        assert!(begun.elapsed() < Duration::from_secs(2), "readiness fails before connections are closed");
    }
    assert!(leaving.iter().all(|client| !client.is_finished()), "nobody is closed yet");
    assert_eq!(server.connect(&token()).await.1, None, "clients are accepted while load balancers notice");
    tokio::time::sleep_until((begun + Duration::from_millis(2_200)).into()).await;
    let page = server.page("/connection/websocket").await;
    assert!(page.starts_with("HTTP/1.1 ") && server.process.try_wait().unwrap().is_none(), "still serving");
    let mut at = Vec::new();
    for client in leaving {
        let (code, when) = client.await.unwrap();
        assert_eq!(code, 3001);
        at.push(when);
    }
    at.sort_unstable();
    assert!(at[0] >= Duration::from_secs(2), "{at:?}");
    assert!(at[39] - at[0] >= Duration::from_millis(600), "closed over a while: {at:?}");
    let (status, _) = ended(&mut server.process).await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_second_signal_cuts_a_drain_short() {
    let place = Place::new();
    let mut config = config();
    config["shutdown"] = json!({ "timeout": "25s", "drain_duration": "20s" });
    let mut server = Server::start(&place.0, config).await;
    let (mut client, None) = server.connect(&token()).await else { panic!("refused") };
    terminate(&server.process);
    while !server.page("/readyz").await.contains(r#""part":"drain""#) {}
    terminate(&server.process);
    assert_eq!(crate::closed(&mut client).await, 3001);
    let (status, took) = ended(&mut server.process).await;
    assert!(status.success() && took < Duration::from_secs(10), "{status} {took:?}");
}

/// The process is stuck before it serves: opening a pipe that nobody reads does not come back.
#[tokio::test]
async fn a_process_that_is_stuck_ends_by_the_deadline() {
    let place = Place::new();
    let pipe = place.0.join("pid");
    assert!(Process::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut config = config();
    config["pid_file"] = json!(pipe);
    config["shutdown"] = json!({ "timeout": "1s" });
    let mut server = Server::start(&place.0, config).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    terminate(&server.process);
    let (status, took) = ended(&mut server.process).await;
    assert_eq!(status.code(), Some(75), "{status}");
    assert!(took < LONGEST / 3, "{took:?}");
}

#[tokio::test]
async fn probes_are_served_with_health() {
    let place = Place::new();
    let internal = free_port();
    let mut config = config();
    let port = free_port();
    config["http_server"] =
        json!({ "address": "127.0.0.1", "port": port, "internal_port": internal.to_string() });
    let file = place.0.join("config.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut server = Server::run(file, port, &[]).await;
    for path in ["/health", "/livez", "/readyz"] {
        assert!(server.page(path).await.starts_with("HTTP/1.1 404"), "{path} is internal");
    }
    server.port = internal;
    for (path, body) in [("/health", "{}"), ("/livez", "{}"), ("/readyz", r#"{"failing":[],"ready":true}"#)] {
        let page = server.page(path).await;
        assert!(page.starts_with("HTTP/1.1 200") && page.ends_with(body), "{path}: {page}");
    }
    let metrics = server.page("/metrics").await;
    for name in [
        "spinward_shard_loop_lag_seconds{shard=\"0\"} 0",
        "spinward_shard_responsive{shard=\"0\"} 1",
        "spinward_log_lines_dropped_total 0",
        "spinward_hook_panics_total 0",
        "spinward_hook_timeouts_total 0",
    ] {
        assert!(metrics.contains(name), "{name}");
    }

    let place = Place::new();
    let server = Server::start(&place.0, json!({})).await;
    for path in ["/health", "/livez", "/readyz"] {
        assert!(server.page(path).await.starts_with("HTTP/1.1 404"), "{path} is off");
    }
}

/// A file system that is full, played by the largest size that the process may give a file: it is raised later on.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_leaves_no_half_revocation() {
    use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
    const ROOM: u64 = 4096;
    let place = Place::new();
    let file = place.0.join("revocations.jsonl");
    let mut config = config();
    config["client"]["revocation"] = json!({ "file": file });
    config["log"] = json!({ "level": "none" });
    let port = free_port();
    complete(&mut config, port);
    let config_file = place.0.join("config.json");
    std::fs::write(&config_file, config.to_string()).unwrap();
    // Without its signal, the limit is an error of the write like any other.
    let process = Process::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --config \"$1\""])
        .args([env!("CARGO_BIN_EXE_spinward").as_ref(), config_file.as_os_str()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Server { process, port, config: config_file };
    server.listens().await;
    let pid = Pid::from_child(&server.process);
    let before = prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(ROOM), maximum: None }).unwrap();

    let block = async |number: usize| {
        let user = format!("user-{number}");
        server.call("block_user", crate::KEY, &json!({ "user": user })).await.1
    };
    let mut failed = 0;
    while block(failed).await.get("error").is_none() {
        failed += 1;
        assert!(failed < 1_000, "the limit does not hold");
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.len() as u64 <= ROOM && text.ends_with("}\n"), "it ends with half a line: {text}");
    let blocked = async |server: &Server, number: usize| {
        let token = signed(&json!({ "sub": format!("user-{number}"), "exp": now() + 600 }));
        server.connect(&token).await.1.is_some()
    };
    assert!(blocked(&server, failed).await, "it holds, though it could not be written");

    prlimit(Some(pid), Resource::Fsize, before).unwrap();
    assert!(block(failed + 1).await.get("error").is_none(), "there is room again");
    kill_process(pid, Signal::KILL).unwrap();
    ended(&mut server.process).await;
    let again = Server::run(server.config.clone(), port, &[]).await;
    for number in 0..=failed + 1 {
        assert!(blocked(&again, number).await, "user-{number} is forgotten");
    }
    assert!(!blocked(&again, failed + 2).await);
}

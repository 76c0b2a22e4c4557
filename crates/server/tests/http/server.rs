//! A running server, and a client that sends what it likes.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything here takes; a test that comes to it fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    child: Child,
    log: Arc<Mutex<String>>,
    pub address: SocketAddr,
    file: std::path::PathBuf,
}

impl Server {
    /// Starts a server on a port of its own. `config` may hold an address.
    pub fn start(config: &Value) -> Self {
        Self::run(&[], config)
    }

    /// Starts a server by a command other than the usual one.
    pub fn run(command: &[&str], config: &Value) -> Self {
        match Self::try_run(command, config) {
            Ok(server) => server,
            Err(log) => panic!("the server did not start:\n{log}"),
        }
    }

    /// The same. Answers the log of one that ended.
    pub fn try_run(command: &[&str], config: &Value) -> Result<Self, String> {
        let mut program = Command::new(env!("CARGO_BIN_EXE_spinward"));
        program.args(command);
        Self::spawn(program, config)
    }

    /// Starts a server that may open so many files.
    pub fn with_files(files: u32, config: &Value) -> Self {
        match Self::try_with_files(files, config) {
            Ok(server) => server,
            Err(log) => panic!("the server did not start:\n{log}"),
        }
    }

    /// The same. Answers the log of one that ended.
    pub fn try_with_files(files: u32, config: &Value) -> Result<Self, String> {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"ulimit -n "$1" && exec "$0" "$2" "$3""#, env!("CARGO_BIN_EXE_spinward")]);
        shell.arg(files.to_string());
        Self::spawn(shell, config)
    }

    fn spawn(mut program: Command, config: &Value) -> Result<Self, String> {
        let mut config = config.clone();
        let http = config.as_object_mut().unwrap().entry("http_server").or_insert_with(|| json!({}));
        let http = http.as_object_mut().unwrap();
        http.entry("address").or_insert_with(|| json!("127.0.0.1"));
        http.entry("port").or_insert_with(|| json!(spinward_testkit::servers::free_port()));
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("spinward-http-{}-{count}.json", std::process::id()));
        std::fs::write(&file, config.to_string()).unwrap();
        let mut child = program
            .arg("--config")
            .arg(&file)
            // Keys that `dev` makes for the user stay out of the user's home.
            .env(
                "XDG_STATE_HOME",
                std::env::temp_dir().join(format!("spinward-state-{}", std::process::id())),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut text = String::new();
        let address = loop {
            let Some(Ok(line)) = lines.next() else { break None };
            text.push_str(&line);
            text.push('\n');
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["message"] == "serving" {
                break line["address"].as_str().and_then(|address| address.parse().ok());
            }
        };
        let Some(address) = address else {
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_file(file);
            return Err(text);
        };
        let log = Arc::new(Mutex::new(text));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Ok(Self { child, log, address, file })
    }

    pub fn connect(&self) -> Client {
        Client::to(self.address)
    }

    /// Sends one request and answers the response, head and body.
    pub fn ask(&self, head: &str) -> String {
        let mut client = self.connect();
        client.send(&format!("{head}\r\nConnection: close\r\n\r\n"));
        client.rest()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has this.
    pub fn await_log(&self, text: &str) -> String {
        for _ in 0..PATIENCE.as_millis() / 20 {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{text:?} is not in the log:\n{}", self.log());
    }

    /// The value of a metric, by name and labels.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.ask("GET /metrics HTTP/1.1\r\nHost: localhost");
        let line =
            page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.unwrap_or_else(|| panic!("{name} in {page}"));
        line[name.len()..].trim().parse().unwrap()
    }

    /// Tells the server to stop.
    pub fn terminate(&self) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }

    /// Bytes of memory that the process has.
    #[cfg(target_os = "linux")]
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

pub struct Client(pub TcpStream);

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// The head of a response, to its empty line.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                end => panic!("{end:?} after {}", String::from_utf8_lossy(&head)),
            }
        }
        String::from_utf8(head).unwrap()
    }

    /// All that comes until the connection ends.
    pub fn rest(&mut self) -> String {
        let mut all = Vec::new();
        let _ = self.0.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Sends a masked text frame of less than 126 bytes.
    pub fn send_message(&mut self, text: &str) {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
        frame.extend(mask);
        frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.0.write_all(&frame).unwrap();
    }

    /// Receives a frame of less than 64 KiB: its payload, or the code of a close frame.
    pub fn message(&mut self) -> String {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).unwrap();
        let mut len = usize::from(header[1]);
        if len == 126 {
            let mut long = [0; 2];
            self.0.read_exact(&mut long).unwrap();
            len = usize::from(u16::from_be_bytes(long));
        }
        let mut payload = vec![0; len];
        self.0.read_exact(&mut payload).unwrap();
        if header[0] == 0x88 {
            return format!("closed: {}", u16::from_be_bytes([payload[0], payload[1]]));
        }
        String::from_utf8(payload).unwrap()
    }

    /// Logs in and answers the reply.
    pub fn log_in(&mut self) -> String {
        self.send_message(r#"{"id":1,"connect":{}}"#);
        self.message()
    }
}

/// A handshake with further lines, each ending in CR LF.
pub fn handshake(lines: &str) -> String {
    format!(
        "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

/// Everybody may connect, and the metrics are there.
pub fn open() -> Value {
    json!({
        "client": { "insecure": true },
        "prometheus": { "enabled": true }, "health": { "enabled": true },
    })
}

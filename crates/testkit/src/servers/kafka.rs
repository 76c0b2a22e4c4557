//! Kafka: one broker that is its own controller, and a Java program that feeds it by Kafka's own client.

use super::{Folder, Program, free_port, serve_within, within};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The program that feeds a broker.
const FEED: &str = include_str!("kafka/Feed.java");

/// Time in which a broker starts: on a busy machine, much longer than on an idle one.
const PATIENCE: Duration = Duration::from_secs(120);

/// Settings of a broker.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// User and password that clients have to give, by any of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
    pub login: Option<(String, String)>,
    /// Certificate and key (PKCS#8) in PEM; clients have to use TLS.
    pub tls: Option<(String, String)>,
}

/// A broker. It keeps its ports and its files when it is started again.
#[derive(Debug)]
pub struct Kafka {
    program: Program,
    port: u16,
    inner: u16,
    folder: Folder,
}

/// The folder where `cargo xtask test kafka` keeps the broker.
fn jars() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../compat/.work/kafka")
}

/// Returns true if Kafka and Java are installed. See [`installed`](super::installed).
#[must_use]
pub fn installed() -> bool {
    super::installed(&[Path::new("java"), &jars().join("kafka_2.13-3.9.1.jar")])
}

impl Kafka {
    /// Starts a broker on free ports.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(options: &Options) -> Self {
        let folder = Folder::new("kafka");
        let mut inner = 0;
        let start = |port| {
            inner = free_port();
            // Files of a start that failed know other ports.
            let _ = fs::remove_dir_all(folder.path().join("data"));
            fs::write(folder.path().join("conf"), options.text(&folder, port, inner, free_port()))?;
            format(&folder, options)?;
            run(&folder)
        };
        let (program, port) = serve_within(PATIENCE, "kafka", start, listens);
        Self { program, port, inner, folder }
    }

    /// Address for clients.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A program that feeds the broker, without TLS and login.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn feed(&self) -> Feed {
        Feed::start(&self.folder, self.inner)
    }

    /// Asks the broker to end, and waits until it has.
    pub fn terminate(&mut self) {
        self.program.terminate();
    }

    /// Starts a broker that has ended, with the same ports and files.
    ///
    /// # Panics
    /// It does not start.
    #[allow(clippy::expect_used, reason = "a test cannot go on without its server")]
    pub fn restart(&mut self) {
        self.program = run(&self.folder).expect("a program that was started before");
        let served = within(PATIENCE, || !self.program.runs() || listens(self.port));
        assert!(served && self.program.runs(), "the broker does not start again");
    }
}

/// Shows the end of the broker's log where a test fails.
impl Drop for Kafka {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("the log of Kafka ends with:\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// Java with the broker's classes, and little of the time that a server that runs for long would spend on compiling.
fn java(memory: &str) -> Command {
    let mut command = Command::new("java");
    let classes = jars().join("*");
    command.args([memory, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]).arg(classes);
    command
}

/// Prepares the folder of the broker.
fn format(folder: &Folder, options: &Options) -> io::Result<()> {
    let mut command = java("-Xmx256m");
    command.args(["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"]);
    command.arg(folder.path().join("conf"));
    if let Some((user, password)) = &options.login {
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            command.arg("--add-scram").arg(format!("{mechanism}=[name={user},password={password}]"));
        }
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn run(folder: &Folder) -> io::Result<Program> {
    let mut command = java("-Xmx512m");
    Program::start(command.arg("kafka.Kafka").arg(folder.path().join("conf")), &folder.path().join("log"))
}

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

impl Options {
    /// The configuration: a port for the clients under test, one for [`Feed`], and one for the controller.
    fn text(&self, folder: &Folder, port: u16, inner: u16, controller: u16) -> String {
        let protocol = match (&self.login, &self.tls) {
            (None, None) => "PLAINTEXT",
            (None, Some(_)) => "SSL",
            (Some(_), None) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        };
        let data = folder.path().join("data");
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=CLIENT://127.0.0.1:{port},INNER://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=CLIENT://127.0.0.1:{port},INNER://127.0.0.1:{inner}\n\
             inter.broker.listener.name=INNER\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=CLIENT:{protocol},INNER:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\n",
            data.display()
        );
        if let Some((user, password)) = &self.login {
            let module = "org.apache.kafka.common.security";
            let config = "listener.name.client";
            let _ = write!(
                text,
                "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
                 {config}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{user}=\"{password}\";\n\
                 {config}.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
                 {config}.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;\n"
            );
        }
        if let Some((certificate, key)) = &self.tls {
            let line = |pem: &str| pem.trim().lines().collect::<Vec<_>>().join("\\n");
            let _ = write!(
                text,
                "ssl.keystore.type=PEM\nssl.keystore.certificate.chain={}\nssl.keystore.key={}\n",
                line(certificate),
                line(key)
            );
        }
        text
    }
}

/// A program that feeds a broker. It ends with this value.
#[derive(Debug)]
pub struct Feed {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[allow(clippy::expect_used, reason = "a test cannot go on without its records")]
impl Feed {
    fn start(folder: &Folder, port: u16) -> Self {
        let source = folder.path().join("Feed.java");
        fs::write(&source, FEED).expect("a program for the test");
        let mut command = java("-Xmx256m");
        command.arg(source).arg(format!("127.0.0.1:{port}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("java");
        let commands = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut feed = Self { child, commands, answers };
        assert_eq!(feed.answer(), "ready");
        feed
    }

    /// Creates a topic.
    ///
    /// # Panics
    /// It fails.
    pub fn topic(&mut self, name: &str, partitions: u32) {
        self.ok(&format!("topic\t{name}\t{partitions}"));
    }

    /// Gives a topic more partitions.
    ///
    /// # Panics
    /// It fails.
    pub fn grow(&mut self, name: &str, partitions: u32) {
        self.ok(&format!("grow\t{name}\t{partitions}"));
    }

    /// Sends a record, which is stored after the next [`flush`](Self::flush).
    ///
    /// # Panics
    /// It fails.
    pub fn send(&mut self, topic: &str, partition: u64, headers: &[(&str, &str)], payload: &str) {
        let headers: String = headers.iter().map(|(name, value)| format!("\t{name}={value}")).collect();
        self.ok(&format!("send\t{topic}\t{partition}\t{payload}{headers}"));
    }

    /// Waits until everything that was sent is stored.
    ///
    /// # Panics
    /// It fails.
    pub fn flush(&mut self) {
        self.ok("flush");
    }

    /// Sends a record in a transaction that is aborted.
    ///
    /// # Panics
    /// It fails.
    pub fn aborted(&mut self, topic: &str, partition: u64, payload: &str) {
        self.ok(&format!("aborted\t{topic}\t{partition}\t{payload}"));
    }

    /// The committed offset of a partition. `None`: there is none.
    ///
    /// # Panics
    /// It fails.
    pub fn committed(&mut self, group: &str, topic: &str, partition: u64) -> Option<u64> {
        let answer = self.ask(&format!("committed\t{group}"));
        let offsets = answer.strip_prefix("ok").unwrap_or_else(|| panic!("committed: {answer}"));
        let row = format!("{topic}-{partition}=");
        offsets.split(' ').find_map(|offset| offset.strip_prefix(&row)?.parse().ok())
    }

    fn ok(&mut self, command: &str) {
        let answer = self.ask(command);
        assert_eq!(answer, "ok", "{command}");
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").expect("a program that runs");
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! PostgreSQL: one server with data of its own.
//!
//! Everything that is wrong panics: a test cannot go on without its server.

use super::{Folder, Program, found, serve, wheels, within};
use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Name of the role that may do everything.
pub const ADMIN: &str = "admin";

/// User and group that a server runs as where the test runs as root, which PostgreSQL refuses: `nobody`.
const NOBODY: u32 = 65_534;

/// Time that a server may take to start again: it may have to recover.
const PATIENCE: Duration = Duration::from_secs(60);

/// The PostgreSQL of Debian 12, for [`installed`](super::installed).
#[must_use]
pub fn debian() -> PathBuf {
    let own = PathBuf::from("/usr/lib/postgresql/15/bin/postgres");
    if own.is_file() { own } else { found(Path::new("postgres")).unwrap_or(own) }
}

/// PostgreSQL 18 from PyPI, for [`installed`](super::installed).
#[must_use]
pub fn newest() -> PathBuf {
    wheels().join("postgres18/bin/postgres")
}

/// Settings of a server. The default is the one of Debian, which lets everybody in.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Another program than [`debian`]; `initdb` is next to it.
    pub program: Option<PathBuf>,
    /// Password of [`ADMIN`], without which nobody is let in.
    pub password: Option<String>,
    /// Certificate and key in PEM. TCP connections without TLS are refused then.
    pub tls: Option<(String, String)>,
    /// Writes to disk before a commit is answered, as a server does that is not for tests.
    pub durable: bool,
    /// Further lines of `postgresql.conf`.
    pub further: Vec<String>,
}

/// One server. It ends with this value.
#[derive(Debug)]
pub struct Server {
    program: Option<Program>,
    port: u16,
    executable: PathBuf,
    password: Option<String>,
    tls: bool,
    folder: Folder,
}

impl Server {
    /// Makes the data of a server, and starts it.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(options: &Options) -> Self {
        let executable = options.program.clone().unwrap_or_else(debian);
        let folder = Folder::new("postgres");
        let data = folder.path().join("data");
        own(folder.path());
        initialise(&executable, &data, options);
        let log = folder.path().join("log");
        let (program, port) = serve(
            "postgres",
            |port| Program::start(&mut command(&executable, &data, port), &log),
            |_| ready(&data),
        );
        Self {
            program: Some(program),
            port,
            executable,
            password: options.password.clone(),
            tls: options.tls.is_some(),
            folder,
        }
    }

    /// Id of the process that starts the others; 0 while the server does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.program.as_ref().map_or(0, Program::id)
    }

    /// Starts a standby, which replicates without the primary waiting for it. It may be read, and promoted.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn standby(&self) -> Self {
        let folder = Folder::new("standby");
        let data = folder.path().join("data");
        own(folder.path());
        copy(self, &data);
        let log = folder.path().join("log");
        let (program, port) = serve(
            "postgres",
            |port| Program::start(&mut command(&self.executable, &data, port), &log),
            |_| ready(&data),
        );
        let (executable, password) = (self.executable.clone(), self.password.clone());
        Self { program: Some(program), port, executable, password, tls: self.tls, folder }
    }

    /// Throws the data of this server away, and makes it a standby of another one, on the port that it had.
    ///
    /// # Panics
    /// It does not become one.
    pub fn follow(&mut self, primary: &Self) {
        self.crash();
        let data = self.data();
        std::fs::remove_dir_all(&data).unwrap_or_else(|error| panic!("{error}"));
        copy(primary, &data);
        self.start_again();
    }

    /// Makes a standby the primary, and waits until it takes writes.
    ///
    /// # Panics
    /// It does not become one.
    pub fn promote(&self) {
        self.ask("SELECT pg_promote(true, 60)");
        let writable = || self.ask("SELECT pg_is_in_recovery()") == "f";
        assert!(within(PATIENCE, writable), "no primary after its promotion:\n{}", self.log());
    }

    /// Ends replication to a standby that is stopped by SIGSTOP: what the primary takes from now on is only there.
    pub fn end_replication(&self) {
        self.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    }

    /// Waits until a standby has everything that this server has written by now.
    ///
    /// # Panics
    /// It does not get there.
    pub fn wait_for_standby(&self) {
        let behind = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()";
        assert!(within(PATIENCE, || self.ask(behind) == "1"), "the standby does not follow:\n{}", self.log());
    }

    /// The first line of the answer to a question, asked as [`ADMIN`]; empty if there is none.
    fn ask(&self, question: &str) -> String {
        let mut command = Command::new(self.program("psql"));
        command.args(["-X", "-A", "-t", "-c", question, "-d"]).arg(self.dsn(ADMIN, "postgres"));
        let output = command.output().unwrap_or_else(|error| panic!("psql: {error}"));
        String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
    }

    /// Connection string for a database as [`ADMIN`], or another role.
    #[must_use]
    pub fn dsn(&self, role: &str, database: &str) -> String {
        let mode = if self.tls { "require" } else { "disable" };
        let mut dsn = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user={role} dbname={database} sslmode={mode}",
            self.port
        );
        if let Some(password) = &self.password {
            let _ = write!(dsn, " password='{password}'");
        }
        dsn
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Folder of its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Another program of its release, such as `pg_dump`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.executable.with_file_name(name)
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Stops the server at once, without a checkpoint: as a crash of the server, not of the machine.
    pub fn crash(&mut self) {
        if let Some(mut program) = self.program.take() {
            let _ = program.signal("QUIT");
            within(PATIENCE, || !program.runs());
        }
    }

    /// Stops the server; open sessions are ended.
    pub fn stop(&mut self) {
        if let Some(mut program) = self.program.take() {
            let _ = program.signal("INT");
            within(PATIENCE, || !program.runs());
        }
    }

    /// Starts the server again, with the same data and port.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&mut self) {
        let data = self.data();
        let log = self.folder.path().join("log");
        let started = Program::start(&mut command(&self.executable, &data, self.port), &log);
        let mut program = started.unwrap_or_else(|error| panic!("postgres: {error}"));
        let up = within(PATIENCE, || !program.runs() || ready(&data));
        assert!(up && program.runs(), "postgres does not start again:\n{}", self.log());
        self.program = Some(program);
    }

    /// Replaces the data by a copy that was made while the server was stopped, as a backup that is put back.
    ///
    /// # Panics
    /// The files cannot be moved.
    pub fn restore(&mut self, copy: &Path) {
        assert!(self.program.is_none(), "the server runs");
        std::fs::remove_dir_all(self.data()).unwrap_or_else(|error| panic!("{error}"));
        run(Command::new("cp").arg("-a").arg(copy).arg(self.data()));
    }

    /// Copies the data of a server that is stopped.
    ///
    /// # Panics
    /// The files cannot be copied.
    #[must_use]
    pub fn copy(&self) -> PathBuf {
        assert!(self.program.is_none(), "the server runs");
        let copy = self.folder.path().join("copy");
        run(Command::new("cp").arg("-a").arg(self.data()).arg(&copy));
        copy
    }

    /// Sends a signal to all processes of the server, as `STOP` and `CONT`.
    pub fn signal(&self, name: &str) {
        let Some(program) = &self.program else { return };
        let mut processes = children(program.id());
        processes.push(program.id());
        let _ =
            Command::new("kill").arg(format!("-{name}")).args(processes.iter().map(u32::to_string)).status();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal("CONT");
        self.crash();
    }
}

/// Copies the data of a server that runs, so that it becomes that of a standby.
fn copy(primary: &Server, data: &Path) {
    let mut copy = unprivileged(&primary.program("pg_basebackup"));
    copy.arg("-D").arg(data).args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-d"]);
    run(copy.arg(primary.dsn(ADMIN, "postgres")));
}

fn initialise(executable: &Path, data: &Path, options: &Options) {
    let initdb = executable.with_file_name("initdb");
    let method = if options.password.is_some() { "scram-sha-256" } else { "trust" };
    let mut command = unprivileged(&initdb);
    command.arg("-D").arg(data).args(["-U", ADMIN, "-A", method, "-E", "UTF8", "--no-locale", "--no-sync"]);
    if let Some(password) = &options.password {
        let file = data.with_file_name("password");
        write(&file, password);
        command.arg("--pwfile").arg(file);
    }
    run(&mut command);
    let mut settings = String::from(
        "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 300\n\
         shared_buffers = 32MB\nlog_line_prefix = '%m [%p] '\nlog_checkpoints = off\n",
    );
    if !options.durable {
        settings += "fsync = off\nfull_page_writes = off\n";
    }
    if let Some((certificate, key)) = &options.tls {
        write(&data.join("server.crt"), certificate);
        write(&data.join("server.key"), key);
        settings += "ssl = on\n";
        let method = if options.password.is_some() { "scram-sha-256" } else { "trust" };
        write(&data.join("pg_hba.conf"), &format!("hostssl all all 127.0.0.1/32 {method}\n"));
    }
    for line in &options.further {
        let _ = writeln!(settings, "{line}");
    }
    let file = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(file, text + &settings).unwrap_or_else(|error| panic!("postgresql.conf: {error}"));
}

/// Writes a file that only the server may read.
fn write(path: &Path, text: &str) {
    let written = std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    own(path);
}

fn command(executable: &Path, data: &Path, port: u16) -> Command {
    let mut command = unprivileged(executable);
    command.arg("-D").arg(data).args(["-p", &port.to_string()]);
    command
}

/// A command that does not run as root.
fn unprivileged(program: &Path) -> Command {
    if !root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    command.args([&user, &group, "--clear-groups"]).arg(program).current_dir("/tmp");
    command
}

/// Gives a file to the server.
fn own(path: &Path) {
    if root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// The server says so in the file that has its process id.
fn ready(data: &Path) -> bool {
    let file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    file.lines().nth(7).is_some_and(|line| ["ready", "standby"].contains(&line.trim()))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Processes that a process has started.
fn children(of: u32) -> Vec<u32> {
    let parent = |id: u32| -> io::Result<Option<u32>> {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        Ok(line.and_then(|id| id.trim().parse().ok()))
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| parent(*id).ok().flatten() == Some(of)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::installed;
    use std::net::TcpStream;

    #[test]
    fn a_server_starts_again_with_its_data() {
        let program = debian();
        if !installed(&[&program]) {
            return;
        }
        let mut server = Server::start(&Options::default());
        let port = server.port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        server.stop();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        server.start_again();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        server.crash();
        server.start_again();
        assert!(server.log().contains("was not properly shut down"), "{}", server.log());
        let folder = server.data();
        drop(server);
        assert!(!folder.exists());
    }
}

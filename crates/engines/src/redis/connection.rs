//! One multiplexed connection: the socket is ours, the pipelining is redis-rs's.
//!
//! Calls that are made at one time leave with one write, and their answers come with one read: the task that moves the
//! bytes lets every task that is ready go first, see [`after_others`].

use super::config::{Access, Endpoint};
use super::error::{self, Error};
use super::net::{Socket, within};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, RedisConnectionInfo, Value, cmd};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

/// Commands that wait to be written to one connection. Callers wait for a place, within their `io_timeout`.
const QUEUE: usize = 1_024;

/// A task that ends with this value.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    /// Starts a task on the present runtime.
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that has been set up. It ends with this value.
pub(crate) struct Connection {
    endpoint: Endpoint,
    io_timeout: Duration,
    multiplexed: MultiplexedConnection,
    /// True once the connection is gone.
    gone: watch::Receiver<bool>,
    _driver: Task,
}

/// Facts that a server tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// It takes writes.
    pub(crate) primary: bool,
    /// The id of its replication history: `master_replid`.
    pub(crate) incarnation: Arc<str>,
    /// It is a node of a Redis Cluster.
    pub(crate) cluster: bool,
    /// Number of times that all keys were removed, as counted since its start. `None` where it does not count.
    pub(crate) flushes: Option<u64>,
}

impl Connection {
    /// Connects, authenticates, selects the database and names the connection, within `connect_timeout`.
    pub(crate) async fn open(endpoint: &Endpoint, access: &Access) -> Result<Self, Error> {
        let opened = Box::pin(Self::open_in_time(endpoint, access));
        within(access.connect_timeout, endpoint, "not connected within `connect_timeout`", opened).await
    }

    async fn open_in_time(endpoint: &Endpoint, access: &Access) -> Result<Self, Error> {
        let socket = Socket::connect(endpoint, access).await?;
        let protocol = if access.resp2 { ProtocolVersion::RESP2 } else { ProtocolVersion::RESP3 };
        let mut info = RedisConnectionInfo::default()
            .set_protocol(protocol)
            .set_db(i64::from(access.db))
            .set_skip_set_lib_name();
        if access.logs_in() {
            info = info.set_password(&access.password);
            if !access.user.is_empty() {
                info = info.set_username(&access.user);
            }
        }
        // Times are bounded here and by callers: one timer for each call is enough.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(QUEUE);
        let made = MultiplexedConnection::new_with_config(&info, socket, config).await;
        let (multiplexed, driver) = made.map_err(|error| Error::of(endpoint, error))?;
        let (end, gone) = watch::channel(false);
        let driver = Task::spawn(async move {
            after_others(driver).await;
            end.send_replace(true);
        });
        let io_timeout = access.io_timeout;
        let connection = Self { endpoint: endpoint.clone(), io_timeout, multiplexed, gone, _driver: driver };
        if !access.client_name.is_empty() {
            let mut name = cmd("CLIENT");
            name.arg("SETNAME").arg(&access.client_name);
            connection.call(&name).await?;
        }
        Ok(connection)
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a command, and waits for the answer, for `io_timeout` at most.
    pub(crate) async fn call(&self, command: &Cmd) -> Result<Value, Error> {
        let answer = timeout(self.io_timeout, self.answer(command)).await;
        answer.unwrap_or_else(|_| Err(Error::Timeout(self.endpoint.to_string())))
    }

    /// Sends a command, and waits for the answer. The caller bounds the time.
    pub(crate) async fn answer(&self, command: &Cmd) -> Result<Value, Error> {
        let mut multiplexed = self.multiplexed.clone();
        error::value(&self.endpoint, multiplexed.send_packed_command(command).await)
    }

    /// Sends commands that nothing else comes between, and waits for all answers, which may be errors. The caller
    /// bounds the time.
    pub(crate) async fn answers(&self, commands: Vec<Cmd>) -> Result<Vec<Value>, Error> {
        let mut pipeline = redis::pipe();
        let count = commands.len();
        for command in commands {
            pipeline.add_command(command);
        }
        let mut multiplexed = self.multiplexed.clone();
        let answers = multiplexed.send_packed_commands(&pipeline, 0, count).await;
        answers.map_err(|error| Error::of(&self.endpoint, error))
    }

    /// Asks the server about itself.
    pub(crate) async fn facts(&self, patience: Duration) -> Result<Facts, Error> {
        // One section each: an older server takes no more.
        let info = |section: &str| {
            let mut info = cmd("INFO");
            info.arg(section);
            info
        };
        let [replication, cluster, commands] = ["replication", "cluster", "commandstats"].map(info);
        let asked =
            async { tokio::try_join!(self.call(&replication), self.call(&cluster), self.call(&commands)) };
        let (replication, cluster, commands) =
            within(patience, &self.endpoint, "the server does not answer", asked).await?;
        let replication = text(&replication).ok_or_else(|| self.unexpected("no text for INFO"))?;
        let incarnation = field(&replication, "master_replid").filter(|id| !id.is_empty());
        Ok(Facts {
            primary: field(&replication, "role") == Some("master"),
            incarnation: incarnation.ok_or_else(|| self.unexpected("INFO without master_replid"))?.into(),
            cluster: text(&cluster).is_some_and(|text| field(&text, "cluster_enabled") == Some("1")),
            flushes: text(&commands).and_then(|text| flushes(&text)),
        })
    }

    fn unexpected(&self, what: &'static str) -> Error {
        Error::unexpected(&self.endpoint, what)
    }

    /// Waits until the connection is gone.
    pub(crate) async fn gone(&self) {
        let _ = self.gone.clone().wait_for(|gone| *gone).await;
    }
}

/// Runs a task that moves bytes for other tasks: each time that it is woken, those that are ready run before it.
///
/// Otherwise the scheduler would run it after the first of them, and each call would have a write of its own.
async fn after_others<T>(task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    let mut waited = false;
    poll_fn(|context| {
        waited = !waited;
        if waited && pin!(yield_now()).poll(context).is_pending() {
            return Poll::Pending;
        }
        task.as_mut().poll(context)
    })
    .await
}

/// Text of an answer.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.clone()),
        Value::Okay => Some("OK".to_owned()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A field of the answer to `INFO`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.split_once(':').filter(|(one, _)| *one == name))
        .map(|(_, value)| value.trim())
}

/// Number of calls that removed all keys, of the answer to `INFO commandstats`. `None` if it counts no command at all.
fn flushes(info: &str) -> Option<u64> {
    let calls = |name| {
        let (_, numbers) = field(info, name)?.split_once("calls=")?;
        numbers.split(',').next()?.parse::<u64>().ok()
    };
    let counts = info.contains("cmdstat_");
    counts.then(|| calls("cmdstat_flushall").unwrap_or(0) + calls("cmdstat_flushdb").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{after_others, flushes};
    use tokio::runtime::Builder;
    use tokio::sync::mpsc;
    use tokio::task::yield_now;

    #[test]
    fn what_is_asked_for_at_one_time_leaves_together() {
        const CALLERS: usize = 40;
        let ask_all = async {
            let (sender, mut receiver) = mpsc::channel(CALLERS);
            let mover = tokio::spawn(after_others(async move {
                let (mut writes, mut taken) = (0, Vec::new());
                while receiver.recv_many(&mut taken, CALLERS).await > 0 {
                    writes += 1;
                }
                (writes, taken.len())
            }));
            yield_now().await;
            for caller in 0..CALLERS {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(caller).await });
            }
            drop(sender);
            mover.await.unwrap()
        };
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (writes, taken) = runtime.block_on(async { tokio::spawn(ask_all).await.unwrap() });
        assert_eq!(taken, CALLERS);
        assert!(writes < CALLERS / 4, "{writes} writes");
    }

    #[test]
    fn flushes_are_counted_where_the_server_counts_commands() {
        let both = "# Commandstats\r\ncmdstat_info:calls=7,usec=9\r\ncmdstat_flushall:calls=3,usec=12\r\n\
                    cmdstat_flushdb:calls=1,usec=2\r\n";
        assert_eq!(flushes(both), Some(4));
        assert_eq!(flushes("# Commandstats\r\ncmdstat_info:calls=7,usec=9\r\n"), Some(0));
        assert_eq!(flushes("# Commandstats\r\n"), None);
    }
}

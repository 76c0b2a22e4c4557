//! One connection to NATS, from its login to its end.
//!
//! The client library reconnects by itself, and sends what was queued before it lost the connection: messages that
//! nobody waits for any more, after newer ones of other nodes. So it is kept from that. A connection that is lost is
//! over, with everything that was queued in it, and [`Link`](super::link::Link) makes another one.
//!
//! # Confirmation
//! Neither a publish nor a subscribe of core NATS is answered by the server, and the library's `flush` waits for the
//! socket alone. The server handles what one connection sends in order. So a message to a subject of one's own that has
//! come back says that the server has everything that was sent before it: see [`Life::confirmed`]. Calls that wait at
//! one time share such an *echo*. An echo that does not come back in time means that the server, or the way to it,
//! stands still. Without calls there is one each second.

use super::config::{Address, Config};
use super::counters::Counters;
use super::credentials::Credentials;
use super::error::NatsError;
use async_nats::{Auth, AuthError, Client, ConnectOptions, Event, HeaderMap, RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::timeout;

/// Interval between echoes while nothing else is to be confirmed.
const ECHO_INTERVAL: Duration = Duration::from_secs(1);
/// Time after which a server that does not send an echo back counts as gone.
const ECHO_TIMEOUT: Duration = Duration::from_secs(3);
/// Calls that may wait for a confirmation. Further ones wait until there is room.
const WAITING: usize = 4_096;
/// Messages that may wait in one subscription of the client library. A feed takes them out at once.
const PER_SUBSCRIPTION: usize = 4_096;

/// Subscriptions that the server has refused, since the user has no permission for them.
#[derive(Default)]
struct Refusals {
    subjects: Mutex<Vec<String>>,
    wake: Notify,
    /// An error was logged.
    logged: AtomicBool,
}

/// Most refusals that wait. Further ones are dropped, and come again when the node asks again.
const REFUSALS: usize = 4_096;

/// A connection that is logged in.
pub(super) struct Life {
    id: u64,
    client: Client,
    write_timeout: Duration,
    waiting: mpsc::Sender<oneshot::Sender<()>>,
    over: watch::Receiver<bool>,
    overflows: watch::Receiver<u64>,
    refusals: Arc<Refusals>,
    /// Held while a message gets its number and is sent, so that numbers rise on the way.
    order: tokio::sync::Mutex<()>,
}

impl Life {
    /// Connects to a server.
    pub(super) async fn begin(
        config: &Config,
        address: &Address,
        counters: &Arc<Counters>,
    ) -> Result<Self, NatsError> {
        let (over_sender, over) = watch::channel(false);
        let (overflow_sender, overflows) = watch::channel(0_u64);
        let over_sender = Arc::new(over_sender);
        let begun = Arc::new(AtomicBool::new(false));
        let refusals = Arc::<Refusals>::default();
        let credentials = credentials(config).await?;
        let options = options(config, address, credentials, Arc::clone(&begun)).event_callback({
            let (over, counters) = (Arc::clone(&over_sender), Arc::clone(counters));
            let overflows = Arc::new(overflow_sender);
            let refusals = Arc::clone(&refusals);
            move |event| {
                match event {
                    Event::Disconnected | Event::Closed => {
                        over.send_replace(true);
                    }
                    Event::SlowConsumer(_) => {
                        counters.dropped.bump();
                        overflows.send_modify(|number| *number += 1);
                    }
                    Event::ServerError(error) => {
                        counters.errors.bump();
                        refusals.take(&error.to_string());
                    }
                    _ => {}
                }
                std::future::ready(())
            }
        });
        let client = options.connect(&address.url).await.map_err(NatsError::client)?;
        begun.store(true, SeqCst);
        let inbox = client.new_inbox();
        let echoes = client.subscribe(inbox.clone()).await.map_err(NatsError::client)?;
        let (waiting, queue) = mpsc::channel(WAITING);
        let keeper = Keeper { client: client.clone(), inbox, echoes, sent: 0 };
        tokio::spawn(keeper.run(queue, over_sender));
        static BEGUN: AtomicU64 = AtomicU64::new(0);
        let life = Self {
            id: BEGUN.fetch_add(1, SeqCst) + 1,
            client,
            write_timeout: config.write_timeout,
            waiting,
            over,
            overflows,
            refusals,
            order: tokio::sync::Mutex::default(),
        };
        life.confirmed().await?;
        Ok(life)
    }

    /// Number of the connection, which no other of this process has.
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Returns true once the connection is lost.
    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits until the connection is lost.
    pub(super) async fn ended(&self) {
        // An error says that the keeper is gone, which means the same.
        let _ = self.over.clone().wait_for(|over| *over).await;
    }

    /// Counts subscriptions that overflowed in the client library, which means that messages of unknown channels were
    /// dropped.
    pub(super) fn overflows(&self) -> watch::Receiver<u64> {
        self.overflows.clone()
    }

    /// Waits until the server has refused subscriptions, and returns their subjects.
    pub(super) async fn refused(&self) -> Vec<String> {
        self.refusals.wake.notified().await;
        std::mem::take(&mut *self.refusals.subjects.lock())
    }

    /// Subscribes to a subject. The server has it once a later call of [`Self::confirmed`] is answered.
    pub(super) async fn subscribe(&self, subject: String) -> Result<Subscriber, NatsError> {
        match timeout(self.write_timeout, self.client.subscribe(subject)).await {
            Ok(subscriber) => subscriber.map_err(NatsError::client),
            Err(_) => Err(NatsError::WriteTimeout),
        }
    }

    /// Sends a message that is made when it is its turn. The server has it once a later call of [`Self::confirmed`] is
    /// answered.
    pub(super) async fn publish(
        &self,
        subject: String,
        message: impl FnOnce() -> Bytes,
    ) -> Result<(), NatsError> {
        let send = async {
            let _turn = self.order.lock().await;
            let message = message();
            self.check_length(message.len())?;
            if self.is_over() {
                return Err(NatsError::Lost);
            }
            self.client.publish(subject, message).await.map_err(NatsError::client)
        };
        timeout(self.write_timeout, send).await.unwrap_or(Err(NatsError::WriteTimeout))
    }

    /// An error for a message that the server would not take.
    pub(super) fn check_length(&self, size: usize) -> Result<(), NatsError> {
        let limit = self.client.max_payload();
        if size > limit { Err(NatsError::TooLong { size, limit }) } else { Ok(()) }
    }

    /// Sends a request, and waits for its answer for as long as `patience`, or until the connection is lost.
    pub(super) async fn request(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        patience: Duration,
    ) -> Result<async_nats::Message, NatsError> {
        let mut request = async_nats::Request::new().payload(payload).timeout(Some(patience));
        if !headers.is_empty() {
            request = request.headers(headers);
        }
        tokio::select! {
            answer = self.client.send_request(subject, request) => answer.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => NatsError::NoResponders,
                RequestErrorKind::TimedOut if self.is_over() => NatsError::Lost,
                RequestErrorKind::TimedOut => NatsError::NoAnswer,
                _ => NatsError::client(error),
            }),
            () = self.ended() => Err(NatsError::Lost),
        }
    }

    /// Waits until the server has handled everything that was sent before.
    pub(super) async fn confirmed(&self) -> Result<(), NatsError> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.send(sender).await.map_err(|_| NatsError::Lost)?;
        receiver.await.map_err(|_| NatsError::Lost)
    }
}

impl Refusals {
    /// Takes an error of the server. Says so once for each connection: clients can cause many.
    fn take(&self, error: &str) {
        let refused = refused_subscription(error);
        let mut subjects = self.subjects.lock();
        if self.logged.swap(true, SeqCst) {
            tracing::debug!(%error, "NATS server reports an error");
        } else {
            tracing::warn!(%error, "NATS server reports an error; further ones are logged at debug level");
        }
        if let Some(subject) = refused
            && subjects.len() < REFUSALS
        {
            subjects.push(subject.to_owned());
            self.wake.notify_one();
        }
    }
}

/// The subject of an error such as `Permissions Violation for Subscription to "a.b"`.
fn refused_subscription(error: &str) -> Option<&str> {
    let (_, rest) = error.split_once("ermissions Violation for Subscription to \"")?;
    rest.split_once('"').map(|(subject, _)| subject)
}

/// Contents of the credentials file, as it is now.
async fn credentials(config: &Config) -> Result<Option<Credentials>, NatsError> {
    let Some(path) = config.credentials_file.clone() else { return Ok(None) };
    let read = tokio::task::spawn_blocking(move || Credentials::read(&path));
    Ok(Some(read.await.map_err(NatsError::client)??))
}

fn options(
    config: &Config,
    address: &Address,
    credentials: Option<Credentials>,
    begun: Arc<AtomicBool>,
) -> ConnectOptions {
    let login = address.login.clone();
    // The library asks for credentials each time it connects. It is given them while this connection begins, and an
    // error later: that, and the limit of one attempt, is what keeps it from reconnecting.
    let options = ConnectOptions::with_auth_callback(move |nonce| {
        let answer = if begun.load(SeqCst) {
            Err(AuthError::new("this connection is over, the engine makes another one"))
        } else {
            let mut auth = Auth::new();
            auth.username.clone_from(&login.user);
            auth.password.clone_from(&login.password);
            auth.token.clone_from(&login.token);
            match &credentials {
                Some(credentials) => credentials.sign(&nonce, &mut auth).map(|()| auth),
                None => Ok(auth),
            }
        };
        std::future::ready(answer)
    });
    let options = options
        .name("spinward")
        .max_reconnects(1)
        .ignore_discovered_servers()
        .connection_timeout(config.dial_timeout)
        .ping_interval(ECHO_TIMEOUT)
        .subscription_capacity(PER_SUBSCRIPTION);
    match &config.tls {
        Some(tls) => options.require_tls(true).tls_client_config((**tls).clone()),
        None => options,
    }
}

/// Sends echoes, and ends the connection when one does not come back.
struct Keeper {
    client: Client,
    inbox: String,
    echoes: Subscriber,
    sent: u64,
}

impl Keeper {
    /// Runs until the connection is lost, or nobody has it any more.
    async fn run(mut self, mut queue: mpsc::Receiver<oneshot::Sender<()>>, over: Arc<watch::Sender<bool>>) {
        let mut lost = over.subscribe();
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                _ = lost.wait_for(|over| *over) => break,
                count = queue.recv_many(&mut waiting, WAITING) => if count == 0 { break },
                () = tokio::time::sleep(ECHO_INTERVAL) => {}
            }
            let back = tokio::select! {
                _ = lost.wait_for(|over| *over) => break,
                back = timeout(ECHO_TIMEOUT, self.echo()) => back.unwrap_or(false),
            };
            if !back {
                break;
            }
            for waiter in waiting.drain(..) {
                let _ = waiter.send(());
            }
        }
        over.send_replace(true);
    }

    /// Sends an echo, and waits until it is back. Returns false if the connection is lost.
    async fn echo(&mut self) -> bool {
        self.sent += 1;
        let mark = Bytes::copy_from_slice(&self.sent.to_be_bytes());
        if self.client.publish(self.inbox.clone(), mark.clone()).await.is_err() {
            return false;
        }
        while let Some(message) = self.echoes.next().await {
            if message.payload == mark {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_subscriptions_are_known_by_the_error() {
        for (error, subject) in [
            ("nats: Permissions Violation for Subscription to \"a.b\"", Some("a.b")),
            ("nats: Permissions Violation for Subscription to \"a\" using queue \"q\"", Some("a")),
            ("nats: Permissions Violation for Publish to \"a\"", None),
            ("nats: maximum connections exceeded", None),
        ] {
            assert_eq!(refused_subscription(error), subject, "{error}");
        }
    }
}

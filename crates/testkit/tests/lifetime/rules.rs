//! The application: the server's own hooks, but that some logins and one channel are prolonged by the application
//! itself, as a proxy would have it, and that answers may come late.

use crate::model::MAY_PUBLISH;
use parking_lot::Mutex;
use spinward::Client;
use spinward::answer::Answer;
use spinward::clock::Clock;
use spinward::hooks::{
    ConnectEvent, ConnectReply, Decision, Hooks, PublishEvent, PublishReply, RefreshEvent, RefreshReply,
    Refusal, SubRefreshEvent, SubRefreshReply, SubscribeEvent, SubscribeFailure, SubscribeOptions,
};
use spinward::id::ClientId;
use spinward::sim::give_way;
use spinward::wire::code::{DisconnectCode, ErrorCode, UnsubscribeCode};
use spinward_server::session::ServerHooks;
use spinward_testkit::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Answer of the application to a question that the node asked by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It goes on until then; 0 is for ever.
    Until(i64),
    /// Not now.
    No,
    /// Close it with 3005.
    Close,
}

/// In the order in which it was said.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// A subscription that the application prolongs begins.
    Kept {
        client: String,
        ends: i64,
    },
    /// The node asked about it.
    Asked {
        client: String,
    },
    Login {
        client: String,
        said: Said,
    },
    Subscription {
        client: String,
        question: usize,
        said: Said,
    },
    /// The API: the login ends then, or now.
    Api {
        client: String,
        expired: bool,
        ends: i64,
    },
    /// The API: a subscription was refused, as it would end in the past.
    TooLate {
        client: String,
        ends: i64,
    },
}

#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) server: ServerHooks,
    pub(crate) random: Random,
    pub(crate) clock: Clock,
    /// Answers that come later, of 1,000.
    pub(crate) tarry: usize,
    pub(crate) notes: Arc<Mutex<Vec<Note>>>,
    pub(crate) grants: Grants,
}

/// The grants of subscriptions that clients asked for, by connection and channel: each has to end in one call.
#[derive(Clone, Default)]
pub(crate) struct Grants {
    open: Arc<Mutex<BTreeMap<(ClientId, String), Grant>>>,
    prolonged: Arc<Mutex<BTreeMap<String, u64>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grant {
    Given,
    Subscribed,
    /// Something was reported that cannot be.
    Wrong(&'static str),
}

impl Grants {
    fn given(&self, client: ClientId, channel: &str) {
        let before = self.open.lock().insert((client, channel.to_owned()), Grant::Given);
        self.expect(client, channel, before.is_none(), "granted twice");
    }

    fn subscribed(&self, client: ClientId, channel: &str) {
        let before = self.open.lock().insert((client, channel.to_owned()), Grant::Subscribed);
        self.expect(client, channel, before == Some(Grant::Given), "subscribed without a grant");
    }

    fn failed(&self, client: ClientId, channel: &str) {
        let before = self.open.lock().remove(&(client, channel.to_owned()));
        self.expect(client, channel, before.is_some(), "failed without a grant");
    }

    /// Subscriptions of the server end too, and were not granted here.
    fn ended(&self, client: ClientId, channel: &str) {
        let mut grants = self.open.lock();
        let key = (client, channel.to_owned());
        if grants.get(&key) == Some(&Grant::Subscribed) {
            grants.remove(&key);
        }
    }

    fn expect(&self, client: ClientId, channel: &str, holds: bool, fault: &'static str) {
        if !holds {
            self.open.lock().insert((client, channel.to_owned()), Grant::Wrong(fault));
        }
    }

    fn prolonged(&self, client: ClientId) {
        *self.prolonged.lock().entry(client.to_string()).or_default() += 1;
    }

    /// Refreshes of subscriptions that are in force, as a client asked for.
    pub(crate) fn times_prolonged(&self, client: &str) -> u64 {
        self.prolonged.lock().get(client).copied().unwrap_or_default()
    }

    /// Reports of grants that do not fit together.
    pub(crate) fn fault(&self) -> Option<String> {
        let grants = self.open.lock();
        let wrong = grants.iter().find(|(_, grant)| matches!(grant, Grant::Wrong(_)));
        wrong.map(|((client, channel), grant)| format!("{client} {channel}: {grant:?}"))
    }

    /// Grants that have not ended.
    pub(crate) fn left(&self) -> Vec<(ClientId, String)> {
        self.open.lock().keys().cloned().collect()
    }
}

impl Rules {
    fn later<T: Send + 'static>(&self, answer: Answer<T>) -> Answer<T> {
        if !self.random.permille(self.tarry) {
            return answer;
        }
        let times = self.random.between(1, 6) as u32;
        Answer::later(async move {
            give_way(times).await;
            answer.wait().await
        })
    }

    /// Something that is worked out when it is answered.
    fn worked_out<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> Answer<T> {
        if !self.random.permille(self.tarry) {
            return Answer::Now(work(self));
        }
        let (times, this) = (self.random.between(1, 25) as u32, self.clone());
        Answer::later(async move {
            give_way(times).await;
            work(&this)
        })
    }

    fn say(&self) -> Said {
        let now = self.clock.now().unix();
        match self.random.below(10) {
            0 => Said::Close,
            1 | 2 => Said::No,
            3 => Said::Until(0),
            4 => Said::Until(now - self.random.below(5) as i64),
            _ => Said::Until(now + self.random.between(1, 9) as i64),
        }
    }
}

/// Returns true if the application extends the logins of this user.
pub(crate) fn is_kept(user: &str) -> bool {
    user.starts_with('k')
}

impl Hooks for Rules {
    fn connect(&self, request: ConnectEvent) -> Decision<ConnectReply> {
        let kept = |connected: ConnectReply| {
            let server_side_refresh = is_kept(&connected.credentials.user);
            ConnectReply { server_side_refresh, ..connected }
        };
        self.later(self.server.connect(request).map(move |outcome| outcome.map(kept)))
    }

    fn refresh(&self, client: &Client, request: RefreshEvent) -> Decision<RefreshReply> {
        if !request.token.is_empty() {
            return self.later(self.server.refresh(client, request));
        }
        let client = client.id().to_string();
        self.worked_out(move |this| {
            let said = this.say();
            this.notes.lock().push(Note::Login { client, said });
            match said {
                Said::Until(expire_at) => Ok(RefreshReply { expire_at, ..RefreshReply::default() }),
                Said::No => Err(ErrorCode::INTERNAL.into()),
                Said::Close => Err(DisconnectCode::EXPIRED.into()),
            }
        })
    }

    fn subscribe(&self, client: &Client, request: SubscribeEvent) -> Decision<SubscribeOptions> {
        let (id, grants, channel) = (client.id(), self.grants.clone(), request.channel.clone());
        let given =
            move |outcome: Result<SubscribeOptions, Refusal>| outcome.inspect(|_| grants.given(id, &channel));
        if request.channel != "kept" {
            return self.later(self.server.subscribe(client, request)).map(given);
        }
        let client = client.id().to_string();
        let outcome = self.worked_out(|this| {
            let ends = this.clock.now().unix() + this.random.between(1, 9) as i64;
            this.notes.lock().push(Note::Kept { client, ends });
            Ok(SubscribeOptions { expire_at: ends, server_side_refresh: true, ..SubscribeOptions::default() })
        });
        outcome.map(given)
    }

    fn sub_refresh(&self, client: &Client, request: SubRefreshEvent) -> Decision<SubRefreshReply> {
        if !request.token.is_empty() {
            return self.later(self.server.sub_refresh(client, request));
        }
        let client = client.id().to_string();
        let question = {
            let mut notes = self.notes.lock();
            notes.push(Note::Asked { client: client.clone() });
            notes.len() - 1
        };
        self.worked_out(move |this| {
            let said = this.say();
            this.notes.lock().push(Note::Subscription { client, question, said });
            match said {
                Said::Until(expire_at) => Ok(SubRefreshReply { expire_at, info: None }),
                Said::No => Err(Refusal::Error(ErrorCode::INTERNAL)),
                Said::Close => Err(DisconnectCode::EXPIRED.into()),
            }
        })
    }

    /// Answers with an error in either case: see [`MAY_PUBLISH`].
    fn publish(&self, client: &Client, request: PublishEvent) -> Decision<PublishReply> {
        self.server.publish(client, request).map(|outcome| {
            outcome.and(Err(Refusal::Error(ErrorCode {
                code: MAY_PUBLISH,
                message: "allowed".into(),
                temporary: false,
            })))
        })
    }

    fn connected(&self, client: &Client) {
        self.server.connected(client);
    }

    fn refreshed(&self, client: &Client) {
        self.server.refreshed(client);
    }

    fn subscribed(&self, client: &Client, channel: &str) {
        self.grants.subscribed(client.id(), channel);
        self.server.subscribed(client, channel);
    }

    fn subscribe_failed(&self, client: &Client, channel: &str, failure: &SubscribeFailure) {
        if !failure.server_side {
            self.grants.failed(client.id(), channel);
        }
        self.server.subscribe_failed(client, channel, failure);
    }

    fn subscription_replaced(&self, client: &Client, channel: &str) {
        self.grants.ended(client.id(), channel);
        self.server.subscription_replaced(client, channel);
    }

    fn sub_refreshed(&self, client: &Client, channel: &str) {
        if channel != "kept" {
            self.grants.prolonged(client.id());
        }
        self.server.sub_refreshed(client, channel);
    }

    fn unsubscribed(&self, client: &Client, channel: &str, code: &UnsubscribeCode) {
        self.grants.ended(client.id(), channel);
        self.server.unsubscribed(client, channel, code);
    }

    fn disconnected(&self, client: &Client, code: &DisconnectCode) {
        self.server.disconnected(client, code);
    }
}

//! The application: the server's own hooks, but that some logins and one channel are prolonged by the application
//! itself, as a proxy would have it, and that answers may come late.

use parking_lot::Mutex;
use spinward::Client;
use spinward::answer::Answer;
use spinward::clock::Clock;
use spinward::hooks::{
    Connected, Connecting, Decision, Hooks, Refreshed, Refreshing, Refusal, SubRefreshed, SubscribeOptions,
    Subscribing,
};
use spinward::sim::give_way;
use spinward::wire::code::{DisconnectCode, ErrorCode};
use spinward_server::session::ServerHooks;
use spinward_testkit::random::Random;
use std::sync::Arc;

/// What the application made of a question that the node asked by itself.
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

/// Whether the application itself prolongs the logins of this user.
pub(crate) fn is_kept(user: &str) -> bool {
    user.starts_with('k')
}

impl Hooks for Rules {
    fn connecting(&self, request: Connecting) -> Decision<Connected> {
        let kept = |connected: Connected| {
            let server_side_refresh = is_kept(&connected.credentials.user);
            Connected { server_side_refresh, ..connected }
        };
        self.later(self.server.connecting(request).map(move |outcome| outcome.map(kept)))
    }

    fn refresh(&self, client: &Client, request: Refreshing) -> Decision<Refreshed> {
        if !request.token.is_empty() {
            return self.later(self.server.refresh(client, request));
        }
        let client = client.id().to_string();
        self.worked_out(move |this| {
            let said = this.say();
            this.notes.lock().push(Note::Login { client, said });
            match said {
                Said::Until(expire_at) => Ok(Refreshed { expire_at, ..Refreshed::default() }),
                Said::No => Err(ErrorCode::INTERNAL.into()),
                Said::Close => Err(DisconnectCode::EXPIRED.into()),
            }
        })
    }

    fn subscribe(&self, client: &Client, request: Subscribing) -> Decision<SubscribeOptions> {
        if request.channel != "kept" {
            return self.later(self.server.subscribe(client, request));
        }
        let client = client.id().to_string();
        self.worked_out(|this| {
            let ends = this.clock.now().unix() + this.random.between(1, 9) as i64;
            this.notes.lock().push(Note::Kept { client, ends });
            Ok(SubscribeOptions { expire_at: ends, server_side_refresh: true, ..SubscribeOptions::default() })
        })
    }

    fn sub_refresh(&self, client: &Client, channel: &str, token: String) -> Decision<SubRefreshed> {
        if !token.is_empty() {
            return self.later(self.server.sub_refresh(client, channel, token));
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
                Said::Until(expire_at) => Ok(SubRefreshed { expire_at, info: None }),
                Said::No => Err(Refusal::Error(ErrorCode::INTERNAL)),
                Said::Close => Err(DisconnectCode::EXPIRED.into()),
            }
        })
    }

    fn connected(&self, client: &Client) {
        self.server.connected(client);
    }
}

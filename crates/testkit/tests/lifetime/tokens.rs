//! Tokens as clients of the model send them, and what has to become of each.

use serde_json::json;
use spinward_server::auth::sign::hs256;
use spinward_testkit::random::Random;

pub(crate) const KEY: &str = "a-long-secret-of-the-tests-4f1c97ab02de";

/// Fault of a token, apart from its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    Signature,
    /// A subscription token in place of a connection token, or the other way round.
    Kind,
    User,
    Channel,
}

/// Expected reply to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Granted,
    /// An error, or a close from 3000 on.
    Refused(u32),
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) flaw: Flaw,
    /// The claim `exp`. 0: absent.
    exp: i64,
    /// The claim `expire_at`, if there is one.
    expire_at: Option<i64>,
    /// It has the server subscribe the connection to `served`.
    pub(crate) served: bool,
    /// It lets the connection subscribe to `capped`.
    pub(crate) caps: bool,
    /// It lets the subscriber publish.
    pub(crate) allow: bool,
}

impl Token {
    /// Good more often than not.
    pub(crate) fn draw(random: &Random, now: i64, flaws: &[Flaw]) -> Self {
        let flaw = if random.permille(850) { Flaw::None } else { *random.one_of(flaws) };
        let ahead = |random: &Random| now + random.below(20) as i64 - 1;
        Self {
            flaw,
            exp: if random.permille(150) { 0 } else { ahead(random) },
            expire_at: match random.below(20) {
                0 => Some(0),
                1 => Some(ahead(random).max(1)),
                _ => None,
            },
            served: random.permille(300),
            caps: random.permille(500),
            allow: random.permille(500),
        }
    }

    /// Returns the end of the access that it grants; 0 means never.
    pub(crate) fn ends(&self) -> i64 {
        self.expire_at.unwrap_or(self.exp)
    }

    pub(crate) fn connection(&self, user: &str) -> String {
        let user = if self.flaw == Flaw::User { "somebody" } else { user };
        let mut claims = json!({ "sub": user });
        if self.flaw == Flaw::Kind {
            claims["channel"] = json!("private");
        }
        if self.served {
            claims["channels"] = json!(["served"]);
        }
        if self.caps {
            claims["caps"] = json!([{ "channels": ["capped"], "allow": ["sub"] }]);
        }
        self.sign(claims)
    }

    pub(crate) fn subscription(&self, user: &str, channel: &str) -> String {
        let user = if self.flaw == Flaw::User { "somebody" } else { user };
        let mut claims = json!({ "sub": user });
        match self.flaw {
            Flaw::Kind => {}
            Flaw::Channel => claims["channel"] = json!("$another"),
            _ => claims["channel"] = json!(channel),
        }
        if self.allow {
            claims["allow"] = json!(["pub"]);
        }
        self.sign(claims)
    }

    fn sign(&self, mut claims: serde_json::Value) -> String {
        if self.exp != 0 {
            claims["exp"] = json!(self.exp);
        }
        if let Some(at) = self.expire_at {
            claims["expire_at"] = json!(at);
        }
        hs256(if self.flaw == Flaw::Signature { "another" } else { KEY }, &claims)
    }

    fn expired(&self, now: i64) -> bool {
        self.exp != 0 && self.exp <= now
    }

    fn ended(&self, now: i64) -> bool {
        self.ends() != 0 && self.ends() <= now
    }

    pub(crate) fn connects(&self, now: i64) -> Fate {
        match self.flaw {
            Flaw::Signature | Flaw::Kind => Fate::Refused(3500),
            _ if self.expired(now) => Fate::Refused(109),
            _ if self.ended(now) => Fate::Refused(110),
            _ => Fate::Granted,
        }
    }

    /// `served`: the connection began with a token that has the server subscribe it.
    pub(crate) fn refreshes(&self, served: bool, now: i64) -> Fate {
        match self.flaw {
            Flaw::Signature | Flaw::Kind => Fate::Refused(3500),
            _ if self.expired(now) => Fate::Refused(3005),
            Flaw::User => Fate::Refused(3500),
            _ if self.ended(now) => Fate::Refused(110),
            // Other server-side subscriptions come with a new connection.
            _ if self.served != served => Fate::Refused(3010),
            _ => Fate::Granted,
        }
    }

    pub(crate) fn subscribes(&self, now: i64) -> Fate {
        match self.flaw {
            Flaw::Signature => Fate::Refused(103),
            // A token that has expired is told so before it is told that it has no channel.
            Flaw::Kind => Fate::Refused(if self.expired(now) { 109 } else { 103 }),
            _ if self.expired(now) => Fate::Refused(109),
            Flaw::User | Flaw::Channel => Fate::Refused(3500),
            _ if self.ended(now) => Fate::Refused(110),
            Flaw::None => Fate::Granted,
        }
    }

    pub(crate) fn prolongs(&self, now: i64) -> Fate {
        match self.flaw {
            Flaw::Signature => Fate::Refused(3500),
            Flaw::Kind => Fate::Refused(if self.expired(now) { 3006 } else { 3500 }),
            _ if self.expired(now) => Fate::Refused(3006),
            Flaw::User | Flaw::Channel => Fate::Refused(3500),
            _ if self.ended(now) => Fate::Refused(110),
            Flaw::None => Fate::Granted,
        }
    }

    /// The seconds from `low` to `high` at which its fate may change, both ends included.
    pub(crate) fn moments(&self, low: i64, high: i64) -> impl Iterator<Item = i64> {
        let turns = [low, high, self.exp - 1, self.exp, self.ends() - 1, self.ends()];
        turns.into_iter().filter(move |at| (low..=high).contains(at))
    }
}

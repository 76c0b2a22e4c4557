//! Model of the lifetimes of logins and subscriptions, and the replies that they allow.

use crate::line::Told;
use crate::rules::{Said, is_kept};
use crate::tokens::{Fate, Token};
use spinward::clock::Now;
use spinward::wire::message::{Push, Reply};
use std::collections::{BTreeMap, VecDeque};

pub(crate) const PRIVATE: &str = "$private";

/// Timers fire up to one tick late.
const TICK_MS: i64 = 50;
/// A wall clock that is set by less than a second is not noticed.
const STEP_MS: i64 = 1_000;

/// Set-up of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) login_grace: i64,
    pub(crate) subscription_grace: i64,
    /// The wall clock is set now and then.
    pub(crate) steps: bool,
}

/// Lifetime.
#[derive(Clone, Debug)]
struct Span {
    ends: i64,
    /// Ends that were in force since the last look: what happened in between may have been under any of them.
    in_force: Vec<i64>,
    /// On the monotonic clock.
    changed: u64,
    /// The application says that it ends.
    ended: bool,
}

impl Span {
    fn new(ends: i64, now: Now) -> Self {
        Self { ends, in_force: vec![ends], changed: now.mono, ended: false }
    }

    fn set(&mut self, ends: i64, now: Now) {
        self.ends = ends;
        self.in_force.push(ends);
        self.changed = now.mono;
    }

    fn is_over(ends: i64, grace: i64, now: Now, slack: i64) -> bool {
        ends != 0 && now.wall >= ends * 1000 + grace + slack
    }

    /// Returns true if it may have ended by now.
    fn may_end(&self, grace: i64, now: Now) -> bool {
        self.ended || self.in_force.iter().any(|ends| Self::is_over(*ends, grace, now, 0))
    }

    /// Returns true if it must have ended by now, under any terms.
    fn must_have_ended(&self, grace: i64, terms: Terms, now: Now) -> bool {
        let slack = TICK_MS + if terms.steps { STEP_MS } else { 0 };
        // What comes in over is ended at the next tick.
        now.mono >= self.changed + 2 * TICK_MS as u64
            && self.in_force.iter().all(|ends| Self::is_over(*ends, grace, now, slack))
    }

    fn look(&mut self) {
        self.in_force = vec![self.ends];
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    span: Span,
    server_side: bool,
    /// It rests on the capabilities of the login.
    by_caps: bool,
    /// Its token lets the client publish.
    allow: bool,
    /// Tells one from the next in the same channel.
    pub(crate) serial: u64,
}

/// A connection that is in.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) client: String,
    span: Span,
    /// The token had the server subscribe it.
    served: bool,
    caps: bool,
    /// Refreshes of subscriptions that were granted.
    prolonged: u64,
    pub(crate) subscriptions: BTreeMap<String, Subscription>,
    /// Publications that it is to get.
    owed: VecDeque<(String, u64)>,
    /// Refreshes by the API that it is to be told of: when they end.
    owed_refreshes: VecDeque<i64>,
    /// The API's next subscription.
    pub(crate) subscribing: Option<Subscribing>,
    unsubscribing: u32,
}

/// A subscription of the API that is not there yet.
#[derive(Clone, Debug)]
pub(crate) struct Subscribing {
    pub(crate) channel: String,
    pub(crate) ends: i64,
    /// The latest Unix time since it was asked for.
    pub(crate) high: i64,
}

#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Connect(Token),
    Refresh(Token),
    Subscribe(Subscribe),
    SubRefresh(String, Token),
    Unsubscribe(String),
    /// Asks for the permission only: nothing is published.
    Publish(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Subscribe {
    pub(crate) channel: String,
    pub(crate) token: Option<Token>,
    /// The library refuses what it asks for after the application has granted it.
    pub(crate) bad_filter: bool,
}

/// A command that waits for its answer, and the Unix times since it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) id: u32,
    pub(crate) asked: Asked,
    low: i64,
    high: i64,
    /// The subscription that it is about was there when it was sent.
    there: bool,
    /// At some time since it was sent a token let the client publish.
    allowed: bool,
    /// At some time none did.
    denied: bool,
}

#[derive(Default, Debug)]
pub(crate) struct Model {
    pub(crate) user: String,
    pub(crate) waiting: Option<Waiting>,
    pub(crate) login: Option<Login>,
    /// End of the subscription in progress that the application extends.
    pub(crate) kept_until: i64,
    /// Subscriptions so far.
    pub(crate) serial: u64,
}

/// Counters of a run: a run without events proves nothing.
#[derive(Default, Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) logins: u64,
    pub(crate) refreshes: u64,
    pub(crate) refused: u64,
    pub(crate) logins_over: u64,
    pub(crate) subscriptions_over: u64,
    pub(crate) sub_refreshes: u64,
    pub(crate) delivered: u64,
    pub(crate) kept: u64,
    pub(crate) api: u64,
    /// Subscriptions that ended with the capabilities that they rested on.
    pub(crate) lapsed: u64,
    /// Grants that the library refused.
    pub(crate) refused_after_grant: u64,
    /// Subscriptions that the API replaced.
    pub(crate) replaced: u64,
    pub(crate) allowed: u64,
    pub(crate) denied: u64,
}

/// The error of a publish that is allowed: nothing is published, so that nobody is owed it.
pub(crate) const MAY_PUBLISH: u32 = 1_900;

pub(crate) type Verdict = Result<(), String>;

impl Model {
    pub(crate) fn ask(&mut self, id: u32, asked: Asked, now: Now) {
        let there = match &asked {
            Asked::SubRefresh(channel, _) => self.has(channel),
            _ => false,
        };
        let (low, high) = (now.unix(), now.unix());
        self.waiting = Some(Waiting { id, asked, low, high, there, allowed: false, denied: false });
        self.note_allow();
    }

    /// Notes what the command under way may be judged by.
    fn note_allow(&mut self) {
        let Some(Waiting { asked: Asked::Publish(channel), .. }) = &self.waiting else { return };
        let own = self.login.as_ref().and_then(|login| login.subscriptions.get(channel));
        let allow = own.is_some_and(|own| own.allow);
        if let Some(waiting) = &mut self.waiting {
            waiting.allowed |= allow;
            waiting.denied |= !allow;
        }
    }

    pub(crate) fn has(&self, channel: &str) -> bool {
        self.login.as_ref().is_some_and(|login| login.subscriptions.contains_key(channel))
    }

    pub(crate) fn is_server_side(&self, channel: &str) -> bool {
        let own = self.login.as_ref().and_then(|login| login.subscriptions.get(channel));
        own.is_some_and(|own| own.server_side)
    }

    /// The times of which one is of interest, for steps that go just there.
    pub(crate) fn edges(&self, terms: Terms) -> Vec<i64> {
        let Some(login) = &self.login else { return Vec::new() };
        let spans = login.subscriptions.values().map(|own| (&own.span, terms.subscription_grace));
        std::iter::once((&login.span, terms.login_grace))
            .chain(spans)
            .filter(|(span, _)| span.ends > 0)
            .flat_map(|(span, grace)| [span.ends * 1000, span.ends * 1000 + grace])
            .collect()
    }

    /// The same of the token of the command under way: what is granted may be over before the answer is there.
    pub(crate) fn edge_of_what_is_asked(&self) -> Vec<i64> {
        let token = match self.waiting.as_ref().map(|waiting| &waiting.asked) {
            Some(Asked::Refresh(token) | Asked::SubRefresh(_, token)) => Some(token),
            Some(Asked::Subscribe(subscribe)) => subscribe.token.as_ref(),
            _ => None,
        };
        token.map(|token| token.ends() * 1000).into_iter().collect()
    }

    pub(crate) fn time_passed(&mut self, now: Now) {
        if let Some(waiting) = &mut self.waiting {
            waiting.low = waiting.low.min(now.unix());
            waiting.high = waiting.high.max(now.unix());
        }
        if let Some(subscribing) = self.login.as_mut().and_then(|login| login.subscribing.as_mut()) {
            subscribing.high = subscribing.high.max(now.unix());
        }
    }

    pub(crate) fn published(&mut self, channel: &str, number: u64) {
        if let Some(login) = &mut self.login
            && login.subscriptions.contains_key(channel)
        {
            login.owed.push_back((channel.to_owned(), number));
        }
    }

    pub(crate) fn cut(&mut self) {
        self.waiting = None;
        self.login = None;
    }

    pub(crate) fn said_of_login(&mut self, said: Said, now: Now, counts: &mut Counts) {
        let Some(login) = &mut self.login else { return };
        match said {
            Said::Until(ends) => {
                login.span.set(ends, now);
                counts.kept += 1;
            }
            Said::No => {}
            Said::Close => login.span.ended = true,
        }
    }

    pub(crate) fn said_of_subscription(&mut self, serial: u64, said: Said, now: Now) {
        let Some(login) = &mut self.login else { return };
        // What is said of a subscription is nothing to the next one in the same channel.
        let own = login.subscriptions.get_mut("kept").filter(|own| own.serial == serial);
        match (said, own) {
            (Said::Close, _) => login.span.ended = true,
            (Said::Until(ends), Some(own)) => own.span.set(ends, now),
            (Said::No, Some(own)) => own.span.ended = true,
            (_, None) => {}
        }
    }

    pub(crate) fn refreshed_by_api(&mut self, expired: bool, ends: i64, now: Now, counts: &mut Counts) {
        let Some(login) = &mut self.login else { return };
        if login.span.ended {
            return;
        }
        counts.api += 1;
        if expired || (ends != 0 && ends <= now.unix()) {
            login.span.ended = true;
        } else {
            login.span.set(ends, now);
            login.owed_refreshes.push_back(ends);
        }
    }

    pub(crate) fn refused_as_too_late(&mut self, ends: i64) {
        if let Some(refused) = self.login.as_mut().and_then(|login| login.subscribing.take()) {
            assert!(ends <= refused.high, "{ends} lay ahead: {refused:?}");
        }
    }

    pub(crate) fn unsubscribed_by_api(&mut self) {
        if let Some(login) = &mut self.login {
            login.unsubscribing += 1;
        }
    }

    /// Returns the allowed replies to the command in progress.
    fn fates(&self) -> Vec<Fate> {
        let Some(waiting) = &self.waiting else { return Vec::new() };
        let Waiting { asked, low, high, there, .. } = waiting;
        let served = self.login.as_ref().is_some_and(|login| login.served);
        let caps = self.login.as_ref().is_some_and(|login| login.caps);
        let of = |token: &Token, fate: &dyn Fn(i64) -> Fate| {
            let mut fates: Vec<Fate> = token.moments(*low, *high).map(fate).collect();
            if fates.contains(&Fate::Granted) && token.ends() != 0 && token.ends() <= *high {
                // Granted, and over before the answer was there.
                fates.push(Fate::Refused(110));
            }
            fates
        };
        match asked {
            Asked::Connect(token) => of(token, &|now| token.connects(now)),
            Asked::Refresh(token) => of(token, &|now| token.refreshes(served, now)),
            Asked::Subscribe(Subscribe { channel, token, bad_filter }) => {
                let mut fates = match token {
                    Some(token) => of(token, &|now| token.subscribes(now)),
                    None if channel == "capped" && !caps => vec![Fate::Refused(103)],
                    None if channel == "kept" && high > low => vec![Fate::Granted, Fate::Refused(110)],
                    None => vec![Fate::Granted],
                };
                // What the library finds once the application has granted it.
                let granted = match (*bad_filter, self.has(channel)) {
                    (true, _) => Fate::Refused(107),
                    (false, true) => Fate::Refused(105),
                    (false, false) => Fate::Granted,
                };
                fates.iter_mut().filter(|fate| **fate == Fate::Granted).for_each(|fate| *fate = granted);
                if self.has(channel) {
                    // The server was first, and the application was not asked.
                    fates.push(Fate::Refused(105));
                }
                fates
            }
            Asked::Unsubscribe(_) => vec![Fate::Granted],
            Asked::Publish(_) => {
                let fates = [(waiting.allowed, MAY_PUBLISH), (waiting.denied, 103)];
                fates.into_iter().filter(|(may, _)| *may).map(|(_, code)| Fate::Refused(code)).collect()
            }
            // The server made it, or made it again.
            Asked::SubRefresh(channel, token) if self.is_server_side(channel) => {
                let mut fates = vec![Fate::Refused(103), Fate::Refused(3501)];
                fates.extend(
                    of(token, &|now| token.prolongs(now)).into_iter().filter(|fate| *fate != Fate::Granted),
                );
                fates
            }
            Asked::SubRefresh(..) if !there => vec![Fate::Refused(103)],
            Asked::SubRefresh(channel, token) => {
                let mut fates = of(token, &|now| token.prolongs(now));
                if !self.has(channel) {
                    fates.push(Fate::Refused(103));
                }
                fates
            }
        }
    }

    pub(crate) fn told(&mut self, told: Told, terms: Terms, now: Now, counts: &mut Counts) -> Verdict {
        match told {
            Told::Closed(code) => self.closed(code, terms, now, counts)?,
            Told::Reply(reply) => match reply.push {
                Some(push) => self.push(push, terms, now, counts)?,
                None => self.reply(*reply, terms, now, counts)?,
            },
        }
        self.note_allow();
        Ok(())
    }

    fn closed(&mut self, code: u32, terms: Terms, now: Now, counts: &mut Counts) -> Verdict {
        let refused = self.fates().contains(&Fate::Refused(code));
        let over = self.login.as_ref().is_some_and(|login| match code {
            3005 => login.span.may_end(terms.login_grace, now),
            3006 => login
                .subscriptions
                .values()
                .any(|own| own.server_side && own.span.may_end(terms.subscription_grace, now)),
            _ => false,
        });
        if !refused && !over {
            return Err(format!("closed with {code}: {self:?}"));
        }
        if code == 3005 && over {
            counts.logins_over += 1;
        } else {
            counts.refused += 1;
        }
        self.cut();
        Ok(())
    }

    fn reply(&mut self, reply: Reply, terms: Terms, now: Now, counts: &mut Counts) -> Verdict {
        let fates = self.fates();
        let Some(waiting) = self.waiting.take().filter(|waiting| waiting.id == reply.id) else {
            return Err(format!("{reply:?} answers nothing: {self:?}"));
        };
        let fate = reply.error.as_ref().map_or(Fate::Granted, |error| Fate::Refused(error.code));
        if !fates.contains(&fate) {
            return Err(format!("{waiting:?} ended as {fate:?}, not one of {fates:?}: {self:?}"));
        }
        if let Fate::Refused(code) = fate {
            match (&waiting.asked, code) {
                (Asked::Publish(_), MAY_PUBLISH) => counts.allowed += 1,
                (Asked::Publish(_), _) => counts.denied += 1,
                (Asked::Subscribe(_), 105 | 107) => counts.refused_after_grant += 1,
                _ => counts.refused += 1,
            }
            return Ok(());
        }
        self.serial += 1;
        let serial = self.serial;
        let fresh = |ends, server_side| {
            let span = Span::new(ends, now);
            Subscription { span, server_side, by_caps: false, allow: false, serial }
        };
        if let Asked::Connect(token) = &waiting.asked {
            let result = reply.connect.ok_or("a connect without its result")?;
            let ends = token.ends();
            let told = if is_kept(&self.user) { 0 } else { ends };
            same_ttl(told, result.expires, result.ttl, now)?;
            if result.subs.contains_key("served") != token.served {
                return Err(format!("{token:?} gives {:?}", result.subs));
            }
            let subscriptions = result.subs.into_keys().map(|channel| (channel, fresh(0, true))).collect();
            counts.logins += 1;
            self.login = Some(Login {
                client: result.client,
                span: Span::new(ends, now),
                served: token.served,
                caps: token.caps,
                prolonged: 0,
                subscriptions,
                owed: VecDeque::new(),
                owed_refreshes: VecDeque::new(),
                subscribing: None,
                unsubscribing: 0,
            });
            return Ok(());
        }
        let Some(login) = &mut self.login else { return Err(format!("{waiting:?} before login")) };
        if login.span.must_have_ended(terms.login_grace, terms, now) {
            return Err(format!("{waiting:?} is granted after the end: {login:?}"));
        }
        match waiting.asked {
            Asked::Connect(_) => {}
            Asked::Refresh(token) => {
                let result = reply.refresh.ok_or("a refresh without its result")?;
                same_ttl(token.ends(), result.expires, result.ttl, now)?;
                login.span.set(token.ends(), now);
                login.caps = token.caps;
                counts.refreshes += 1;
                if !token.caps && login.subscriptions.values().any(|own| own.by_caps) {
                    return Err(format!(
                        "a subscription outlives the capabilities that it rests on: {login:?}"
                    ));
                }
            }
            Asked::Subscribe(Subscribe { channel, token, .. }) => {
                let result = reply.subscribe.ok_or("a subscribe without its result")?;
                let ends = match &token {
                    Some(token) => token.ends(),
                    None if channel == "kept" => self.kept_until,
                    None => 0,
                };
                same_ttl(if channel == "kept" { 0 } else { ends }, result.expires, result.ttl, now)?;
                let allow = token.is_some_and(|token| token.allow);
                let by_caps = channel == "capped";
                let own = Subscription { allow, by_caps, ..fresh(ends, false) };
                login.subscriptions.insert(channel, own);
            }
            Asked::SubRefresh(channel, token) => {
                let result = reply.sub_refresh.ok_or("a sub_refresh without its result")?;
                same_ttl(token.ends(), result.expires, result.ttl, now)?;
                if let Some(own) = login.subscriptions.get_mut(&channel) {
                    own.span.set(token.ends(), now);
                    own.allow = token.allow;
                }
                counts.sub_refreshes += 1;
                login.prolonged += 1;
            }
            Asked::Unsubscribe(channel) => self.lost(&channel),
            Asked::Publish(_) => return Err("a publish without its error".to_owned()),
        }
        Ok(())
    }

    fn lost(&mut self, channel: &str) {
        if let Some(login) = &mut self.login {
            login.subscriptions.remove(channel);
            login.owed.retain(|(owed, _)| owed != channel);
        }
    }

    fn push(&mut self, push: Push, terms: Terms, now: Now, counts: &mut Counts) -> Verdict {
        let Some(login) = &mut self.login else { return Err(format!("{push:?} before login")) };
        let channel = push.channel;
        if let Some(publication) = push.publication {
            let number = std::str::from_utf8(&publication.data).ok().and_then(|text| text.parse().ok());
            let own = login.subscriptions.get(&channel);
            if login.span.must_have_ended(terms.login_grace, terms, now)
                || own.is_none_or(|own| own.span.must_have_ended(terms.subscription_grace, terms, now))
            {
                return Err(format!("delivered in {channel} at {now:?} after the end: {login:?}"));
            }
            let front = login.owed.iter().position(|(owed, _)| *owed == channel);
            let owed = front.and_then(|at| login.owed.remove(at)).map(|(_, number)| number);
            if owed != number {
                return Err(format!("{number:?} in {channel} in place of {owed:?}"));
            }
            counts.delivered += 1;
        } else if let Some(unsubscribe) = push.unsubscribe {
            let own = login.subscriptions.get(&channel);
            let over = own.is_some_and(|own| own.span.may_end(terms.subscription_grace, now));
            let lapses = own.is_some_and(|own| own.by_caps)
                && matches!(&self.waiting, Some(Waiting { asked: Asked::Refresh(token), .. }) if !token.caps);
            match unsubscribe.code {
                2501 if over => counts.subscriptions_over += 1,
                2501 if lapses => counts.lapsed += 1,
                2000 if login.unsubscribing > 0 => {}
                code => return Err(format!("unsubscribed from {channel} with {code} at {now:?}: {login:?}")),
            }
            self.lost(&channel);
        } else if let Some(refresh) = push.refresh {
            let ends = login.owed_refreshes.pop_front().ok_or("a refresh push for nothing")?;
            same_ttl(ends, refresh.expires, refresh.ttl, now)?;
        } else if push.subscribe.is_some() {
            let subscribing = login.subscribing.take().filter(|wanted| wanted.channel == channel);
            let Subscribing { ends, .. } = subscribing.ok_or("a subscribe push for nothing")?;
            self.serial += 1;
            let (span, serial) = (Span::new(ends, now), self.serial);
            let own = Subscription { span, server_side: true, by_caps: false, allow: false, serial };
            let former = login.subscriptions.insert(channel, own);
            counts.replaced += u64::from(former.is_some());
        } else {
            return Err(format!("an unexpected push in {channel}"));
        }
        Ok(())
    }

    /// The application was told of the refreshes that the client was told of, and of no others.
    pub(crate) fn same_refreshes(&self, told: impl Fn(&str) -> u64) -> Verdict {
        match &self.login {
            Some(login) if self.waiting.is_none() && told(&login.client) != login.prolonged => {
                Err(format!("{} refreshes of subscriptions in force: {login:?}", told(&login.client)))
            }
            _ => Ok(()),
        }
    }

    /// All that was on its way is there: what had to be over is over, and what was owed has come.
    pub(crate) fn look(&mut self, terms: Terms, now: Now) -> Verdict {
        let Some(login) = &mut self.login else { return Ok(()) };
        login.span.look();
        login.unsubscribing = 0;
        if login.span.ended {
            return Err(format!("a login goes on that was ended: {login:?}"));
        }
        if login.span.must_have_ended(terms.login_grace, terms, now) {
            return Err(format!("a login outlives its end at {now:?}: {login:?}"));
        }
        for (channel, own) in &mut login.subscriptions {
            own.span.look();
            if own.span.ended || own.span.must_have_ended(terms.subscription_grace, terms, now) {
                return Err(format!("{channel} outlives its end at {now:?}: {own:?}"));
            }
        }
        if !login.owed.is_empty() || !login.owed_refreshes.is_empty() {
            return Err(format!("owed and not delivered at {now:?}: {login:?}"));
        }
        Ok(())
    }
}

fn same_ttl(ends: i64, expires: bool, ttl: u32, now: Now) -> Verdict {
    let expected = if ends == 0 { 0 } else { (ends - now.unix()).clamp(1, 31_536_000) };
    if expires != (ends != 0) || i64::from(ttl) != expected {
        return Err(format!("expires {expires} in {ttl} s, not in {expected} s"));
    }
    Ok(())
}

//! Kinds of requests: what each is granted, and which rules decide it.

use super::ask::{Never, PublishResult, SubscribeResult};
use super::decide::{Case, Granted};
use super::decision::{Grant, HistoryGrant, PublishGrant, SubRefreshGrant, SubscribeGrant};
use super::explain::InWords;
use super::request::{Action, HistoryFacts, PresenceFacts, PublishFacts, SubRefreshFacts, SubscribeFacts};

/// A kind of request. The implementations are those of this module.
pub trait Facts<'a>: sealed::Sealed + Sized {
    /// The permission that is granted.
    type Grant: InWords;
    /// The result of a proxy that is asked about it.
    type Result: 'a;

    /// The action to show to people.
    fn action(&self) -> Action<'a>;

    /// Asks the rules.
    #[doc(hidden)]
    fn decide(case: &mut Case<'_, 'a, Self>) -> Granted<Self::Grant>;
}

mod sealed {
    use super::*;

    pub trait Sealed {}
    impl Sealed for SubscribeFacts<'_> {}
    impl Sealed for SubRefreshFacts<'_> {}
    impl Sealed for PublishFacts<'_> {}
    impl Sealed for PresenceFacts {}
    impl Sealed for HistoryFacts {}
    impl Sealed for Action<'_> {}
}

impl<'a> Facts<'a> for SubscribeFacts<'a> {
    type Grant = SubscribeGrant<'a>;
    type Result = SubscribeResult;

    fn action(&self) -> Action<'a> {
        Action::Subscribe(self.clone())
    }

    fn decide(case: &mut Case<'_, 'a, Self>) -> Granted<Self::Grant> {
        case.subscribe()
    }
}

impl<'a> Facts<'a> for SubRefreshFacts<'a> {
    type Grant = SubRefreshGrant<'a>;
    type Result = Never;

    fn action(&self) -> Action<'a> {
        Action::SubRefresh(self.token.clone())
    }

    fn decide(case: &mut Case<'_, 'a, Self>) -> Granted<Self::Grant> {
        case.sub_refresh()
    }
}

impl<'a> Facts<'a> for PublishFacts<'a> {
    type Grant = PublishGrant;
    type Result = PublishResult;

    fn action(&self) -> Action<'a> {
        Action::Publish(*self)
    }

    fn decide(case: &mut Case<'_, 'a, Self>) -> Granted<Self::Grant> {
        case.publish()
    }
}

impl<'a> Facts<'a> for PresenceFacts {
    type Grant = ();
    type Result = Never;

    fn action(&self) -> Action<'a> {
        if self.stats { Action::PresenceStats } else { Action::Presence }
    }

    fn decide(case: &mut Case<'_, 'a, Self>) -> Granted<()> {
        case.presence()
    }
}

impl<'a> Facts<'a> for HistoryFacts {
    type Grant = HistoryGrant;
    type Result = Never;

    fn action(&self) -> Action<'a> {
        Action::History
    }

    fn decide(case: &mut Case<'_, 'a, Self>) -> Granted<HistoryGrant> {
        case.history()
    }
}

/// Any of the others, where the kind is only known at run time.
impl<'a> Facts<'a> for Action<'a> {
    type Grant = Grant<'a>;
    type Result = Never;

    fn action(&self) -> Self {
        self.clone()
    }

    fn decide(case: &mut Case<'_, 'a, Self>) -> Granted<Grant<'a>> {
        match &case.request.action {
            Action::Subscribe(facts) => case.as_if(facts.clone(), Grant::Subscribe),
            Action::SubRefresh(token) => {
                case.as_if(SubRefreshFacts { token: token.clone() }, Grant::SubRefresh)
            }
            Action::Publish(facts) => case.as_if(*facts, Grant::Publish),
            Action::Presence => case.as_if(PresenceFacts { stats: false }, |()| Grant::Presence),
            Action::PresenceStats => case.as_if(PresenceFacts { stats: true }, |()| Grant::Presence),
            Action::History => case.as_if(HistoryFacts, Grant::History),
        }
    }
}

impl<'a> Case<'_, 'a, Action<'a>> {
    fn as_if<A: Facts<'a>>(&mut self, facts: A, grant: fn(A::Grant) -> Grant<'a>) -> Granted<Grant<'a>> {
        let request = self.request.with(facts);
        let reply = self.reply.take().map(|reply| reply.widened());
        let mut case = Case { rules: self.rules, request: &request, reply, trail: self.trail };
        let decided = A::decide(&mut case);
        self.trail = case.trail;
        decided.map(|(granted, rule)| (grant(granted), rule))
    }
}

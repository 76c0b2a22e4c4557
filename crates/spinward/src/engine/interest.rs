//! Interest of this node in a channel of a remote broker: at most one request in flight per channel.

use crate::engine::broker::Interest;

/// State of this node's interest in a channel at the remote broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InterestState {
    /// The broker sends nothing.
    #[default]
    None,
    /// Asked for, not yet answered.
    Asking,
    /// The broker sends.
    Held,
    /// The broker was asked to stop, and has not answered yet.
    Releasing,
    /// The same, but a subscriber has come since: ask again as soon as it has answered.
    ReleasingWanted,
    /// Wanted, but the broker refused or lost it: ask again after a while.
    Lost,
}

impl InterestState {
    pub(crate) const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    /// A subscriber wants the channel. Returns the request to make.
    pub(crate) fn want(&mut self) -> Option<Interest> {
        let (next, ask) = match self {
            Self::None | Self::Lost => (Self::Asking, Some(Interest::Wanted)),
            Self::Releasing => (Self::ReleasingWanted, None),
            Self::Asking | Self::Held | Self::ReleasingWanted => (*self, None),
        };
        *self = next;
        ask
    }

    /// The last subscriber has gone. Returns the request to make.
    pub(crate) fn unwant(&mut self) -> Option<Interest> {
        let (next, ask) = match self {
            Self::Held => (Self::Releasing, Some(Interest::Unwanted)),
            Self::ReleasingWanted => (Self::Releasing, None),
            Self::Lost => (Self::None, None),
            // What is asked is released when the answer is here: see `answered`.
            Self::Asking | Self::None | Self::Releasing => (*self, None),
        };
        *self = next;
        ask
    }

    /// The broker answered a request, or says on its own account that it delivers or does not. `wanted`: there are
    /// subscribers. Returns the next request to make.
    pub(crate) fn answered(&mut self, asked: Interest, ok: bool, wanted: bool) -> Option<Interest> {
        use Interest::{Unwanted, Wanted};
        let (next, ask) = match (*self, asked, ok) {
            (Self::Asking | Self::Lost, Wanted, true) if wanted => (Self::Held, None),
            // Nobody is left, or the answer comes after it was given up.
            (Self::Asking | Self::Lost | Self::None, Wanted, true) => (Self::Releasing, Some(Unwanted)),
            (Self::Asking | Self::Held, Wanted, false) if wanted => (Self::Lost, None),
            (Self::Asking | Self::Held, Wanted, false) => (Self::None, None),
            (Self::Releasing | Self::ReleasingWanted, Unwanted, _) if wanted => (Self::Asking, Some(Wanted)),
            (Self::Releasing | Self::ReleasingWanted, Unwanted, _) => (Self::None, None),
            // What was given up has had its effect after what was asked since.
            (Self::Held, Unwanted, _) => (Self::Asking, Some(Wanted)),
            (state, ..) => (state, None),
        };
        *self = next;
        ask
    }

    /// It is time to ask again for what was lost.
    pub(crate) fn retry(&mut self) -> Option<Interest> {
        (*self == Self::Lost).then(|| {
            *self = Self::Asking;
            Interest::Wanted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The node and the broker around one channel.
    #[derive(Debug, Default)]
    struct Model {
        state: InterestState,
        subscribers: u32,
        in_flight: Option<Interest>,
        /// The broker sends.
        sends: bool,
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Come,
        Leave,
        /// The broker answers: yes, no without effect, or no although it had its effect.
        Answer(Result<(), bool>),
        /// The request is given up; the broker may have had its effect by then.
        GiveUp(bool),
        /// A connection was lost, and with it what the broker sends.
        Lose,
        /// A connection was lost, and the broker has asked for everything that is wanted again.
        Reconnect,
        Retry,
    }

    impl Model {
        fn ask(&mut self, ask: Option<Interest>) {
            if let Some(ask) = ask {
                assert_eq!(self.in_flight.replace(ask), None, "a second request in flight");
            }
        }

        fn has_effect(&mut self, asked: Interest) {
            self.sends = asked == Interest::Wanted;
        }

        fn answer(&mut self, asked: Interest, ok: bool) {
            let ask = self.state.answered(asked, ok, self.subscribers > 0);
            self.ask(ask);
        }

        fn step(&mut self, step: Step) {
            match step {
                Step::Come => {
                    self.subscribers += 1;
                    let ask = self.state.want();
                    self.ask(ask);
                }
                Step::Leave if self.subscribers > 0 => {
                    self.subscribers -= 1;
                    if self.subscribers == 0 {
                        let ask = self.state.unwant();
                        self.ask(ask);
                    }
                }
                Step::Answer(answer) => {
                    let Some(asked) = self.in_flight.take() else { return };
                    if answer != Err(false) {
                        self.has_effect(asked);
                    }
                    self.answer(asked, answer.is_ok());
                }
                Step::GiveUp(effect) => {
                    let Some(asked) = self.in_flight.take() else { return };
                    if effect {
                        self.has_effect(asked);
                    }
                    self.answer(asked, false);
                }
                Step::Lose if self.sends && self.in_flight.is_none() => {
                    self.sends = false;
                    self.answer(Interest::Wanted, false);
                }
                Step::Reconnect if self.in_flight.is_none() => {
                    self.sends = self.state == InterestState::Held;
                    if self.sends {
                        self.answer(Interest::Wanted, true);
                    }
                }
                Step::Retry => {
                    let ask = self.state.retry();
                    self.ask(ask);
                }
                Step::Leave | Step::Lose | Step::Reconnect => {}
            }
            self.check();
        }

        fn check(&self) {
            use InterestState::{Asking, Held, Lost, None, Releasing, ReleasingWanted};
            let asked = match self.state {
                Asking => Some(Interest::Wanted),
                Releasing | ReleasingWanted => Some(Interest::Unwanted),
                None | Held | Lost => Option::None,
            };
            assert_eq!(self.in_flight, asked, "{self:?}");
            if matches!(self.state, Held | Lost | ReleasingWanted) {
                assert!(self.subscribers > 0, "{self:?}");
            }
            if self.state == None {
                assert_eq!(self.subscribers, 0, "{self:?}");
            }
            if self.state == Held {
                assert!(self.sends, "{self:?}");
            }
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Come),
            3 => Just(Step::Leave),
            4 => prop_oneof![
                3 => Just(Ok(())),
                1 => any::<bool>().prop_map(Err),
            ].prop_map(Step::Answer),
            1 => any::<bool>().prop_map(Step::GiveUp),
            1 => Just(Step::Lose),
            1 => Just(Step::Reconnect),
            1 => Just(Step::Retry),
        ]
    }

    proptest! {
        #![proptest_config(crate::engine::memory::stream::tests::config())]

        #[test]
        fn one_request_is_in_flight_and_in_the_end_the_broker_sends_what_is_wanted(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut model = Model::default();
            steps.into_iter().for_each(|step| model.step(step));
            for _ in 0..4 {
                model.step(Step::Retry);
                model.step(Step::Answer(Ok(())));
            }
            let end = if model.subscribers > 0 { InterestState::Held } else { InterestState::None };
            prop_assert_eq!(model.state, end);
            if model.subscribers > 0 {
                prop_assert!(model.sends);
            }
        }
    }

    /// The node, and a broker that may come to requests late, and in another order, when they were given up.
    #[derive(Debug, Default)]
    struct Late {
        state: InterestState,
        subscribers: u32,
        unanswered: Option<Interest>,
        /// Requests that have had no effect yet.
        waiting: Vec<Interest>,
        sends: bool,
    }

    impl Late {
        fn ask(&mut self, ask: Option<Interest>) {
            self.unanswered = ask.or(self.unanswered);
            self.waiting.extend(ask);
        }

        fn come(&mut self) {
            self.subscribers += 1;
            let ask = self.state.want();
            self.ask(ask);
        }

        fn leave(&mut self) {
            let Some(left) = self.subscribers.checked_sub(1) else { return };
            self.subscribers = left;
            if left == 0 {
                let ask = self.state.unwant();
                self.ask(ask);
            }
        }

        fn answered(&mut self, asked: Interest, ok: bool) {
            self.unanswered.take_if(|unanswered| *unanswered == asked);
            let ask = self.state.answered(asked, ok, self.subscribers > 0);
            self.ask(ask);
        }

        fn has_effect(&mut self, at: usize) {
            if self.waiting.is_empty() {
                return;
            }
            let asked = self.waiting.remove(at % self.waiting.len());
            self.sends = asked == Interest::Wanted;
            self.answered(asked, true);
        }

        fn give_up(&mut self) {
            if let Some(asked) = self.unanswered {
                self.answered(asked, false);
            }
        }

        fn retry(&mut self) {
            let ask = self.state.retry();
            self.ask(ask);
        }
    }

    proptest! {
        #![proptest_config(crate::engine::memory::stream::tests::config())]

        #[test]
        fn whatever_comes_late_in_the_end_the_broker_sends_what_is_wanted(
            steps in prop::collection::vec((0_u8..6, 0_usize..4), 0..60),
        ) {
            let mut model = Late::default();
            for (step, at) in steps {
                match step {
                    0 => model.come(),
                    1 => model.leave(),
                    2 | 3 => model.has_effect(at),
                    4 => model.give_up(),
                    _ => model.retry(),
                }
            }
            for _ in 0..200 {
                model.has_effect(0);
                model.retry();
            }
            let end = if model.subscribers > 0 { InterestState::Held } else { InterestState::None };
            prop_assert_eq!(model.state, end, "{:?}", model);
            prop_assert_eq!(model.sends, model.subscribers > 0, "{:?}", model);
        }
    }

    #[test]
    fn a_late_answer_to_what_was_given_up_is_put_right() {
        let mut state = InterestState::default();
        assert_eq!(state.want(), Some(Interest::Wanted));
        assert_eq!(state.answered(Interest::Wanted, false, true), None, "given up");
        assert_eq!(state.unwant(), None);
        assert_eq!(state, InterestState::None);
        assert_eq!(state.answered(Interest::Wanted, true, false), Some(Interest::Unwanted));
        assert_eq!(state.answered(Interest::Unwanted, true, false), None);
        assert_eq!(state, InterestState::None);
    }
}

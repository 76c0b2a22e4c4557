//! Clients of 2018 to 2022: everything in which a session treats them otherwise. Their messages are translated in
//! `spinward_wire::v1`; the rest of the session is the same for all.

use super::subscribe::list::Details;
use super::{Cx, Phase, Session};
use crate::channel::local::LocalChannel;
use crate::channel::local::special::SubscriberFlags;
use crate::event::Refusal;
use crate::identity::Transport;
use crate::to_wire::info_to_wire;
use spinward_wire::code::{DisconnectCode, UnsubscribeCode};
use spinward_wire::message::{self, Push, RefreshResult, Reply};
use spinward_wire::v1::Positions;
use spinward_wire::{Dialect, Protocol, Request};

/// The forms of positions that an old client takes.
#[derive(Clone, Copy, Default)]
pub(super) struct Forms {
    /// For a client that names none, because it starts from the beginning of a stream.
    unsaid: Positions,
    /// Of the command under way.
    current: Positions,
}

impl Session {
    /// Returns true if the first message of the client is yet to say which version it speaks. Transports whose messages
    /// come by requests are younger than version 1.
    pub(crate) fn awaits_version(&self) -> bool {
        self.phase == Phase::New
            && !self.dialect.is_v1()
            && !self.dialect.is_unidirectional()
            && !self.transport.is_emulated()
    }

    /// The client speaks version 1, from here on to its end.
    pub(crate) fn speak_v1(&mut self, encoding: Protocol) {
        self.dialect = Dialect::v1(encoding);
        // A ping of today's protocol is an empty message, at which such a client fails. The servers of that time sent
        // those of the framing.
        self.frame_pings = true;
    }

    /// Tells the operator that there are such clients.
    pub(super) fn tell_login(&self, cx: &Cx<'_>) {
        if let Some(identity) = &self.identity {
            cx.hub.old_client(self.id, identity.application.as_deref());
        }
    }

    /// Returns true if pings are answered.
    pub(super) fn expects_pongs(&self) -> bool {
        // Of the framings in which version 1 is spoken, only WebSocket has an answer.
        let of_commands = !self.dialect.is_v1() || self.transport == Transport::WebSocket;
        // A unidirectional client answers the pings of the framing, where there are such.
        !self.dialect.is_unidirectional() && of_commands || self.transport == Transport::UniWebSocket
    }

    /// Notes in which form the reply to a request has its positions: that of the request. An SDK that recovers from the
    /// beginning names no position. Those that take `offset` say their name in the connect command.
    pub(super) fn note_positions(&mut self, request: &Request, said: Positions) {
        let recovers = match request {
            Request::Connect(connect) => {
                self.forms.unsaid = if connect.name.is_empty() { Positions::Seq } else { Positions::Offset };
                connect.subs.values().any(|sub| sub.recover)
            }
            Request::Subscribe(subscribe) => subscribe.recover,
            _ => return,
        };
        self.forms.current = match said {
            Positions::Both if recovers => self.forms.unsaid,
            said if recovers => said,
            _ => Positions::Both,
        };
    }

    pub(super) fn reply_v1(&self, cx: &mut Cx<'_>, reply: &Reply) {
        spinward_wire::v1::append_reply(self.dialect.encoding(), reply, self.forms.current, cx.out);
    }

    /// Adds to the result of a refresh what today's lacks.
    pub(super) fn refresh_result(&self, cx: &Cx<'_>, result: RefreshResult) -> RefreshResult {
        if !self.dialect.is_v1() {
            return result;
        }
        RefreshResult { client: self.id.to_string(), version: cx.config.version.clone(), ..result }
    }

    /// Returns true if the refusal of a message is not told: where there was nobody for messages, they were dropped.
    pub(super) fn overlooks(&self, refusal: &Refusal) -> bool {
        let nobody = DisconnectCode::NOT_AVAILABLE.code;
        self.dialect.is_v1() && matches!(refusal, Refusal::Disconnect(code) if code.code == nobody)
    }

    /// A client that unsubscribes receives its own leave first, if it receives leaves in that channel.
    pub(super) fn tell_own_leave(&self, cx: &mut Cx<'_>, channel: &str) {
        if !self.dialect.is_v1() {
            return;
        }
        let Some(own) = self.subscription(cx, channel).filter(|own| own.is(Details::JOIN_LEAVE)) else {
            return;
        };
        let receives = |local: &LocalChannel| local.is(cx.handle.slot(), SubscriberFlags::JOIN_LEAVE);
        if let Some(info) = own.info()
            && cx.local.get(own.channel).is_some_and(receives)
        {
            let info = Some(info_to_wire(info, self.dialect.encoding()));
            let push =
                Push { channel: channel.to_owned(), leave: Some(message::Leave { info }), ..Push::default() };
            self.push(cx, &push);
        }
    }

    /// The end of the connection that takes the place of the end of one subscription. The servers of that time ended a
    /// subscription alone only when the application asked for it.
    pub(super) fn end_for(&self, code: &UnsubscribeCode) -> Option<DisconnectCode> {
        let ends = [
            (UnsubscribeCode::INSUFFICIENT_STATE, DisconnectCode::INSUFFICIENT_STATE),
            (UnsubscribeCode::EXPIRED, DisconnectCode::SUBSCRIPTION_EXPIRED),
            (UnsubscribeCode::STATE_INVALIDATED, DisconnectCode::STATE_INVALIDATED),
        ];
        let found = ends.into_iter().find(|(subscription, _)| subscription.code == code.code);
        found.filter(|_| self.dialect.is_v1()).map(|(_, connection)| connection)
    }
}

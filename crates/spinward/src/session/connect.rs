//! Logging in.

use super::expiry::Expiry;
use super::subscribe::{Purpose, Requested};
use super::timers::NEVER;
use super::{Busy, Cx, Phase, Session, Waiting};
use crate::event::{ConnectEvent, ConnectReply, FailureCause, Refusal};
use crate::hub::users::Registered;
use crate::identity::{Application, Identity, Transport};
use crate::mailbox::call::Call;
use crate::mailbox::inbox::Control;
use crate::publication::Position;
use crate::session_id::SessionId;
use crate::to_wire::payload;
use spinward_wire::code::{DisconnectCode, ErrorCode};
use spinward_wire::message::{ConnectRequest, ConnectResult, Reply};
use std::sync::Arc;
use std::time::Duration;

impl Session {
    pub(super) fn connect(&mut self, cx: &mut Cx<'_>, id: u32, mut request: Box<ConnectRequest>) {
        let Some(handshake) = self.handshake.clone() else {
            return self.close(cx, DisconnectCode::SERVER_ERROR);
        };
        self.phase = Phase::Connecting;
        let connecting = ConnectEvent {
            id: self.id,
            transport: self.transport,
            protocol: self.dialect.encoding(),
            speaks: self.dialect.version(),
            handshake,
            token: std::mem::take(&mut request.token),
            data: std::mem::take(&mut request.data),
            name: request.name.clone(),
            version: request.version.clone(),
            headers: std::mem::take(&mut request.headers),
            channels: request.subs.keys().cloned().collect(),
        };
        self.ask(cx, id, Call::Connect { event: Box::new(connecting), request });
    }

    pub(super) fn on_connect(
        &mut self,
        cx: &mut Cx<'_>,
        id: u32,
        request: ConnectRequest,
        outcome: Result<Box<ConnectReply>, Refusal>,
    ) {
        let connected = match outcome {
            Ok(connected) => *connected,
            Err(Refusal::Disconnect(code)) => return self.close(cx, code),
            Err(Refusal::Error(code)) => return self.connect_failed(cx, id, &code),
        };
        let expiry = Expiry::at(connected.credentials.expire_at);
        if expiry.is_past(cx.now) {
            return self.connect_failed(cx, id, &ErrorCode::EXPIRED);
        }
        if let Some(rates) = &cx.hub.user_rates
            && !rates.admits_connect(&connected.credentials.user, cx.now)
        {
            return self.connect_failed(cx, id, &ErrorCode::TOO_MANY_REQUESTS);
        }
        let limit = cx.config.channel_limit;
        if limit > 0 && connected.subscriptions.len() > limit {
            return self.close(cx, DisconnectCode::CHANNEL_LIMIT);
        }
        let user = connected.credentials.user.as_str();
        let limit = cx.config.user_connection_limit;
        let registered = cx.hub.users.register(user, cx.handle, limit, connected.single_connection);
        let Registered::Yes { user, replaced } = registered else {
            return self.close(cx, DisconnectCode::CONNECTION_LIMIT);
        };
        cx.metrics.clients_up(self.transport, self.dialect.version());
        self.identity = Some(Arc::new(Identity {
            id: self.id,
            user,
            info: connected.credentials.info,
            meta: connected.meta,
            labels: (!connected.labels.is_empty()).then(|| Arc::new(connected.labels)),
            application: Application::new(request.name, request.version),
            transport: self.transport,
            protocol: self.dialect.encoding(),
            version: self.dialect.version(),
            extension: connected.extension,
        }));
        if self.dialect.is_v1() {
            self.tell_login(cx);
        }
        self.handshake = None;
        self.expiry = expiry;
        self.server_side_refresh = connected.server_side_refresh;
        for other in replaced {
            cx.hub.control(other, Control::Disconnect(DisconnectCode::CONNECTION_LIMIT));
        }
        let reply = Box::new(self.connect_result(cx, &connected.data));
        let left = connected.subscriptions.len();
        let token = self.token();
        self.busy = Some(Box::new(Busy { token, id, what: Waiting::ConnectSubscriptions { reply, left } }));
        if left == 0 {
            return self.finish_connect(cx);
        }
        let mut resume = cx.extras.take_resume(cx.handle.slot());
        let mut subscriptions = connected.subscriptions.into_iter();
        for (channel, options) in subscriptions.by_ref() {
            // An `EventSource` connects again with the request that it began with: what it has seen since is newer.
            let seen = resume.as_mut().and_then(|resume| resume.remove(channel.as_str()));
            let requested = match request.subs.get(&channel) {
                sub if seen.is_some() => Requested {
                    recover: true,
                    since: seen.unwrap_or_default(),
                    delta: sub.is_some_and(|sub| sub.delta == "fossil"),
                    ..Requested::default()
                },
                Some(sub) => Requested {
                    recover: sub.recover,
                    since: Position { offset: sub.offset, epoch: sub.epoch.as_str().into() },
                    delta: sub.delta == "fossil",
                    ..Requested::default()
                },
                None => Requested::default(),
            };
            self.enter(cx, channel.into(), Purpose::Connect, Box::new(options), requested);
            if self.phase == Phase::Closed {
                break;
            }
        }
        for (channel, _) in subscriptions {
            self.grant_failed(cx, channel.into(), true, FailureCause::Disconnected);
        }
    }

    /// The command is answered with an error. The client may try again on another connection only. The handshake
    /// stays until this one is closed: by it the host counts connections that are not logged in.
    fn connect_failed(&mut self, cx: &mut Cx<'_>, id: u32, code: &ErrorCode) {
        if self.dialect.is_unidirectional() {
            // No reply reaches such a client. The codes are those of Centrifugo v6.9.
            // The login decides the answer to an HTTP request, which says more than a disconnect.
            if cx.extras.has_verdict(cx.handle.slot()) {
                return self.close(cx, DisconnectCode { code: code.code, reason: code.message.clone() });
            }
            if let Some(code) = cx.config.unidirectional_disconnects.get(&code.code) {
                return self.close(cx, code.clone());
            }
            let expired = code.code == ErrorCode::EXPIRED.code || code.code == ErrorCode::TOKEN_EXPIRED.code;
            let code = if expired { DisconnectCode::EXPIRED } else { DisconnectCode::SERVER_ERROR };
            return self.close(cx, code);
        }
        // An old SDK gets itself a new token and logs in again on the same connection.
        self.phase = if self.dialect.is_v1() { Phase::New } else { Phase::Refused };
        self.error(cx, id, code);
    }

    fn connect_result(&self, cx: &Cx<'_>, data: &bytes::Bytes) -> ConnectResult {
        let ttl = if self.server_side_refresh { None } else { self.expiry.ttl(cx.now) };
        let ping = if self.frame_pings { Duration::ZERO } else { self.announced_ping_interval(cx) };
        ConnectResult {
            client: self.id.to_string(),
            version: cx.config.version.clone(),
            expires: ttl.is_some(),
            ttl: ttl.unwrap_or_default(),
            data: payload(data, self.dialect.encoding()),
            // The interval is sent in whole seconds, rounded up so that a client does not give up early.
            ping: u32::try_from(ping.as_millis().div_ceil(1000)).unwrap_or(u32::MAX),
            pong: !self.dialect.is_unidirectional() && !ping.is_zero() && !cx.config.pong_timeout.is_zero(),
            time: if cx.config.connect_include_server_time { cx.now.wall } else { 0 },
            session: self.session_id(cx),
            node: if self.transport.is_emulated() { cx.hub.node.to_string() } else { String::new() },
            ..ConnectResult::default()
        }
    }

    /// The session by which requests name the connection. SockJS has its own names.
    fn session_id(&self, cx: &Cx<'_>) -> String {
        let secret = cx.extras.get(cx.handle.slot()).and_then(|extra| extra.secret);
        let secret = secret.filter(|_| self.transport != Transport::SockJs);
        secret.map_or_else(String::new, |secret| SessionId { handle: cx.handle, secret }.to_string())
    }

    /// Everything that the reply contains is ready.
    pub(super) fn finish_connect(&mut self, cx: &mut Cx<'_>) {
        let Some(busy) = self.busy.take() else { return };
        let Busy { id, what: Waiting::ConnectSubscriptions { reply, .. }, .. } = *busy else { return };
        self.phase = Phase::Connected;
        self.login_by = NEVER;
        self.start_pings(cx);
        let channels: Vec<String> = reply.subs.keys().cloned().collect();
        self.reply(cx, &Reply { id, connect: Some(*reply), ..Reply::default() });
        self.tell(cx, Call::Connected);
        for channel in channels {
            self.announce(cx, &channel);
        }
    }
}

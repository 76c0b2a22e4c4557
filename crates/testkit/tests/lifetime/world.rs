//! One node of production code, its clients, and what happens to them, drawn from a seed.

use crate::line::{Line, Told};
use crate::model::{Asked, Counts, Model, PRIVATE, Subscribe, Subscribing, Terms, Verdict};
use crate::rules::{Grants, Note, Rules, is_kept};
use crate::tokens::{Flaw, KEY, Token};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use spinward::clock::{Clock, Now};
use spinward::engine::broker::PublishOptions;
use spinward::hooks::SubscribeOptions;
use spinward::id::Entropy;
use spinward::sim::{Parts, SimNode, Tasks};
use spinward::wire::Protocol;
use spinward::wire::code::UnsubscribeCode;
use spinward::wire::message::{
    Command, ConnectRequest, FilterNode, PublishRequest, RefreshRequest, SubRefreshRequest, SubscribeRequest,
    UnsubscribeRequest,
};
use spinward::{ClientFilter, Config, ServerSubscribe, SubscribeError};
use spinward_server::auth::jwks::Jwks;
use spinward_server::auth::origin::Origins;
use spinward_server::auth::revoke_store::MemoryStore;
use spinward_server::auth::verify::Verifier;
use spinward_server::auth::{IssuerSettings, KeySettings, Timed, TokenSettings};
use spinward_server::channel::Registry;
use spinward_server::config::typed::Channel;
use spinward_server::policy;
use spinward_server::secret::Secret;
use spinward_server::session::{
    ActiveConfig, Keys, NoProxies, RefusalLog, Revocations, ServerHooks, Settings, Shared,
};
use spinward_testkit::random::Random;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Open to everybody, with a token or without.
const OPEN: &str = "open:a";
const CHANNELS: [&str; 6] = [OPEN, PRIVATE, "capped", "kept", "served", "api"];
const CONNECTION: [Flaw; 3] = [Flaw::Signature, Flaw::Kind, Flaw::User];
const SUBSCRIPTION: [Flaw; 4] = [Flaw::Signature, Flaw::Kind, Flaw::User, Flaw::Channel];

struct World<'a> {
    random: Random,
    clock: Clock,
    tasks: Tasks,
    terms: Terms,
    node: SimNode,
    notes: Arc<Mutex<Vec<Note>>>,
    grants: Grants,
    noted: usize,
    /// Questions about subscriptions: of which client, and of which of its subscriptions.
    questions: BTreeMap<usize, u64>,
    clients: Vec<(Option<Line>, Model)>,
    published: u64,
    commands: u32,
    counts: &'a mut Counts,
}

/// Runs a seed for so many steps.
pub(crate) fn run(seed: u64, steps: u64, counts: &mut Counts) -> Verdict {
    let mut world = World::new(seed, counts);
    for step in 0..steps {
        world.step().map_err(|fault| format!("step {step}, {:?}: {fault}", world.terms))?;
    }
    world.end()
}

fn hooks(clock: &Clock) -> ServerHooks {
    let keys = KeySettings {
        hmac: vec![Timed::always("client.token.hmac_secret_key", Secret::new(KEY))],
        ..KeySettings::default()
    };
    let issuer = IssuerSettings { path: "client.token".to_owned(), keys, ..IssuerSettings::default() };
    let settings = TokenSettings { issuers: vec![issuer], ..TokenSettings::default() };
    let verifier = Verifier::new(&settings, &Jwks::offline()).expect("settings that are good");
    let channels = json!({
        "without_namespace": { "allow_tags_filter": true },
        "namespaces": [
            { "name": "open", "allow_subscribe_for_client": true, "allow_tags_filter": true },
        ],
    });
    let channels: Channel = serde_json::from_value(channels).expect("options that are good");
    let rules = policy::Rules::new(Registry::new(&channels).expect("options that are good"));
    let active = ActiveConfig {
        rules,
        keys: Keys { connection: verifier.clone(), subscription: verifier },
        settings: Settings::default(),
        origins: Origins::new([]).expect("no origins"),
        proxies: Arc::new(NoProxies),
    };
    let revocations = Revocations::new(Arc::new(MemoryStore::new(10)), clock.clone());
    ServerHooks::new(
        Shared::new(active),
        clock.clone(),
        Arc::new(RefusalLog::new(clock.clone())),
        revocations,
    )
}

impl<'a> World<'a> {
    fn new(seed: u64, counts: &'a mut Counts) -> Self {
        let random = Random::new(seed);
        let clock = Clock::manual(Now { mono: 1_000, wall: 1_700_000_000_000 });
        let tasks = Tasks::default();
        let terms = Terms {
            login_grace: *random.one_of(&[300, 1_000, 4_000]),
            subscription_grace: *random.one_of(&[0, 1_000, 4_000]),
            steps: random.permille(400),
        };
        let (notes, grants) = (Arc::default(), Grants::default());
        let rules = Rules {
            server: hooks(&clock),
            random: random.clone(),
            clock: clock.clone(),
            tarry: *random.one_of(&[0, 300, 700]),
            notes: Arc::clone(&notes),
            grants: grants.clone(),
        };
        let config = Config {
            shards: random.between(1, 2),
            ping_interval: Duration::from_secs(*random.one_of(&[0, 25])),
            stale_close_delay: Duration::ZERO,
            expired_close_delay: Duration::from_millis(terms.login_grace as u64),
            expired_sub_close_delay: Duration::from_millis(terms.subscription_grace as u64),
            ..Config::default()
        };
        let node = SimNode::new(Parts {
            hooks: Arc::new(rules),
            config,
            clock: clock.clone(),
            entropy: Entropy::seeded(seed ^ 0xe47),
            broker: None,
            presence: None,
            cluster: None,
            tasks: tasks.clone(),
        });
        let clients = (0..5)
            .map(|number| {
                let user = if number < 3 { format!("u{number}") } else { format!("k{number}") };
                (None, Model { user, ..Model::default() })
            })
            .collect();
        Self {
            random,
            clock,
            tasks,
            terms,
            node,
            notes,
            grants,
            noted: 0,
            questions: BTreeMap::new(),
            clients,
            published: 0,
            commands: 0,
            counts,
        }
    }

    fn step(&mut self) -> Verdict {
        let client = self.random.below(self.clients.len());
        match self.random.below(100) {
            0..25 => self.clock.advance(self.random.between(1, 120) as u64),
            25..27 => self.clock.advance(self.random.between(1, 3_000) as u64),
            27 if self.random.permille(200) => {
                self.clock.advance(self.random.between(5_000, 40_000) as u64);
            }
            27..32 => self.go_to_an_edge(client),
            32 if self.terms.steps && self.random.permille(400) => {
                let by = self.random.between(1, 90_000) as i64;
                self.clock.step(if self.random.permille(700) { by } else { -by });
            }
            32..78 => self.command(client),
            78..85 => self.call(client),
            85 => {
                if let (Some(line), model) = &mut self.clients[client] {
                    self.node.drop_conn(line.conn);
                    model.cut();
                    self.clients[client].0 = None;
                }
            }
            _ => self.publish(),
        }
        let now = self.clock.now();
        for (_, model) in &mut self.clients {
            model.time_passed(now);
        }
        if self.random.permille(750) { self.pump() } else { Ok(()) }
    }

    /// Everybody goes, and all that was under way comes to its end: no grant is left.
    fn end(&mut self) -> Verdict {
        for (line, _) in &mut self.clients {
            if let Some(line) = line.take() {
                self.node.drop_conn(line.conn);
            }
        }
        let shards = 0..self.node.shards();
        while self.tasks.ready() > 0 || shards.clone().any(|shard| self.node.has_work(shard)) {
            self.tasks.poll(0);
            for shard in shards.clone() {
                self.node.take_entries(shard, usize::MAX);
                self.node.flush(shard, usize::MAX);
            }
        }
        let left = self.grants.left();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("grants that the application believes in: {left:?}"))
        }
    }

    /// Just before, at or after something ends.
    fn go_to_an_edge(&self, client: usize) {
        let model = &self.clients[client].1;
        let asked = model.edge_of_what_is_asked();
        let edges =
            if asked.is_empty() || self.random.permille(300) { model.edges(self.terms) } else { asked };
        if edges.is_empty() {
            return;
        }
        let ahead = self.random.one_of(&edges) - self.clock.now().wall + self.random.below(70) as i64 - 5;
        if (0..60_000).contains(&ahead) {
            self.clock.advance(ahead as u64);
        }
    }

    fn command(&mut self, client: usize) {
        let (random, now) = (self.random.clone(), self.clock.now());
        let (line, model) = &mut self.clients[client];
        if model.waiting.is_some() {
            return;
        }
        self.commands += 1;
        let id = self.commands;
        let mut command = Command { id, ..Command::default() };
        let Some(line) = line else {
            let Some(conn) = self.node.connect(Protocol::Json, None, usize::MAX) else { return };
            let token = Token::draw(&random, now.unix(), &CONNECTION[..2]);
            let text = token.connection(&model.user);
            command.connect = Some(ConnectRequest { token: text, ..ConnectRequest::default() });
            line.insert(Line::new(conn)).send(&command);
            return model.ask(id, Asked::Connect(token), now);
        };
        let asked = match random.below(12) {
            0..3 if !is_kept(&model.user) => {
                let token = Token::draw(&random, now.unix(), &CONNECTION);
                command.refresh = Some(RefreshRequest { token: token.connection(&model.user) });
                Asked::Refresh(token)
            }
            0..7 => {
                let channel = (*random
                    .one_of(&[PRIVATE, PRIVATE, "kept", "kept", OPEN, OPEN, "capped", "capped", "capped"]))
                .to_owned();
                if model.has(&channel) {
                    return;
                }
                let with_token = channel == PRIVATE || channel == OPEN && random.permille(500);
                let token = with_token.then(|| Token::draw(&random, now.unix(), &SUBSCRIPTION));
                let text = token.as_ref().map(|token| token.subscription(&model.user, &channel));
                let bad_filter = channel != "kept" && random.permille(200);
                let filter = FilterNode { op: "none of them".to_owned(), ..FilterNode::default() };
                let request = SubscribeRequest {
                    channel: channel.clone(),
                    token: text.unwrap_or_default(),
                    tf: bad_filter.then_some(filter),
                    ..SubscribeRequest::default()
                };
                command.subscribe = Some(request);
                Asked::Subscribe(Subscribe { channel, token, bad_filter })
            }
            7..9 => {
                let mut channel = *random.one_of(&[PRIVATE, OPEN]);
                if !model.has(channel) && random.permille(900) {
                    channel = if channel == OPEN { PRIVATE } else { OPEN };
                }
                let channel = channel.to_owned();
                if model.is_server_side(&channel) || !model.has(&channel) && random.permille(900) {
                    return;
                }
                let token = Token::draw(&random, now.unix(), &SUBSCRIPTION);
                let text = token.subscription(&model.user, &channel);
                command.sub_refresh = Some(SubRefreshRequest {
                    channel: channel.clone(),
                    token: text,
                    ..SubRefreshRequest::default()
                });
                Asked::SubRefresh(channel, token)
            }
            9..11 => {
                let there: Vec<&str> =
                    [PRIVATE, OPEN].into_iter().filter(|channel| model.has(channel)).collect();
                let anything = random.permille(100);
                if there.is_empty() && !anything {
                    return;
                }
                let channel =
                    if anything { random.one_of(&[PRIVATE, OPEN, "capped"]) } else { random.one_of(&there) };
                let channel = (*channel).to_owned();
                let data = Bytes::from_static(b"0");
                command.publish =
                    Some(PublishRequest { channel: channel.clone(), data, ..PublishRequest::default() });
                Asked::Publish(channel)
            }
            _ => {
                let channel = (*random.one_of(&CHANNELS[..4])).to_owned();
                command.unsubscribe = Some(UnsubscribeRequest { channel: channel.clone() });
                Asked::Unsubscribe(channel)
            }
        };
        line.send(&command);
        model.ask(id, asked, now);
    }

    /// Something that the API does to the connections of a user.
    fn call(&mut self, client: usize) {
        let now = self.clock.now();
        let model = &mut self.clients[client].1;
        let Some(login) = &mut model.login else { return };
        let node = self.node.node().clone();
        let all = ClientFilter::default();
        let until = now.unix() + self.random.below(12) as i64 - 1;
        match self.random.below(5) {
            0 | 1 => {
                let expired = self.random.permille(100);
                let ends = if self.random.permille(150) { 0 } else { until };
                self.notes.lock().push(Note::Api { client: login.client.clone(), expired, ends });
                node.refresh(&model.user, &all, expired, ends, None);
            }
            2 | 3 if login.subscribing.is_none() => {
                let channel = *self.random.one_of(&["api", PRIVATE, OPEN, "capped"]);
                login.subscribing =
                    Some(Subscribing { channel: channel.to_owned(), ends: until, high: now.unix() });
                let (user, client) = (model.user.clone(), login.client.clone());
                let notes = Arc::clone(&self.notes);
                self.tasks.spawn(async move {
                    let options = SubscribeOptions { expire_at: until, ..SubscribeOptions::default() };
                    let subscribe = ServerSubscribe { options, since: None };
                    let done = node.subscribe(&user, &ClientFilter::default(), channel, subscribe).await;
                    match done {
                        Ok(_) => {}
                        Err(SubscribeError::Expired) => {
                            notes.lock().push(Note::TooLate { client, ends: until })
                        }
                        Err(error) => panic!("an inbox takes it: {error}"),
                    }
                });
                self.tasks.poll(self.tasks.ready() - 1);
            }
            2 | 3 => {}
            _ => {
                let channel = *self.random.one_of(&[PRIVATE, "kept", OPEN]);
                node.unsubscribe(&model.user, &all, Some(channel), UnsubscribeCode::SERVER);
                model.unsubscribed_by_api();
            }
        }
    }

    fn publish(&mut self) {
        self.published += 1;
        let (number, channel) = (self.published, *self.random.one_of(&CHANNELS));
        let node = self.node.node().clone();
        let data = Bytes::from(number.to_string());
        self.tasks.spawn(async move {
            let done = node.publish(channel, data, PublishOptions::default()).await;
            assert!(done.is_ok(), "the memory broker takes it");
        });
        self.tasks.poll(self.tasks.ready() - 1);
        for (_, model) in &mut self.clients {
            model.published(channel, number);
        }
    }

    /// Everything moves, in the order of a shard: timers, what is in the inbox, what clients say.
    fn pump(&mut self) -> Verdict {
        let before = self.notes.lock().len();
        for shard in 0..self.node.shards() {
            self.node.tick(shard);
        }
        let ticked = self.notes.lock().len();
        for _ in 0..self.random.below(1 + 2 * self.tasks.ready()) {
            self.tasks.poll(self.random.below(self.tasks.ready()));
        }
        // What timers asked and had answered at once came before anything that waited in the inbox.
        self.take_notes(before, ticked);
        self.take_notes(self.noted, before);
        self.noted = ticked;
        for shard in 0..self.node.shards() {
            self.node.take_entries(shard, usize::MAX);
        }
        self.hear()?;
        for (line, _) in &mut self.clients {
            if let Some(line) = line {
                line.write(&mut self.node);
            }
        }
        self.hear()?;
        let now = self.clock.now();
        for (_, model) in &mut self.clients {
            model.look(self.terms, now)?;
            model.same_refreshes(|client| self.grants.times_prolonged(client))?;
        }
        self.grants.fault().map_or(Ok(()), Err)
    }

    /// Tells the model what the application said, from one note to another.
    fn take_notes(&mut self, from: usize, to: usize) {
        let now = self.clock.now();
        let notes: Vec<Note> = self.notes.lock()[from..to].to_vec();
        for (at, note) in (from..).zip(notes) {
            let (Note::Kept { client, .. }
            | Note::Asked { client }
            | Note::Login { client, .. }
            | Note::Subscription { client, .. }
            | Note::TooLate { client, .. }
            | Note::Api { client, .. }) = &note;
            let is_in = |model: &Model| model.login.as_ref().is_some_and(|login| login.client == *client);
            let Some((_, model)) = self.clients.iter_mut().find(|(_, model)| is_in(model)) else { continue };
            match note {
                Note::Kept { ends, .. } => model.kept_until = ends,
                Note::Asked { .. } => {
                    let own = model.login.as_ref().and_then(|login| login.subscriptions.get("kept"));
                    self.questions.insert(at, own.map_or(0, |own| own.serial));
                }
                Note::Login { said, .. } => model.said_of_login(said, now, self.counts),
                Note::Subscription { question, said, .. } => {
                    let serial = self.questions.get(&question).copied().unwrap_or_default();
                    model.said_of_subscription(serial, said, now);
                }
                Note::TooLate { ends, .. } => model.refused_as_too_late(ends),
                Note::Api { expired, ends, .. } => model.refreshed_by_api(expired, ends, now, self.counts),
            }
        }
    }

    /// Passes the output to clients on to the model.
    fn hear(&mut self) -> Verdict {
        let end = self.notes.lock().len();
        self.take_notes(self.noted, end);
        self.noted = end;
        for shard in 0..self.node.shards() {
            self.node.flush(shard, usize::MAX);
        }
        let now = self.clock.now();
        for at in 0..self.clients.len() {
            let (line, model) = &mut self.clients[at];
            let Some(open) = line else { continue };
            for told in open.read(&mut self.node) {
                let closed = matches!(told, Told::Closed(_));
                model
                    .told(told, self.terms, now, self.counts)
                    .map_err(|fault| format!("client {at}: {fault}"))?;
                // One that is not let in has to come again.
                if closed || (model.login.is_none() && model.waiting.is_none()) {
                    self.node.drop_conn(open.conn);
                    *line = None;
                    break;
                }
            }
        }
        Ok(())
    }
}

use super::*;
use crate::channel::delivery::Delivery;
use crate::channel::directory::Directory;
use crate::channel::record::EngineId;
use crate::mailbox::fan_out::{Load, Wake};
use crate::mailbox::inbox::Item;
use crate::publication::Publication;
use bytes::Bytes;

struct Rig {
    admission: Arc<Admission>,
    directory: Directory,
}

impl Rig {
    fn new(shards: usize) -> Self {
        let config = Config { max_calls_in_flight: 64, ..Config::default() };
        let inboxes = (0..shards).map(|_| Arc::new(Inbox::new(config.inbox_max_size))).collect();
        Self { admission: Arc::new(Admission::new(7, &config, inboxes)), directory: Directory::new(7) }
    }

    fn channel(&self, name: &str, shards: &[u8], subscribers: u32) -> Arc<Channel> {
        self.directory.with(name, EngineId::DEFAULT, |channel, state| {
            shards.iter().for_each(|shard| state.shards.set(*shard, true));
            state.subscribers = subscribers;
            Arc::clone(channel)
        })
    }

    /// Publishes if that may be; otherwise there is a ticket, or no place to wait.
    fn publish(&self, channel: &Arc<Channel>, size: usize) -> Option<Result<Ticket, Full>> {
        let mut state = channel.lock();
        let share = state.share(&self.admission, size);
        if !self.admission.admits(channel, &state, share) {
            return Some(self.admission.wait(channel, &mut state, size));
        }
        let _: Wake = channel.deliver(&mut state, &self.admission, |seq| delivery(seq, size));
        None
    }

    fn wait(&self, channel: &Arc<Channel>) -> Ticket {
        self.publish(channel, 100).expect("it is not admitted").expect("there is a place")
    }

    fn publish_with(&self, mut permit: Permit) {
        let channel = Arc::clone(&permit.channel);
        let mut state = channel.lock();
        permit.spend(&channel, &mut state);
        let _: Wake = channel.deliver(&mut state, &self.admission, |seq| delivery(seq, 100));
        drop(state);
    }

    /// Fills the inbox of a shard by publications to one channel after another.
    fn fill(&self, shard: usize) {
        for n in 0.. {
            let channel = self.channel(&format!("filler {shard} {n}"), &[shard as u8], 1_000);
            if !self.admission.inboxes[shard].takes(Load::First) {
                return;
            }
            assert!(self.publish(&channel, 100).is_none());
        }
    }

    /// A shard handles what is in its inbox. Returns the names of the channels, and what was for clients.
    fn take(&self, shard: usize) -> (Vec<Box<str>>, Vec<CallToken>) {
        let (mut entries, mut names, mut tokens) = (VecDeque::new(), Vec::new(), Vec::new());
        self.admission.inboxes[shard].drain(&mut entries);
        for item in entries {
            let Item::Entry(entry) = item else { unreachable!("no connection was handed over") };
            let (weight, share) = (entry.weight(), entry.share());
            match entry {
                Entry::Publication { channel, share: own, .. }
                | Entry::JoinLeave { channel, share: own, .. } => {
                    names.push(channel.name.clone());
                    channel.lock().sent(own.lots);
                    self.admission.inboxes[shard].done(weight, share);
                    self.admission.channel_has_room(&channel);
                    self.admission.shard_has_room(shard);
                }
                Entry::Outcome { token, .. } => tokens.push(token),
                _ => unreachable!("nothing else was queued"),
            }
        }
        (names, tokens)
    }
}

fn delivery(seq: u64, size: usize) -> Delivery {
    let publication = Publication {
        channel: None,
        data: Bytes::from(vec![b' '; size]),
        info: None,
        tags: None,
        offset: 0,
        time: 0,
        version: 0,
        delta: false,
    };
    Delivery::new(Arc::new(publication), seq, None)
}

#[test]
fn a_flooded_channel_waits_and_another_passes() {
    let rig = Rig::new(2);
    let (large, small) = (rig.channel("large", &[0, 1], 10_000), rig.channel("small", &[0], 3));
    assert!(rig.publish(&large, 100).is_none(), "one is never too large");
    let mut first = rig.wait(&large);
    let mut second = rig.wait(&large);
    assert!(rig.publish(&small, 100).is_none(), "it has nothing under way");
    assert_eq!(rig.take(0).0.len(), 2);
    assert!(first.try_recv().is_err(), "the other shard is not done");
    rig.take(1);
    let permit = first.try_recv().expect("it is its turn");
    assert!(second.try_recv().is_err(), "one at a time");
    rig.publish_with(permit);
    assert!(rig.publish(&small, 100).is_none());
    assert!(second.try_recv().is_err());
    rig.take(0);
    rig.take(1);
    drop(second.try_recv().expect("it is its turn"));
    assert!(!rig.admission.is_waiting());
    assert!(large.lock().unsent + small.lock().unsent == 0, "every reservation was given back");
}

#[test]
fn a_stream_in_a_small_channel_does_not_wait_for_a_flood() {
    let rig = Rig::new(1);
    let (large, small) = (rig.channel("large", &[0], 3_000), rig.channel("small", &[0], 3));
    while rig.publish(&large, 100).is_none() {}
    let mut flood = rig.wait(&large);
    // The shard has not sent one of them.
    let passed = (0..100).take_while(|_| rig.publish(&small, 100).is_none()).count();
    assert_eq!(passed, 64);
    let waiting: Vec<_> = (0..4).map(|_| rig.wait(&small)).collect();
    assert_eq!(rig.take(0).0.len(), 2 + 64);
    assert!(flood.try_recv().is_ok());
    for mut ticket in waiting {
        rig.publish_with(ticket.try_recv().expect("what costs little goes on together"));
    }
}

#[test]
fn small_channels_together_fill_the_reserve_and_no_more() {
    let rig = Rig::new(1);
    let large = rig.channel("large", &[0], 5_000);
    while rig.publish(&large, 100).is_none() {}
    let mut admitted = 0;
    for n in 0..100 {
        let channel = rig.channel(&format!("small {n}"), &[0], 1);
        admitted += (0..100).take_while(|_| rig.publish(&channel, 100).is_none()).count();
    }
    // Each is two deliveries of 2,048.
    assert_eq!(admitted, 1_024);
}

#[test]
fn what_a_channel_has_under_way_is_bounded_by_number_and_size() {
    for (size, most) in [(100, 64), (10_000, 64 / 5), (400_000, 1)] {
        let rig = Rig::new(1);
        let channel = rig.channel("c", &[0], 1);
        let admitted = (0..100).take_while(|_| rig.publish(&channel, size).is_none()).count();
        assert_eq!(admitted, most, "{size} bytes");
        assert_eq!(rig.take(0).0.len(), most);
    }
}

#[test]
fn publishers_of_a_channel_go_on_in_order() {
    let rig = Rig::new(1);
    let channel = rig.channel("c", &[0], 1);
    while rig.publish(&channel, 100).is_none() {}
    let mut tickets: Vec<_> = (0..4).map(|_| rig.wait(&channel)).collect();
    // A publisher that gives up holds up nobody.
    drop(tickets.remove(1));
    for count in 1..=3 {
        channel.lock().sent(1);
        rig.admission.channel_has_room(&channel);
        let mut ready = tickets.iter_mut().map(|ticket| ticket.try_recv().ok());
        let permit = ready.next().flatten().expect("the first goes on");
        assert!(ready.all(|later| later.is_none()), "the others do not");
        rig.publish_with(permit);
        tickets.remove(0);
        assert_eq!(tickets.len(), 3 - count);
    }
}

#[test]
fn channels_that_wait_for_a_shard_are_served_in_turn() {
    let rig = Rig::new(1);
    let channels = ["a", "b", "c"].map(|name| rig.channel(name, &[0], 3_000));
    rig.fill(0);
    let mut waiting: Vec<(&str, Ticket)> = Vec::new();
    for (channel, count) in channels.iter().zip([4, 4, 1]) {
        for _ in 0..count {
            waiting.push((&channel.name, rig.wait(channel)));
        }
    }
    let mut order = Vec::new();
    while !waiting.is_empty() {
        rig.take(0);
        let before = waiting.len();
        waiting.retain_mut(|(name, ticket)| match ticket.try_recv() {
            Ok(permit) => {
                order.push(*name);
                rig.publish_with(permit);
                false
            }
            Err(_) => true,
        });
        assert!(waiting.len() < before, "somebody goes on");
    }
    let position = order.iter().position(|name| *name == "c").unwrap();
    assert!(position <= 3, "who asks for little does not wait for all the others: {order:?}");
}

#[test]
fn waiting_is_bounded_and_those_who_gave_up_make_room() {
    let rig = Rig::new(1);
    let channel = rig.channel("c", &[0], 1);
    while rig.publish(&channel, 100).is_none() {}
    // A quarter of 64 calls in flight may wait, and a quarter of those for one channel.
    let mut tickets: Vec<_> = (0..4).map(|_| rig.wait(&channel)).collect();
    assert_eq!(rig.publish(&channel, 100).unwrap().err(), Some(Full));
    let other = rig.channel("other", &[0], 1);
    while rig.publish(&other, 100).is_none() {}
    let elsewhere = rig.wait(&other);
    tickets.pop();
    tickets.push(rig.wait(&channel));
    assert_eq!(rig.publish(&channel, 100).unwrap().err(), Some(Full));
    drop((tickets, elsewhere));
    rig.take(0);
    assert!(!rig.admission.is_waiting());
    assert!(rig.publish(&channel, 100).is_none());
    // Large ones are bounded by their bytes.
    let large = rig.channel("large", &[0], 1);
    let size = Config::default().inbox_max_size / 5;
    assert!(rig.publish(&large, size).is_none());
    let ticket = rig.publish(&large, size).unwrap().expect("there is a place for one");
    assert_eq!(rig.publish(&large, size).unwrap().err(), Some(Full));
    drop(ticket);
}

#[test]
fn a_permit_that_is_not_used_is_given_back() {
    let rig = Rig::new(1);
    let channel = rig.channel("c", &[0], 5_000);
    assert!(rig.publish(&channel, 100).is_none());
    let (mut first, mut second) = (rig.wait(&channel), rig.wait(&channel));
    rig.take(0);
    let permit = first.try_recv().expect("it is its turn");
    assert!(second.try_recv().is_err());
    drop(permit);
    drop(second.try_recv().expect("the next one has it"));
    assert!(channel.lock().unsent == 0);
    assert!(rig.publish(&channel, 100).is_none());
}

#[test]
fn nobody_waits_for_a_node_or_a_shard_that_has_ended() {
    let rig = Rig::new(2);
    let channel = rig.channel("c", &[0, 1], 10_000);
    assert!(rig.publish(&channel, 100).is_none());
    let mut ticket = rig.wait(&channel);
    rig.admission.close();
    assert_eq!(ticket.try_recv().err(), Some(oneshot::error::TryRecvError::Closed));
    assert_eq!(rig.publish(&channel, 100).unwrap().err(), Some(Full));
    let rig = Rig::new(1);
    let channel = rig.channel("c", &[0], 1);
    while rig.publish(&channel, 100).is_none() {}
    rig.admission.inboxes[0].close();
    let other = rig.channel("other", &[0], 1);
    assert!((0..100).all(|_| rig.publish(&other, 100).is_none()));
}

#[test]
fn joins_and_leaves_wait_in_the_same_lane_and_who_caused_one_is_told() {
    let rig = Rig::new(1);
    let channel = rig.channel("c", &[0], 1);
    let announce = |join, token| {
        let info = ClientInfo {
            user: "u".into(),
            client: "c".into(),
            conn_info: Bytes::new(),
            chan_info: Bytes::new(),
        };
        let then = Some((Handle::new(0, 0, 0), token));
        let announcement = Announcement { info: Arc::new(info), join, then };
        rig.admission.announce(&channel, &mut channel.lock(), announcement)
    };
    let first = CallToken::NOBODY.next();
    let (second, third) = (first.next(), first.next().next());
    assert!(!announce(true, first), "it is queued at once");
    while rig.publish(&channel, 100).is_none() {}
    let mut publisher = rig.wait(&channel);
    assert!(announce(false, second) && announce(true, third), "these wait");
    let (names, tokens) = rig.take(0);
    assert_eq!((names.len(), tokens), (64, vec![]));
    rig.publish_with(publisher.try_recv().expect("it came first"));
    let (names, tokens) = rig.take(0);
    assert_eq!((names.len(), tokens), (3, vec![second, third]));
}

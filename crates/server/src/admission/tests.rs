//! Connections against caps.

use super::*;
use spinward::clock::Now;

fn admission(caps: Caps, trusted: &[&str]) -> (Admission, Clock) {
    let trusted: Vec<String> = trusted.iter().map(|text| (*text).to_owned()).collect();
    let proxies = Proxies::new(&trusted, "X-Forwarded-For").unwrap();
    let clock = Clock::manual(Now { mono: 1000, wall: 0 });
    (Admission::new(caps, proxies, Arc::default(), clock.clone()), clock)
}

fn peer(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), 4711)
}

/// A client from its connection to its handshake.
fn open(admission: &Admission, from: &str, forwarded: &str) -> Result<Login, Refused> {
    let mut entrance = Some(admission.enter(peer(from).ip())?);
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", forwarded.parse().unwrap());
    admission.open(&mut entrance, peer(from), &headers).map(|(_, login)| login)
}

#[test]
fn connections_of_an_address_are_capped_until_they_go() {
    let (admission, _) = admission(Caps { connections: 2, ..Caps::default() }, &[]);
    let first = open(&admission, "192.0.2.1", "").unwrap();
    let second = open(&admission, "::ffff:192.0.2.1", "").unwrap();
    assert_eq!(open(&admission, "192.0.2.1", "192.0.2.9").err(), Some(Refused::IpConnections));
    assert!(open(&admission, "192.0.2.2", "").is_ok(), "another address");
    // Logged in, it still counts.
    let stays = first.connection();
    drop(first);
    assert_eq!(open(&admission, "192.0.2.1", "").err(), Some(Refused::IpConnections));
    drop(stays);
    assert!(open(&admission, "192.0.2.1", "").is_ok());
    drop(second);
    assert_eq!(admission.0.addresses.len(), 0, "nothing is kept of those who left");
    assert_eq!(admission.unauthenticated(), 0);
    let counts: Vec<u64> = admission.refusals().map(|(_, count)| count).collect();
    assert_eq!(counts, [2, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn addresses_of_one_network_of_ipv6_count_as_one() {
    let (admission, _) = admission(Caps { connections: 1, ..Caps::default() }, &[]);
    let _first = open(&admission, "2001:db8:0:1::1", "").unwrap();
    assert_eq!(open(&admission, "2001:db8:0:1:ffff::2", "").err(), Some(Refused::IpConnections));
    assert!(open(&admission, "2001:db8:0:2::1", "").is_ok());
}

#[test]
fn those_who_are_not_logged_in_are_capped_for_an_address_and_in_all() {
    let caps = Caps { unauthenticated: 2, unauthenticated_in_all: 3, ..Caps::default() };
    let (admission, _) = admission(caps, &[]);
    let first = open(&admission, "192.0.2.1", "").unwrap();
    let mut serves = admission.enter(peer("192.0.2.1").ip()).unwrap();
    assert_eq!(open(&admission, "192.0.2.1", "").err(), Some(Refused::IpUnauthenticated));
    let _other = open(&admission, "192.0.2.2", "").unwrap();
    assert_eq!(open(&admission, "192.0.2.3", "").err(), Some(Refused::Unauthenticated));
    assert_eq!(admission.unauthenticated(), 3);
    serves.settle();
    assert!(open(&admission, "192.0.2.1", "").is_ok(), "one that serves requests does not count");
    drop(first);
    assert_eq!(admission.unauthenticated(), 1);
}

#[test]
fn a_settled_connection_that_opens_a_websocket_counts_again() {
    let (admission, _) = admission(Caps { unauthenticated: 1, ..Caps::default() }, &[]);
    let mut entrance = Some(admission.enter(peer("192.0.2.1").ip()).unwrap());
    entrance.as_mut().unwrap().settle();
    let opened = admission.open(&mut entrance, peer("192.0.2.1"), &HeaderMap::new());
    assert_eq!(admission.unauthenticated(), 1);
    assert_eq!(open(&admission, "192.0.2.1", "").err(), Some(Refused::IpUnauthenticated));
    drop(opened);
    assert!(open(&admission, "192.0.2.1", "").is_ok());
}

#[test]
fn the_rate_of_an_address_is_capped() {
    let (admission, clock) = admission(Caps { rate: 5, ..Caps::default() }, &[]);
    let opened = || (0..20).filter(|_| open(&admission, "192.0.2.1", "").is_ok()).count();
    assert_eq!(opened(), 5, "a burst of one second's worth");
    assert_eq!(open(&admission, "192.0.2.1", "").err(), Some(Refused::IpRate));
    assert!(open(&admission, "192.0.2.2", "").is_ok());
    clock.advance(400);
    assert_eq!(opened(), 2);
    clock.advance(5000);
    assert_eq!(opened(), 5);
}

#[test]
fn addresses_that_only_came_once_are_forgotten() {
    let (admission, clock) = admission(Caps { rate: 5, ..Caps::default() }, &[]);
    for at in 0..100_000_u32 {
        let address = std::net::Ipv4Addr::from(0x0B00_0000 + at);
        assert!(admission.enter(address.into()).is_ok());
        clock.advance(1);
    }
    // In the 200 ms that one of them is remembered, 200 come.
    assert!(admission.0.addresses.len() < 16 * 128, "{}", admission.0.addresses.len());
}

#[test]
fn behind_a_trusted_proxy_the_forwarded_address_counts() {
    let caps = Caps { connections: 1, unauthenticated: 1, rate: 100, ..Caps::default() };
    let (admission, _) = admission(caps, &["10.0.0.0/8"]);
    let _first = open(&admission, "10.0.0.1", "192.0.2.1").unwrap();
    let _second = open(&admission, "10.0.0.1", "192.0.2.2").unwrap();
    assert_eq!(open(&admission, "10.0.0.2", "192.0.2.1").err(), Some(Refused::IpConnections));
    assert_eq!(
        open(&admission, "192.0.2.2", "192.0.2.77").err(),
        Some(Refused::IpConnections),
        "not a proxy"
    );
}

#[test]
fn an_overloaded_node_takes_no_clients() {
    let limits = OverloadLimits { memory: 1, loop_lag: Duration::ZERO };
    let overload = Arc::new(Overload::new(limits));
    let proxies = Proxies::new(&[], "X-Real-IP").unwrap();
    let clock = Clock::manual(Now::default());
    let admission = Admission::new(Caps::default(), proxies, overload, clock);
    assert!(open(&admission, "192.0.2.1", "").is_ok());
    admission.overload().measured(2);
    let refused = open(&admission, "192.0.2.1", "").err().unwrap();
    assert_eq!(refused.option(), "client.overload.memory_limit");
    assert!(admission.enter(peer("192.0.2.1").ip()).is_ok(), "requests are still answered");
}

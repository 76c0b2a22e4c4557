//! From options to proxies.

use super::breaker::Breaker;
use super::endpoint::{Carrier, Endpoint};
use super::grpc::Grpc;
use super::headers::{BadHeader, Headers};
use super::http::Http;
use super::queue::Queue;
use super::request::Event;
use super::stats::Stats;
use super::tls::{ClientError, client};
use super::{Configured, Methods};
use crate::config::Config;
use crate::config::typed::{ChannelOptions, Proxy, RpcOptions};
use crate::session::{NoProxies, Proxies};
use ::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use parking_lot::Mutex;
use reqwest::Url;
use spinward::clock::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Semaphore;

/// The options of a proxy cannot be used.
#[derive(Debug, Error)]
#[error("{path}.{fault}")]
pub struct ProxyError {
    /// The section.
    path: String,
    fault: Fault,
}

#[derive(Debug, Error)]
pub(super) enum Fault {
    #[error("endpoint: not an address of the form http://…, https://… or grpc://HOST:PORT")]
    Endpoint,
    #[error("endpoint: streams go over gRPC only: set one of the form grpc://HOST:PORT")]
    Stream,
    #[error("batch: goes over HTTP only: set 0, or an endpoint of the form http://…")]
    Batch,
    #[error(
        "http_headers, emulated_headers, grpc_metadata, http.static_headers or grpc.static_metadata: {0}"
    )]
    Header(#[from] BadHeader),
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A proxy as it is used: kind of event, name, section of its options, the options, and calls per second.
type Use<'a> = (Event, &'a str, String, &'a Proxy, u32);

/// The proxies that a configuration uses.
struct Uses<'a>(Vec<Use<'a>>);

impl<'a> Uses<'a> {
    /// Finds them.
    fn of(config: &'a Config) -> Self {
        let mut uses = Vec::new();
        let client = &config.client.proxy;
        for (event, options) in [(Event::Connect, &client.connect), (Event::Refresh, &client.refresh)] {
            if options.enabled {
                let path = format!("client.proxy.{}", event.name());
                uses.push((event, "default", path, &options.proxy, options.rate_limit));
            }
        }
        if client.events.enabled {
            let options = &client.events;
            let path = "client.proxy.events".to_owned();
            uses.push((Event::ClientEvents, "default", path, &options.proxy, options.rate_limit));
        }
        let mut seen = BTreeSet::new();
        let mut add = |event: Event, name: &'a str, path: &str, default: &'a Proxy| {
            let name = if name.is_empty() { "default" } else { name };
            if !seen.insert((event, name)) {
                return;
            }
            if name == "default" {
                uses.push((event, name, path.to_owned(), default, 0));
            } else if let Some(named) = config.proxies.iter().find(|named| named.name == name) {
                uses.push((event, name, format!("proxies[{name}]"), &named.proxy, 0));
            }
        };
        let defaults = &config.channel.proxy;
        let namespaces = config.channel.namespaces.iter().map(|namespace| &namespace.options);
        for options in namespaces.chain([&config.channel.without_namespace]) {
            let ChannelOptions {
                subscribe_proxy_name,
                subscribe_stream_proxy_name,
                publish_proxy_name,
                sub_refresh_proxy_name,
                cache_empty_proxy_name,
                state_proxy_name,
                ..
            } = options;
            if options.subscribe_proxy_enabled {
                add(Event::Subscribe, subscribe_proxy_name, "channel.proxy.subscribe", &defaults.subscribe);
            }
            if options.subscribe_stream_proxy_enabled {
                let default = &defaults.subscribe_stream;
                let path = "channel.proxy.subscribe_stream";
                add(Event::SubscribeStream, subscribe_stream_proxy_name, path, default);
            }
            if options.publish_proxy_enabled {
                add(Event::Publish, publish_proxy_name, "channel.proxy.publish", &defaults.publish);
            }
            if options.sub_refresh_proxy_enabled {
                let default = &defaults.sub_refresh;
                add(Event::SubRefresh, sub_refresh_proxy_name, "channel.proxy.sub_refresh", default);
            }
            if options.cache_empty_proxy_enabled {
                let default = &defaults.cache_empty;
                add(Event::CacheEmpty, cache_empty_proxy_name, "channel.proxy.cache_empty", default);
            }
            if options.state_proxy_enabled {
                add(Event::State, state_proxy_name, "channel.proxy.state", &defaults.state);
            }
        }
        let namespaces = config.rpc.namespaces.iter().map(|namespace| &namespace.options);
        for options in namespaces.chain([&config.rpc.without_namespace]) {
            if options.proxy_enabled {
                add(Event::Rpc, &options.proxy_name, "rpc.proxy", &config.rpc.proxy);
            }
        }
        Self(uses)
    }
}

/// Returns true if two configurations have the same proxies, for the same methods.
pub(crate) fn same_proxies(one: &Config, other: &Config) -> bool {
    Uses::of(one).0 == Uses::of(other).0 && one.rpc == other.rpc
}

/// The longest time that requests about events take: each waits for its turn, and then for the answer.
fn longest(config: &Config, is: impl Fn(Event) -> bool) -> Duration {
    let uses = Uses::of(config).0;
    let timeouts = uses.iter().filter(|(event, ..)| is(*event)).map(|(.., proxy, _)| proxy.timeout.get());
    timeouts.max().unwrap_or_default() * 2
}

/// The number of subscribes of one message that some proxy wants to be asked about at once.
pub(crate) fn largest_batch(config: &Config) -> usize {
    let uses = Uses::of(config).0;
    let batches = uses.iter().filter(|(event, ..)| *event == Event::Subscribe);
    batches.map(|(.., proxy, _)| proxy.batch as usize).max().unwrap_or_default()
}

/// The longest time that a client waits for a request of a proxy.
pub(crate) fn longest_request(config: &Config) -> Duration {
    let answer =
        longest(config, |event| !matches!(event, Event::State | Event::ClientEvents | Event::CacheEmpty));
    // A subscribe may be granted by one proxy and then wait for this one.
    answer + longest(config, |event| event == Event::CacheEmpty)
}

/// The least time that an expired login and an expired subscription must be left, so that a proxy can be asked.
pub(crate) fn least_grace(config: &Config) -> (Duration, Duration) {
    let grace = |event| match longest(config, |other| other == event) {
        Duration::ZERO => Duration::ZERO,
        longest => longest + Duration::from_secs(1),
    };
    (grace(Event::Refresh), grace(Event::SubRefresh))
}

/// Makes the proxies of a configuration.
///
/// # Errors
/// Options of one of them cannot be used.
pub(crate) fn configured(config: &Config) -> Result<Arc<dyn Proxies>, ProxyError> {
    let uses = Uses::of(config).0;
    if uses.is_empty() {
        return Ok(Arc::new(NoProxies));
    }
    let clock = Clock::system();
    let mut endpoints: BTreeMap<Event, BTreeMap<String, Arc<Endpoint>>> = BTreeMap::new();
    for (event, name, path, options, rate) in uses {
        let endpoint = endpoint(event, name, options, rate, clock.clone());
        let endpoint = endpoint.map_err(|fault| ProxyError { path, fault })?;
        endpoints.entry(event).or_default().insert(name.to_owned(), Arc::new(endpoint));
    }
    let all = || endpoints.values().flat_map(BTreeMap::values);
    let unique = |names: BTreeSet<&str>| -> Vec<HeaderName> {
        names.into_iter().filter_map(|name| name.parse().ok()).collect()
    };
    let headers = unique(all().flat_map(|one| one.headers.of_requests()).map(HeaderName::as_str).collect());
    let emulated = unique(all().flat_map(|one| one.headers.of_commands()).map(HeaderName::as_str).collect());
    Ok(Arc::new(Configured { methods: methods(config), endpoints, headers, emulated, clock }))
}

fn methods(config: &Config) -> Methods {
    let proxy = |options: &RpcOptions| options.proxy_enabled.then(|| options.proxy_name.clone());
    let namespaces = config.rpc.namespaces.iter();
    Methods {
        boundary: config.rpc.namespace_boundary.clone(),
        without_namespace: proxy(&config.rpc.without_namespace),
        namespaces: namespaces.map(|one| (one.name.clone(), proxy(&one.options))).collect(),
    }
}

/// Makes the way to a back end.
pub(super) fn endpoint(
    event: Event,
    name: &str,
    options: &Proxy,
    rate: u32,
    clock: Clock,
) -> Result<Endpoint, Fault> {
    let address = Address::parse(&options.endpoint, options.grpc.tls.enabled).ok_or(Fault::Endpoint)?;
    let lists = (&*options.http_headers, &*options.grpc_metadata, &*options.emulated_headers);
    let max_response = usize::try_from(options.max_response_size).unwrap_or(usize::MAX);
    let timeout = options.timeout.get();
    if event == Event::SubscribeStream && matches!(address, Address::Http(_)) {
        return Err(Fault::Stream);
    }
    if options.batch > 0 && event == Event::Subscribe && matches!(address, Address::Grpc(_)) {
        return Err(Fault::Batch);
    }
    let max_streams = (options.max_streams as usize).min(Semaphore::MAX_PERMITS);
    let (carrier, headers) = match address {
        Address::Http(mut url) => {
            let headers = Headers::new(lists, &options.http.static_headers, false)?;
            let encrypted = url.scheme() == "https";
            let client = client(options, &options.http.tls, "http.tls", encrypted, false)?;
            let basic = basic(&client, &mut url);
            let transforms = options.http.status_to_code_transforms.clone();
            (Carrier::Http(Http { client, url, basic, transforms, max_response }), headers)
        }
        Address::Grpc(url) => {
            let mut headers = Headers::new(lists, &options.grpc.static_metadata, true)?;
            if !options.grpc.credentials_key.is_empty() {
                headers.add(&options.grpc.credentials_key, &options.grpc.credentials_value)?;
            }
            let client = client(options, &options.grpc.tls, "grpc.tls", options.grpc.tls.enabled, true)?;
            let terms = (options.grpc.compression, timeout, max_response);
            (Carrier::Grpc(Grpc::new(client, url, event, terms)), headers)
        }
    };
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let delay = millis(options.breaker_delay.get());
    Ok(Endpoint {
        event,
        name: name.to_owned(),
        timeout,
        binary: options.binary_encoding,
        with_meta: options.include_connection_meta,
        batch: options.batch as usize,
        headers,
        carrier,
        queue: Queue::new(options.concurrency, options.queue_size, rate),
        // A probe that does not end by its timeout is lost.
        breaker: Mutex::new(Breaker::new(
            options.breaker_failures,
            delay,
            millis(timeout).saturating_add(1_000),
        )),
        streams: Arc::new(Semaphore::new(max_streams)),
        max_streams,
        clock,
        stats: Stats::default(),
        told: AtomicU64::new(0),
    })
}

/// The address of a back end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    Http(Url),
    Grpc(Url),
}

impl Address {
    /// Reads `http://…`, `https://…`, `grpc://HOST:PORT`, or `HOST:PORT`, which is gRPC as well.
    pub(super) fn parse(endpoint: &str, tls: bool) -> Option<Self> {
        let endpoint = endpoint.trim();
        if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
            return Url::parse(endpoint).ok().filter(Url::has_host).map(Self::Http);
        }
        let host = endpoint.strip_prefix("grpc://").unwrap_or(endpoint);
        if host.is_empty() || host.contains("://") {
            return None;
        }
        let scheme = if tls { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{host}")).ok().filter(Url::has_host)?;
        matches!(url.path(), "" | "/").then_some(Self::Grpc(url))
    }
}

/// Takes user and password out of an address.
fn basic(client: &reqwest::Client, url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let request = client.post(url.clone()).build().ok()?;
    *url = request.url().clone();
    request.headers().get(AUTHORIZATION).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::catalogue::Pem;
    use crate::secret::Secret;

    #[test]
    fn addresses_are_of_http_or_grpc() {
        let parse = |text| match Address::parse(text, false) {
            Some(Address::Http(url)) => format!("http {url}"),
            Some(Address::Grpc(url)) => format!("grpc {url}"),
            None => "none".to_owned(),
        };
        assert_eq!(parse("http://a/b?c=d"), "http http://a/b?c=d");
        assert_eq!(parse("https://a"), "http https://a/");
        assert_eq!(parse("grpc://a:1"), "grpc http://a:1/");
        assert_eq!(parse("127.0.0.1:1"), "grpc http://127.0.0.1:1/");
        for bad in ["", "grpc://", "ftp://a", "http://", "grpc://a:1/path", "unix:///x"] {
            assert_eq!(parse(bad), "none", "{bad}");
        }
        let encrypted = Address::parse("grpc://a:1", true);
        assert_eq!(encrypted, Some(Address::Grpc(Url::parse("https://a:1").unwrap())));
    }

    /// The TLS of a proxy that does not use it has to be right too.
    #[test]
    fn certificates_that_cannot_be_read_are_named() {
        let bad = Pem(Secret::new("x".to_owned()));
        for (address, option) in [
            ("http://127.0.0.1:1", "http.tls.server_ca_pem"),
            ("https://127.0.0.1:1", "http.tls.server_ca_pem"),
            ("grpc://127.0.0.1:1", "grpc.tls.server_ca_pem"),
        ] {
            let mut config = Config::default();
            let connect = &mut config.client.proxy.connect;
            connect.enabled = true;
            connect.proxy.endpoint = address.to_owned();
            let grpc = address.starts_with("grpc");
            let tls = if grpc { &mut connect.proxy.grpc.tls } else { &mut connect.proxy.http.tls };
            (tls.enabled, tls.server_ca_pem) = (true, bad.clone());
            let error = configured(&config).err().unwrap().to_string();
            assert!(error.starts_with(&format!("client.proxy.connect.{option}: ")), "{error}");
        }
    }

    #[test]
    fn what_expires_is_left_until_a_proxy_can_have_answered() {
        let mut config = Config::default();
        assert_eq!(least_grace(&config), (Duration::ZERO, Duration::ZERO));
        config.client.proxy.refresh.enabled = true;
        config.channel.without_namespace.sub_refresh_proxy_enabled = true;
        config.channel.proxy.sub_refresh.timeout = crate::config::duration::Duration::secs(30);
        assert_eq!(least_grace(&config), (Duration::from_secs(3), Duration::from_secs(61)));
        assert_eq!(longest_request(&config), Duration::from_secs(60));
    }

    #[test]
    fn user_and_password_leave_the_address() {
        let mut url = Url::parse("http://us%65r:pa%20ss@a/b").unwrap();
        let value = basic(&reqwest::Client::new(), &mut url).unwrap();
        assert_eq!(value, "Basic dXNlcjpwYSBzcw==");
        assert_eq!(url.as_str(), "http://a/b");
        assert_eq!(basic(&reqwest::Client::new(), &mut url), None);
    }
}

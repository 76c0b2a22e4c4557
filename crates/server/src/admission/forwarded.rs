//! The address of a client behind proxies.

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// Proxies cannot be recognized by the configuration.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// An entry of the list.
    #[error("entry {0}, {1:?}, is neither an address nor a network such as 10.0.0.0/8")]
    Network(usize, String),
    /// The header.
    #[error("{0:?} is not a name of a header")]
    Header(String),
}

impl ProxyError {
    /// The option to change.
    pub(crate) const fn option(&self) -> &'static str {
        match self {
            Self::Network(..) => "http_server.trusted_proxies",
            Self::Header(_) => "http_server.client_ip_header",
        }
    }
}

/// Addresses and networks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Networks(Vec<IpNet>);

impl Networks {
    /// From addresses such as `10.0.0.1` and networks such as `10.0.0.0/8`. An error is the place and text of one that
    /// is neither.
    pub(crate) fn new(texts: &[String]) -> Result<Self, (usize, String)> {
        let network = |(at, text): (usize, &String)| {
            let text = text.trim();
            let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            address.or_else(|_| text.parse()).map_err(|_| (at, text.to_owned()))
        };
        texts.iter().enumerate().map(network).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The proxies whose word is taken, and the header that they give it in.
#[derive(Clone, Debug)]
pub(crate) struct Proxies {
    networks: Networks,
    header: HeaderName,
}

impl Proxies {
    /// From addresses and networks, and the name of a header.
    pub(crate) fn new(networks: &[String], header: &str) -> Result<Self, ProxyError> {
        Ok(Self {
            networks: Networks::new(networks).map_err(|(at, text)| ProxyError::Network(at, text))?,
            header: header.parse().map_err(|_| ProxyError::Header(header.to_owned()))?,
        })
    }

    pub(crate) const fn header(&self) -> &HeaderName {
        &self.header
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.networks.contain(address)
    }

    /// The client whose request came from a trusted `peer`: of the addresses that the proxies noted, each at the
    /// end, the last that is not a proxy's. Anything before it the client may have made up.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let mut client = peer;
        let lines: Vec<&str> =
            headers.get_all(&self.header).iter().filter_map(|value| value.to_str().ok()).collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        let forwarded = self.header == http::header::FORWARDED;
        for hop in hops {
            let Some(address) = (if forwarded { element(hop) } else { address(hop) }) else {
                // What a proxy did not know or did not tell ends the chain.
                break;
            };
            client = SocketAddr::new(address, 0);
            if !self.trusts(address) {
                break;
            }
        }
        client
    }
}

/// The `for` of an element of `Forwarded` (RFC 7239 §4).
fn element(hop: &str) -> Option<IpAddr> {
    hop.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| address(value.trim().trim_matches('"')))?
    })
}

/// An address, perhaps with a port: `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]`, `[::1]:5`. A port may be hidden behind a
/// name, `1.2.3.4:_gazonk` (RFC 7239 §6.3).
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.rsplit_once(":_").map_or(text, |(address, _)| address);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse().or_else(|_| text.parse().map(|with_port: SocketAddr| with_port.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(header: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".to_owned(), "192.0.2.1".to_owned(), "fd00::/8".to_owned()];
        let proxies = Proxies::new(&trusted, header).unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(proxies.header().clone(), HeaderValue::from_str(line).unwrap());
        }
        proxies.client("10.0.0.1:4000".parse().unwrap(), &headers).ip().to_string()
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_proxy() {
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&["203.0.113.7"], "203.0.113.7"),
            (&["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            (&["1.1.1.1, 203.0.113.7, 192.0.2.1 ,10.9.9.9"], "203.0.113.7"),
            (&["1.1.1.1", "203.0.113.7", "10.2.2.2"], "203.0.113.7"),
            (&["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["[2001:db8::7]:443, fd00::1"], "2001:db8::7"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7, unknown"], "10.0.0.1"),
            (&["203.0.113.7, unknown, 10.3.3.3"], "10.3.3.3"),
            (&["203.0.113.7,"], "10.0.0.1"),
        ] {
            assert_eq!(client("X-Forwarded-For", lines), expected, "{lines:?}");
        }
        assert_eq!(client("X-Real-IP", &["203.0.113.7"]), "203.0.113.7");
    }

    #[test]
    fn elements_of_forwarded_are_read() {
        for (lines, expected) in [
            (&["for=203.0.113.7;proto=https;by=203.0.113.43"][..], "203.0.113.7"),
            (
                &["for=1.1.1.1, For=\"[2001:db8:cafe::17]:4711\"", "proto=http; for=10.1.1.1"],
                "2001:db8:cafe::17",
            ),
            (&["for=203.0.113.7, for=_hidden"], "10.0.0.1"),
            (&["for=\"203.0.113.7:_port\""], "203.0.113.7"),
            (&["for=\"[2001:db8::7]:_port\";by=10.0.0.1"], "2001:db8::7"),
            // A client cannot hide what a proxy appends behind a quote of its own.
            (&["for=\"1.1.1.1, for=203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7"], "10.0.0.1"),
        ] {
            assert_eq!(client("forwarded", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["proxy.local", "10.0.0.0/33", "", "10.0.0.1:80"] {
            let error = Proxies::new(&["10.0.0.1".to_owned(), text.to_owned()], "X-Real-IP").unwrap_err();
            assert_eq!(error.option(), "http_server.trusted_proxies");
            assert!(error.to_string().starts_with("entry 1, "), "{error}");
        }
        assert!(Proxies::new(&[], "X Forwarded").is_err());
        assert!(!Proxies::new(&[], "X-Real-IP").unwrap().trusts([127, 0, 0, 1].into()));
    }
}

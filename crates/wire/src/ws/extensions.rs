//! Negotiation of permessage-deflate (RFC 7692 §7.1), the one extension there is.

use super::Window;

/// The name of the extension.
const NAME: &str = "permessage-deflate";

/// Terms of the compression that both ends agree on. Neither keeps a context from one message to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// Window of what the server sends.
    pub window: Window,
    /// The client has asked for a limit of that window, so that the response has to name it.
    named: bool,
}

/// Picks the first of the offers in `Sec-WebSocket-Extensions` whose terms can be met, if there is one. Where the header
/// has several lines, join them with commas.
#[must_use]
pub fn negotiate(header: &str) -> Option<Agreed> {
    header.split(',').find_map(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        if parts.next() == Some(NAME) { accept(parts) } else { None }
    })
}

/// Terms that meet the parameters of one offer. A parameter that is unknown, given twice or malformed declines it.
fn accept<'a>(parameters: impl Iterator<Item = &'a str>) -> Option<Agreed> {
    let (mut server_context, mut client_context) = (false, false);
    let (mut server_bits, mut client_bits) = (None, None);
    for parameter in parameters {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start()))),
            None => (parameter, None),
        };
        let again = match (name, value) {
            ("server_no_context_takeover", None) => std::mem::replace(&mut server_context, true),
            ("client_no_context_takeover", None) => std::mem::replace(&mut client_context, true),
            ("server_max_window_bits", Some(value)) => server_bits.replace(bits(value)?).is_some(),
            ("client_max_window_bits", None) => client_bits.replace(15).is_some(),
            ("client_max_window_bits", Some(value)) => client_bits.replace(bits(value)?).is_some(),
            _ => return None,
        };
        if again {
            return None;
        }
    }
    Some(Agreed { window: Window::within(server_bits.unwrap_or(15))?, named: server_bits.is_some() })
}

/// The exponent of a window: 8 to 15, without a zero before it.
fn bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        "10" => Some(10),
        "11" => Some(11),
        "12" => Some(12),
        "13" => Some(13),
        "14" => Some(14),
        "15" => Some(15),
        _ => None,
    }
}

/// A value may be a quoted string (RFC 6455 §9.1).
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

impl Agreed {
    /// The value of `Sec-WebSocket-Extensions` in the response.
    ///
    /// The window of the client is not limited: what it sends is inflated whatever it uses.
    #[must_use]
    pub const fn response(self) -> &'static str {
        match (self.named, self.window) {
            (false, _) => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            (true, Window::Full) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15"
            }
            (true, Window::Medium) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"
            }
            (true, Window::Small) => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn response(header: &str) -> Option<String> {
        negotiate(header).map(|agreed| agreed.response().to_owned())
    }

    #[test]
    fn offers_without_a_limit_are_answered_alike() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=\"8\"",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate ; server_no_context_takeover",
            "permessage-foo; a=b,permessage-deflate",
        ] {
            assert_eq!(response(offer).as_deref(), Some(PLAIN), "{offer}");
        }
    }

    #[test]
    fn a_limit_of_the_servers_window_is_met_and_named() {
        for (asked, given) in [(15, 15), (14, 12), (13, 12), (12, 12), (11, 9), (10, 9), (9, 9)] {
            let offer = format!("permessage-deflate; client_max_window_bits; server_max_window_bits={asked}");
            let agreed = negotiate(&offer).unwrap();
            assert_eq!(agreed.window.bits(), given);
            assert_eq!(agreed.response(), format!("{PLAIN}; server_max_window_bits={given}"));
        }
        let quoted = negotiate("permessage-deflate; server_max_window_bits=\"10\"").unwrap();
        assert_eq!(quoted.window, Window::Small);
    }

    #[test]
    fn offers_that_cannot_be_met_are_declined_and_the_next_is_looked_at() {
        for offer in [
            "",
            "x-webkit-deflate-frame",
            "permessage-deflate2",
            "permessage-deflate; foo",
            "permessage-deflate;",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; server_max_window_bits=+9",
            "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=; client_max_window_bits",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        ] {
            assert_eq!(response(offer), None, "{offer}");
            let then = format!("{offer}, permessage-deflate");
            assert_eq!(response(&then).as_deref(), Some(PLAIN), "{then}");
        }
    }
}

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};

use super::server::Peer;

/// The reverse proxies in front of this server, and the one header in which they name their client.
#[derive(Debug, Clone)]
pub struct TrustedProxies(Arc<ProxySettings>);

#[derive(Debug)]
struct ProxySettings {
    networks: Vec<Network>,
    unix: bool,
    header: HeaderName,
}

impl Default for TrustedProxies {
    /// None.
    fn default() -> Self {
        Self::new([], HeaderName::from_static("x-forwarded-for"))
    }
}

/// One entry of the list of trusted proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Proxies at these addresses.
    Network(Network),
    /// Proxies that connect to a Unix socket.
    Unix,
}

/// The text is not a [`TrustedProxy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither an address, nor a network like 10.0.0.0/8, nor unix")]
pub struct NoProxy;

impl FromStr for TrustedProxy {
    type Err = NoProxy;

    fn from_str(text: &str) -> Result<Self, NoProxy> {
        if text == "unix" { Ok(Self::Unix) } else { text.parse().map(Self::Network) }
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differs = u32::from(ours) ^ u32::from(theirs);
                differs.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differs = u128::from(ours) ^ u128::from(theirs);
                differs.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NoProxy;

    fn from_str(text: &str) -> Result<Self, NoProxy> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoProxy)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or(NoProxy)?
            }
            Some(_) => return Err(NoProxy),
        };
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl TrustedProxies {
    /// These proxies, which name their client in this header: `Forwarded` (RFC 7239), or a list of addresses such
    /// as `X-Forwarded-For`.
    pub fn new(proxies: impl IntoIterator<Item = TrustedProxy>, header: HeaderName) -> Self {
        let (mut networks, mut unix) = (Vec::new(), false);
        for proxy in proxies {
            match proxy {
                TrustedProxy::Network(network) => networks.push(network),
                TrustedProxy::Unix => unix = true,
            }
        }
        Self(Arc::new(ProxySettings { networks, unix, header }))
    }

    /// Whether a proxy at this address is trusted.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.networks.iter().any(|network| network.contains(address))
    }

    /// The client that trusted proxies name: the rightmost address in the header that is not a trusted proxy's. An
    /// entry that is not an address ends the search at the proxy that wrote it. `None` if the peer is not trusted
    /// or names no client.
    pub(crate) fn client_of(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        let trusted = match peer {
            Peer::Tcp(address) => self.trust(address.ip()),
            Peer::Unix => self.0.unix,
        };
        if !trusted {
            return None;
        }
        let mut nearest = None;
        // Several header lines of one name are one list (RFC 9110 section 5.3).
        for value in headers.get_all(&self.0.header).iter().rev() {
            // A client may send any bytes; they make an entry unreadable, not the whole line.
            let value = String::from_utf8_lossy(value.as_bytes());
            let forwarded = self.0.header == "forwarded";
            for entry in split(&value, ',', forwarded) {
                let entry = if forwarded { element(entry) } else { node(trim(entry)) };
                let Some(address) = entry else { return nearest };
                nearest = Some(address);
                if !self.trust(address) {
                    return nearest;
                }
            }
        }
        nearest
    }
}

/// The `for` of one element of a `Forwarded` header (RFC 7239 section 4).
fn element(element: &str) -> Option<IpAddr> {
    let mut clients = split(element, ';', true).filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        trim(name).eq_ignore_ascii_case("for").then_some(trim(value))
    });
    let client = clients.next()?;
    // Two of them are ambiguous, so neither counts.
    if clients.next().is_some() {
        return None;
    }
    node(client.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(client))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Splits from the right, and with `quotes` only outside quotes. From the left, a quote that the client opened and did
/// not close would swallow what the proxies added behind it.
fn split(text: &str, at: char, quotes: bool) -> impl Iterator<Item = &str> {
    let mut left = Some(text);
    std::iter::from_fn(move || {
        let text = left?;
        let mut within = false;
        for (place, character) in text.char_indices().rev() {
            if character == '"' && quotes {
                let backslashes = text[..place].bytes().rev().take_while(|byte| *byte == b'\\');
                if !within || backslashes.count() % 2 == 0 {
                    within = !within;
                }
            } else if character == at && !within {
                left = Some(&text[..place]);
                return Some(&text[place + 1..]);
            }
        }
        left = None;
        Some(text)
    })
}

/// Parses an address with an optional port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().ok()?.into(),
        None => text
            .parse::<IpAddr>()
            .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
            .ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(header: &'static str, peer: &str, lines: &[&str], expected: Option<&str>) {
        let proxies = ["10.0.0.0/8", "2001:db8:1::/48", "unix"].map(|proxy| proxy.parse().unwrap());
        let name = HeaderName::from_static(header);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_str(line).unwrap());
        }
        let peer = match peer {
            "unix" => Peer::Unix,
            address => Peer::Tcp(SocketAddr::new(address.parse().unwrap(), 5)),
        };
        let found = TrustedProxies::new(proxies, name).client_of(peer, &headers);
        assert_eq!(found.map(|address| address.to_string()).as_deref(), expected, "{lines:?}");
    }

    #[test]
    fn the_rightmost_address_that_is_not_a_trusted_proxy_is_the_client() {
        let header = "x-forwarded-for";
        let cases: [(&str, &[&str], Option<&str>); 18] = [
            ("203.0.113.9", &["192.0.2.1"], None),
            ("10.1.2.3", &[], None),
            ("10.1.2.3", &["192.0.2.1"], Some("192.0.2.1")),
            ("unix", &["192.0.2.1"], Some("192.0.2.1")),
            ("::ffff:10.1.2.3", &["192.0.2.1"], Some("192.0.2.1")),
            // Entries that the client itself wrote are on the left.
            ("10.1.2.3", &["6.6.6.6, 192.0.2.1"], Some("192.0.2.1")),
            ("10.1.2.3", &["6.6.6.6, 192.0.2.1, 10.9.9.9"], Some("192.0.2.1")),
            ("10.1.2.3", &["6.6.6.6", "192.0.2.1", "10.9.9.9"], Some("192.0.2.1")),
            ("10.1.2.3", &["10.0.0.1, 10.0.0.2"], Some("10.0.0.1")),
            // An entry that is not an address ends the search.
            ("10.1.2.3", &["192.0.2.1, unknown"], None),
            ("10.1.2.3", &["192.0.2.1, , 10.0.0.2"], Some("10.0.0.2")),
            ("10.1.2.3", &[""], None),
            ("10.1.2.3", &["192.0.2.1:4711"], Some("192.0.2.1")),
            ("10.1.2.3", &["[2001:db8::7]:4711, 2001:db8:1::2"], Some("2001:db8::7")),
            ("10.1.2.3", &["[2001:db8::7]"], Some("2001:db8::7")),
            ("10.1.2.3", &["::ffff:192.0.2.1"], Some("192.0.2.1")),
            // A client cannot hide what proxies add behind its own text.
            ("10.1.2.3", &["\u{e9}, 192.0.2.1"], Some("192.0.2.1")),
            ("10.1.2.3", &["\", 192.0.2.1"], Some("192.0.2.1")),
        ];
        for (peer, lines, expected) in cases {
            check(header, peer, lines, expected);
        }
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_says() {
        let cases: [(&str, Option<&str>); 10] = [
            ("for=192.0.2.1", Some("192.0.2.1")),
            ("For=\"[2001:db8::7]:4711\";proto=https", Some("2001:db8::7")),
            ("for=6.6.6.6, proto=http;for=192.0.2.1;by=10.0.0.1, for=10.2.2.2", Some("192.0.2.1")),
            ("for=192.0.2.1, for=_hidden", None),
            ("for=192.0.2.1, for=unknown, for=10.2.2.2", Some("10.2.2.2")),
            ("for=\"192.0.2.1, for=6.6.6.6\"", None),
            ("for=192.0.2.1, proto=https", None),
            ("for=192.0.2.1;for=6.6.6.6", None),
            ("for=\"6.6.6.6, for=192.0.2.1", Some("192.0.2.1")),
            ("\u{e9}\"a\\, for=\"[2001:db8::7]\"", Some("2001:db8::7")),
        ];
        for (line, expected) in cases {
            check("forwarded", "10.1.2.3", &[line], expected);
        }
    }

    #[test]
    fn a_network_is_an_address_and_a_number_of_bits() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
        ];
        for (network, address, expected) in cases {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network} {address}");
        }
        for wrong in
            ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "::/129", "10.0.0.0/+8", "Unix", "a"]
        {
            assert_eq!(wrong.parse::<TrustedProxy>(), Err(NoProxy), "{wrong:?}");
        }
    }
}

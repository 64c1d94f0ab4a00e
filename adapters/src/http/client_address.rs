use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use axum::http::{Extensions, HeaderMap};

use super::TrustedProxies;
use super::server::Peer;

/// The address of a request's client, as far as it is known: an extension of each request, for limits and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientAddress {
    address: IpAddr,
    may_be_proxy: bool,
}

impl ClientAddress {
    /// The client that trusted proxies name, or else the other end of the connection.
    pub(crate) fn new(peer: Peer, headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        match proxies.client_of(peer, headers) {
            Some(address) => Self::at(address, proxies),
            None => Self::from_peer(peer, proxies),
        }
    }

    /// The other end of the connection, regardless of its requests' headers.
    pub(crate) fn from_peer(peer: Peer, proxies: &TrustedProxies) -> Self {
        match peer {
            Peer::Tcp(address) => Self::at(address.ip(), proxies),
            Peer::Unix => Self::UNKNOWN,
        }
    }

    fn at(address: IpAddr, proxies: &TrustedProxies) -> Self {
        let address = address.to_canonical();
        Self { address, may_be_proxy: is_private(address) || proxies.trust(address) }
    }

    /// No address. All such clients are counted as one.
    pub(crate) const UNKNOWN: Self =
        Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), may_be_proxy: true };

    /// The address that limits count.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether many clients may share this address: it belongs to a trusted proxy that named no client, to this
    /// machine, or to a private network.
    pub(crate) fn may_be_proxy(&self) -> bool {
        self.may_be_proxy
    }

    /// For logs.
    pub(crate) fn shown(&self) -> impl fmt::Display {
        struct Shown(IpAddr);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.0.is_unspecified() { f.write_str("unknown") } else { self.0.fmt(f) }
            }
        }
        Shown(self.address)
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// The client of a request. If the server does not set it (ours does), all clients are counted as one.
pub(crate) fn client(extensions: &Extensions) -> ClientAddress {
    extensions.get().copied().unwrap_or(ClientAddress::UNKNOWN)
}

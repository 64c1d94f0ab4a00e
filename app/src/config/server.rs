//! How the process behaves towards the network: where it listens, which proxies it trusts, which web pages may
//! connect.

use std::net::SocketAddr;
use std::path::PathBuf;

use doorstep_adapters::http::{AllowedOrigins, HeaderName, TrustedProxy};
use doorstep_adapters::tls::TlsFiles;

use super::reader::SettingReader;
use super::value::{OptionalText, SettingValue, Shape, Span};

/// The `[server]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerConfig {
    /// The longest that a stop may take.
    pub(crate) stop_within: Span,
    /// Over how long a stop spreads the closing of connections.
    pub(crate) drain: Span,
    /// Web pages of these origins may receive notifications here, in addition to the server's own.
    pub(crate) allowed_origins: AllowedOrigins,
    /// The proxies whose header about the client's address is believed.
    pub(crate) trusted_proxies: Proxies,
    /// The header in which trusted proxies give the client's address.
    pub(crate) client_address_header: HeaderName,
    /// How long an idle connection stays open for another request.
    pub(crate) keep_alive: Span,
    pub(crate) tls: TlsConfig,
}

/// The certificate with which TLS is spoken. Both are empty, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    /// The file of the certificate.
    cert: OptionalText,
    /// The file of its key.
    key: OptionalText,
}

impl ServerConfig {
    pub(super) fn read(reader: &mut SettingReader) -> Self {
        let key = |name| ["server", name];
        let header = HeaderName::from_static("x-forwarded-for");
        Self {
            stop_within: reader.read(&key("stop_within"), Span::from_secs(10)),
            drain: reader.read(&key("drain"), Span::from_secs(3)),
            allowed_origins: reader.read(&key("allowed_origins"), AllowedOrigins::default()),
            trusted_proxies: reader.read(&key("trusted_proxies"), Proxies::default()),
            client_address_header: reader.read(&key("client_address_header"), header),
            keep_alive: reader.read(&key("keep_alive"), Span::from_secs(75)),
            tls: TlsConfig::read(reader),
        }
    }
}

impl TlsConfig {
    fn read(reader: &mut SettingReader) -> Self {
        let key = |name| ["server", "tls", name];
        Self {
            cert: reader.read(&key("cert"), OptionalText::default()),
            key: reader.read(&key("key"), OptionalText::default()),
        }
    }

    /// Returns the files, if TLS is spoken.
    pub(crate) fn files(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.cert.text().zip(self.key.text())?;
        Some(TlsFiles { certificate: certificate.into(), key: key.into() })
    }

    /// Returns why these settings cannot be used, if they cannot. The files are not read.
    pub(super) fn problem(&self, listen: &Listen) -> Option<String> {
        match (self.cert.0.as_str(), self.key.0.as_str(), listen) {
            ("", "", _) => None,
            (cert, "", _) => Some(format!(
                "server.tls.cert = {cert:?}, but server.tls.key is not set: give the file of the certificate's key, or \
                 neither of the two"
            )),
            ("", key, _) => Some(format!(
                "server.tls.key = {key:?}, but server.tls.cert is not set: give the file of the key's certificate, or \
                 neither of the two"
            )),
            (_, _, Listen::Unix(path)) => Some(format!(
                "server.tls is for TCP, and listen is the Unix socket {}: listen on an address, or remove server.tls and \
                 let the proxy in front speak TLS",
                path.display()
            )),
            (_, _, Listen::Tcp(_)) => None,
        }
    }
}

/// Where HTTP is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl SettingValue for Listen {
    const EXPECTED: &'static str = "an address and a port, like \"127.0.0.1:3000\" (port 0 picks a free one), or the \
         path of a Unix socket, like \"unix:/run/doorstep.sock\"";
    const SHAPE: Shape = Shape::Pattern("^(unix:.+|.+:[0-9]+)$");

    fn from_text(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some("") => None,
            Some(path) => Some(Self::Unix(path.into())),
            None => SocketAddr::from_text(text).map(Self::Tcp),
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

impl SettingValue for SocketAddr {
    const EXPECTED: &'static str = "an address and a port, like \"127.0.0.1:9100\"";

    fn from_text(text: &str) -> Option<Self> {
        // The only host name that means the same on every machine.
        let text = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        text.parse().ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

/// An address to listen on; empty means none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OwnAddress(pub(crate) Option<SocketAddr>);

impl SettingValue for OwnAddress {
    const EXPECTED: &'static str = <SocketAddr as SettingValue>::EXPECTED;
    const SHAPE: Shape = Shape::Pattern("^(|.+:[0-9]+)$");

    fn from_text(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(None));
        }
        SocketAddr::from_text(text).map(|address| Self(Some(address)))
    }

    fn to_text(&self) -> String {
        self.0.map_or_else(String::new, |address| address.to_string())
    }
}

/// Trusted proxies. An empty list trusts nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Proxies(pub(crate) Vec<TrustedProxy>);

impl SettingValue for Proxies {
    const EXPECTED: &'static str = "a list of addresses, networks and \"unix\", like [\"10.0.0.0/8\", \"unix\"] or \"10.0.0.0/8,unix\"";
    const SHAPE: Shape = Shape::List;

    fn from_text(text: &str) -> Option<Self> {
        let proxies = text.split(',').map(str::trim).filter(|proxy| !proxy.is_empty());
        proxies.map(|proxy| proxy.parse().ok()).collect::<Option<_>>().map(Self)
    }

    fn to_text(&self) -> String {
        let proxies: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        proxies.join(",")
    }
}

impl SettingValue for HeaderName {
    const EXPECTED: &'static str =
        "the name of a header, like \"X-Forwarded-For\", \"Forwarded\" or \"CF-Connecting-IP\"";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for AllowedOrigins {
    const EXPECTED: &'static str = "a list of origins without a path, like [\"https://app.example.com\", \
         \"https://*.example.com\", \"capacitor://localhost\"], or the same in one string with commas";
    const SHAPE: Shape = Shape::List;

    fn from_text(text: &str) -> Option<Self> {
        let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        Self::parse(origins).ok()
    }

    fn to_text(&self) -> String {
        self.to_string()
    }
}

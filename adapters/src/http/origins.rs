use std::fmt;
use std::sync::Arc;

#[cfg(feature = "websocket")]
use axum::http::{HeaderMap, header};
use url::{Host, Url};

/// Origins of web pages that may use this server, in addition to its own pages. Every transport compares origins
/// with this.
///
/// ```
/// # use doorstep_adapters::http::AllowedOrigins;
/// let allowed = AllowedOrigins::parse(["https://*.example.com", "capacitor://localhost"]).unwrap();
/// assert!(allowed.contain("https://APP.example.com:443"));
/// assert!(!allowed.contain("https://example.com"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigins(Arc<[Allowed]>);

impl Default for AllowedOrigins {
    /// None.
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    origin: Origin,
    /// Matches every subdomain of the host, and not the host itself.
    subdomains: bool,
}

/// An origin in the one form in which it is compared (RFC 6454 section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    /// In lower case; international names in their ASCII form.
    host: String,
    /// The scheme's default where none is written, if it has one.
    port: Option<u16>,
}

/// The text is not an origin that a browser could send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin that a browser sends")]
pub struct NoOrigin(String);

impl AllowedOrigins {
    /// Parses origins: `https://app.example.com`, with a port if it is not the scheme's default;
    /// `https://*.example.com` for every subdomain; `capacitor://localhost` and the like for apps.
    pub fn parse<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self, NoOrigin> {
        let allowed = |text: &str| {
            let (subdomains, rest) = match text.split_once("://*.") {
                Some((scheme, rest)) => (true, format!("{scheme}://{rest}")),
                None => (false, text.to_owned()),
            };
            let origin = Origin::parse(&rest)
                .filter(|origin| !subdomains || origin.host.parse::<std::net::Ipv4Addr>().is_err());
            origin.map(|origin| Allowed { origin, subdomains }).ok_or(NoOrigin(text.to_owned()))
        };
        origins.into_iter().map(allowed).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this origin, as a browser writes it in `Origin`, is one of them.
    pub fn contain(&self, origin: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Some(theirs) = Origin::parse(origin) else { return false };
        self.0.iter().any(|allowed| {
            let ours = &allowed.origin;
            let host = if allowed.subdomains {
                let below = theirs.host.strip_suffix(&ours.host);
                below.is_some_and(|below| below.len() > 1 && below.ends_with('.'))
            } else {
                theirs.host == ours.host
            };
            host && (&theirs.scheme, theirs.port) == (&ours.scheme, ours.port)
        })
    }
}

impl fmt::Display for AllowedOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Allowed { origin, subdomains }) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let star = if *subdomains { "*." } else { "" };
            write!(f, "{comma}{}://{star}{}", origin.scheme, origin.host)?;
            if let Some(port) =
                origin.port.filter(|port| default_port(&origin.scheme) != Some(*port))
            {
                write!(f, ":{port}")?;
            }
        }
        Ok(())
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

impl Origin {
    /// Parses an origin that a browser may send. Text with a path, a user or a query is not an origin; neither are
    /// schemes without pages, or whose pages have the origin `null`.
    fn parse(text: &str) -> Option<Self> {
        const WITHOUT_PAGES: [&str; 8] =
            ["about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"];
        let (scheme, authority) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let begins = scheme.starts_with(|c: char| c.is_ascii_lowercase());
        let goes_on = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let in_the_way = |c: char| c.is_whitespace() || c.is_control() || "/\\?#@*%".contains(c);
        if !begins
            || !scheme.chars().all(goes_on)
            || WITHOUT_PAGES.contains(&scheme.as_str())
            || authority.contains(in_the_way)
        {
            return None;
        }
        if default_port(&scheme).is_some() {
            let url = Url::parse(&format!("{scheme}://{authority}")).ok()?;
            let host = match url.host()? {
                // A trailing dot means the same name, but browsers keep it.
                Host::Domain(name) => name.to_owned(),
                Host::Ipv4(address) => address.to_string(),
                Host::Ipv6(address) => format!("[{address}]"),
            };
            return Some(Self { scheme, host, port: url.port_or_known_default() });
        }
        // In other schemes, the part before the path belongs to the app: only its case is normalised.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (authority, None),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(plain) {
            return None;
        }
        Some(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

/// Whether the page that sends a request may connect: it is the server's own, or allowed. A client that is not a
/// page (no `Origin`) may connect; a page that hides its origin (`null`) may not.
#[cfg(feature = "websocket")]
pub(crate) fn origin_may_connect(headers: &HeaderMap, allowed: &AllowedOrigins) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return true };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
    allowed.contain(origin) || is_own(headers, origin)
}

/// Whether this is the origin of the server's own pages: the host and port in the request itself. Behind a proxy
/// that terminates TLS the browser's scheme is unknown, so both are accepted.
#[cfg(feature = "websocket")]
fn is_own(headers: &HeaderMap, origin: &str) -> bool {
    let theirs = Origin::parse(origin).filter(|theirs| default_port(&theirs.scheme).is_some());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let (Some(theirs), Some(host)) = (theirs, host) else { return false };
    // A missing port is the scheme's default, in a `Host` as in an origin.
    Origin::parse(&format!("{}://{host}", theirs.scheme)).is_some_and(|ours| ours == theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_in_one_form() {
        let allowed = AllowedOrigins::parse([
            "https://App.Example.com:443",
            "http://localhost:5173",
            "https://b\u{fc}cher.example",
            "https://*.sub.example.com:8443",
            "capacitor://localhost",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnop",
            "http://[2001:DB8::1]",
        ])
        .unwrap();
        let cases = [
            ("https://app.example.com", true),
            ("https://app.example.com:443", true),
            ("https://APP.example.com", true),
            ("http://app.example.com", false),
            ("https://app.example.com:444", false),
            ("https://app.example.com.evil.example", false),
            ("https://evil.example/?https://app.example.com", false),
            ("http://localhost:5173", true),
            ("http://localhost", false),
            ("https://xn--bcher-kva.example", true),
            ("https://a.sub.example.com:8443", true),
            ("https://a.b.sub.example.com:8443", true),
            ("https://sub.example.com:8443", false),
            ("https://.sub.example.com:8443", false),
            ("https://evilsub.example.com:8443", false),
            ("https://a.sub.example.com", false),
            ("capacitor://localhost", true),
            ("tauri://localhost", true),
            ("tauri://evil", false),
            ("chrome-extension://abcdefghijklmnop", true),
            ("moz-extension://abcdefghijklmnop", false),
            ("http://[2001:db8::1]", true),
            ("null", false),
            ("", false),
            ("*", false),
        ];
        for (origin, expected) in cases {
            assert_eq!(allowed.contain(origin), expected, "{origin:?}");
        }
        let written = allowed.to_string();
        assert!(written.starts_with("https://app.example.com,http://localhost:5173,"), "{written}");
        assert_eq!(AllowedOrigins::parse(written.split(',')), Ok(allowed));
    }

    #[test]
    fn text_that_no_browser_sends_is_refused() {
        let wrong = [
            "*",
            "null",
            "app.example.com",
            "https://",
            "https://*",
            "https://*.",
            "https://*.192.0.2.1",
            "https://app.*.example.com",
            "https://*app.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://user@app.example.com",
            "https://app.example.com?x",
            "https://app.example.com#x",
            "https://app.example.com:99999",
            "https://two words.example",
            "wss://app.example.com",
            "file://localhost",
            "capacitor://",
            "1x://localhost",
        ];
        for origin in wrong {
            assert!(AllowedOrigins::parse([origin]).is_err(), "{origin:?}");
        }
    }

    #[test]
    #[cfg(feature = "websocket")]
    fn a_servers_own_pages_have_the_host_and_port_of_the_request() {
        let cases = [
            ("door.example:3000", "http://door.example:3000", true),
            ("door.example:3000", "https://DOOR.example:3000", true),
            ("door.example", "https://door.example", true),
            ("door.example:443", "https://door.example", true),
            ("door.example", "https://door.example:443", true),
            ("door.example:80", "http://door.example", true),
            ("door.example:443", "http://door.example", false),
            ("door.example:3000", "http://door.example", false),
            ("door.example", "capacitor://door.example", false),
            ("door.example", "ftp://door.example", false),
            ("door.example:3000", "door.example:3000", false),
            ("door.example", "https://evil.example", false),
            ("user@door.example", "https://door.example", false),
            ("", "https://", false),
        ];
        for (host, origin, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            let may = origin_may_connect(&headers, &AllowedOrigins::default());
            assert_eq!(may, expected, "{host} {origin}");
        }
        let mut headers = HeaderMap::new();
        assert!(origin_may_connect(&headers, &AllowedOrigins::default()), "no page");
        headers.insert(header::HOST, "door.example".parse().unwrap());
        for _ in 0..2 {
            headers.append(header::ORIGIN, "https://door.example".parse().unwrap());
        }
        assert!(!origin_may_connect(&headers, &AllowedOrigins::default()), "two of them");
    }
}

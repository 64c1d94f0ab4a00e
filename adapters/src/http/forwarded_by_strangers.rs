//! Headers about the client's address that nobody has written down. What a client sends stands on the left, and what
//! trusted proxies add, on the right: nothing on the left may hide it.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::sample::select;

use super::TrustedProxies;
use super::mutated::{Mutated, mutated};
use super::server::Peer;

const LIST: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

const EXAMPLES: &[&str] = &[
    "192.0.2.1, 10.0.0.2",
    "[2001:db8::7]:4711, 2001:db8:1::2 ,10.1.1.1:80",
    "for=192.0.2.1, proto=http;for=\"192.0.2.9:80\";by=10.0.0.1, For=10.2.2.2",
    "for=\"[2001:db8::7]:4711\";proto=https, for=\"[2001:db8:1::2]\"",
    "for=_hidden;host=\"a, \\\"b; c\", for=unknown",
];

const WORDS: &[&str] = &[
    ",",
    ";",
    "\"",
    "\\",
    "\\\"",
    "=",
    "for=",
    "FOR=",
    "by=",
    "proto=https",
    "unknown",
    "_a",
    " ",
    "\t",
    "[",
    "]",
    ":",
    "::",
    "10.0.0.1",
    "192.0.2.7",
    "2001:db8:1::9",
    "::ffff:10.0.0.1",
    "65536",
    ":80",
    "%eth0",
    "1",
    ".",
    "é",
    "\u{a0}",
];

fn trusted(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets()[0] == 10,
        IpAddr::V6(v6) => v6.segments()[..3] == [0x2001, 0xdb8, 1],
    }
}

/// The client in these lines of a header, of a request that comes from a trusted proxy.
fn client(header: &'static str, lines: &[&[u8]]) -> Option<IpAddr> {
    let proxies = ["10.0.0.0/8", "2001:db8:1::/48"].map(|proxy| proxy.parse().expect("a network"));
    let header = HeaderName::from_static(header);
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header.clone(), value);
        }
    }
    let peer = Peer::Tcp(SocketAddr::from(([10, 0, 0, 1], 5)));
    TrustedProxies::new(proxies, header).client_of(peer, &headers)
}

/// An address with an optional port, as the list of addresses has it.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?;
    let bare: Option<IpAddr> = entry.parse().ok();
    let with_port = || entry.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || {
        let inside = entry.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse().ok().filter(IpAddr::is_ipv6)
    };
    bare.or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

/// The rule, over entries that have been read, from the left.
fn walk(entries: &[Option<IpAddr>]) -> Option<IpAddr> {
    let mut found = None;
    for entry in entries.iter().rev() {
        match entry {
            None => return found,
            Some(address) if trusted(*address) => found = Some(*address),
            client => return *client,
        }
    }
    found
}

pub(crate) fn check_list(line: &[u8]) {
    if HeaderValue::from_bytes(line).is_err() {
        return;
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let trim = |entry: &[u8]| {
        let begin = entry.iter().position(|byte| !blank(byte)).unwrap_or(entry.len());
        let end = entry.iter().rposition(|byte| !blank(byte)).map_or(begin, |last| last + 1);
        address(&entry[begin..end])
    };
    let entries: Vec<_> = line.split(|byte| *byte == b',').map(trim).collect();
    let shown = String::from_utf8_lossy(line);
    assert_eq!(client(LIST, &[line]), walk(&entries), "{shown:?}");
    // Several lines are one list: cut it at any comma.
    for (at, _) in line.iter().enumerate().filter(|(_, byte)| **byte == b',') {
        let lines = [&line[..at], &line[at + 1..]];
        assert_eq!(client(LIST, &lines), walk(&entries), "{shown:?} cut at {at}");
    }
}

/// What a trusted proxy adds for this client, or for a proxy before it, and the address that it means.
fn element() -> impl Strategy<Value = (String, Option<IpAddr>)> {
    let address =
        select(&["192.0.2.1", "10.0.0.7", "2001:db8::7", "2001:db8:1::3", "203.0.113.200"][..]);
    let port = select(&["", ":80", ":65535"][..]);
    let name = select(&["for", "For", "FOR"][..]);
    let before = select(
        &["", "proto=https;", "by=\"[::1]:1\";", "host=\"a, b; for=6.6.6.6\";", "ext=\"\\\"\" ;"][..],
    );
    let after = select(&["", ";proto=http", "; host=\"x,y\"", ";by=_me"][..]);
    let known =
        (address, port, name, before, after).prop_map(|(address, port, name, before, after)| {
            let parsed: IpAddr = address.parse().expect("an address");
            let node = match parsed {
                IpAddr::V4(_) if port.is_empty() => address.to_owned(),
                IpAddr::V4(_) => format!("\"{address}{port}\""),
                IpAddr::V6(_) => format!("\"[{address}]{port}\""),
            };
            (format!("{before}{name}={node}{after}"), Some(parsed))
        });
    let hidden = select(
        &["for=unknown", "for=_x", "proto=https", "for=1.2.3.4;for=1.2.3.4", "for=\"1.2.3.4, x\""]
            [..],
    );
    prop_oneof![5 => known, 1 => hidden.prop_map(|text| (text.to_owned(), None))]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_500) })]

    #[test]
    fn a_list_has_the_client_that_the_rule_names(Mutated(line) in mutated(EXAMPLES, WORDS)) {
        check_list(&line);
    }

    #[test]
    fn elements_of_proxies_have_the_client_that_the_rule_names(
        elements in prop::collection::vec(element(), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let meant: Vec<_> = elements.iter().map(|(_, address)| *address).collect();
        let texts: Vec<_> = elements.into_iter().map(|(text, _)| text).collect();
        let line = texts.join(", ");
        prop_assert_eq!(client(FORWARDED, &[line.as_bytes()]), walk(&meant), "{}", line);
        let (one, other) = texts.split_at(cut.index(texts.len()));
        let lines = [one.join(" ,"), other.join(",")];
        let lines: Vec<_> = lines.iter().filter(|line| !line.is_empty()).map(String::as_bytes).collect();
        prop_assert_eq!(client(FORWARDED, &lines), walk(&meant), "{:?}", lines);
    }

    #[test]
    fn what_a_client_sends_does_not_hide_what_proxies_add(
        Mutated(sent) in mutated(EXAMPLES, WORDS),
        elements in prop::collection::vec(element(), 0..3),
        list in any::<bool>(),
    ) {
        let header = if list { LIST } else { FORWARDED };
        let mut added: Vec<String> = elements
            .into_iter()
            .filter_map(|(text, address)| address.map(|address| if list { address.to_string() } else { text }))
            .collect();
        added.insert(0, if list { "198.51.100.3" } else { "for=198.51.100.3" }.to_owned());
        let added = added.join(", ");
        let line = [sent.as_slice(), b", ", added.as_bytes()].concat();
        if HeaderValue::from_bytes(&line).is_ok() {
            let expected = client(header, &[added.as_bytes()]);
            prop_assert_eq!(client(header, &[&line]), expected, "{}", String::from_utf8_lossy(&line));
        }
    }
}

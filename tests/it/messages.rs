//! What RFC 9112 (HTTP/1.1) and RFC 6455 (WebSocket) require of a server that receives a request, one line per
//! rule.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::node::Node;

/// Sends this message, closes its side, and reads all responses.
async fn ask(node: &Node, message: &str) -> String {
    let mut client = TcpStream::connect(node.address).await.unwrap();
    client.write_all(message.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// As [`ask`], but ends its half only when the answer has begun: a client that leaves while its session is looked up
/// is answered nothing.
async fn ask_and_stay(node: &Node, message: &str) -> String {
    let mut client = TcpStream::connect(node.address).await.unwrap();
    client.write_all(message.as_bytes()).await.unwrap();
    client.readable().await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of all responses.
fn statuses(answers: &str) -> Vec<u16> {
    let heads = answers.split("HTTP/1.1 ").skip(1);
    heads.map(|head| head.split(' ').next().unwrap().parse().unwrap()).collect()
}

async fn check(node: &Node, section: &str, message: &str, expected: &[u16]) {
    let answers = ask(node, message).await;
    assert_eq!(statuses(&answers), expected, "section {section}: {message:?}: {answers}");
}

/// Would be taken for a second request if the server misread the length of the first one.
const NEXT: &str = "GET /health/live HTTP/1.1\r\nHost: door\r\n\r\n";

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a list of rules, one line each")]
async fn rfc_9112_is_kept() {
    let node = Node::start().await;
    let get = |rest: &str| format!("GET /health/live HTTP/1.1\r\n{rest}\r\n");
    let rules: Vec<(&str, String, &[u16])> = vec![
        // Section 2.2: messages.
        ("2.2", format!("\r\n{}", get("Host: door\r\n")), &[200]),
        ("2.2, white space before the first field", get(" Host: door\r\n"), &[400]),
        ("2.2, a bare CR", get("Host: door\r\nx: a\rb\r\n"), &[400]),
        ("2.3, a version that is not known", "GET / HTTP/3.7\r\nHost: door\r\n\r\n".into(), &[400]),
        // Section 3: the request line.
        ("3, no version", "GET /\r\n\r\n".into(), &[400]),
        ("3, spaces in the target", "GET /a b HTTP/1.1\r\nHost: door\r\n\r\n".into(), &[400]),
        (
            "3, too long a target",
            format!("GET /{} HTTP/1.1\r\nHost: door\r\n\r\n", "x".repeat(9000)),
            &[414],
        ),
        ("3.1, a method that is not known", format!("BREW{}", &get("Host: door\r\n")[3..]), &[405]),
        ("3.1, methods have a case", format!("get{}", &get("Host: door\r\n")[3..]), &[405]),
        // Section 3.2: Host.
        ("3.2, one Host", get("Host: door\r\n"), &[200]),
        ("3.2, with a port", get("Host: door:3000\r\n"), &[200]),
        ("3.2, an address", get("Host: [::1]:3000\r\n"), &[200]),
        ("3.2, an empty one", get("Host:\r\n"), &[200]),
        ("3.2, none", get(""), &[400]),
        ("3.2, two", get("Host: door\r\nHost: door\r\n"), &[400]),
        ("3.2, two that differ", get("Host: door\r\nHost: evil\r\n"), &[400]),
        ("3.2, two in one", get("Host: door, evil\r\n"), &[400]),
        ("3.2, a path", get("Host: door/evil\r\n"), &[400]),
        ("3.2, a user", get("Host: user@door\r\n"), &[400]),
        ("3.2, no port", get("Host: door:port\r\n"), &[400]),
        ("3.2, a space", get("Host: do or\r\n"), &[400]),
        ("3.2, HTTP/1.0 needs none", "GET /health/live HTTP/1.0\r\n\r\n".into(), &[]),
        (
            "3.2.2, the absolute form",
            "GET http://door/health/live HTTP/1.1\r\nHost: door\r\n\r\n".into(),
            &[200],
        ),
        ("3.2.3, nobody tunnels", "CONNECT door:80 HTTP/1.1\r\nHost: door:80\r\n\r\n".into(), &[404]),
        // Section 5: fields.
        ("5, no space before the colon", get("Host : door\r\n"), &[400]),
        ("5, a line without a colon", get("Host: door\r\nnothing\r\n"), &[400]),
        ("5.2, no folded lines", get("Host: door\r\nx: a\r\n b\r\n"), &[400]),
        // Section 6: the length of the body. After an ambiguous length nothing more is read. A `Content-Length` next to
        // a `Transfer-Encoding` may be ignored if the connection is closed: 415 says that the request has no type.
        (
            "6.1, both",
            format!(
                "POST /v1/users HTTP/1.1\r\nHost: door\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{NEXT}"
            ),
            &[415],
        ),
        (
            "6.1, both the other way round",
            format!(
                "POST /v1/users HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{NEXT}"
            ),
            &[415],
        ),
        (
            "6.1, a coding that is not known",
            format!(
                "POST /v1/users HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{NEXT}"
            ),
            &[501],
        ),
        (
            "6.1, chunked is not the last",
            format!(
                "POST /v1/users HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n{NEXT}"
            ),
            &[400],
        ),
        (
            "6.1, not in HTTP/1.0",
            format!(
                "POST /v1/users HTTP/1.0\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{NEXT}"
            ),
            &[400],
        ),
        (
            "6.3, two lengths",
            format!(
                "POST /v1/users HTTP/1.1\r\nHost: door\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello{NEXT}"
            ),
            &[400],
        ),
        (
            "6.3, no length",
            format!("POST /v1/users HTTP/1.1\r\nHost: door\r\nContent-Length: -5\r\n\r\n{NEXT}"),
            &[400],
        ),
        (
            "6.3, a sign",
            format!("POST /v1/users HTTP/1.1\r\nHost: door\r\nContent-Length: +5\r\n\r\nhello{NEXT}"),
            &[400],
        ),
        (
            "6.3, a body that breaks off",
            "POST /v1/users HTTP/1.1\r\nHost: door\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{".into(),
            &[400],
        ),
        // Section 7.1: chunks.
        (
            "7.1, extensions and trailers are ignored",
            format!(
                "POST /v1/users HTTP/1.1\r\nHost: door\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{{}}\r\n0\r\nx: y\r\n\r\n{NEXT}"
            ),
            &[422, 200],
        ),
        (
            "7.1, a size that is none",
            format!(
                "POST /v1/users HTTP/1.1\r\nHost: door\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n{{}}\r\n0\r\n\r\n{NEXT}"
            ),
            &[400],
        ),
        // Section 9: connections.
        ("9.3, kept for the next", format!("{NEXT}{NEXT}"), &[200, 200]),
        ("9.6, closed if it is asked for", format!("{}{NEXT}", get("Host: door\r\nConnection: close\r\n")), &[200]),
    ];
    for (section, message, expected) in &rules {
        if section.contains("HTTP/1.0 needs none") {
            let answer = ask(&node, message).await;
            assert!(answer.starts_with("HTTP/1.0 200"), "{section}: {answer}");
            continue;
        }
        check(&node, section, message, expected).await;
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let node = Node::start().await;
    let answer = ask(&node, "HEAD /health/live HTTP/1.1\r\nHost: door\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn the_opening_handshake_of_rfc_6455_is_kept() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    let token = format!("Authorization: Bearer {}\r\n", ada.token);
    let good = [
        "Host: door\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 13\r\n",
    ];
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    // Section 4.2.1: a line of a valid handshake, its replacement, and the expected status.
    let rules = [
        ("nothing", "", "", 101),
        (
            "a list of tokens, in any case",
            "Connection: Upgrade\r\n",
            "connection: keep-alive, UPGRADE\r\n",
            101,
        ),
        ("no Upgrade", good[1], "", 426),
        ("another Upgrade", good[1], "Upgrade: h2c\r\n", 426),
        ("no Connection", good[2], "", 426),
        ("another Connection", good[2], "Connection: close\r\n", 426),
        ("no key", key, "", 400),
        ("an empty key", key, "Sec-WebSocket-Key:\r\n", 400),
        ("15 bytes", key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n", 400),
        ("17 bytes", key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU=\r\n", 400),
        ("not Base64", key, "Sec-WebSocket-Key: !GhlIHNhbXBsZSBub25jZQ==\r\n", 400),
        ("bits that do not count", key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n", 400),
        (
            "two keys",
            key,
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            400,
        ),
        ("no version", good[4], "", 426),
        ("another version", good[4], "Sec-WebSocket-Version: 8\r\n", 426),
        ("two versions", good[4], "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n", 426),
        ("no Host", good[0], "", 400),
    ];
    for (what, line, instead, expected) in rules {
        let lines: String =
            good.iter().map(|good| if *good == line { instead } else { good }).collect();
        let message = format!("GET /v1/ws HTTP/1.1\r\n{lines}{token}\r\n");
        let answer = ask_and_stay(&node, &message).await;
        assert_eq!(statuses(&answer), [expected], "{what}: {answer}");
        let head = answer.to_lowercase();
        match expected {
            101 => assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{what}: {answer}"),
            426 => assert!(
                head.contains("upgrade: websocket\r\n")
                    && head.contains("sec-websocket-version: 13\r\n"),
                "{what}: {answer}"
            ),
            _ => {}
        }
    }
    let old = format!("GET /v1/ws HTTP/1.0\r\n{}{token}\r\n", good.concat());
    let answer = ask_and_stay(&node, &old).await;
    assert!(answer.starts_with("HTTP/1.0 400"), "{answer}");
    let post = format!("POST /v1/ws HTTP/1.1\r\n{}{token}\r\n", good.concat());
    check(&node, "4.1, a GET", &post, &[405]).await;
}

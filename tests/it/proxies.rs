//! Behind real proxies, configured as documented: limits and logs use the address of each client, over HTTP,
//! WebSocket and event streams.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use doorstep_tests::client::User;
use doorstep_tests::reverse_proxy::{ProxyKind, ReverseProxy};
use doorstep_tests::server::{Doorstep, Server, SqliteFile};
use futures_util::StreamExt as _;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// The addresses of two clients as the proxy sees them; the proxy itself connects from 127.0.0.1.
const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A server and the proxy in front of it.
struct Site {
    server: Server,
    proxy: ReverseProxy,
    _database: SqliteFile,
}

impl Site {
    /// Starts both, with these lines in the server's configuration.
    async fn behind(kind: ProxyKind, file: &str) -> Self {
        let database = SqliteFile::new();
        let call = Doorstep::serve(&database.url()).file("doorstep.toml", file);
        let server = call.env("DOORSTEP_LOG", "info,doorstep_adapters=debug").start().await;
        let upstream = server.url().trim_start_matches("http://").to_owned();
        let proxy = ReverseProxy::start(kind, &upstream).await;
        Self { server, proxy, _database: database }
    }

    fn url(&self) -> String {
        format!("http://{}", self.proxy.address())
    }

    async fn user(&self, name: &str) -> User {
        User::register(self.server.url(), name).await
    }

    async fn register(&self, from: Ipv4Addr, headers: &[(&str, &str)]) -> Response {
        let http = Client::builder().local_address(IpAddr::from(from)).build().unwrap();
        let request = http.post(format!("{}/v1/users", self.url())).json(&json!({}));
        let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
        request.send().await.unwrap()
    }

    async fn socket(&self, from: Ipv4Addr, token: &str) -> WebSocketStream<tokio::net::TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let stream = socket.connect(self.proxy.address()).await.unwrap();
        let url = format!("ws://{}/v1/ws", self.proxy.address());
        let request = ClientRequestBuilder::new(url.parse().unwrap())
            .with_header("authorization", format!("Bearer {token}"))
            .with_sub_protocol("doorstep.v1");
        client_async(request, stream).await.unwrap().0
    }

    async fn stream(&self, from: Ipv4Addr, token: &str) -> Response {
        let http = Client::builder().local_address(IpAddr::from(from)).build().unwrap();
        let request = http.get(format!("{}/v1/notifications/stream", self.url()));
        request.bearer_auth(token).send().await.unwrap()
    }
}

const TRUSTING: &str =
    "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n[limits]\nconnections_per_address = 1";

async fn next_kind(socket: &mut WebSocketStream<tokio::net::TcpStream>) -> Value {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                if frame["type"] == "notification" {
                    return frame["kind"].clone();
                }
            }
            Some(Ok(_)) => {}
            other => panic!("expected a notification, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn sockets_pass_and_each_client_has_a_limit_of_its_own() {
    for kind in ProxyKind::ALL {
        let site = Site::behind(kind, TRUSTING).await;
        let (ada, bob) = (site.user("ada").await, site.user("bob").await);
        let mut first = site.socket(ONE, &ada.token).await;
        assert_eq!(next_kind(&mut first).await, "welcome", "{kind:?}");
        let mut second = site.socket(OTHER, &bob.token).await;
        assert_eq!(next_kind(&mut second).await, "welcome", "{kind:?}");
        // The third connection is the second one from its address.
        let mut third = site.socket(ONE, &bob.token).await;
        match third.next().await {
            Some(Ok(Message::Close(Some(frame)))) => {
                assert_eq!(frame.code, CloseCode::Again, "{kind:?}");
            }
            other => panic!("{kind:?}: expected a close frame, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn streams_pass_and_each_client_has_a_limit_of_its_own() {
    for kind in ProxyKind::ALL {
        let site = Site::behind(kind, TRUSTING).await;
        let (ada, bob) = (site.user("ada").await, site.user("bob").await);
        let mut first = site.stream(ONE, &ada.token).await;
        let mut text = String::new();
        while !text.contains("reward.granted") {
            let chunk = first.chunk().await.unwrap().expect("the stream goes on");
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        assert_eq!(site.stream(OTHER, &bob.token).await.status(), StatusCode::OK, "{kind:?}");
        let refused = site.stream(ONE, &bob.token).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{kind:?}");
        assert!(refused.headers().contains_key("retry-after"), "{kind:?}");
    }
}

#[tokio::test]
async fn requests_are_limited_and_logged_by_the_client_and_not_by_what_it_says() {
    for kind in ProxyKind::ALL {
        let mut site = Site::behind(
            kind,
            "[server]\ntrusted_proxies = \"127.0.0.1\"\n[limits]\nregistrations_per_second = 1",
        )
        .await;
        // Addresses that the client itself writes are further left, and are ignored.
        let mut claimed = 0_u8;
        let refused = loop {
            let forged = format!("203.0.113.{claimed}");
            let response = site.register(ONE, &[("x-forwarded-for", &forged)]).await;
            if response.status() != StatusCode::UNPROCESSABLE_ENTITY {
                break response;
            }
            claimed = claimed.checked_add(1).expect("the limit is reached");
        };
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{kind:?}");
        assert!(refused.headers().contains_key("retry-after"), "{kind:?}");
        let other = site.register(OTHER, &[]).await;
        assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY, "{kind:?}");
        site.server.logged("limits.registrations_per_second", 1).await;
        site.server.logged("client=127.0.0.2", 1).await;
        site.server.logged("client=127.0.0.3", 1).await;
    }
}

#[tokio::test]
async fn the_longest_token_and_the_largest_batch_reach_the_server() {
    for kind in ProxyKind::ALL {
        let site = Site::behind(kind, TRUSTING).await;
        let http = Client::new();
        let token = "x".repeat(16 * 1024);
        let asked = http.get(format!("{}/v1/me", site.url())).bearer_auth(token).send().await;
        assert_refused_by_the_server(kind, &asked.unwrap());
        let batch = http.post(format!("{}/v1/notifications", site.url()));
        let batch = batch.header("content-type", "application/json").body(vec![b' '; 33_792_000]);
        assert_refused_by_the_server(kind, &batch.send().await.unwrap());
    }
}

/// Only the server answers with 401, and with a problem.
fn assert_refused_by_the_server(kind: ProxyKind, response: &Response) {
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{kind:?}");
    let content_type = response.headers().get("content-type");
    assert_eq!(content_type.unwrap(), "application/problem+json", "{kind:?}");
}

#[tokio::test]
async fn haproxy_s_health_checks_pass() {
    let mut site = Site::behind(ProxyKind::Haproxy, TRUSTING).await;
    site.server.logged("path=\"/health/ready\"", 2).await;
    let answer = site.register(ONE, &[]).await;
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn without_trust_all_are_the_proxy_and_the_log_says_what_to_change() {
    let mut site = Site::behind(ProxyKind::Nginx, "[limits]\nregistrations_per_second = 1").await;
    let mut from = [ONE, OTHER].into_iter().cycle();
    while site.register(from.next().unwrap(), &[]).await.status() != StatusCode::TOO_MANY_REQUESTS {
    }
    let other = site.register(from.next().unwrap(), &[]).await;
    assert_eq!(other.status(), StatusCode::TOO_MANY_REQUESTS);
    site.server.logged("server.trusted_proxies", 1).await;
}

#[tokio::test]
async fn the_demonstration_is_for_this_machine_and_not_for_what_a_proxy_passes_on() {
    for kind in ProxyKind::ALL {
        let site = Site::behind(kind, "").await;
        let ada = site.user("ada").await;
        assert_eq!(ada.get("/v1/demo/record").await.0, 200);
        let ada = ada.at(&site.url());
        assert_eq!(ada.get("/v1/me").await.0, 200, "{kind:?}");
        assert_eq!(ada.get("/v1/demo/record").await.0, 404, "{kind:?}");
    }
    let trusting = "[server]\ntrusted_proxies = [\"127.0.0.1\"]";
    let site = Site::behind(ProxyKind::Nginx, trusting).await;
    assert_eq!(site.user("ada").await.get("/v1/demo/record").await.0, 404);
}

#[tokio::test]
async fn a_unix_socket_works_behind_each_proxy_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("door.sock");
    let database = SqliteFile::new();
    // The socket file of a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = format!("unix:{}", path.display());
    let call = Doorstep::new(&["serve", "--listen", &listen])
        .env("DATABASE_URL", &database.url())
        .env("DOORSTEP_SERVER__TRUSTED_PROXIES", "unix")
        .env("DOORSTEP_LOG", "info,doorstep_adapters=debug");
    let mut process = call.spawn().await;
    process.printed(&format!("listening on {listen}"), 1).await;
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o660);

    for (kind, name) in ProxyKind::ALL.into_iter().zip(["ada", "bob", "cleo"]) {
        let proxy = ReverseProxy::start(kind, &listen).await;
        let user = User::register(&format!("http://{}", proxy.address()), name).await;
        assert_eq!(user.connect("doorstep.v1").await.kinds(1).await, ["welcome"], "{kind:?}");
    }
    process.logged("path=\"/v1/users\" client=127.0.0.1", 3).await;

    // Another process does not take over the socket of a running one.
    let second = call.run().await;
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("another process listens"), "{}", second.stderr);
    process.terminate();
    assert_eq!(process.wait().await.code, Some(0));
    assert!(!path.exists(), "the socket is removed at a stop");
}

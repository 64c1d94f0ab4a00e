//! Pages of other origins: WebSocket connections and CORS use the same comparison.

use doorstep_adapters::http::{AllowedOrigins, for_origins};
use doorstep_adapters::websocket::WebSocketSettings;
use reqwest::{Method, Response, StatusCode, header};

use crate::node::{Node, Options};

/// A node that pages of these origins may use.
async fn node() -> Node {
    let allowed = AllowedOrigins::parse([
        "https://App.example.com:443",
        "https://*.example.org",
        "capacitor://localhost",
    ])
    .unwrap();
    let websocket =
        WebSocketSettings { allowed_origins: allowed.clone(), ..WebSocketSettings::default() };
    let page = axum::routing::get(|| async { "for pages" }).delete(|| async { "gone" });
    let more = for_origins(axum::Router::new().route("/for-pages", page), &allowed);
    Node::with(Options { websocket, more, ..Options::default() }).await
}

const ALLOWED: [&str; 4] = [
    "https://app.example.com",
    "https://APP.EXAMPLE.COM:443",
    "https://a.b.example.org",
    "capacitor://localhost",
];
const REFUSED: [&str; 5] = [
    "https://example.org",
    "http://app.example.com",
    "https://app.example.com.evil.example",
    "tauri://localhost",
    "null",
];

async fn connect(node: &Node, origin: &str, token: &str) -> StatusCode {
    let request = node.request(Method::GET, "/v1/ws").header(header::ORIGIN, origin);
    let request = request.bearer_auth(token).header("connection", "upgrade");
    let request = request.header("upgrade", "websocket").header("sec-websocket-version", "13");
    let request = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.send().await.unwrap().status()
}

fn allow(response: &Response, name: &str) -> Option<String> {
    let value = response.headers().get(format!("access-control-{name}"))?;
    Some(value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn both_transports_let_the_same_pages_in() {
    let node = node().await;
    let ada = node.register("ada").await;
    for (origins, upgraded) in [(&ALLOWED[..], true), (&REFUSED[..], false)] {
        for origin in origins {
            let status = connect(&node, origin, &ada.token).await.as_u16();
            assert_eq!(status, if upgraded { 101 } else { 403 }, "{origin}");
            let request = node.request(Method::GET, "/for-pages").header(header::ORIGIN, *origin);
            let response = request.send().await.unwrap();
            let named = allow(&response, "allow-origin");
            assert_eq!(named.as_deref(), upgraded.then_some(*origin), "{origin}");
            assert_eq!(response.headers()[header::VARY], "origin", "{origin}");
        }
    }
}

#[tokio::test]
async fn a_preflight_allows_what_is_asked_for_to_those_who_may() {
    let node = node().await;
    let ask = async |origin: &str| {
        let request = node.request(Method::OPTIONS, "/for-pages").header(header::ORIGIN, origin);
        let request = request.header("access-control-request-method", "DELETE");
        let asked = "authorization,last-event-id,x-trace";
        request.header("access-control-request-headers", asked).send().await.unwrap()
    };
    for origin in ALLOWED {
        let response = ask(origin).await;
        assert_eq!(response.status(), 204, "{origin}");
        let headers = allow(&response, "allow-headers").unwrap();
        assert_eq!(headers, "authorization,last-event-id,x-trace");
        assert!(allow(&response, "allow-methods").unwrap().contains("DELETE"));
        assert_eq!(allow(&response, "max-age").unwrap(), "7200");
    }
    for origin in REFUSED {
        let response = ask(origin).await;
        assert_eq!(response.status(), 405, "{origin}");
        for name in ["allow-origin", "allow-headers", "allow-methods", "max-age"] {
            assert_eq!(allow(&response, name), None, "{origin}");
        }
    }
}

//! The security of the page: requests, scripts, markup, and pages of other origins.

use std::fmt::Write as _;
use std::path::Path;

use doorstep_tests::browser::key;
use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, Server, SqliteFile};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::page::{PASSWORD, Page};

/// Those of the operator's page alone.
const OPERATORS: [&str; 5] = ["ops", "ops.css", "ops.js", "ops-figures.js", "ops-stories.js"];

const FILES: [&str; 11] = [
    "",
    "style.css",
    "icon.svg",
    "doorstep.js",
    "page.js",
    "api.js",
    "dom.js",
    "story.js",
    "lanes.js",
    "rehearsal.js",
    "books.js",
];

#[tokio::test]
async fn the_page_sends_requests_only_to_its_own_server() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open(server.url()).await;
    page.register_late("ada", 0).await;
    page.until("document.querySelectorAll('#symbol option').length > 0").await;
    page.browser.click("#order button").await;
    page.until("document.querySelector('#positions [data-status=\"open\"] button')").await;
    page.browser.click("#positions button").await;
    page.until("document.querySelector('#seen [data-kind=\"position.closed\"]')").await;
    let requested = page.browser.requested().await;
    let socket = server.url().replace("http", "ws");
    for file in FILES {
        let url = format!("{}/{file}", server.url());
        assert!(requested.contains(&url), "{url} in {requested:#?}");
    }
    assert!(requested.contains(&format!("{socket}/v1/ws")), "{requested:#?}");
    let own = [format!("{}/", server.url()), format!("{socket}/")];
    let foreign = |url: &&String| !own.iter().any(|own| url.starts_with(own)) && *url != "data:,";
    assert_eq!(requested.iter().filter(foreign).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test]
async fn the_page_says_that_it_runs_nothing_but_its_own_files() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    for file in FILES.into_iter().chain(OPERATORS) {
        let answer = reqwest::get(format!("{}/{file}", server.url())).await.unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'self';"), "{file}: {policy}");
        // The other directives may only restrict further.
        for part in policy.split(';').skip(1).map(str::trim) {
            assert!(part.ends_with(" 'none'") || part == "form-action 'self'", "{file}: {part}");
        }
        if file.is_empty() || file == "ops" {
            let html = answer.text().await.unwrap();
            let tags = html.split('<').filter(|tag| tag.starts_with("script"));
            assert!(tags.clone().count() > 0 && tags.clone().all(|tag| tag.contains(" src=\"/")));
            for tag in html.split('<').filter_map(|tag| tag.split('>').next()) {
                let inline =
                    tag.starts_with("style") || tag.contains(" style=") || tag.contains(" on");
                assert!(!inline, "{tag}");
            }
        }
    }
}

/// The password must not get into the address, which histories, logs and referrers record.
#[tokio::test]
async fn a_form_that_is_sent_before_the_script_has_come_keeps_its_fields_out_of_the_address() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let page = Page::open("about:blank").await;
    page.browser.devtools("Network.enable", json!({})).await;
    page.browser.devtools("Network.setBlockedURLs", json!({ "urls": ["*/page.js"] })).await;
    page.browser.goto(server.url()).await;
    let forms = "return [document.querySelector('#go').disabled, document.querySelector('noscript') !== null, \
         ...[...document.forms].map((form) => form.method)]";
    assert_eq!(page.browser.run(forms).await, json!([true, true, "post", "post"]));
    page.browser.fill("#username", "ada").await;
    page.browser.fill("#password", PASSWORD).await;
    page.browser.press(key::ENTER).await;
    assert_eq!(page.browser.run("return location.search").await, "", "after the Enter key");
    page.browser.run("document.querySelector('#door').submit()").await;
    page.until("!document.querySelector('#door')").await;
    let address = page.browser.run("return location.href").await;
    assert_eq!(address, format!("{}/", server.url()));
}

#[tokio::test]
async fn injected_scripts_do_not_run() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let (elsewhere, _) = another_origin().await;
    let page = Page::open(server.url()).await;
    let script = format!(
        "const done = arguments[0], blocked = []; \
         addEventListener('securitypolicyviolation', ({{ effectiveDirective }}) => {{ \
           blocked.push(effectiveDirective); \
           if (blocked.length === 4) done([...blocked.sort(), window.ran ?? 'nothing ran']); \
         }}); \
         const put = (html) => document.body.append(document.createRange().createContextualFragment(html)); \
         put('<script>window.ran = 1</script>'); \
         put('<button id=evil onclick=\"window.ran = 1\">'); \
         document.getElementById('evil').click(); \
         put('<img src=\"{elsewhere}/pixel\">'); \
         fetch('{elsewhere}/').catch(() => {{}});"
    );
    let expected =
        json!(["connect-src", "img-src", "script-src-attr", "script-src-elem", "nothing ran"]);
    assert_eq!(page.browser.run_async(&script).await, expected);
}

const EVIL: [&str; 5] = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 1'>",
    "<svg/onload=window.ran=1>",
    "\"><a href=javascript:window.ran=1 autofocus onfocus=window.ran=1>",
    "</li></ul><iframe srcdoc='<script>top.ran = 1</script>'>",
];

/// A backend besides the simulation, which can send any payload to its users.
async fn with_a_backend(database: &SqliteFile) -> (Server, String) {
    let made = Doorstep::new(&["key", "new", "shop"]).run().await;
    let (key, line) = made.stdout.split_once('\n').unwrap();
    let call = Doorstep::serve(&database.url()).file("doorstep.toml", &format!("[keys]\n{line}"));
    (call.start().await, key.to_owned())
}

#[tokio::test]
async fn markup_in_a_payload_is_text_wherever_it_is_shown() {
    let database = SqliteFile::new();
    let (server, key) = with_a_backend(&database).await;
    let page = Page::open(server.url()).await;
    // While the story runs, so that the timeline shows them too.
    page.begin("ada", 3).await;
    page.until("document.querySelector('#story').dataset.state === 'busy'").await;
    let user = page.user().await.id;
    let mut items = Vec::new();
    for evil in EVIL {
        // In every field of a payload that the page reads, and in one that it does not know.
        for (kind, payload) in [
            ("welcome", json!({ "username": evil })),
            ("reward.granted", json!({ "amount": evil, "reward": evil })),
            (
                "position.closed",
                json!({ "symbol": evil, "side": evil, "realised_pnl": evil, "reason": evil, "exit_price": evil }),
            ),
            ("demo.wake", json!({ "text": evil, "lane": evil })),
            ("news", json!(evil)),
            ("more.news", json!({ evil: [evil] })),
        ] {
            items.push(
                json!({ "user_id": user, "kind": kind, "payload": payload, "policy": "inbox" }),
            );
        }
    }
    let published = reqwest::Client::new()
        .post(format!("{}/v1/notifications", server.url()))
        .bearer_auth(&key)
        .json(&items);
    assert_eq!(published.send().await.unwrap().status(), 202);
    page.until("document.querySelector('#story').dataset.state === 'done'").await;
    // The lists keep the last twenty, so the first popups are checked as they arrive.
    page.until("document.querySelectorAll('#seen li').length === 20").await;
    page.until("document.querySelectorAll('#inbox li').length === 20").await;
    page.until("document.querySelector('#log').textContent.includes('popup: more.news')").await;
    let allowed = json!({
        "#popups": "div, strong, span, button", "#seen": "li, span, small",
        "#inbox": "li, span, small, button", "#log": "li, span", "#chart": "div, span",
    });
    for (list, only) in allowed.as_object().unwrap() {
        let script = format!(
            "const list = document.querySelector('{list}'); \
             return [list.textContent, [...list.querySelectorAll('*')].filter((e) => !e.matches({only})).map((e) => e.outerHTML)]"
        );
        let answer = page.browser.run(&script).await;
        assert_eq!(answer[1], json!([]), "{list}");
        if ["#popups", "#seen", "#inbox"].contains(&list.as_str()) {
            let evil = EVIL.iter().filter(|evil| answer[0].as_str().unwrap().contains(**evil));
            assert!(evil.count() >= 3, "{list}: {answer}");
        }
    }
    assert_eq!(page.browser.run("return window.ran ?? 'nothing ran'").await, "nothing ran");
}

/// A page of another origin with our client, and without a security policy that would stop it from trying.
async fn another_origin() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../app/web/doorstep.js");
    let client = std::fs::read_to_string(client).unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let Ok(length) = stream.read(&mut request).await else { continue };
            let (kind, body) = if request[..length].starts_with(b"GET /doorstep.js ") {
                ("text/javascript", client.as_str())
            } else {
                ("text/html", "hi")
            };
            let mut answer = String::new();
            let length = body.len();
            write!(answer, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    (origin, serving)
}

/// The final state of the client, imported from `client`, in a page of another origin.
async fn from_elsewhere(
    page: &Page,
    server: &Server,
    client: &str,
    token: &str,
    transport: &str,
) -> Value {
    let script = format!(
        "const done = arguments[0]; import('{client}/doorstep.js').then(({{ Doorstep }}) => {{ \
         const door = new Doorstep({{ url: '{}', token: '{token}', transport: '{transport}' }}); \
         door.on(':state', (state) => {{ \
           if (['connecting', 'closed'].includes(state)) return; door.close(); done(state); \
         }}); \
         door.connect(); }}, (error) => done(String(error)));",
        server.url()
    );
    page.browser.run_async(&script).await
}

#[tokio::test]
async fn a_page_elsewhere_gets_in_only_where_it_is_configured() {
    let (origin, _serving) = another_origin().await;
    let database = SqliteFile::new();
    // An origin that is not on the list is refused even with a valid token, and retries in vain.
    for (allowed, with_a_token, without) in
        [("", "waiting", "waiting"), (origin.as_str(), "open", "signed-out")]
    {
        let call =
            Doorstep::serve(&database.url()).env("DOORSTEP_SERVER__ALLOWED_ORIGINS", allowed);
        let server = call.start().await;
        let user = User::register(server.url(), &format!("ada-{with_a_token}")).await;
        let page = Page::open(&origin).await;
        for transport in ["websocket", "sse"] {
            let state = from_elsewhere(&page, &server, &origin, &user.token, transport).await;
            assert_eq!(state, with_a_token, "{transport}, allowed {allowed:?}");
            let state = from_elsewhere(&page, &server, &origin, "nobody", transport).await;
            assert_eq!(state, without, "{transport}, no token, allowed {allowed:?}");
        }
        // The client module itself, imported from its server.
        let state = from_elsewhere(&page, &server, server.url(), &user.token, "websocket").await;
        let imported = state == "open";
        assert_eq!(imported, !allowed.is_empty(), "allowed {allowed:?}: {state}");
    }
}

//! The HTTP interface from outside: its responses, and how it reports errors.

use std::time::Duration;

use axum::routing::get;
use doorstep_adapters::http::{Rate, Router, ServerSettings};
use doorstep_adapters::security::HashingLimits;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::node::{Node, Options, PASSWORD, eventually};

/// Expects a problem with this status, and returns it.
async fn problem(response: Response, status: u16, what: &str) -> Value {
    assert_eq!(response.status(), status, "{what}");
    let content_type = response.headers().get(header::CONTENT_TYPE).unwrap();
    assert_eq!(content_type, "application/problem+json", "{what}");
    if status == 401 {
        let challenge = response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.starts_with("Bearer"), "{what}");
    }
    if matches!(status, 429 | 503) {
        let wait: u64 = response.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!(wait > 0, "{what}");
    }
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status, "{what}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{what}: {problem}");
    problem
}

/// The fields that a problem names.
fn fields(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_user_registers_and_has_one_gift() {
    let node = Node::start().await;
    let body = json!({"username": "Ada", "password": PASSWORD});
    let response = node.post("/v1/users", &body).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["user"]["username"], "Ada");
    for time in [&answer["user"]["created_at"], &answer["expires_at"]] {
        let time = time.as_str().unwrap();
        assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    }
    let token = answer["token"].as_str().unwrap();
    eventually("the gift", async || node.get("/v1/me", token).await["balance"] == "1000.00").await;

    let me = node.get("/v1/me", token).await;
    assert_eq!(me["id"], answer["user"]["id"]);
    assert_eq!(me["unread"], 0);
    let ledger = node.get("/v1/ledger", token).await;
    let [entry] = ledger["entries"].as_array().unwrap().as_slice() else { panic!("{ledger}") };
    assert_eq!((&entry["kind"], &entry["amount"]), (&json!("welcome_gift"), &json!("1000.00")));
    assert_eq!(entry["reference"], answer["user"]["id"]);
    assert_eq!(ledger["next"], Value::Null);
}

#[tokio::test]
async fn without_the_notification_handler_everything_else_works() {
    let node = Node::with(Options { notifications: false, ..Options::default() }).await;
    let ada = node.register("ada").await;
    eventually("the gift", async || node.get("/v1/me", &ada.token).await["balance"] == "1000.00")
        .await;
    assert_eq!(node.delivery.held().waiting, 0);
}

#[tokio::test]
async fn every_bad_body_is_named() {
    let node = Node::start().await;
    let (name, pass) = ("\"username\":\"ada\"", "\"password\":\"correct horse\"");
    let long = "x".repeat(129);
    let cases: Vec<(&str, String, u16, Vec<&str>)> = vec![
        ("empty", String::new(), 400, vec![]),
        ("broken off", format!("{{{name},"), 400, vec![]),
        ("not JSON", "username=ada".into(), 400, vec![]),
        ("two values", format!("{{{name},{pass}}} {{}}"), 400, vec![]),
        ("nested too deep", "[".repeat(1000), 400, vec![]),
        ("an array", "[]".into(), 422, vec![""]),
        ("null", "null".into(), 422, vec![""]),
        ("nothing in it", "{}".into(), 422, vec!["username", "password"]),
        ("no password", format!("{{{name}}}"), 422, vec!["password"]),
        ("no name", format!("{{{pass}}}"), 422, vec!["username"]),
        ("number for a name", format!("{{\"username\":7,{pass}}}"), 422, vec!["username"]),
        ("null for a name", format!("{{\"username\":null,{pass}}}"), 422, vec!["username"]),
        ("list for a password", format!("{{{name},\"password\":[]}}"), 422, vec!["password"]),
        ("one field more", format!("{{{name},{pass},\"admin\":true}}"), 422, vec!["admin"]),
        (
            "name in capitals",
            format!("{{\"Username\":\"ada\",{pass}}}"),
            422,
            vec!["username", "Username"],
        ),
        (
            "too long a password",
            format!("{{{name},\"password\":\"{long}\"}}"),
            422,
            vec!["password"],
        ),
        ("too long a name", format!("{{\"username\":\"{long}\",{pass}}}"), 422, vec!["username"]),
        ("no letters in the name", format!("{{\"username\":\"\",{pass}}}"), 422, vec!["username"]),
        (
            "too large",
            format!("{{{name},\"password\":\"{}\"}}", "x".repeat(16 * 1024)),
            413,
            vec![],
        ),
    ];
    for path in ["/v1/users", "/v1/sessions"] {
        for (what, body, status, named) in &cases {
            let request = node.request(Method::POST, path);
            let request = request.header(header::CONTENT_TYPE, "application/json");
            let response = request.body(body.clone()).send().await.unwrap();
            let problem = problem(response, *status, &format!("{path}: {what}")).await;
            assert_eq!(fields(&problem), *named, "{path}: {what}: {problem}");
        }
    }
}

#[tokio::test]
async fn names_and_passwords_nobody_may_have() {
    let node = Node::start().await;
    let cases = [
        ("ab", PASSWORD, "username"),
        ("two words", PASSWORD, "username"),
        ("zo\u{eb}", PASSWORD, "username"),
        ("nul\0", PASSWORD, "username"),
        ("ada", "1234567", "password"),
    ];
    for (username, password, field) in cases {
        let body = json!({"username": username, "password": password});
        let problem = problem(node.post("/v1/users", &body).await, 422, username).await;
        assert_eq!(fields(&problem), [field], "{username:?} {password:?}");
    }
}

#[tokio::test]
async fn json_must_be_called_json() {
    let node = Node::start().await;
    let body = json!({"username": "ada", "password": PASSWORD}).to_string();
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let mut request = node.request(Method::POST, "/v1/users").body(body.clone());
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        problem(request.send().await.unwrap(), 415, &format!("{content_type:?}")).await;
    }
    let request = node.request(Method::POST, "/v1/users").body(body);
    let request = request.header(header::CONTENT_TYPE, "Application/JSON; charset=utf-8");
    assert_eq!(request.send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn wrong_methods_and_unknown_paths() {
    let node = Node::start().await;
    let methods = [
        (Method::GET, "/v1/users", "POST"),
        (Method::DELETE, "/v1/sessions", "POST"),
        (Method::POST, "/v1/sessions/current", "DELETE"),
        (Method::PUT, "/v1/me", "GET"),
        (Method::POST, "/v1/ledger", "GET"),
        (Method::POST, "/v1/ws", "GET"),
        (Method::POST, "/health/live", "GET"),
        (Method::POST, "/", "GET"),
    ];
    for (method, path, allowed) in methods {
        let response = node.request(method, path).send().await.unwrap();
        let allow = response.headers()[header::ALLOW].to_str().unwrap().to_owned();
        assert!(allow.contains(allowed), "{path}: {allow}");
        problem(response, 405, path).await;
    }
    for path in ["/v1", "/v1/nothing", "/v1/me/", "/v1/sessions/other", "/%00"] {
        let response = node.request(Method::GET, path).send().await.unwrap();
        problem(response, 404, path).await;
    }
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    let cases = [
        ("/v1/ledger?limit=0", "limit"),
        ("/v1/ledger?limit=101", "limit"),
        ("/v1/ledger?limit=-1", "limit"),
        ("/v1/ledger?limit=%2B1", "limit"),
        ("/v1/ledger?limit=", "limit"),
        ("/v1/ledger?limit=many", "limit"),
        ("/v1/ledger?limit=99999999999999999999999", "limit"),
        ("/v1/ledger?limit=1&limit=2", "limit"),
        ("/v1/ledger?before=yesterday", "before"),
        ("/v1/ledger?before=", "before"),
        ("/v1/ledger?after=1", "after"),
        ("/v1/me?verbose", "verbose"),
    ];
    for (path, field) in cases {
        let request = node.request(Method::GET, path).bearer_auth(&ada.token);
        let problem = problem(request.send().await.unwrap(), 422, path).await;
        assert_eq!(fields(&problem), [field], "{path}: {problem}");
        assert_eq!(problem["errors"][0]["in"], "query");
    }
    let nobodys = "/v1/ledger?limit=1&before=00000000-0000-7000-8000-000000000000";
    assert_eq!(node.get(nobodys, &ada.token).await, json!({"entries": [], "next": null}));
}

#[tokio::test]
async fn only_living_tokens_open() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    let paths = [
        (Method::GET, "/v1/me"),
        (Method::GET, "/v1/ledger"),
        (Method::DELETE, "/v1/sessions/current"),
    ];
    for (method, path) in paths.clone() {
        let wrong = [
            None,
            Some("Bearer wrong".to_owned()),
            Some(format!("Bearer {}x", ada.token)),
            Some(format!("Basic {}", ada.token)),
            Some(format!("Bearer {}", "x".repeat(4000))),
            Some(ada.token.clone()),
        ];
        for value in wrong {
            let mut request = node.request(method.clone(), path);
            if let Some(value) = &value {
                request = request.header(header::AUTHORIZATION, value);
            }
            problem(request.send().await.unwrap(), 401, &format!("{path} {value:?}")).await;
        }
    }
    node.get("/v1/me", &ada.token).await;
    node.clock.forward(Duration::from_hours(1));
    for (method, path) in paths {
        let request = node.request(method, path).bearer_auth(&ada.token);
        problem(request.send().await.unwrap(), 401, "expired").await;
    }
}

#[tokio::test]
async fn signing_in_and_out() {
    let node = Node::start().await;
    let ada = node.register("Ada").await;
    let response =
        node.post("/v1/sessions", &json!({"username": "aDA", "password": PASSWORD})).await;
    assert_eq!(response.status(), 201);
    let second: Value = response.json().await.unwrap();
    assert_eq!(second["user"]["id"], ada.id.to_string());
    let second = second["token"].as_str().unwrap();
    assert_ne!(second, ada.token);

    let sign_out = node.request(Method::DELETE, "/v1/sessions/current").bearer_auth(&ada.token);
    assert_eq!(sign_out.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let request = node.request(Method::GET, "/v1/me").bearer_auth(&ada.token);
    problem(request.send().await.unwrap(), 401, "signed out").await;
    node.get("/v1/me", second).await;
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_get_one_answer() {
    let node = Node::start().await;
    node.register("ada").await;
    let mut answers = Vec::new();
    for (username, password) in [("ada", "wrong"), ("bob", PASSWORD), ("b", "x")] {
        let body = json!({"username": username, "password": password});
        answers.push(problem(node.post("/v1/sessions", &body).await, 401, username).await);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn two_who_want_one_name_at_once() {
    let node = Node::start().await;
    let bodies = ["ada", "ADA"].map(|name| json!({"username": name, "password": PASSWORD}));
    let (one, two) =
        tokio::join!(node.post("/v1/users", &bodies[0]), node.post("/v1/users", &bodies[1]));
    let (won, lost) = if one.status() == 201 { (one, two) } else { (two, one) };
    assert_eq!(won.status(), 201);
    let problem = problem(lost, 409, "the second").await;
    assert_eq!(fields(&problem), ["username"]);
    let token = won.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    eventually("the gift", async || node.get("/v1/me", &token).await["balance"] == "1000.00").await;
    let ledger = node.get("/v1/ledger", &token).await;
    assert_eq!(ledger["entries"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn too_many_from_one_address_wait() {
    let node =
        Node::with(Options { rate: Rate { per_second: 1, burst: 2 }, ..Options::default() }).await;
    node.register("ada").await;
    node.register("bob").await;
    let body = json!({"username": "eve", "password": PASSWORD});
    problem(node.post("/v1/users", &body).await, 429, "registering").await;
    problem(node.post("/v1/sessions", &body).await, 429, "signing in").await;
    assert_eq!(node.request(Method::GET, "/health/live").send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_hasher_says_when_to_come_back() {
    let hashing = HashingLimits { at_once: 1, waiting: 0 };
    let node = Node::with(Options { hashing, ..Options::default() }).await;
    let bodies: Vec<_> =
        (0..8).map(|n| json!({"username": format!("user{n}"), "password": PASSWORD})).collect();
    let answers = bodies.iter().map(|body| node.post("/v1/users", body));
    let answers = futures_util::future::join_all(answers).await;
    let (made, told): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status() == 201);
    assert!(!made.is_empty() && !told.is_empty(), "{} and {}", made.len(), told.len());
    for answer in told {
        problem(answer, 503, "busy").await;
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_said_to_be() {
    let node = Node::start().await;
    let ada = node.register("ada").await;
    let ready = async || node.request(Method::GET, "/health/ready").send().await.unwrap();
    assert_eq!(ready().await.status(), 200);
    node.store.disconnect().await;
    problem(ready().await, 503, "ready").await;
    assert_eq!(node.request(Method::GET, "/health/live").send().await.unwrap().status(), 200);
    let me = node.request(Method::GET, "/v1/me").bearer_auth(&ada.token);
    problem(me.send().await.unwrap(), 503, "me").await;
    let body = json!({"username": "bob", "password": PASSWORD});
    problem(node.post("/v1/users", &body).await, 503, "register").await;
    problem(node.post("/v1/sessions", &body).await, 503, "sign in").await;
}

#[tokio::test]
async fn a_panic_is_an_answer_and_hurts_nobody_else() {
    async fn panics() {
        panic!("on purpose");
    }
    let more = Router::new().route("/panics", get(panics));
    let node = Node::with(Options { more, ..Options::default() }).await;
    let response = node.request(Method::GET, "/panics").send().await.unwrap();
    let problem = problem(response, 500, "panic").await;
    assert!(!problem.to_string().contains("on purpose"), "only the log has the panic's message");
    node.register("ada").await;
}

#[tokio::test]
async fn the_page_may_load_from_here_only() {
    let node = Node::start().await;
    let response = node.request(Method::GET, "/").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
}

#[tokio::test]
async fn an_unfinished_request_times_out() {
    let server = ServerSettings { head_timeout: Duration::from_millis(50), ..Default::default() };
    let node = Node::with(Options { server, ..Options::default() }).await;
    for begun in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut client = tokio::net::TcpStream::connect(node.address).await.unwrap();
        client.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // Returns when the server closes the connection.
        client.read_to_string(&mut answer).await.unwrap();
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    }
}

#[tokio::test]
async fn a_stop_lets_a_request_that_has_begun_end() {
    let mut node = Node::start().await;
    let mut client = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let body = json!({"username": "ada", "password": PASSWORD}).to_string();
    let head = format!(
        "POST /v1/users HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body once a handler reads it, so the request has begun.
    let mut go_on = [0; 25];
    client.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    node.stopping.cancel();
    eventually("the port is closed", async || {
        tokio::net::TcpStream::connect(node.address).await.is_err()
    })
    .await;
    client.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    (&mut node.server).await.unwrap();
}

#[tokio::test]
async fn a_compressed_body_and_a_byte_order_mark_are_refused() {
    let node = Node::start().await;
    let body = json!({"username": "ada", "password": PASSWORD}).to_string();
    for coding in ["gzip", "br", "identity, gzip"] {
        let request = node.request(Method::POST, "/v1/users").body(body.clone());
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let response = request.header(header::CONTENT_ENCODING, coding).send().await.unwrap();
        assert_eq!(response.headers()[header::ACCEPT_ENCODING], "identity", "{coding}");
        problem(response, 415, coding).await;
    }
    let request = node.request(Method::POST, "/v1/users").body(format!("\u{feff}{body}"));
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let problem = problem(request.send().await.unwrap(), 400, "a mark").await;
    assert!(problem["detail"].as_str().unwrap().contains("byte order mark"), "{problem}");
    let request = node.request(Method::POST, "/v1/users").body(body);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let request = request.header(header::CONTENT_ENCODING, "Identity");
    assert_eq!(request.send().await.unwrap().status(), 201);
}

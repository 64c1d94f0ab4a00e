//! Compares the `OpenAPI` description with the server: every route is described, and every response matches its
//! description in status, content type and shape.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use doorstep_tests::browser::target_dir;
use doorstep_tests::client::{PASSWORD, User};
use doorstep_tests::server::{Doorstep, SqliteFile};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::Door;

/// Every path of our routers, taken from the source.
fn routes(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            routes(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("tests.rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            for after in source.split(".route(").skip(1) {
                if let Some((route, _)) =
                    after.trim_start().strip_prefix('"').and_then(|s| s.split_once('"'))
                {
                    found.insert(route.to_owned());
                }
            }
        }
    }
}

async fn document(door: &Door) -> Value {
    let response = reqwest::get(format!("{}/openapi.json", door.server.url())).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}

#[tokio::test]
async fn every_route_is_described() {
    let document = document(&Door::with("").await).await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut routed = BTreeSet::new();
    routes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters/src"), &mut routed);
    assert!(routed.contains("/v1/notifications"), "the source is read: {routed:?}");
    let described: BTreeSet<String> =
        document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(routed, described, "left: routes in adapters/src, right: those in /openapi.json");
}

#[tokio::test]
async fn without_the_simulation_only_what_is_served_is_described() {
    let document = document(&Door::open().await).await;
    let described: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert!(described.iter().all(|path| !path.contains("ledger") && *path != "/v1/users"));
    assert!(described.contains(&&"/v1/notifications".to_owned()));
}

/// Redocly's linter for `OpenAPI` documents.
fn redocly() -> PathBuf {
    target_dir().join("npm/node_modules/@redocly/cli/bin/cli.js")
}

#[tokio::test]
async fn a_linter_finds_no_error() {
    for door in [Door::with("").await, Door::open().await] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("openapi.json");
        std::fs::write(&file, document(&door).await.to_string()).unwrap();
        let linted = Command::new("node")
            .arg(redocly())
            .args(["lint", "--format", "stylish"])
            .arg(&file)
            .env("REDOCLY_TELEMETRY", "off")
            .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
            .current_dir(folder.path())
            .output()
            .await
            .expect("node is there: tests/run.sh installs it");
        let [said, errors] =
            [linted.stdout, linted.stderr].map(|out| String::from_utf8(out).unwrap());
        assert!(linted.status.success(), "{said}{errors}");
    }
}

#[tokio::test]
async fn limits_are_in_the_description() {
    let document = document(&Door::with("").await).await;
    let schemas = &document["components"]["schemas"];
    for (what, described, expected) in [
        ("servers", &document["servers"][0]["url"], json!("/")),
        ("open to all", &document["paths"]["/v1/users"]["post"]["security"], json!([])),
        ("sides", &schemas["Order"]["properties"]["side"]["enum"], json!(["long", "short"])),
        (
            "policies",
            &schemas["Draft"]["properties"]["policy"]["enum"],
            json!(["immediate", "deferred", "inbox", null]),
        ),
        ("a user's id", &schemas["Draft"]["properties"]["user_id"]["minLength"], json!(1)),
        ("a ttl", &schemas["Draft"]["properties"]["ttl"]["minimum"], json!(0)),
        ("a password", &schemas["Credentials"]["properties"]["password"]["maxLength"], json!(128)),
    ] {
        assert_eq!(*described, expected, "{what}");
    }
    // Every response that says 'retry later' says when.
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for status in ["429", "503"] {
                let response = &operation["responses"][status];
                let response = match response["$ref"].as_str() {
                    Some(reference) => document.pointer(&reference[1..]).unwrap(),
                    None => response,
                };
                let told = response["headers"]["Retry-After"].is_object();
                assert!(response.is_null() || told, "{method} {path} {status}");
            }
        }
    }
}

/// A server and its description.
struct Held {
    door: Door,
    document: Value,
    user: User,
    /// The id of a position that can be closed.
    position: String,
}

/// The token, the body and the query of a request.
#[derive(Default)]
struct With<'a> {
    bearer: &'a str,
    content_type: &'a str,
    body: String,
    query: &'a str,
    /// Whether a proxy sent it on.
    forwarded: bool,
}

impl Held {
    /// Sends a request, and compares the response with the description. Returns the status.
    async fn check(&self, method: &str, path: &str, with: With<'_>) -> u16 {
        let id = match path {
            "/v1/inbox/{id}/read" => KEPT,
            "/v1/positions/{id}/close" => &self.position,
            _ => ID,
        };
        let real = path.replace("{user_id}", "ada").replace("{id}", id);
        let url = format!("{}{real}{}", self.door.server.url(), with.query);
        let method_name = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let mut request = reqwest::Client::new().request(method_name, url).body(with.body);
        if !with.bearer.is_empty() {
            request = request.bearer_auth(with.bearer);
        }
        if !with.content_type.is_empty() {
            request = request.header("content-type", with.content_type);
        }
        if with.forwarded {
            request = request.header("via", "1.1 proxy");
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let what = format!("{method} {real}{} answered {status}", with.query);
        let described = &self.document["paths"][path][method]["responses"][status.to_string()];
        let described = self.resolve(described);
        assert!(described.is_object(), "{what}, which is not described");
        let headers = response.headers().clone();
        for name in described["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
            assert!(headers.contains_key(name), "{what} without {name}");
        }
        if headers.get("content-type").is_some_and(|of| of == "text/event-stream") {
            // The body of a stream has no end.
            assert!(described["content"]["text/event-stream"].is_object(), "{what}");
            return status;
        }
        let text = response.text().await.unwrap();
        let Some(content) = described["content"].as_object() else {
            assert_eq!(text, "", "{what}");
            return status;
        };
        let content_type = headers["content-type"].to_str().unwrap();
        let content_type = content_type.split(';').next().unwrap();
        let Some(described) = content.get(content_type) else {
            panic!("{what} as {content_type}, which is not described")
        };
        let body = if content_type.ends_with("json") {
            serde_json::from_str(&text).unwrap()
        } else {
            Value::String(text)
        };
        if let Err(why) = self.fits(&body, &described["schema"]) {
            panic!("{what}: {why} in {body}");
        }
        status
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(&reference[1..]).unwrap(),
            None => value,
        }
    }

    /// Implements the part of JSON Schema that the description uses for responses; unknown members are errors.
    fn fits(&self, value: &Value, schema: &Value) -> Result<(), String> {
        let schema = self.resolve(schema);
        if let Some(all) = schema["allOf"].as_array() {
            let known: Vec<_> = all.iter().map(|part| self.resolve(part)).collect();
            let members = value.as_object().ok_or("not an object")?;
            for name in members.keys() {
                if known.iter().all(|part| part["properties"].get(name).is_none()) {
                    return Err(format!("{name} is not described"));
                }
            }
            return known.iter().try_for_each(|part| self.members_fit(value, part));
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let allowed = match &schema["type"] {
            Value::Null => return Ok(()),
            Value::Array(kinds) => kinds.iter().any(|allowed| allowed == kind),
            one => one == kind || (one == "number" && kind == "integer"),
        };
        if !allowed {
            return Err(format!("{value} is no {}", schema["type"]));
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            return Err(format!("{value} is none of {words:?}"));
        }
        if let (Some(least), Some(number)) = (schema["minimum"].as_f64(), value.as_f64())
            && number < least
        {
            return Err(format!("{number} is below {least}"));
        }
        for item in value.as_array().into_iter().flatten() {
            self.fits(item, &schema["items"])?;
        }
        if let Some(members) = value.as_object()
            && let Some(properties) = schema["properties"].as_object()
            && let Some(stranger) = members.keys().find(|name| !properties.contains_key(*name))
        {
            return Err(format!("{stranger} is not described"));
        }
        self.members_fit(value, schema)
    }

    fn members_fit(&self, value: &Value, schema: &Value) -> Result<(), String> {
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            value.get(name).ok_or_else(|| format!("{name} is missing"))?;
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(member) = value.get(name) {
                self.fits(member, property).map_err(|why| format!("{name}: {why}"))?;
            }
        }
        Ok(())
    }
}

/// The id of the published notification.
const ID: &str = "0192f0c1-2345-7abc-8def-0123456789ab";
/// The id of an item in the user's inbox.
const KEPT: &str = "0192f0c1-2345-7abc-8def-0123456789ac";

/// A valid body, for operations that need one.
fn good_body(path: &str) -> Value {
    match path {
        "/v1/users" => json!({"username": "bob", "password": PASSWORD}),
        "/v1/sessions" => json!({"username": "ada", "password": PASSWORD}),
        "/v1/notifications" => {
            json!([{"user_id": "ada", "kind": "news", "payload": 1, "id": ID}, {}])
        }
        "/v1/presence" => json!({"user_ids": ["ada"]}),
        "/v1/demo/notifications" => json!({"policy": "wake"}),
        other => panic!("add a valid body for {other}"),
    }
}

#[tokio::test]
async fn responses_match_the_description() {
    let door = Door::with("").await;
    let document = document(&door).await;
    let user = User::register(door.server.url(), "ada").await;
    user.has("1000.00").await;
    let published = json!({"user_id": "ada", "kind": "news", "payload": 1, "id": ID});
    door.backend.publish(&published).await;
    let kept =
        json!({"user_id": user.id, "kind": "news", "payload": {}, "policy": "inbox", "id": KEPT});
    door.backend.publish(&kept).await;
    let (_, listed) = user.get("/v1/instruments").await;
    let instrument = &listed["instruments"][0];
    let price: f64 = instrument["price"].as_str().unwrap().parse().unwrap();
    let quantity = format!("{:.6}", 10.0 / price);
    let order = json!({"symbol": instrument["symbol"], "side": "long", "quantity": quantity});
    let opened = reqwest::Client::new()
        .post(format!("{}/v1/positions", door.server.url()))
        .bearer_auth(&user.token)
        .json(&order)
        .send()
        .await
        .unwrap();
    let opened: Value = opened.json().await.unwrap();
    let position = opened["id"].as_str().unwrap().to_owned();
    check_all(Held { door, document, user, position }, &order).await;
}

#[tokio::test]
async fn responses_match_the_description_without_the_simulation() {
    let database = SqliteFile::new();
    let door = Door::of(Doorstep::serve(&database.url()), "[trading]\nenabled = false\n").await;
    let document = document(&door).await;
    let user = door.user("ada");
    let kept =
        json!({"user_id": "ada", "kind": "news", "payload": 1, "policy": "inbox", "id": KEPT});
    door.backend.publish(&kept).await;
    let published = json!({"user_id": "ada", "kind": "news", "payload": 1, "id": ID});
    door.backend.publish(&published).await;
    check_all(Held { door, document, user, position: String::new() }, &Value::Null).await;
}

#[tokio::test]
async fn responses_beyond_a_limit_by_address_and_behind_a_proxy_are_described() {
    let limits = "[limits]\nregistrations_per_second = 1\nsign_ins_per_second = 1\n";
    let door = Door::with(limits).await;
    let document = document(&door).await;
    let user = User::register(door.server.url(), "ada").await;
    let held = Held { door, document, user, position: String::new() };
    let bearer = held.user.token.as_str();
    for path in ["/v1/users", "/v1/sessions", "/v1/demo/notifications"] {
        let mut status = 0;
        // More than the burst that the limit lets through.
        for _ in 0..1000 {
            let content_type = "application/json";
            let with = With { bearer, content_type, body: "{".to_owned(), ..With::default() };
            status = held.check("post", path, with).await;
            if status == 429 {
                break;
            }
        }
        assert_eq!(status, 429, "{path}");
    }
    for (method, path) in [("post", "/v1/demo/notifications"), ("get", "/v1/demo/record")] {
        let with = With { bearer, forwarded: true, ..With::default() };
        assert_eq!(held.check(method, path, with).await, 404, "{method} {path}");
    }
}

/// Sends valid and invalid requests to every operation.
async fn check_all(held: Held, order: &Value) {
    let mut operations = Vec::new();
    for (path, methods) in held.document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push((method.clone(), path.clone(), operation.clone()));
        }
    }
    // Signing out comes last: it ends the session that the others need.
    operations.sort_by_key(|(method, ..)| method == "delete");
    for (method, path, operation) in operations {
        let takes_body = operation["requestBody"].is_object();
        let (bearer, stranger) = match operation["security"][0].as_object() {
            Some(scheme) if scheme.contains_key("service_key") => {
                (held.door.backend.key.as_str(), held.user.token.as_str())
            }
            Some(_) => (held.user.token.as_str(), held.door.backend.key.as_str()),
            None => ("", ""),
        };
        let ask = async |with| held.check(&method, &path, with).await;
        if !bearer.is_empty() {
            assert_eq!(ask(With::default()).await, 401, "{method} {path}");
            assert_eq!(ask(With { bearer: stranger, ..With::default() }).await, 401, "{path}");
        }
        if takes_body {
            let json = "application/json";
            let large = path == "/v1/notifications" || path == "/v1/presence";
            for (content_type, body, status) in [
                ("text/plain", "{}".to_owned(), 415),
                (json, "{".to_owned(), 400),
                (json, "{\"x\":1}".to_owned(), 422),
                // Larger than most limits, and small enough to be sent completely before the response comes.
                (json, " ".repeat(20 << 10), if large { 400 } else { 413 }),
            ] {
                let with = With { bearer, content_type, body, ..With::default() };
                assert_eq!(ask(with).await, status, "{method} {path}");
            }
        }
        // A stream ignores unknown parameters, which proxies may add.
        let streams = ["/v1/ws", "/v1/notifications/stream"];
        let body = match path.as_str() {
            _ if !takes_body => String::new(),
            "/v1/positions" => order.to_string(),
            other => good_body(other).to_string(),
        };
        let content_type = if takes_body { "application/json" } else { "" };
        if path.starts_with("/v1/") && !streams.contains(&path.as_str()) {
            for query in ["?nonsense=1", "?%FF"] {
                let body = body.clone();
                let with = With { bearer, content_type, body, query, ..With::default() };
                assert_eq!(ask(with).await, 422, "{method} {path}{query}");
            }
        }
        let recalls = method == "delete" && path == "/v1/notifications";
        let query = if recalls { "?user_id=nobody" } else { "" };
        let status = ask(With { bearer, content_type, body, query, ..With::default() }).await;
        // The WebSocket's path responds with 426 to a request without an upgrade.
        let expected = match &*path {
            "/v1/ws" => 400..500,
            // It is in no cluster.
            "/v1/cluster" => 404..405,
            _ => 200..300,
        };
        assert!(expected.contains(&status), "{method} {path} answered {status}");
    }
    let missing = held.user.get("/v1/notifications/none").await;
    assert_eq!(missing.0, 401);
}

//! Other backends: they publish over HTTP, have their own users, and are told the outcomes. These tests run the
//! real binary without its simulation and mostly without a database.

mod clock;
mod examples;
mod identities;
mod keys;
mod openapi;
mod policies;
mod publishing;
mod recall;
mod refusals;
mod simulation;
mod stories;
mod strangers;
mod tokens;
mod users;
mod waiting;
mod webhook;

use std::time::Duration;

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, Server};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

/// The key that signs the tokens of the test's users.
const SECRET: &str = "a secret of thirty-two bytes ok!";

/// A service key, and its line in the configuration.
struct Key {
    key: String,
    line: String,
}

impl Key {
    async fn new(name: &str) -> Self {
        let made = Doorstep::new(&["key", "new", name]).run().await;
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        let mut lines = made.stdout.lines().map(str::to_owned);
        let (key, line) = (lines.next().unwrap(), lines.next().unwrap());
        assert!(key.starts_with("dsk_") && line.starts_with(&format!("{name} = \"sha256:")));
        Self { key, line }
    }
}

/// A server without simulation and database, for one backend.
pub(crate) struct Door {
    pub(crate) call: Doorstep,
    pub(crate) server: Server,
    pub(crate) backend: Backend,
}

/// Starts it without simulation and database.
pub(crate) const BARE: &str = "
    [trading]\nenabled = false
    [inbox]\nenabled = false
    [handover]\nenabled = false
";

impl Door {
    pub(crate) async fn open() -> Self {
        Self::with(BARE).await
    }

    /// Starts it with these lines in its configuration, besides the keys.
    pub(crate) async fn with(file: &str) -> Self {
        Self::of(Doorstep::new(&["--listen", "127.0.0.1:0"]), file).await
    }

    /// Like [`with`](Self::with), with a prepared call.
    pub(crate) async fn of(call: Doorstep, file: &str) -> Self {
        let key = Key::new("shop").await;
        let file = format!(
            "{file}\n[keys]\n{}\n[jwt]\nissuer = \"shop\"\naudience = \"doorstep\"\n[jwt.keys.shop]\nkey = {SECRET:?}",
            key.line
        );
        let call = call.file("doorstep.toml", &file);
        let server = call.start().await;
        let backend = Backend::new(server.url(), &key.key);
        Self { call, server, backend }
    }

    /// A user with a token of the backend.
    pub(crate) fn user(&self, id: &str) -> User {
        User::with_token(self.server.url(), id, &token(id))
    }
}

pub(crate) fn token(user_id: &str) -> String {
    let claims =
        json!({"sub": user_id, "iss": "shop", "aud": "doorstep", "exp": 4_000_000_000_u64});
    let header = Header { kid: Some("shop".into()), ..Header::new(Algorithm::HS256) };
    encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// A client with a service key.
#[derive(Clone)]
pub(crate) struct Backend {
    url: String,
    pub(crate) key: String,
    http: reqwest::Client,
}

impl Backend {
    fn new(url: &str, key: &str) -> Self {
        Self { url: url.to_owned(), key: key.to_owned(), http: reqwest::Client::new() }
    }

    /// The same backend, which reaches the server at this URL.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).body(body);
        let request = request.header("content-type", "application/json").bearer_auth(&self.key);
        answer(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.key)).await
    }

    /// Publishes; fails if the connection does. The same id may be sent again.
    pub(crate) async fn try_publish(&self, body: &Value) -> Result<(), reqwest::Error> {
        let request = self.http.post(format!("{}/v1/notifications", self.url));
        let response = request.bearer_auth(&self.key).json(body).send().await?;
        assert_eq!(response.status(), 202);
        Ok(())
    }

    /// Publishes, and expects a response with one result per notification.
    pub(crate) async fn publish(&self, body: &Value) -> Vec<Value> {
        self.publish_at("/v1/notifications", body).await
    }

    async fn publish_at(&self, path: &str, body: &Value) -> Vec<Value> {
        let (status, answer) = self.post(path, body.to_string()).await;
        assert_eq!(status, 202, "{answer}");
        answer["notifications"].as_array().unwrap().clone()
    }

    /// The state of a notification.
    pub(crate) async fn state(&self, id: &str) -> Value {
        let (status, answer) = self.get(&format!("/v1/notifications/{id}")).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    // Longer than any outcome takes, and shorter than the wait of `?wait=60`: the response must come when the outcome
    // is known, not when the wait is over.
    let request = request.timeout(Duration::from_secs(45));
    let response = request.send().await.unwrap();
    let status = response.status();
    let expected =
        if status.is_success() { "application/json" } else { "application/problem+json" };
    assert_eq!(response.headers()["content-type"], expected);
    (status.as_u16(), response.json().await.unwrap())
}

fn states(answers: &[Value]) -> Vec<&str> {
    answers.iter().map(|answer| answer["state"].as_str().unwrap()).collect()
}

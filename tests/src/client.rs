//! A client of the public interface. It does only what a front end can do.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long a test waits for anything: generous, and no statement about how long it should take.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The password of every test user.
pub const PASSWORD: &str = "correct horse battery";

/// A registered user of one server.
#[derive(Debug, Clone)]
pub struct User {
    server: String,
    http: reqwest::Client,
    /// The user's id.
    pub id: String,
    /// The session's token.
    pub token: String,
}

/// Why a registration failed.
#[derive(Debug)]
pub enum NotRegistered {
    /// No response came, as from a killed server: whether the user exists is unknown.
    NoAnswer(reqwest::Error),
    /// The server refused.
    Answered(u16, String),
}

impl User {
    /// Registers with the server at `http://ADDR`.
    pub async fn try_register(server: &str, name: &str) -> Result<Self, NotRegistered> {
        let http = reqwest::Client::new();
        let body = json!({ "username": name, "password": PASSWORD });
        let response = http
            .post(format!("{server}/v1/users"))
            .timeout(PATIENCE)
            .json(&body)
            .send()
            .await
            .map_err(NotRegistered::NoAnswer)?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(NotRegistered::NoAnswer)?;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        match (status, answer["user"]["id"].as_str(), answer["token"].as_str()) {
            (201, Some(id), Some(token)) => {
                let (id, token) = (id.to_owned(), token.to_owned());
                Ok(Self { server: server.to_owned(), http, id, token })
            }
            _ => Err(NotRegistered::Answered(status, text)),
        }
    }

    /// A user with this token: a session's, or one that another backend has signed.
    pub fn with_token(server: &str, id: &str, token: &str) -> Self {
        let (server, http) = (server.to_owned(), reqwest::Client::new());
        Self { server, http, id: id.to_owned(), token: token.to_owned() }
    }

    /// Registers a user.
    ///
    /// # Panics
    /// When the registration fails.
    pub async fn register(server: &str, name: &str) -> Self {
        Self::try_register(server, name).await.expect("registered")
    }

    /// The same user at another server, or at the same server after a restart.
    pub fn at(mut self, server: &str) -> Self {
        server.clone_into(&mut self.server);
        self
    }

    /// `GET`s with the user's token: status and JSON.
    ///
    /// # Errors
    /// When no response comes.
    pub async fn try_get(&self, path: &str) -> Result<(u16, Value), reqwest::Error> {
        let request = self.http.get(format!("{}{path}", self.server)).timeout(PATIENCE);
        let response = request.bearer_auth(&self.token).send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// `GET`s with the user's token: status and JSON.
    ///
    /// # Panics
    /// When no response comes.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.try_get(path).await.expect("an answer")
    }

    /// `POST`s with the user's token, with an `Idempotency-Key` if one is given: status and JSON. After an error
    /// it is unknown whether the request was carried out.
    ///
    /// # Errors
    /// When no response comes.
    pub async fn try_post(
        &self,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let mut request = self.http.post(format!("{}{path}", self.server)).timeout(PATIENCE);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.bearer_auth(&self.token).json(body).send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// `POST`s with the user's token: status and JSON.
    ///
    /// # Panics
    /// When no response comes.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.try_post(path, body, None).await.expect("an answer")
    }

    /// The balance as the wire has it, such as `1000.00`.
    ///
    /// # Panics
    /// When no response comes.
    pub async fn balance(&self) -> String {
        let (status, me) = self.get("/v1/me").await;
        assert_eq!(status, 200, "{me}");
        me["balance"].as_str().expect("a balance").to_owned()
    }

    /// Waits until the balance has this value; rewards come a moment after the registration.
    ///
    /// # Panics
    /// When it does not reach the value in time.
    pub async fn has(&self, balance: &str) {
        let wait = async {
            while self.balance().await != balance {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "the balance is not {balance}");
    }

    /// Opens a WebSocket, offering this subprotocol.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn connect(&self, subprotocol: &str) -> Socket {
        self.try_connect(subprotocol).await.expect("the WebSocket opens")
    }

    /// Opens a WebSocket, offering this subprotocol.
    ///
    /// # Errors
    /// The status with which the server refuses, or none if no response comes.
    ///
    /// # Panics
    /// When the server's address is no URL.
    pub async fn try_connect(&self, subprotocol: &str) -> Result<Socket, Option<u16>> {
        let url = format!("{}/v1/ws", self.server.replacen("http", "ws", 1));
        let request = ClientRequestBuilder::new(url.parse().expect("a URL"))
            .with_header("authorization", format!("Bearer {}", self.token))
            .with_sub_protocol(subprotocol);
        match connect_async(request).await {
            Ok((stream, _)) => Ok(Socket(stream)),
            Err(Error::Http(response)) => Err(Some(response.status().as_u16())),
            Err(_) => Err(None),
        }
    }

    /// Opens a WebSocket as a browser does. It cannot set headers, so the token is an additional subprotocol.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn connect_as_a_browser(&self) -> Socket {
        let url = format!("{}/v1/ws", self.server.replacen("http", "ws", 1));
        let request = ClientRequestBuilder::new(url.parse().expect("a URL"))
            .with_sub_protocol("doorstep.v1")
            .with_sub_protocol(format!("bearer.{}", self.token));
        let (stream, _) = connect_async(request).await.expect("the WebSocket opens");
        Socket(stream)
    }
}

/// The text frame that comes with each ping.
const HEARTBEAT: &str = r#"{"type":"heartbeat"}"#;

/// A live connection.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// The next notification.
    ///
    /// # Panics
    /// When something else comes, or nothing at all.
    pub async fn notification(&mut self) -> Value {
        match self.next().await {
            Some(Message::Text(text)) => {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(frame["type"], "notification", "{frame}");
                frame
            }
            other => panic!("expected a notification, got {other:?}"),
        }
    }

    /// The kinds of the next `count` notifications, in order.
    ///
    /// # Panics
    /// As [`notification`](Self::notification).
    pub async fn kinds(&mut self, count: usize) -> Vec<String> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            let frame = self.notification().await;
            kinds.push(frame["kind"].as_str().unwrap_or_default().to_owned());
        }
        kinds
    }

    /// The next frame of any type but `heartbeat`.
    ///
    /// # Panics
    /// When something else comes, or nothing.
    pub async fn frame(&mut self) -> Value {
        match self.next().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("no frame but {other:?}"),
        }
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub async fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.expect("sent");
    }

    /// The next notification, or `None` once the server has gone.
    pub async fn try_notification(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) if text.as_str() != HEARTBEAT => {
                    return serde_json::from_str(&text).ok();
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Acknowledges a notification, if the server is still there.
    ///
    /// # Errors
    /// When it has gone.
    pub async fn try_acknowledge(&mut self, notification: &Value) -> Result<(), String> {
        let frame = json!({ "type": "ack", "id": notification["id"] });
        self.0.send(Message::text(frame.to_string())).await.map_err(|e| e.to_string())
    }

    /// Acknowledges a notification.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub async fn acknowledge(&mut self, notification: &Value) {
        let frame = json!({ "type": "ack", "id": notification["id"] });
        self.0.send(Message::text(frame.to_string())).await.expect("sent");
    }

    /// Pings the server and waits for the pong: everything that the server sent before it has then been received.
    ///
    /// Returns the text frames that came before the pong.
    ///
    /// # Panics
    /// When no pong comes.
    pub async fn round_trip(&mut self) -> Vec<String> {
        self.0.send(Message::Ping("round trip".into())).await.expect("sent");
        let mut before = Vec::new();
        loop {
            match self.any().await {
                Some(Message::Pong(_)) => return before,
                Some(Message::Text(text)) if text.as_str() == HEARTBEAT => {}
                Some(Message::Text(text)) => before.push(text.to_string()),
                Some(Message::Ping(_)) => {}
                other => panic!("expected a pong, got {other:?}"),
            }
        }
    }

    /// The close code of the server, which must close the connection next.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn close_code(&mut self) -> u16 {
        match self.next().await {
            Some(Message::Close(Some(frame))) => frame.code.into(),
            other => panic!("expected a close frame, got {other:?}"),
        }
    }

    /// The close code of the server, which closes the connection after any number of frames.
    ///
    /// # Panics
    /// When it ends in another way.
    pub async fn close_code_at_last(&mut self) -> u16 {
        loop {
            match self.next().await {
                Some(Message::Text(_)) => {}
                Some(Message::Close(Some(frame))) => return frame.code.into(),
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }

    /// The next message that is no ping, pong or heartbeat; `None` at the end.
    async fn next(&mut self) -> Option<Message> {
        // One timeout for the whole loop: the server's pings must not extend it.
        let next = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Text(text))) if text.as_str() == HEARTBEAT => {}
                    other => return other.and_then(Result::ok),
                }
            }
        });
        next.await.expect("something comes")
    }

    async fn any(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
        next.expect("something comes").and_then(Result::ok)
    }
}

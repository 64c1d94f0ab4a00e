//! A client that connects late, as front ends do.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use doorstep_domain::Money;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout};

use crate::cli::Token;
use crate::client::{ClientConnection, Protocol, ServerFrame, ServerMessage, websocket_uri};

/// How long a connected client waits before its popup counts as lost: four intervals of `poll`.
const PATIENCE: Duration = Duration::from_secs(2);
/// The kind of the popup.
const POPUP: &str = "reward.granted";

/// A user who has just registered.
pub(super) struct LateClient {
    server: SocketAddr,
    token: Token,
    registered: Instant,
}

/// How a client behaves once it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It does not acknowledge: a notification that is written to it counts as delivered.
    Plain,
    /// It acknowledges, but its first connection breaks between the popup and the acknowledgement, so the popup must come
    /// again.
    Cut,
}

/// What a client saw.
pub(super) struct Story {
    /// From the connection to the popup, or `None` if it did not come. If the connection was cut: from the second
    /// connection to the second popup.
    pub(super) popup: Option<Duration>,
    /// The final balance.
    pub(super) balance: Money,
}

#[derive(Deserialize)]
struct NewUserAnswer {
    token: String,
}

#[derive(Deserialize)]
struct AccountAnswer {
    balance: Money,
}

/// Registers over HTTP.
pub(super) async fn register(server: SocketAddr, username: &str) -> anyhow::Result<LateClient> {
    let body = serde_json::json!({ "username": username, "password": "correct horse battery" });
    let request = reqwest::Client::new().post(format!("http://{server}/v1/users")).json(&body);
    let NewUserAnswer { token } = answer(request).await.context("registering")?;
    Ok(LateClient { server, token: Token::from(token), registered: Instant::now() })
}

impl LateClient {
    /// Waits until this long after the registration, connects, waits for the popup, and reads the balance.
    pub(super) async fn come_late(
        self,
        connect_after: Duration,
        manner: Manner,
    ) -> anyhow::Result<Story> {
        sleep_until(self.registered + connect_after).await;
        let (protocol, cut_after) = match manner {
            Manner::Plain => (Protocol::Plain, None),
            Manner::Cut => {
                let mut connection = self.connect(Protocol::Acks).await?;
                let id = popup(&mut connection).await?;
                // Without an acknowledgement or a close frame.
                drop(connection);
                (Protocol::Acks, Some(id.context("no popup came before the cut")?))
            }
        };
        let mut connection = self.connect(protocol).await?;
        let connected = Instant::now();
        let shown = popup(&mut connection).await?;
        let waited = shown.as_ref().map(|_| connected.elapsed());
        let same = cut_after.is_none() || shown.is_none() || shown == cut_after;
        anyhow::ensure!(same, "the popup came again under another id");
        if let (Some(id), Protocol::Acks) = (&shown, protocol) {
            connection.acknowledge(id).await;
        }
        connection.close().await;
        let request = reqwest::Client::new()
            .get(format!("http://{}/v1/me", self.server))
            .bearer_auth(&self.token.0);
        let AccountAnswer { balance } = answer(request).await.context("reading the balance")?;
        Ok(Story { popup: waited, balance })
    }

    async fn connect(&self, protocol: Protocol) -> anyhow::Result<ClientConnection> {
        let uri = websocket_uri(&format!("ws://{}", self.server))?;
        Ok(ClientConnection::open(&uri, &self.token, protocol).await?)
    }
}

/// Waits for the popup and returns its id, or `None` if it does not come.
async fn popup(connection: &mut ClientConnection) -> anyhow::Result<Option<String>> {
    match timeout(PATIENCE, next_popup(connection)).await {
        Ok(id) => id.map(Some),
        Err(_) => Ok(None),
    }
}

async fn next_popup(connection: &mut ClientConnection) -> anyhow::Result<String> {
    loop {
        match connection.next().await {
            ServerMessage::Frame(ServerFrame::Notification(shown)) if shown.kind == POPUP => {
                return Ok(shown.id);
            }
            ServerMessage::Frame(_) | ServerMessage::Beat => {}
            ServerMessage::Closed(frame) => {
                anyhow::bail!("the server closed the connection: {frame:?}")
            }
            ServerMessage::Broken(why) => anyhow::bail!("the connection broke: {why}"),
        }
    }
}

async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> anyhow::Result<T> {
    let response = request.send().await?;
    let status = response.status();
    let body = response.text().await?;
    anyhow::ensure!(status.is_success(), "the server answered {status}: {body}");
    Ok(serde_json::from_str(&body)?)
}

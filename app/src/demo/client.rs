//! A client that comes late, as front ends do.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use doorstep_domain::Money;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout};

use crate::cli::Token;
use crate::client::{ClientConnection, Protocol, Received, ServerFrame, websocket_uri};

/// So long a connected client waits for a popup before it is called lost: four looks of `poll`.
const PATIENCE: Duration = Duration::from_secs(2);
/// The popup that is waited for.
const POPUP: &str = "reward.granted";

/// Somebody who has just registered.
pub(super) struct LateClient {
    server: SocketAddr,
    token: Token,
    registered: Instant,
}

/// How a client behaves once it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It does not acknowledge: what is written to it is delivered.
    Plain,
    /// It acknowledges - but the first time its line goes dead between the popup and the ack, so that the
    /// popup must come again.
    Cut,
}

/// What a client saw.
pub(super) struct Story {
    /// From connected to the popup; `None` when it did not come. Of a line that was cut: from connected
    /// again to the popup again.
    pub(super) popup: Option<Duration>,
    /// What the ledger says.
    pub(super) balance: Money,
}

#[derive(Deserialize)]
struct Registered {
    token: String,
}

#[derive(Deserialize)]
struct Me {
    balance: Money,
}

/// Registers over HTTP.
pub(super) async fn register(server: SocketAddr, username: &str) -> anyhow::Result<LateClient> {
    let body = serde_json::json!({ "username": username, "password": "correct horse battery" });
    let request = reqwest::Client::new().post(format!("http://{server}/v1/users")).json(&body);
    let Registered { token } = answer(request).await.context("registering")?;
    Ok(LateClient { server, token: Token::from(token), registered: Instant::now() })
}

impl LateClient {
    /// Is busy until so long after the registration, connects, waits for the popup, and looks at its money.
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
                // Without a word: neither an ack nor a goodbye.
                drop(connection);
                (Protocol::Acks, Some(id.context("no popup came that could have been cut off")?))
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
        let Me { balance } = answer(request).await.context("looking at the balance")?;
        Ok(Story { popup: waited, balance })
    }

    async fn connect(&self, protocol: Protocol) -> anyhow::Result<ClientConnection> {
        let uri = websocket_uri(&format!("ws://{}", self.server))?;
        Ok(ClientConnection::open(&uri, &self.token, protocol).await?)
    }
}

/// Waits for the popup and answers its id; `None` when it does not come.
async fn popup(connection: &mut ClientConnection) -> anyhow::Result<Option<String>> {
    match timeout(PATIENCE, next_popup(connection)).await {
        Ok(id) => id.map(Some),
        Err(_) => Ok(None),
    }
}

async fn next_popup(connection: &mut ClientConnection) -> anyhow::Result<String> {
    loop {
        match connection.next().await {
            Received::Frame(ServerFrame::Notification(shown)) if shown.kind == POPUP => {
                return Ok(shown.id);
            }
            Received::Frame(_) | Received::Beat => {}
            Received::Closed(frame) => anyhow::bail!("the server closed the connection: {frame:?}"),
            Received::Broken(why) => anyhow::bail!("the connection broke: {why}"),
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

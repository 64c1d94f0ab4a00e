//! The HTTP requests of a simulated user.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use doorstep_domain::{Money, Price};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::Token;

/// The HTTP API, as one user uses it.
#[derive(Clone)]
pub(super) struct PlayerApi {
    http: reqwest::Client,
    url: String,
    pub(super) token: Token,
    /// For how long a request is repeated while the server is away.
    patience: Duration,
}

/// A pause before something is repeated.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Deserialize)]
pub(super) struct LedgerRow {
    pub(super) kind: String,
    pub(super) amount: Money,
    pub(super) reference: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct PositionRow {
    pub(super) id: String,
    pub(super) cost: Money,
    pub(super) realised_pnl: Option<Money>,
}

#[derive(Deserialize)]
struct RegistrationAnswer {
    token: String,
}

#[derive(Deserialize)]
struct InstrumentPrices {
    instruments: Vec<InstrumentPrice>,
}

#[derive(Deserialize)]
struct InstrumentPrice {
    symbol: String,
    price: String,
}

/// A page of the ledger or of positions.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(alias = "entries", alias = "positions")]
    items: Vec<T>,
    next: Option<String>,
}

impl PlayerApi {
    pub(super) async fn register(
        url: &str,
        username: &str,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let http = reqwest::Client::new();
        let token = Token::from(String::new());
        let mut api = Self { http, url: url.to_owned(), token, patience };
        let body = json!({ "username": username, "password": "correct horse battery" });
        let (status, text) = api.send(Method::POST, "/v1/users", Some(&body)).await?;
        ensure!(
            status != StatusCode::NOT_FOUND,
            "{url} has no users to simulate: is it a Doorstep node with trading.enabled = true?"
        );
        ensure!(status == StatusCode::CREATED, "registering was answered with {status}: {text}");
        api.token = Token::from(serde_json::from_str::<RegistrationAnswer>(&text)?.token);
        Ok(api)
    }

    /// The current prices, by symbol.
    pub(super) async fn prices(&self) -> anyhow::Result<BTreeMap<String, Price>> {
        let market: InstrumentPrices = self.get("/v1/instruments").await?;
        let price = |quote: InstrumentPrice| Ok((quote.symbol, quote.price.parse()?));
        market.instruments.into_iter().map(price).collect()
    }

    /// Opens a position. `None` if the order was refused.
    pub(super) async fn open(&self, order: &Value) -> anyhow::Result<Option<PositionRow>> {
        let (status, text) = self.send(Method::POST, "/v1/positions", Some(order)).await?;
        match status {
            StatusCode::CREATED => Ok(Some(serde_json::from_str(&text)?)),
            StatusCode::UNPROCESSABLE_ENTITY => Ok(None),
            _ => anyhow::bail!("an order was answered with {status}: {text}"),
        }
    }

    /// Closes a position. False if it was closed before.
    pub(super) async fn close(&self, id: &str) -> anyhow::Result<bool> {
        let path = format!("/v1/positions/{id}/close");
        let (status, text) = self.send(Method::POST, &path, None).await?;
        match status {
            StatusCode::OK => Ok(true),
            StatusCode::CONFLICT => Ok(false),
            _ => anyhow::bail!("closing was answered with {status}: {text}"),
        }
    }

    pub(super) async fn balance(&self) -> anyhow::Result<Money> {
        #[derive(Deserialize)]
        struct BalanceAnswer {
            balance: Money,
        }
        let me: BalanceAnswer = self.get("/v1/me").await?;
        Ok(me.balance)
    }

    pub(super) async fn ledger(&self) -> anyhow::Result<Vec<LedgerRow>> {
        self.all("/v1/ledger?limit=100").await
    }

    pub(super) async fn positions(&self, status: &str) -> anyhow::Result<Vec<PositionRow>> {
        self.all(&format!("/v1/positions?limit=100&status={status}")).await
    }

    async fn all<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Vec<T>> {
        let (mut all, mut before) = (Vec::new(), String::new());
        loop {
            let page: Page<T> = self.get(&format!("{path}{before}")).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => before = format!("&before={next}"),
                None => return Ok(all),
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let (status, text) = self.send(Method::GET, path, None).await?;
        ensure!(status.is_success(), "{path} was answered with {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("the answer to {path}"))
    }

    /// Whether the server may stop and start again.
    pub(super) fn bears_restarts(&self) -> bool {
        !self.patience.is_zero()
    }

    /// When something that has just begun to fail is given up.
    pub(super) fn gives_up_at(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// Sends a request, again while the server is away. An order may so be placed twice, which the books bear.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, String)> {
        let until = self.gives_up_at();
        loop {
            match self.send_once(method.clone(), path, body).await {
                Ok((StatusCode::SERVICE_UNAVAILABLE, _)) | Err(_) if Instant::now() < until => {
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn send_once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, String)> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if !self.token.0.is_empty() {
            request = request.bearer_auth(&self.token.0);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let failed = |error: reqwest::Error| anyhow::anyhow!("{}: {}", self.url, plainly(&error));
        let response = request.send().await.map_err(failed)?;
        Ok((response.status(), response.text().await.map_err(failed)?))
    }
}

/// Describes a library's error to the person who typed the URL.
fn plainly(error: &reqwest::Error) -> String {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut chain = std::iter::successors(Some(first), |error| error.source());
    match chain.find_map(|error| error.downcast_ref::<std::io::Error>()) {
        Some(e) => crate::client::unreachable(e),
        None if error.is_connect() => "it cannot be reached".to_owned(),
        None => "the server there does not speak HTTP".to_owned(),
    }
}

/// Checks a typed URL and removes the trailing slash.
pub(super) fn server_url(typed: &str) -> anyhow::Result<String> {
    let url = typed.trim_end_matches('/');
    let parsed = reqwest::Url::parse(url).ok();
    let good = parsed.is_some_and(|url| matches!(url.scheme(), "http") && url.has_host());
    ensure!(
        good,
        "{typed:?} is not a URL like http://127.0.0.1:3000: it does not begin with http://"
    );
    Ok(url.to_owned())
}

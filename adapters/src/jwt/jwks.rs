//! The keys of a provider: fetched from the URL of its JWK set (RFC 7517 section 5), and cached.
//!
//! A token whose key is unknown waits for one fetch. If the provider does not answer, or was asked a moment ago,
//! the token is not refused, because a client would sign its user out for a refusal.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorstep_application::NotAuthenticated;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Uri, header};
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::keys::{JwkError, Key};
use crate::error_chain::said;
use crate::https::{self, HttpClient, HttpsError};

/// The keys of a provider. Cheap to clone.
#[derive(Clone)]
pub struct Jwks {
    source: Arc<KeyProvider>,
    /// Held during a fetch, so that all other callers wait for it.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

/// Why a URL cannot be used for a provider.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The URL is invalid, or uses plain HTTP to another machine: such keys could be forged.
    #[error(
        "it must be an https:// URL without a user or a password in it; http:// is for loopback only"
    )]
    Url,
    /// This machine has no certificate authorities.
    #[error("this machine has no CA certificates: install them")]
    NoAuthorities,
    /// No HTTP client could be made.
    #[error("cannot make an HTTP client for it: {0}")]
    Client(String),
}

struct KeyProvider {
    http: HttpClient,
    url: Uri,
    state: Mutex<FetchedKeys>,
}

#[derive(Default)]
struct FetchedKeys {
    keys: Arc<[Key]>,
    /// When the provider last returned keys.
    fetched: Option<Instant>,
    last: Option<KeyFetch>,
}

/// A fetch of the keys.
#[derive(Clone, Copy)]
struct KeyFetch {
    began: Instant,
    /// When it ended, and whether the provider returned keys.
    ended: Option<(Instant, bool)>,
}

impl Jwks {
    /// The time limit of a fetch.
    pub const PATIENCE: Duration = Duration::from_secs(5);
    /// The shortest time from the beginning of one fetch to that of the next.
    pub const PAUSE: Duration = Duration::from_secs(30);
    /// Keys of this age are fetched again in the background.
    pub const FRESH: Duration = Duration::from_mins(5);
    /// Keys of this age are not used before another fetch was tried: the provider may have withdrawn them.
    pub const STALE: Duration = Duration::from_hours(1);
    /// The age at which keys are dropped if the provider returns no others.
    pub const KEPT: Duration = Duration::from_hours(24);
    /// The largest set that is read, in bytes.
    const MAX_BYTES: usize = 256 * 1024;
    /// The most keys of a set that are used.
    const MAX_KEYS: usize = 100;

    /// A provider at this URL: `https://`, or `http://` on this machine. Fetches nothing yet.
    pub fn new(url: &str) -> Result<Self, JwksError> {
        let (http, url) = https::client(url, None)?;
        if url.scheme_str() != Some("https") && !url.host().is_some_and(is_loopback) {
            return Err(JwksError::Url);
        }
        let source = Arc::new(KeyProvider { http, url, state: Mutex::default() });
        Ok(Self { source, fetching: Arc::default() })
    }

    /// Starts a fetch of the keys, so that the first token need not wait for it. Must be called inside a tokio
    /// runtime.
    pub fn begin(&self) {
        let this = self.clone();
        tokio::spawn(async move { this.refresh().await });
    }

    /// The cached keys, unless they are too old.
    pub(super) async fn current(&self) -> Arc<[Key]> {
        let age = self.source.age();
        if age.is_some_and(|age| age >= Self::STALE) {
            self.refresh().await;
        } else if age.is_some_and(|age| age >= Self::FRESH) && self.source.due_in().is_zero() {
            self.begin();
        }
        self.source.keys()
    }

    /// The keys after one more fetch. Fails if the fetch fails, or may not begin yet. A fetch that has ended since
    /// `asked` is new enough.
    pub(super) async fn newest(&self, asked: Instant) -> Result<Arc<[Key]>, NotAuthenticated> {
        self.refresh().await;
        let last = self.source.state().last.and_then(|attempt| attempt.ended);
        if last.is_some_and(|(ended, succeeded)| ended >= asked && succeeded) {
            return Ok(self.source.keys());
        }
        let retry_after = self.source.due_in().max(Duration::from_secs(1));
        Err(NotAuthenticated::KeysAway { retry_after })
    }

    /// Fetches the keys if a fetch may begin, or waits for the current fetch.
    async fn refresh(&self) {
        let fetching = Arc::clone(&self.fetching).lock_owned().await;
        if !self.source.due_in().is_zero() {
            return;
        }
        self.source.state().last = Some(KeyFetch { began: Instant::now(), ended: None });
        let source = Arc::clone(&self.source);
        // A separate task: a client that disconnects must not end the fetch that others wait for.
        let fetch = tokio::spawn(async move {
            source.fetch().await;
            drop(fetching);
        });
        // The task does not panic; if it did, the fetch would count as failed.
        let _ = fetch.await;
    }
}

impl KeyProvider {
    fn state(&self) -> MutexGuard<'_, FetchedKeys> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago the provider returned keys.
    fn age(&self) -> Option<Duration> {
        self.state().fetched.map(|at| at.elapsed())
    }

    /// How long to wait until a fetch may begin.
    fn due_in(&self) -> Duration {
        let next = self.state().last.map(|attempt| attempt.began + Jwks::PAUSE);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()))
    }

    fn keys(&self) -> Arc<[Key]> {
        let mut state = self.state();
        if state.fetched.is_some_and(|at| at.elapsed() >= Jwks::KEPT) {
            (state.keys, state.fetched) = (Arc::default(), None);
            tracing::error!(url = %self.url, "the provider's keys are too old; its tokens are no longer accepted");
        }
        Arc::clone(&state.keys)
    }

    async fn fetch(&self) {
        let fetched = match timeout(Jwks::PATIENCE, self.get()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("no answer within {:?}", Jwks::PATIENCE)),
        };
        let mut state = self.state();
        let now = Instant::now();
        if let Some(last) = &mut state.last {
            last.ended = Some((now, fetched.is_ok()));
        }
        match fetched {
            Ok(keys) => {
                tracing::debug!(url = %self.url, keys = keys.len(), "fetched the provider's keys");
                (state.keys, state.fetched) = (keys.into(), Some(now));
            }
            Err(why) => {
                let known = state.keys.len();
                tracing::warn!(url = %self.url, error = %why, known, "could not fetch the provider's keys");
            }
        }
    }

    async fn get(&self) -> Result<Vec<Key>, String> {
        let request = Request::get(self.url.clone())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, concat!("doorstep/", env!("CARGO_PKG_VERSION")))
            .body(Full::default())
            .map_err(|e| e.to_string())?;
        let response = self.http.request(request).await.map_err(|e| said(&e))?;
        if !response.status().is_success() {
            return Err(format!("it answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), Jwks::MAX_BYTES).collect().await;
        let body = body.map_err(|e| said(&*e))?.to_bytes();
        read(&body)
    }
}

/// The usable keys of a set. Unusable keys are skipped, but a set without any usable key is an error.
fn read(body: &[u8]) -> Result<Vec<Key>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(body).map_err(|_| "it is no JWK set".to_owned())?;
    let (mut keys, mut unused) = (Vec::new(), Vec::new());
    for one in set.keys.into_iter().take(Jwks::MAX_KEYS) {
        let key = serde_json::from_value::<Jwk>(one).map_err(|_| JwkError::Malformed);
        match key.and_then(|jwk| Key::from_jwk(&jwk)) {
            Ok(key) => keys.push(key),
            Err(JwkError::Symmetric) => {
                tracing::warn!("the provider's set has a symmetric key, which is not used");
                unused.push(JwkError::Symmetric);
            }
            Err(why) => unused.push(why),
        }
    }
    match (keys.is_empty(), unused.first()) {
        (false, _) => Ok(keys),
        (true, None) => Err("it has no keys".to_owned()),
        (true, Some(why)) => Err(format!("none of its keys can be used; of the first: {why}")),
    }
}

/// Whether a URL's host is this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

impl From<HttpsError> for JwksError {
    fn from(error: HttpsError) -> Self {
        match error {
            HttpsError::NoAuthorities => Self::NoAuthorities,
            HttpsError::Tls(why) => Self::Client(why),
            // No authorities are passed here.
            HttpsError::Url | HttpsError::Authorities | HttpsError::AuthoritiesWithoutTls => {
                Self::Url
            }
        }
    }
}

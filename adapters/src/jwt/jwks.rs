//! The keys of a provider: fetched from the URL of its JWK set (RFC 7517 section 5), and kept.
//!
//! A token whose key is unknown waits for one fetch. What cannot be decided, because the provider does not answer
//! or was asked a moment ago, is never a refusal: a client would sign its user out for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorstep_application::NotAuthenticated;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Uri, header};
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::keys::{JwkError, Key};
use crate::https::{self, HttpClient, HttpsError, said};

/// The keys of a provider. Cheap to clone.
#[derive(Clone)]
pub struct Jwks {
    source: Arc<KeyProvider>,
    /// Held by the one that fetches, so that all others wait for that fetch.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

/// Why there is no provider at a URL.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// Keys that came over plain HTTP could be anybody's.
    #[error(
        "it must be an https:// URL without a user or a password in it; http:// is for loopback only"
    )]
    Url,
    /// Nobody is to be trusted.
    #[error("this machine trusts nobody: install its CA certificates")]
    NoAuthorities,
    /// No client could be made.
    #[error("no HTTP client for it: {0}")]
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
    /// When the provider last gave keys.
    fetched: Option<Instant>,
    last: Option<KeyFetch>,
}

/// A fetch that has begun.
#[derive(Clone, Copy)]
struct KeyFetch {
    began: Instant,
    /// When it ended, and whether the provider gave keys.
    ended: Option<(Instant, bool)>,
}

impl Jwks {
    /// A fetch takes no longer.
    pub const PATIENCE: Duration = Duration::from_secs(5);
    /// From the beginning of one fetch to that of the next.
    pub const PAUSE: Duration = Duration::from_secs(30);
    /// Keys of this age are fetched again, beside what goes on.
    pub const FRESH: Duration = Duration::from_mins(5);
    /// Nobody is let in by keys of this age before a fetch was tried: a provider may have withdrawn them.
    pub const STALE: Duration = Duration::from_hours(1);
    /// The age at which keys are forgotten if the provider gives no others.
    pub const KEPT: Duration = Duration::from_hours(24);
    /// The largest set that is read, in bytes.
    const MAX_BYTES: usize = 256 * 1024;
    /// So many keys of a set are taken.
    const MAX_KEYS: usize = 100;

    /// The provider at this URL: `https://`, or `http://` on this machine. Nothing is fetched yet.
    pub fn new(url: &str) -> Result<Self, JwksError> {
        let (http, url) = https::client(url, None)?;
        if url.scheme_str() != Some("https") && !url.host().is_some_and(is_loopback) {
            return Err(JwksError::Url);
        }
        let source = Arc::new(KeyProvider { http, url, state: Mutex::default() });
        Ok(Self { source, fetching: Arc::default() })
    }

    /// Fetches the keys, so that the first token need not wait for them. Must be called inside a tokio runtime.
    pub fn begin(&self) {
        let this = self.clone();
        tokio::spawn(async move { this.refresh().await });
    }

    /// The keys that are known, if they are not too old.
    pub(super) async fn current(&self) -> Arc<[Key]> {
        let age = self.source.age();
        if age.is_some_and(|age| age >= Self::STALE) {
            self.refresh().await;
        } else if age.is_some_and(|age| age >= Self::FRESH) && self.source.due_in().is_zero() {
            self.begin();
        }
        self.source.keys()
    }

    /// The keys as they are after one more fetch. Fails if that fails, or may not begin yet.
    /// A fetch that has ended since `asked` is new enough.
    pub(super) async fn newest(&self, asked: Instant) -> Result<Arc<[Key]>, NotAuthenticated> {
        self.refresh().await;
        let last = self.source.state().last.and_then(|attempt| attempt.ended);
        if last.is_some_and(|(ended, succeeded)| ended >= asked && succeeded) {
            return Ok(self.source.keys());
        }
        let retry_after = self.source.due_in().max(Duration::from_secs(1));
        Err(NotAuthenticated::KeysAway { retry_after })
    }

    /// Fetches the keys if that is due, or waits for the fetch that is under way.
    async fn refresh(&self) {
        let fetching = Arc::clone(&self.fetching).lock_owned().await;
        if !self.source.due_in().is_zero() {
            return;
        }
        self.source.state().last = Some(KeyFetch { began: Instant::now(), ended: None });
        let source = Arc::clone(&self.source);
        // A task of its own: a client that hangs up must not end the fetch for which others wait.
        let fetch = tokio::spawn(async move {
            source.fetch().await;
            drop(fetching);
        });
        // It does not panic; and if it did, it would not have succeeded.
        let _ = fetch.await;
    }
}

impl KeyProvider {
    fn state(&self) -> MutexGuard<'_, FetchedKeys> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago the provider gave keys.
    fn age(&self) -> Option<Duration> {
        self.state().fetched.map(|at| at.elapsed())
    }

    /// How long until a fetch may begin.
    fn due_in(&self) -> Duration {
        let next = self.state().last.map(|attempt| attempt.began + Jwks::PAUSE);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()))
    }

    fn keys(&self) -> Arc<[Key]> {
        let mut state = self.state();
        if state.fetched.is_some_and(|at| at.elapsed() >= Jwks::KEPT) {
            (state.keys, state.fetched) = (Arc::default(), None);
            tracing::error!(url = %self.url, "the provider's keys are too old; its tokens are not taken any more");
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

/// The keys of a set that can be used. Those that cannot are no fault of the others, but for a set of which none
/// can be used.
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
            // Authorities are never given here.
            HttpsError::Url | HttpsError::Authorities | HttpsError::AuthoritiesWithoutTls => {
                Self::Url
            }
        }
    }
}

//! The keys of a provider, over real sockets. Time is paused only to advance it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

use jsonwebtoken::jwk::Jwk;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// A provider whose responses the test chooses.
struct Provider {
    url: String,
    asked: Arc<AtomicUsize>,
    answer: Arc<Mutex<Option<String>>>,
}

impl Provider {
    async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let provider = Self { url, asked: Arc::default(), answer: Arc::default() };
        provider.gives(keys);
        let (asked, answer) = (provider.asked.clone(), provider.answer.clone());
        tokio::spawn(async move {
            let mut hanging = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                // A request without a body ends with its head.
                let (mut request, mut some) = (Vec::new(), [0; 4096]);
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(read @ 1..) = stream.read(&mut some).await else { break };
                    request.extend_from_slice(&some[..read]);
                }
                asked.fetch_add(1, SeqCst);
                let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
                match answer {
                    Some(answer) => drop(stream.write_all(answer.as_bytes()).await),
                    None => hanging.push(stream),
                }
            }
        });
        provider
    }

    fn gives(&self, keys: &[Value]) {
        self.answers("200 OK", &json!({"keys": keys}).to_string());
    }

    fn answers(&self, status: &str, body: &str) {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
        *self.answer.lock().unwrap() = Some(format!("{head}connection: close\r\n\r\n{body}"));
    }

    fn hangs(&self) {
        *self.answer.lock().unwrap() = None;
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    fn jwts(&self) -> Jwts {
        jwts_with(Vec::new(), Some(Jwks::new(&self.url).unwrap()))
    }
}

fn jwk(name: Name, kid: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(&signing(name), name).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    serde_json::to_value(jwk).unwrap()
}

async fn advance(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// After how long the client should try again.
async fn not_now(jwts: &Jwts, token: &str) -> Duration {
    match jwts.authenticate(token).await {
        Err(NotAuthenticated::KeysAway { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    }
}

const PUBLIC: [Name; 7] =
    [Name::RS256, Name::RS384, Name::RS512, Name::PS256, Name::ES256, Name::ES384, Name::EdDSA];

#[tokio::test]
async fn a_key_of_each_public_algorithm_is_taken_from_the_set() {
    let keys: Vec<_> = PUBLIC.map(|name| jwk(name, &format!("{name:?}"))).into();
    let provider = Provider::start(&keys).await;
    let jwts = provider.jwts();
    for name in PUBLIC {
        let token = token(name, Some(&format!("{name:?}")), &claims());
        assert_eq!(who(&jwts, &token).await.as_deref(), Some("customer/42"), "{name:?}");
    }
    assert_eq!(provider.asked(), 1, "the set is kept");
    // A key without an algorithm is for the usual one of its type.
    let mut plain = jwk(Name::RS256, "plain");
    plain.as_object_mut().unwrap().remove("alg");
    provider.gives(&[plain]);
    advance(Jwks::PAUSE).await;
    assert!(who(&jwts, &token(Name::RS256, Some("plain"), &claims())).await.is_some());
    assert!(who(&jwts, &token(Name::RS512, Some("plain"), &claims())).await.is_none());
}

#[tokio::test]
async fn unusable_keys_of_a_set_are_skipped() {
    use base64ct::{Base64UrlUnpadded, Encoding as _};
    let secret = Base64UrlUnpadded::encode_string(SECRET);
    let mut encryption = jwk(Name::ES256, "encryption");
    encryption["use"] = json!("enc");
    let mut other_curve = jwk(Name::ES256, "other curve");
    other_curve["alg"] = json!("ES384");
    let keys = [
        json!({"kty": "oct", "k": secret, "kid": "secret", "alg": "HS256"}),
        json!({"kty": "new", "kid": "from the future"}),
        json!("no object"),
        json!({"kty": "RSA", "kid": "small", "n": "AQAB", "e": "AQAB"}),
        encryption,
        other_curve,
        jwk(Name::EdDSA, "good"),
    ];
    let provider = Provider::start(&keys).await;
    let jwts = provider.jwts();
    assert!(who(&jwts, &token(Name::EdDSA, Some("good"), &claims())).await.is_some());
    // No token waits for a symmetric key, which cannot come from a provider.
    let forged = token(Name::HS256, Some("secret"), &claims());
    assert_eq!(why(&jwts, &forged).await, TokenRefusal::UnknownKey { kid: Some("secret".into()) });
    for (name, kid) in [(Name::ES256, "encryption"), (Name::ES384, "other curve")] {
        assert!(not_now(&jwts, &token(name, Some(kid), &claims())).await > Duration::ZERO);
    }
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn an_unknown_key_waits_for_one_fetch_in_30_s_and_is_no_refusal_before_it() {
    let provider = Provider::start(&[jwk(Name::ES256, "old")]).await;
    let jwts = provider.jwts();
    let (old, new) =
        (token(Name::ES256, Some("old"), &claims()), token(Name::EdDSA, Some("new"), &claims()));
    assert!(who(&jwts, &old).await.is_some());
    provider.gives(&[jwk(Name::ES256, "old"), jwk(Name::EdDSA, "new")]);
    let wait = not_now(&jwts, &new).await;
    assert!(wait <= Jwks::PAUSE && provider.asked() == 1, "{wait:?}");
    advance(Jwks::PAUSE).await;
    // Concurrent callers wait for the same fetch.
    let many = futures_util::future::join_all((0..20).map(|_| who(&jwts, &new))).await;
    assert!(many.iter().all(Option::is_some));
    assert_eq!(provider.asked(), 2);
    // After a successful fetch it is certain that there is no such key.
    advance(Jwks::PAUSE).await;
    let forged = token(Name::EdDSA, Some("forged"), &claims());
    assert_eq!(why(&jwts, &forged).await, TokenRefusal::UnknownKey { kid: Some("forged".into()) });
    assert!(not_now(&jwts, &forged).await > Duration::ZERO);
    assert!(who(&jwts, &old).await.is_some(), "the others do not wait");
    assert_eq!(provider.asked(), 3);
}

#[tokio::test]
async fn a_token_without_a_kid_may_be_of_a_new_key() {
    let provider = Provider::start(&[jwk(Name::ES256, "old")]).await;
    let jwts =
        jwts_with(vec![key("ours", Algorithm::Hs256)], Some(Jwks::new(&provider.url).unwrap()));
    assert!(who(&jwts, &token(Name::ES256, None, &claims())).await.is_some());
    assert!(who(&jwts, &token(Name::HS256, None, &claims())).await.is_some(), "a configured one");
    let new = token(Name::EdDSA, None, &claims());
    provider.gives(&[jwk(Name::EdDSA, "new")]);
    assert!(not_now(&jwts, &new).await > Duration::ZERO);
    advance(Jwks::PAUSE).await;
    assert!(who(&jwts, &new).await.is_some());
}

#[tokio::test]
async fn a_provider_that_is_away_signs_nobody_out_and_its_keys_last_a_day() {
    let provider = Provider::start(&[jwk(Name::ES256, "one")]).await;
    let jwts = provider.jwts();
    let one = token(Name::ES256, Some("one"), &claims());
    assert!(who(&jwts, &one).await.is_some());
    let failures: [fn(&Provider); 4] = [
        |p| p.answers("500 Oh", "no"),
        |p| p.answers("200 OK", "no JSON"),
        |p| p.answers("200 OK", r#"{"keys":[]}"#),
        |p| p.answers("302 Found", ""),
    ];
    let two = token(Name::EdDSA, Some("two"), &claims());
    for (n, fails) in failures.into_iter().enumerate() {
        fails(&provider);
        advance(Jwks::PAUSE).await;
        assert!(not_now(&jwts, &two).await > Duration::from_secs(20));
        assert_eq!(provider.asked(), n + 2);
        assert!(who(&jwts, &one).await.is_some());
    }
    advance(Jwks::KEPT.saturating_sub(Jwks::PAUSE * 5)).await;
    assert!(who(&jwts, &one).await.is_some(), "a day has not quite gone by");
    advance(Jwks::PAUSE * 2).await;
    assert!(
        not_now(&jwts, &one).await > Duration::ZERO,
        "then it is too old, and still no refusal"
    );
    provider.gives(&[jwk(Name::ES256, "one")]);
    advance(Jwks::PAUSE).await;
    assert!(who(&jwts, &one).await.is_some());
}

#[tokio::test]
async fn a_key_that_was_withdrawn_lets_nobody_in_after_an_hour_without_tokens() {
    let provider = Provider::start(&[jwk(Name::ES256, "one")]).await;
    let jwts = provider.jwts();
    let one = token(Name::ES256, Some("one"), &claims());
    assert!(who(&jwts, &one).await.is_some());
    provider.gives(&[jwk(Name::EdDSA, "two")]);
    advance(Jwks::STALE).await;
    assert_eq!(why(&jwts, &one).await, TokenRefusal::UnknownKey { kid: Some("one".into()) });
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn keys_are_fetched_again_in_the_background() {
    let provider = Provider::start(&[jwk(Name::ES256, "one")]).await;
    let jwts = provider.jwts();
    let one = token(Name::ES256, Some("one"), &claims());
    assert!(who(&jwts, &one).await.is_some());
    provider.hangs();
    advance(Jwks::FRESH).await;
    // The provider does not answer, and no caller waits for it.
    assert!(who(&jwts, &one).await.is_some());
    while provider.asked() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(who(&jwts, &one).await.is_some());
}

#[tokio::test]
async fn a_provider_that_hangs_is_waited_for_no_longer_than_5_s() {
    let provider = Provider::start(&[]).await;
    provider.hangs();
    let jwts = Arc::new(provider.jwts());
    let waiting = tokio::spawn({
        let jwts = jwts.clone();
        async move { not_now(&jwts, &token(Name::ES256, Some("one"), &claims())).await }
    });
    while provider.asked() < 1 {
        tokio::task::yield_now().await;
    }
    advance(Jwks::PATIENCE).await;
    assert!(waiting.await.unwrap() > Duration::ZERO);
}

#[tokio::test]
async fn a_set_that_is_too_large_is_not_read() {
    let provider = Provider::start(&[]).await;
    let keys = [jwk(Name::ES256, "one"), json!({"kty": "x".repeat(300 * 1024)})];
    provider.gives(&keys);
    let jwts = provider.jwts();
    assert!(not_now(&jwts, &token(Name::ES256, Some("one"), &claims())).await > Duration::ZERO);
}

#[test]
fn keys_come_over_https_or_from_this_machine() {
    for url in
        ["http://localhost:1/k", "http://127.0.0.1/", "http://[::1]:8080/", "http://127.9.9.9/"]
    {
        assert!(Jwks::new(url).is_ok(), "{url}");
    }
    for url in [
        "",
        "jwks",
        "ftp://localhost/",
        "http://example.com/",
        "http://10.0.0.1/",
        "http://localhost.example.com/",
        "https://user:s3cret@example.com/",
        "http://0.0.0.0/",
        "http://127.0.0.1.example.com/",
    ] {
        let refused = Jwks::new(url).map(drop).unwrap_err();
        assert!(matches!(refused, JwksError::Url), "{url}");
        assert!(!refused.to_string().contains("s3cret"));
    }
}

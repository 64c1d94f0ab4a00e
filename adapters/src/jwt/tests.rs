mod provider;

use std::time::Duration;

use doorstep_domain::Timestamp;
use doorstep_domain::ports::MockClock;
use jsonwebtoken::{Algorithm as Name, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_700_000_000;
const SECRET: &[u8] = b"a secret of thirty-two bytes ok!";
const RSA: (&[u8], &[u8]) =
    (include_bytes!("testdata/rsa.pem"), include_bytes!("testdata/rsa.pub.pem"));
const EC: (&[u8], &[u8]) =
    (include_bytes!("testdata/ec.pem"), include_bytes!("testdata/ec.pub.pem"));
const EC384: (&[u8], &[u8]) =
    (include_bytes!("testdata/ec384.pem"), include_bytes!("testdata/ec384.pub.pem"));
const ED: (&[u8], &[u8]) =
    (include_bytes!("testdata/ed.pem"), include_bytes!("testdata/ed.pub.pem"));

fn key(id: &str, algorithm: Algorithm) -> Key {
    let material = match algorithm {
        Algorithm::Hs256 => SECRET,
        Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 | Algorithm::Ps256 => RSA.1,
        Algorithm::Es256 => EC.1,
        Algorithm::Es384 => EC384.1,
        Algorithm::EdDsa => ED.1,
    };
    Key::new(id, algorithm, material).unwrap()
}

fn signing(name: Name) -> EncodingKey {
    match name {
        Name::RS256 | Name::RS384 | Name::RS512 | Name::PS256 | Name::PS512 => {
            EncodingKey::from_rsa_pem(RSA.0).unwrap()
        }
        Name::ES384 => EncodingKey::from_ec_pem(EC384.0).unwrap(),
        Name::ES256 => EncodingKey::from_ec_pem(EC.0).unwrap(),
        Name::EdDSA => EncodingKey::from_ed_pem(ED.0).unwrap(),
        _ => EncodingKey::from_secret(SECRET),
    }
}

fn token(name: Name, kid: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(name) };
    encode(&header, claims, &signing(name)).unwrap()
}

fn jwts(keys: Vec<Key>) -> Jwts {
    jwts_with(keys, None)
}

fn jwts_with(keys: Vec<Key>, provider: Option<Jwks>) -> Jwts {
    let expected = Expected {
        issuer: Some("shop".into()),
        audience: Some("doorstep".into()),
        leeway: Duration::from_secs(30),
    };
    let mut clock = MockClock::new();
    clock.expect_now().return_const(Timestamp::from_micros(NOW * 1_000_000));
    Jwts::new(keys, provider, expected, Arc::new(clock))
}

fn claims() -> Value {
    json!({"sub": "customer/42", "iss": "shop", "aud": "doorstep", "exp": NOW + 60})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

async fn who(jwts: &Jwts, token: &str) -> Option<String> {
    jwts.authenticate(token).await.unwrap().map(|caller| caller.user_id.to_string())
}

const ALL: [(Algorithm, Name); 8] = [
    (Algorithm::Hs256, Name::HS256),
    (Algorithm::Rs256, Name::RS256),
    (Algorithm::Rs384, Name::RS384),
    (Algorithm::Rs512, Name::RS512),
    (Algorithm::Ps256, Name::PS256),
    (Algorithm::Es256, Name::ES256),
    (Algorithm::Es384, Name::ES384),
    (Algorithm::EdDsa, Name::EdDSA),
];

#[tokio::test]
async fn a_token_of_each_algorithm_identifies_its_user_until_it_expires() {
    for (algorithm, name) in ALL {
        let jwts = jwts(vec![key("one", algorithm)]);
        let caller = jwts.authenticate(&token(name, Some("one"), &claims())).await.unwrap();
        let caller = caller.unwrap_or_else(|| panic!("{name:?}"));
        assert_eq!(caller.user_id.to_string(), "customer/42");
        assert_eq!(caller.expires_at.as_micros(), (NOW + 60 + 30) * 1_000_000);
        assert_eq!(who(&jwts, &token(name, None, &claims())).await.as_deref(), Some("customer/42"));
    }
}

#[tokio::test]
async fn a_user_id_is_any_string_up_to_128_bytes() {
    let jwts = jwts(vec![key("one", Algorithm::Hs256)]);
    for id in ["zoë", "a b/c\u{1F600}", &"é".repeat(64)] {
        let token = token(Name::HS256, None, &with("sub", json!(id)));
        assert_eq!(who(&jwts, &token).await.as_deref(), Some(id));
    }
    for id in [json!(""), json!("é".repeat(65)), json!(42), Value::Null] {
        let token = token(Name::HS256, None, &with("sub", id.clone()));
        assert_eq!(who(&jwts, &token).await, None, "{id}");
    }
}

#[tokio::test]
async fn claims_that_are_wrong_or_missing_let_nobody_in() {
    let jwts = jwts(vec![key("one", Algorithm::Hs256)]);
    let cases = [
        with("iss", json!("another shop")),
        without("iss"),
        with("aud", json!("another service")),
        with("aud", json!(["one", "two"])),
        without("aud"),
        without("sub"),
        without("exp"),
        with("exp", json!(NOW - 30)),
        with("exp", json!("tomorrow")),
        with("exp", json!(1e300)),
        with("exp", json!(-1)),
        with("nbf", json!(NOW + 31)),
        json!([]),
    ];
    for case in cases {
        assert_eq!(who(&jwts, &token(Name::HS256, None, &case)).await, None, "{case}");
    }
    let within_leeway = [
        with("exp", json!(NOW - 29)),
        with("nbf", json!(NOW + 30)),
        with("exp", json!(1_700_000_060.5)),
        with("aud", json!(["one", "doorstep"])),
    ];
    for case in within_leeway {
        assert!(who(&jwts, &token(Name::HS256, None, &case)).await.is_some(), "{case}");
    }
}

/// Why a token is refused.
async fn why(jwts: &Jwts, token: &str) -> TokenRefusal {
    jwts.caller(token).await.unwrap().unwrap_err()
}

#[tokio::test]
async fn a_token_may_be_16_kib_long() {
    let jwts = jwts(vec![key("one", Algorithm::Hs256)]);
    // Groups and roles make tokens long. Four characters encode three bytes of claims.
    let of = |bytes: usize| {
        let padding = "x".repeat(bytes);
        token(Name::HS256, Some("one"), &with("groups", json!(padding)))
    };
    let padding = (Jwts::MAX_TOKEN_BYTES - of(0).len()) / 4 * 3;
    let (fits, over) = (of(padding - 3), of(padding + 3));
    assert!((Jwts::MAX_TOKEN_BYTES - 8..=Jwts::MAX_TOKEN_BYTES).contains(&fits.len()));
    assert_eq!(who(&jwts, &fits).await.as_deref(), Some("customer/42"));
    assert_eq!(why(&jwts, &over).await, TokenRefusal::TooLong(over.len()));
}

#[tokio::test]
async fn a_refusal_says_why_and_nothing_of_the_token() {
    let jwts = jwts(vec![key("one", Algorithm::Hs256), key("two", Algorithm::Es256)]);
    let signed = |claims: &Value| token(Name::HS256, Some("one"), claims);
    let good = signed(&claims());
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let kid = "k".repeat(100);
    let cases = [
        (signed(&with("exp", json!(NOW - 60))), "it has expired: `exp` is in the past"),
        (signed(&with("nbf", json!(NOW + 60))), "it is not valid yet: `nbf` is in the future"),
        (signed(&with("iss", json!("secret"))), "its `iss` is not jwt.issuer"),
        (signed(&with("aud", json!("secret"))), "its `aud` does not contain jwt.audience"),
        (signed(&without("aud")), "it has no `aud` of the right type"),
        (
            signed(&without("sub")),
            "its claims are not a `sub` (a string), an `exp` and perhaps an `nbf` (numbers)",
        ),
        (signed(&with("sub", json!(""))), "its `sub` is invalid"),
        (signed(&with("exp", json!(1e300))), "it has no `exp` of the right type"),
        (token(Name::HS256, Some("three"), &claims()), "its `kid` \"three\" is unknown here"),
        (
            token(Name::HS256, Some("a\n\u{1b}[31m"), &claims()),
            "its `kid` \"a\\n\\u{1b}[31m\" is unknown here",
        ),
        (token(Name::HS256, Some(&kid), &claims()), "its `kid` is unknown here"),
        (
            token(Name::HS256, Some("two"), &claims()),
            "no key here is for the algorithm that its header names",
        ),
        (
            token(Name::PS512, None, &claims()),
            "no key here is for the algorithm that its header names",
        ),
        (forged, "its signature does not match its key"),
        ("secret".to_owned(), "it is not a JSON Web Token"),
        ("a.b.c".to_owned(), "no key here is for the algorithm that its header names"),
    ];
    for (token, expected) in cases {
        let said = why(&jwts, &token).await.to_string();
        assert_eq!(said, expected);
        assert!(!said.contains("secret"));
    }
}

#[test]
fn refusals_are_logged_once_a_second_for_each_kind() {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    let at = |millis: i64| Timestamp::from_micros(millis * 1000);
    let refusals = Refusals::new();
    let counted = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Counting(counted.clone()));
    for millis in 0..=2000 {
        refusals.log(&TokenRefusal::Expired, at(millis));
    }
    assert_eq!(counted.load(Relaxed), 3);
    refusals.log(&TokenRefusal::Audience, at(2000));
    assert_eq!(counted.load(Relaxed), 4, "another kind has a line of its own");
}

/// Counts log events.
struct Counting(Arc<std::sync::atomic::AtomicUsize>);

impl tracing::Subscriber for Counting {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn keys_are_rotated_by_their_ids() {
    let other = Key::new("new", Algorithm::Hs256, b"another secret of thirty-two byt").unwrap();
    let jwts = jwts(vec![key("old", Algorithm::Hs256), other]);
    let old = token(Name::HS256, Some("old"), &claims());
    assert!(who(&jwts, &old).await.is_some());
    assert!(
        who(&jwts, &token(Name::HS256, None, &claims())).await.is_some(),
        "without an id any fits"
    );
    // The id selects the key, and no other key is tried.
    assert_eq!(who(&jwts, &token(Name::HS256, Some("new"), &claims())).await, None);
    assert_eq!(who(&jwts, &token(Name::HS256, Some("none"), &claims())).await, None);
    jwts.replace_keys(vec![Key::new("new", Algorithm::Hs256, SECRET).unwrap()]);
    assert_eq!(who(&jwts, &old).await, None, "its key has been taken away");
    assert!(who(&jwts, &token(Name::HS256, Some("new"), &claims())).await.is_some());
}

fn segment(value: &Value) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding as _};
    Base64UrlUnpadded::encode_string(value.to_string().as_bytes())
}

#[tokio::test]
async fn the_algorithm_none_is_refused_in_every_spelling() {
    let jwts = jwts(ALL.map(|(algorithm, _)| key("one", algorithm)).into());
    let signature = token(Name::HS256, None, &claims()).rsplit('.').next().unwrap().to_owned();
    for alg in ["none", "None", "NONE", "nOnE", "", "HS1"] {
        for signature in ["", "AA", &signature] {
            let header = segment(&json!({"alg": alg, "typ": "JWT", "kid": "one"}));
            let forged = format!("{header}.{}.{signature}", segment(&claims()));
            assert_eq!(who(&jwts, &forged).await, None, "{alg:?} {signature:?}");
        }
    }
    let header = segment(&json!({"typ": "JWT"}));
    assert_eq!(who(&jwts, &format!("{header}.{}.", segment(&claims()))).await, None);
}

#[tokio::test]
async fn a_public_key_is_never_taken_for_a_secret() {
    // Signed with the public key, which everybody knows, as if it were an HMAC secret.
    for (public, algorithm) in
        [(RSA.1, Algorithm::Rs256), (EC.1, Algorithm::Es256), (ED.1, Algorithm::EdDsa)]
    {
        for keys in [vec![key("one", algorithm)], ALL.map(|(a, _)| key("one", a)).into()] {
            let jwts = jwts(keys);
            for kid in [None, Some("one".to_owned())] {
                let header = Header { kid, ..Header::new(Name::HS256) };
                let forged = encode(&header, &claims(), &EncodingKey::from_secret(public)).unwrap();
                assert_eq!(who(&jwts, &forged).await, None, "{algorithm:?}");
            }
        }
    }
    // A valid token, at a node that has only keys of other algorithms under the same id.
    for (algorithm, name) in ALL {
        let others = ALL.iter().filter(|(a, _)| *a != algorithm);
        let jwts = jwts(others.map(|(a, _)| key("one", *a)).collect());
        assert_eq!(who(&jwts, &token(name, Some("one"), &claims())).await, None, "{name:?}");
    }
}

#[tokio::test]
async fn text_that_is_not_a_token_identifies_nobody() {
    let jwts = jwts(vec![key("one", Algorithm::Hs256)]);
    let good = token(Name::HS256, None, &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let changed = format!("{header}.{}.{signature}", segment(&with("sub", json!("eve"))));
    let long = format!("{good}{}", "A".repeat(Jwts::MAX_TOKEN_BYTES));
    for bad in ["", ".", "..", "a.b.c", signed, &changed, &long, &good[..good.len() - 4]] {
        assert_eq!(who(&jwts, bad).await, None, "{bad}");
    }
    let critical = Header { crit: Some(vec!["exp".into()]), ..Header::new(Name::HS256) };
    let critical = encode(&critical, &claims(), &signing(Name::HS256)).unwrap();
    assert_eq!(who(&jwts, &critical).await, None, "asks for what is not understood");
}

#[test]
fn invalid_keys_are_refused_when_they_are_configured() {
    let refused = |algorithm, material: &[u8]| Key::new("one", algorithm, material).unwrap_err();
    assert_eq!(refused(Algorithm::Hs256, b"short"), KeyError::SecretTooShort(5));
    for pem in [RSA.1.to_vec(), [b"\n", EC.1].concat(), [b"the key:\n", ED.1].concat()] {
        assert_eq!(refused(Algorithm::Hs256, &pem), KeyError::PemAsSecret);
    }
    for (algorithm, material) in [
        (Algorithm::Rs256, EC.1),
        (Algorithm::Rs256, RSA.0),
        (Algorithm::Es256, ED.1),
        (Algorithm::Es256, EC384.1),
        (Algorithm::Es384, EC.1),
        (Algorithm::Ps256, EC.1),
        (Algorithm::EdDsa, RSA.1),
        (Algorithm::EdDsa, SECRET),
    ] {
        assert_eq!(refused(algorithm, material), KeyError::NotAPublicKey(algorithm));
    }
    assert!(!format!("{:?}", key("one", Algorithm::Hs256)).contains("secret"));
}

#[tokio::test]
async fn it_vouches_only_for_callers_with_its_own_tokens() {
    let jwts = jwts(vec![key("one", Algorithm::Hs256)]);
    let theirs = jwts.authenticate(&token(Name::HS256, None, &claims())).await.unwrap().unwrap();
    assert!(jwts.is_alive(&theirs).await.unwrap());
    // For example signed out, but with time left.
    let session = Caller { by: LetInBy::Session, ..theirs.clone() };
    assert!(!jwts.is_alive(&session).await.unwrap());
    let over = Caller { expires_at: Timestamp::from_micros(NOW * 1_000_000), ..theirs };
    assert!(!jwts.is_alive(&over).await.unwrap());
}

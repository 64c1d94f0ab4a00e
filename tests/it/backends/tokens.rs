//! A backend's own tokens at the real binary: each algorithm with a key file, rotation by SIGHUP, and forged
//! tokens.

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, Server};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::BARE;

const SECRET: &str = "a secret of thirty-two bytes ok!";
const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../adapters/src/jwt/testdata");

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{DIR}/{name}")).unwrap()
}

fn claims() -> Value {
    json!({"sub": "customer/42", "iss": "shop", "aud": "doorstep", "exp": 4_000_000_000_u64})
}

fn signing(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 | Algorithm::PS256 => {
            EncodingKey::from_rsa_pem(file("rsa.pem").as_bytes()).unwrap()
        }
        Algorithm::ES256 => EncodingKey::from_ec_pem(file("ec.pem").as_bytes()).unwrap(),
        Algorithm::ES384 => EncodingKey::from_ec_pem(file("ec384.pem").as_bytes()).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(file("ed.pem").as_bytes()).unwrap(),
        _ => EncodingKey::from_secret(SECRET.as_bytes()),
    }
}

fn signed(algorithm: Algorithm, kid: &str, claims: &Value) -> String {
    let header = Header { kid: Some(kid.into()), ..Header::new(algorithm) };
    encode(&header, claims, &signing(algorithm)).unwrap()
}

/// Each algorithm with the id and the file of its key.
const ALL: [(Algorithm, &str, &str); 8] = [
    (Algorithm::HS256, "HS256", "hs.key"),
    (Algorithm::RS256, "RS256", "rsa.pub.pem"),
    (Algorithm::RS384, "RS384", "rsa384.pub.pem"),
    (Algorithm::RS512, "RS512", "rsa512.pub.pem"),
    (Algorithm::PS256, "PS256", "rsapss.pub.pem"),
    (Algorithm::ES256, "ES256", "ec.pub.pem"),
    (Algorithm::ES384, "ES384", "ec384.pub.pem"),
    (Algorithm::EdDSA, "EdDSA", "ed.pub.pem"),
];

/// The configuration of these keys; the id of each is its file name, including the dot.
fn configuration(keys: &[(Algorithm, &str, &str)]) -> String {
    let table = |(_, name, file): &(Algorithm, &str, &str)| {
        format!("[jwt.keys.{file:?}]\nalgorithm = {name:?}\nkey_file = {file:?}\n")
    };
    let keys: String = keys.iter().map(table).collect();
    format!("{BARE}[jwt]\nissuer = \"shop\"\naudience = \"doorstep\"\nleeway = \"5s\"\n{keys}")
}

fn call(keys: &[(Algorithm, &str, &str)]) -> Doorstep {
    let mut call = Doorstep::new(&["--listen", "127.0.0.1:0"]).file("hs.key", SECRET);
    for name in ["rsa.pub.pem", "ec.pub.pem", "ec384.pub.pem", "ed.pub.pem"] {
        call = call.file(name, &file(name));
    }
    // A key verifies one algorithm, so the same file serves as three more keys.
    for name in ["rsa384.pub.pem", "rsa512.pub.pem", "rsapss.pub.pem"] {
        call = call.file(name, &file("rsa.pub.pem"));
    }
    call.file("doorstep.toml", &configuration(keys))
}

async fn lets_in(server: &Server, token: &str) -> bool {
    // An accepted token gets 426, because the request has no upgrade.
    match User::with_token(server.url(), "customer/42", token).get("/v1/ws").await.0 {
        401 => false,
        426 | 400 => true,
        other => panic!("answered {other}"),
    }
}

#[tokio::test]
async fn each_algorithm_s_key_comes_from_its_file() {
    let server = call(&ALL).start().await;
    for (algorithm, _, file) in ALL {
        let token = signed(algorithm, file, &claims());
        let user = User::with_token(server.url(), "customer/42", &token);
        drop(user.connect("doorstep.v1").await);
    }
}

#[tokio::test]
async fn a_token_says_for_whom_by_whom_and_until_when() {
    let server = call(&ALL).start().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (name, value) in [
        ("iss", json!("another shop")),
        ("aud", json!("another door")),
        ("exp", json!(now - 60)),
        ("nbf", json!(now + 3600)),
        ("sub", json!("")),
    ] {
        for (algorithm, _, file) in ALL {
            let mut claims = claims();
            claims[name] = value.clone();
            let token = signed(algorithm, file, &claims);
            assert!(!lets_in(&server, &token).await, "{name} {algorithm:?}");
            claims.as_object_mut().unwrap().remove(name);
            let allowed = name == "nbf";
            let token = signed(algorithm, file, &claims);
            assert_eq!(lets_in(&server, &token).await, allowed, "no {name} {algorithm:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_ends_when_its_token_does() {
    let server = call(&ALL[..1]).start().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut claims = claims();
    // It has expired, but the leeway of 5 s still accepts it.
    claims["exp"] = json!(now - 3);
    let token = signed(Algorithm::HS256, "hs.key", &claims);
    let mut socket =
        User::with_token(server.url(), "customer/42", &token).connect("doorstep.v1").await;
    assert_eq!(socket.close_code().await, 4401);
}

#[tokio::test]
async fn keys_are_rotated_without_a_restart() {
    let call = call(&ALL[..1]);
    let mut server = call.start().await;
    let [hmac, .., ed] = ALL;
    let (old, new) = (signed(hmac.0, hmac.2, &claims()), signed(ed.0, ed.2, &claims()));
    let mut reload = async |keys: &[_], times| {
        std::fs::write(call.dir().join("doorstep.toml"), configuration(keys)).unwrap();
        server.hang_up();
        server.logged("reloaded the keys", times).await;
        (lets_in(&server, &old).await, lets_in(&server, &new).await)
    };
    assert_eq!(reload(&[hmac], 1).await, (true, false));
    assert_eq!(reload(&[hmac, ed], 2).await, (true, true));
    assert_eq!(reload(&[ed], 3).await, (false, true));
}

#[tokio::test]
async fn tokens_with_none_or_a_public_key_as_secret_are_refused() {
    let server = call(&ALL).start().await;
    let part = |value: &Value| {
        use base64ct::{Base64UrlUnpadded, Encoding as _};
        Base64UrlUnpadded::encode_string(value.to_string().as_bytes())
    };
    for alg in ["none", "None", "NONE"] {
        for (_, _, file) in ALL {
            let header = part(&json!({"alg": alg, "kid": file}));
            let forged = format!("{header}.{}.", part(&claims()));
            assert!(!lets_in(&server, &forged).await, "{alg} {file}");
        }
    }
    for (_, _, name) in &ALL[1..] {
        // The three additional keys are copies of the first.
        let material = if name.starts_with("rsa") { "rsa.pub.pem" } else { name };
        for public in [file(material), file(material).trim().to_owned()] {
            let key = EncodingKey::from_secret(public.as_bytes());
            for kid in [None, Some((*name).to_owned()), Some("hs.key".to_owned())] {
                let header = Header { kid, ..Header::new(Algorithm::HS256) };
                let forged = encode(&header, &claims(), &key).unwrap();
                assert!(!lets_in(&server, &forged).await, "{header:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_of_16_kib_opens_the_door_by_header_and_by_subprotocol() {
    let server = call(&ALL[..1]).start().await;
    // Like the tokens of a provider that lists every group of the user.
    let of = |bytes: usize| {
        let mut claims = claims();
        claims["groups"] = json!("x".repeat(bytes));
        signed(Algorithm::HS256, "hs.key", &claims)
    };
    let longest = of((16 * 1024 - of(0).len()) / 4 * 3 - 3);
    assert!((16_300..=16_384).contains(&longest.len()), "{}", longest.len());
    let user = User::with_token(server.url(), "customer/42", &longest);
    drop(user.connect("doorstep.v1").await);
    // A browser cannot set headers, so it offers its token together with the subprotocol.
    drop(user.connect_as_a_browser().await);
    assert!(!lets_in(&server, &of(16 * 1024)).await);
}

#[tokio::test]
async fn the_log_says_why_a_token_was_refused_and_nothing_of_it() {
    let mut server = call(&ALL[..2]).start().await;
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        signed(Algorithm::HS256, "hs.key", &claims)
    };
    let unknown = signed(Algorithm::HS256, "last year", &claims());
    let cases = [
        (with("exp", json!(1_000_000_000)), "`exp` is in the past"),
        (with("aud", json!("claim-of-mine")), "`aud` does not contain jwt.audience"),
        (with("iss", json!("claim-of-mine")), "`iss` is not jwt.issuer"),
        (unknown, "`kid` \"last year\" is unknown"),
        (signed(Algorithm::ES256, "hs.key", &claims()), "no key here is for the algorithm"),
        (with("groups", json!("x".repeat(16 * 1024))), "too long"),
        ("claim-of-mine".to_owned(), "not a JSON Web Token"),
    ];
    for (token, why) in &cases {
        assert!(!lets_in(&server, token).await);
        server.logged(why, 1).await;
    }
    let said = server.kill().await.stderr;
    assert!(said.contains("refused a token") && !said.contains("claim-of-mine"), "{said}");
    for (token, _) in cases {
        assert!(!said.contains(&token) && !said.contains("customer/42"), "{said}");
    }
}

/// Starts a key provider on this machine. Returns its URL and its task.
async fn provider(keys: Value) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let set = axum::routing::get(async move || axum::Json(json!({ "keys": keys })));
    let task = tokio::spawn(async move {
        axum::serve(listener, axum::Router::new().route("/jwks.json", set)).await.unwrap();
    });
    (format!("http://{address}/jwks.json"), task)
}

fn jwk(algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk =
        jsonwebtoken::jwk::Jwk::from_encoding_key(&signing(algorithm), algorithm).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    serde_json::to_value(jwk).unwrap()
}

fn with_provider(url: &str) -> Doorstep {
    let jwt = format!("[jwt]\nissuer = \"shop\"\naudience = \"doorstep\"\njwks_url = {url:?}\n");
    let file = format!("{BARE}{jwt}");
    Doorstep::new(&["--listen", "127.0.0.1:0"]).file("doorstep.toml", &file)
}

#[tokio::test]
async fn keys_come_from_a_provider_and_an_unknown_one_is_no_401_while_it_is_away() {
    let (url, provides) = provider(json!([jwk(Algorithm::RS256, "one")])).await;
    let server = with_provider(&url).start().await;
    let one = signed(Algorithm::RS256, "one", &claims());
    let user = User::with_token(server.url(), "customer/42", &one);
    drop(user.connect("doorstep.v1").await);
    provides.abort();
    let two = signed(Algorithm::EdDSA, "two", &claims());
    let answer = reqwest::Client::new()
        .get(format!("{}/v1/ws", server.url()))
        .bearer_auth(&two)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert!(lets_in(&server, &one).await, "known keys are kept");
}

#[tokio::test]
async fn a_node_starts_without_its_provider_and_says_so() {
    let (url, provides) = provider(json!([])).await;
    provides.abort();
    assert!(provides.await.is_err());
    let mut server = with_provider(&url).start().await;
    server.logged("could not fetch the provider's keys", 1).await;
    let token = signed(Algorithm::RS256, "one", &claims());
    assert_eq!(User::with_token(server.url(), "customer/42", &token).get("/v1/ws").await.0, 503);
}

#[tokio::test]
async fn keys_over_plain_http_and_an_issuer_without_keys_end_the_start_with_2() {
    for (file, named) in [
        ("[jwt]\njwks_url = \"http://example.com/jwks.json\"", "jwt.jwks_url"),
        ("[jwt]\nissuer = \"shop\"", "jwt.issuer"),
        ("[jwt]\naudience = \"doorstep\"", "jwt.audience"),
    ] {
        let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
            .file("doorstep.toml", &format!("{BARE}{file}"));
        let finished = call.run().await;
        assert_eq!(finished.code, Some(2), "{file}: {}", finished.stderr);
        assert!(finished.stderr.contains(named), "{}", finished.stderr);
    }
}

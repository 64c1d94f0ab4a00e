//! A backend's own tokens at the real binary: each algorithm from a key file, rotation by SIGHUP, and what a
//! forger tries.

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
        Algorithm::RS256 => EncodingKey::from_rsa_pem(file("rsa.pem").as_bytes()).unwrap(),
        Algorithm::ES256 => EncodingKey::from_ec_pem(file("ec.pem").as_bytes()).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(file("ed.pem").as_bytes()).unwrap(),
        _ => EncodingKey::from_secret(SECRET.as_bytes()),
    }
}

fn signed(algorithm: Algorithm, kid: &str, claims: &Value) -> String {
    let header = Header { kid: Some(kid.into()), ..Header::new(algorithm) };
    encode(&header, claims, &signing(algorithm)).unwrap()
}

const ALL: [(Algorithm, &str, &str); 4] = [
    (Algorithm::HS256, "HS256", "hs.key"),
    (Algorithm::RS256, "RS256", "rsa.pub.pem"),
    (Algorithm::ES256, "ES256", "ec.pub.pem"),
    (Algorithm::EdDSA, "EdDSA", "ed.pub.pem"),
];

/// The lines for these keys; each has its file's name as its id, points and all.
fn configuration(keys: &[(Algorithm, &str, &str)]) -> String {
    let table = |(_, name, file): &(Algorithm, &str, &str)| {
        format!("[jwt.keys.{file:?}]\nalgorithm = {name:?}\nkey_file = {file:?}\n")
    };
    let keys: String = keys.iter().map(table).collect();
    format!("{BARE}[jwt]\nissuer = \"shop\"\naudience = \"doorstep\"\nleeway = \"5s\"\n{keys}")
}

fn call(keys: &[(Algorithm, &str, &str)]) -> Doorstep {
    let mut call = Doorstep::new(&["--listen", "127.0.0.1:0"]).file("hs.key", SECRET);
    for name in ["rsa.pub.pem", "ec.pub.pem", "ed.pub.pem"] {
        call = call.file(name, &file(name));
    }
    call.file("doorstep.toml", &configuration(keys))
}

async fn lets_in(server: &Server, token: &str) -> bool {
    // Who is let in is then told that this is a WebSocket.
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
    // Over a while ago, but for the leeway of 5 s.
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
    let (old, new) = (signed(ALL[0].0, ALL[0].2, &claims()), signed(ALL[3].0, ALL[3].2, &claims()));
    let mut reload = async |keys: &[_], times| {
        std::fs::write(call.dir().join("doorstep.toml"), configuration(keys)).unwrap();
        server.hang_up();
        server.logged("reloaded the keys", times).await;
        (lets_in(&server, &old).await, lets_in(&server, &new).await)
    };
    assert_eq!(reload(&ALL[..1], 1).await, (true, false));
    assert_eq!(reload(&[ALL[0], ALL[3]], 2).await, (true, true));
    assert_eq!(reload(&ALL[3..], 3).await, (false, true));
}

#[tokio::test]
async fn neither_none_nor_a_public_key_as_a_secret_lets_anybody_in() {
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
        for public in [file(name), file(name).trim().to_owned()] {
            let key = EncodingKey::from_secret(public.as_bytes());
            for kid in [None, Some((*name).to_owned()), Some("hs.key".to_owned())] {
                let header = Header { kid, ..Header::new(Algorithm::HS256) };
                let forged = encode(&header, &claims(), &key).unwrap();
                assert!(!lets_in(&server, &forged).await, "{header:?}");
            }
        }
    }
}

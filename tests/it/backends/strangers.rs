//! Wrong credentials: a service key in place of a user's token, and the reverse, on every route.

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, SqliteFile};
use reqwest::Method;
use serde_json::Value;

use super::{Door, token};

/// Sends the wrong credential to every described route that takes this kind of token. Returns how many there are.
async fn check_all_refuse(door: &Door, scheme: &str, shown: &str, says: &str) -> usize {
    let http = reqwest::Client::new();
    let url = door.server.url();
    let document: Value =
        http.get(format!("{url}/openapi.json")).send().await.unwrap().json().await.unwrap();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["security"][0].get(scheme).is_none() {
                continue;
            }
            let real = path
                .replace("{user_id}", "ada")
                .replace("{id}", "0192f0c1-2345-7abc-8def-0123456789ab");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            // The body is invalid and the upgrade is missing: the credential must be checked first.
            let request = http.request(method.clone(), format!("{url}{real}"));
            let request =
                request.bearer_auth(shown).header("content-type", "application/json").body("{");
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{method} {real} with {shown}");
            assert!(response.headers().contains_key("www-authenticate"), "{method} {real}");
            let problem: Value = response.json().await.unwrap();
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(says), "{method} {real} with {shown}: {detail}");
            asked += 1;
        }
    }
    asked
}

async fn check(door: &Door, users: &[String], routes_of_users: usize) {
    let says = "this needs a service key";
    for shown in users {
        assert_eq!(check_all_refuse(door, "service_key", shown, says).await, 12);
    }
    let key = &door.backend.key;
    let says = "a user's token belongs here";
    assert_eq!(check_all_refuse(door, "token", key, says).await, routes_of_users);
    // A service key that is not configured here is refused the same way.
    check_all_refuse(door, "token", "dsk_nobody", says).await;
}

#[tokio::test]
async fn with_the_simulation_neither_passes_for_the_other() {
    let door = Door::with("").await;
    let session = User::register(door.server.url(), "ada").await.token;
    let users =
        [session, token("ada"), "nobody".into(), door.backend.key[4..].into(), "dsk_nobody".into()];
    check(&door, &users, 13).await;
}

#[tokio::test]
async fn without_it_neither_does_either() {
    let database = SqliteFile::new();
    let door = Door::of(Doorstep::serve(&database.url()), "[trading]\nenabled = false\n").await;
    check(&door, &[token("ada"), format!("{}x", door.backend.key)], 5).await;
}

#[tokio::test]
async fn a_key_is_no_token_in_a_subprotocol_and_two_are_none() {
    let door = Door::open().await;
    let http = reqwest::Client::new();
    let url = format!("{}/v1/ws", door.server.url());
    let offered = format!("doorstep.v1, bearer.{}", door.backend.key);
    let upgrade = http.get(&url).header("sec-websocket-protocol", offered);
    let upgrade = upgrade
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(upgrade.send().await.unwrap().status(), 401);

    let url = format!("{}/v1/users/ada/presence", door.server.url());
    let key = format!("Bearer {}", door.backend.key);
    let ask = async |headers: &[&str]| {
        let request = headers.iter().fold(http.get(&url), |r, h| r.header("authorization", *h));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(&[&key]).await, 200);
    let basic = format!("Basic {}", door.backend.key);
    for wrong in [vec![], vec![&*key, &key], vec![&basic], vec![&door.backend.key], vec!["Bearer "]]
    {
        assert_eq!(ask(&wrong).await, 401, "{wrong:?}");
    }
}

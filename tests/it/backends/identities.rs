//! Users of other backends: their tokens are accepted, with keys from a file and from the environment.

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, Finished};
use serde_json::json;

use super::{BARE, Door, SECRET, token};

#[tokio::test]
async fn a_key_comes_from_a_file_or_the_environment() {
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
        .file("doorstep.toml", BARE)
        .file("shop.key", &format!("{SECRET}\n"))
        .env("DOORSTEP_JWT__KEYS__SHOP__KEY_FILE", "shop.key");
    for call in [
        call,
        Doorstep::new(&["--listen", "127.0.0.1:0"])
            .file("doorstep.toml", BARE)
            .env("DOORSTEP_JWT__KEYS__SHOP__KEY", SECRET),
    ] {
        let server = call.start().await;
        drop(User::with_token(server.url(), "zoë", &token("zoë")).connect("doorstep.v1").await);
    }
}

#[tokio::test]
async fn invalid_keys_exit_with_2_and_are_not_repeated() {
    for (name, value, says) in [
        ("KEY", "s3cret", "at least 32 bytes"),
        ("KEY_FILE", "nowhere.pem", "nowhere.pem cannot be read"),
    ] {
        let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
            .file("doorstep.toml", BARE)
            .env(&format!("DOORSTEP_JWT__KEYS__SHOP__{name}"), value);
        let Finished { code, stderr, .. } = call.run().await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("jwt.keys.shop") && stderr.contains(says), "{stderr}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
    }
}

#[tokio::test]
async fn sessions_and_tokens_open_the_same_door() {
    let door = Door::with("").await;
    let ours = User::register(door.server.url(), "ada").await;
    let theirs = door.user("customer/42");
    for user in [&ours, &theirs] {
        let mut socket = user.connect("doorstep.plain.v1").await;
        let body = json!({"user_id": user.id, "kind": "news", "payload": 1});
        door.backend.publish(&body).await;
        while socket.notification().await["kind"] != "news" {}
    }
    // A backend's user has no account here.
    assert_eq!(theirs.get("/v1/me").await.0, 401);
}

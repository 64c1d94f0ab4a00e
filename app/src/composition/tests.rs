use doorstep_domain::ports::Accounts;
use doorstep_domain::{Outcome, UserId};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::config::DatabaseUrl;

#[derive(Deserialize)]
struct CreatedUser {
    user: RegisteredUser,
}

#[derive(Deserialize)]
struct RegisteredUser {
    id: UserId,
}

/// Registers a user at a node with these options, waits until all events are handled, and returns the user's balance
/// and the number of notifications that the registration made.
async fn check_registration(options: Options) -> (String, usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::defaults();
    let file = dir.path().join("doorstep.db");
    config.database = DatabaseUrl::new(format!("sqlite://{}", file.display()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let node = start(&config, listener, options).await.unwrap();

    let response = reqwest::Client::new()
        .post(format!("http://{address}/v1/users"))
        .json(&json!({ "username": "ada", "password": "correct horse" }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    let registered: CreatedUser = response.json().await.unwrap();
    node.bus.stop().await;

    let balance = node.store.as_ref().unwrap().balance(&registered.user.id).await.unwrap().unwrap();
    let ended: u64 = Outcome::ALL.iter().map(|outcome| node.core.delivery.ended(*outcome)).sum();
    assert_eq!(ended, 0, "nobody was there to be pushed to");
    let waiting = node.core.delivery.held().waiting;
    node.stop().await;
    (balance.to_string(), waiting)
}

#[tokio::test]
async fn a_registration_makes_a_gift_and_two_notifications() {
    let made = check_registration(Options::default()).await;
    assert_eq!(made, ("1000.00".to_owned(), 2));
}

#[tokio::test]
async fn without_the_notification_handler_everything_else_works() {
    let made = check_registration(Options { without_notifications: true }).await;
    assert_eq!(made, ("1000.00".to_owned(), 0));
}

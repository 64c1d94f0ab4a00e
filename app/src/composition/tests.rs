use std::net::SocketAddr;
use std::path::Path;

use doorstep_domain::ports::{Accounts, Handover, Inbox};
use doorstep_domain::{Outcome, UserId};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::config::DatabaseUrl;
use crate::config::PolicyChoice;

#[derive(Deserialize)]
struct CreatedUser {
    user: RegisteredUser,
}

#[derive(Deserialize)]
struct RegisteredUser {
    id: UserId,
}

async fn register(address: SocketAddr) -> UserId {
    let response = reqwest::Client::new()
        .post(format!("http://{address}/v1/users"))
        .json(&json!({ "username": "ada", "password": "correct horse" }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    let registered: CreatedUser = response.json().await.unwrap();
    registered.user.id
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

    let ada = register(address).await;
    node.bus.stop().await;

    let balance = node.stores.bank.as_ref().unwrap().accounts.balance(&ada).await.unwrap().unwrap();
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

/// A database with the tables of delivery, or with all.
async fn database(dir: &Path, name: &str, tables: Tables) -> Arc<sql::Store> {
    let url = format!("sqlite://{}", dir.join(name).display());
    Arc::new(sql::connect_to(&url, tables, Sharing::Alone).await.unwrap())
}

#[tokio::test]
async fn the_inbox_may_be_in_another_database_than_the_money() {
    let dir = tempfile::tempdir().unwrap();
    let money = database(dir.path(), "money.db", Tables::All).await;
    let items = database(dir.path(), "items.db", Tables::OfDelivery).await;
    let stores = Stores {
        inbox: Some(items.clone()),
        retention: Some(items.clone()),
        handover: Some(items.clone()),
        databases: vec![money.clone(), items.clone()],
        ..Stores::all_in(Some(money.clone()))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = Config::defaults();
    let mut kept = config.delivery.default;
    kept.policy = PolicyChoice::Inbox;
    config.delivery.kinds.push(("welcome".parse().unwrap(), kept));
    let node = start_with(&config, stores, listener, None, Options::default()).await.unwrap();
    let ready = reqwest::get(format!("http://{address}/health/ready")).await.unwrap();
    assert_eq!(ready.status(), 200);
    let ada = register(address).await;
    node.bus.quiet().await;
    assert_eq!(money.balance(&ada).await.unwrap().unwrap().to_string(), "1000.00");
    assert_eq!((items.unread(&ada).await.unwrap(), money.unread(&ada).await.unwrap()), (1, 0));
    // What waits goes to the second one, too.
    assert_eq!(node.stop().await, 0);
    let items = database(dir.path(), "items.db", Tables::OfDelivery).await;
    assert_eq!(items.take(10).await.unwrap().len(), 1);
}

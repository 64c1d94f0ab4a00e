//! Orders over HTTP, and the store's share of their time: `cargo bench -p doorstep-tests --bench orders`.
//!
//! For each store, a whole server (its own process, the bench profile) and 16 clients, each with its own user,
//! that open and close a position repeatedly for some seconds: two orders per round. Then the same transactions on
//! the same kind of store without HTTP, from the same number of tasks. The store's share is the second time divided
//! by the first.
//!
//! Measured on two cores that were also busy with other work: SQLite 774 orders/s over HTTP and 736 without, so the
//! store takes all of the time (each order is one commit, flushed to the disk, and there is one writer). PostgreSQL
//! 1,071 and 2,516, so the store takes 43 %; the server and its clients on the same two cores take the rest.

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use doorstep_adapters::sql::{Store, connect};
use doorstep_domain::ports::{Accounts, Opening, Positions};
use doorstep_domain::{
    CloseReason, EntryId, EntryKind, LedgerEntry, Money, NewUser, Order, PasswordHash, Position,
    PositionId, Price, Session, Side, Timestamp, TokenHash, User, UserId,
};
use doorstep_tests::client;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

const CLIENTS: usize = 16;
const LENGTH: Duration = Duration::from_secs(5);

/// Orders per second over HTTP.
async fn through_http(database: &str) -> f64 {
    let server = Doorstep::serve(database).env("DOORSTEP_LOG", "warn").start().await;
    let mut users = Vec::new();
    for number in 0..CLIENTS {
        let user = client::User::register(server.url(), &format!("user-{number}")).await;
        user.has("1000.00").await;
        users.push(user);
    }
    let (began, mut clients) = (Instant::now(), JoinSet::new());
    for user in users {
        clients.spawn(async move {
            let mut orders = 0_u32;
            while began.elapsed() < LENGTH {
                let order = json!({ "symbol": "EUR-USD", "side": "long", "quantity": "1" });
                let (status, position) = user.post("/v1/positions", &order).await;
                assert_eq!(status, 201, "{position}");
                let id = position["id"].as_str().expect("an id");
                let (status, closed) =
                    user.post(&format!("/v1/positions/{id}/close"), &json!({})).await;
                assert_eq!(status, 200, "{closed}");
                orders += 2;
            }
            orders
        });
    }
    let orders: u32 = clients.join_all().await.iter().sum();
    f64::from(orders) / began.elapsed().as_secs_f64()
}

/// The same transactions per second, without HTTP.
async fn in_the_store(database: &str) -> f64 {
    let store = Arc::new(connect(database).await.expect("a store"));
    let mut users = Vec::new();
    for number in 0..CLIENTS {
        users.push(registered(&store, number).await);
    }
    let (began, mut clients) = (Instant::now(), JoinSet::new());
    for user in users {
        let store = store.clone();
        clients.spawn(async move {
            let mut orders = 0_u32;
            while began.elapsed() < LENGTH {
                open_and_close(&store, &user).await;
                orders += 2;
            }
            orders
        });
    }
    let orders: u32 = clients.join_all().await.iter().sum();
    f64::from(orders) / began.elapsed().as_secs_f64()
}

async fn registered(store: &Store, number: usize) -> UserId {
    let (id, at) = (UserId::from(Uuid::now_v7()), Timestamp::default());
    let username = format!("bench-{number}").parse().expect("a username");
    let user = User { id: id.clone(), username, created_at: at };
    let mut token = [0; 32];
    token[..16].copy_from_slice(Uuid::now_v7().as_bytes());
    let session =
        Session { token: TokenHash::new(token), user_id: id.clone(), expires_at: Timestamp::MAX };
    let password = PasswordHash::new(String::new());
    store.register(&NewUser { user, password }, &session).await.expect("registers");
    let gift = LedgerEntry {
        id: EntryId::new(Uuid::now_v7()),
        user_id: id.clone(),
        kind: EntryKind::WelcomeGift,
        amount: Money::from_minor(100_000),
        reference: id.to_string(),
        created_at: at,
    };
    store.grant(&gift).await.expect("grants");
    id
}

/// Includes the reads of the service.
async fn open_and_close(store: &Store, user: &UserId) {
    let order = Order {
        symbol: "EUR-USD".parse().expect("a symbol"),
        side: Side::Long,
        quantity: "1".parse().expect("a quantity"),
        stop_loss: None,
        take_profit: None,
    };
    let (id, price) = (PositionId::new(Uuid::now_v7()), "1.1".parse::<Price>().expect("a price"));
    let position = Position::open(id, user.clone(), order, price, Timestamp::default());
    let opening = Opening {
        position: position.expect("a position"),
        entry: EntryId::new(Uuid::now_v7()),
        key: None,
        max_open: NonZeroUsize::MAX,
    };
    store.open(&opening).await.expect("opens");
    let found = store.find(user, id).await.expect("finds").expect("is there");
    let closed = found.closed_at(price, CloseReason::User, Timestamp::default());
    Positions::close(store, &closed, EntryId::new(Uuid::now_v7())).await.expect("closes");
}

#[tokio::main]
async fn main() {
    println!("store           orders/s over HTTP   in the store alone   the store's share");
    let files = [SqliteFile::new(), SqliteFile::new()];
    let postgres = Postgres::shared().await;
    let databases = [
        ("SQLite", [files[0].url(), files[1].url()]),
        ("PostgreSQL", [postgres.database().await, postgres.database().await]),
    ];
    for (name, [one, other]) in databases {
        let (http, store) = (through_http(&one).await, in_the_store(&other).await);
        println!("{name:<12} {http:>21.0} {store:>20.0} {:>17.0} %", 100.0 * http / store);
    }
}

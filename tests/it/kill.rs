//! Money survives: the server is killed with `kill -9`, again and again, at random moments, while clients
//! register. In the end everybody who was told that they exist exists, and has one welcome gift.

use std::time::Duration;

use doorstep_tests::client::{NotRegistered, User};
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::{Doorstep, SqliteFile};
use tokio::task::JoinSet;

const KILLS: u32 = 50;
const CLIENTS: u32 = 4;
/// The longest a server lives after it serves: a few registrations.
const LONGEST_LIFE_MS: u64 = 250;

/// `KILL_SEED=...` plays the moments of another run again; a failure names its seed.
fn seed() -> u64 {
    match std::env::var("KILL_SEED") {
        Ok(seed) => seed.parse().expect("KILL_SEED is a number"),
        Err(_) => 20_260_101,
    }
}

async fn check_money_survives(database: &str) {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        let server = Doorstep::serve(database).env("DOORSTEP_LOG", "warn").start().await;
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients
                .spawn(register_until_killed(server.url().to_owned(), format!("u{kill}-{client}")));
        }
        // No moment is the right one, so this is no waiting for something: it is the dice.
        tokio::time::sleep(Duration::from_millis(random.u64(0..=LONGEST_LIFE_MS))).await;
        server.kill().await;
        while let Some(registered) = clients.join_next().await {
            acknowledged.extend(registered.unwrap());
        }
    }

    let server = Doorstep::serve(database).start().await;
    assert!(!acknowledged.is_empty(), "nobody was registered between the kills");
    for user in &acknowledged {
        let user = user.clone().at(server.url());
        user.has("1000.00").await;
        let (status, ledger) = user.get("/v1/ledger").await;
        let entries = ledger["entries"].as_array().cloned().unwrap_or_default();
        let amounts: Vec<_> =
            entries.iter().map(|entry| (&entry["kind"], &entry["amount"])).collect();
        assert_eq!(status, 200, "seed {seed}");
        assert_eq!(amounts, [(&"welcome_gift".into(), &"1000.00".into())], "seed {seed}: {ledger}");
    }
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));

    let audit = Doorstep::new(&["audit", "--database", database]).run().await;
    assert_eq!(audit.code, Some(0), "seed {seed}: {audit:#?}");
    println!("seed {seed}: {KILLS} kills, {} users: {}", acknowledged.len(), audit.stdout);
}

/// Registers one user after the other until the server does not answer any more.
async fn register_until_killed(server: String, name: String) -> Vec<User> {
    let mut registered = Vec::new();
    for number in 0.. {
        match User::try_register(&server, &format!("{name}-{number}")).await {
            Ok(user) => registered.push(user),
            // Killed: whether this one exists is anybody's guess.
            Err(NotRegistered::NoAnswer(_)) => break,
            Err(refused) => panic!("{refused:?}"),
        }
    }
    registered
}

#[tokio::test]
async fn money_survives_kill_9_on_sqlite() {
    check_money_survives(&SqliteFile::new().url()).await;
}

#[tokio::test]
async fn money_survives_kill_9_on_postgres() {
    check_money_survives(&Postgres::shared().await.database().await).await;
}

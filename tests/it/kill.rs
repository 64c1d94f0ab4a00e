//! Money survives: the server is killed with `kill -9`, again and again, at random moments, while clients
//! register, open and close positions, and the price closes others. In the end every user whose registration
//! was confirmed exists and has one welcome gift, every acknowledged order exists, every close is settled once,
//! and `doorstep audit` finds no fault in the books.

use std::sync::Arc;
use std::time::Duration;

use doorstep_tests::client::{NotRegistered, PATIENCE, User};
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

const KILLS: u32 = 50;
const CLIENTS: u32 = 4;
/// The longest time a server lives once it serves: enough for a few registrations and some trades.
const LONGEST_LIFE_MS: u64 = 400;

/// `KILL_SEED=...` repeats the moments of another run; a failure names its seed.
fn seed() -> u64 {
    match std::env::var("KILL_SEED") {
        Ok(seed) => seed.parse().expect("KILL_SEED is a number"),
        Err(_) => 20_260_101,
    }
}

/// What the server has confirmed to one user.
struct Promised {
    user: User,
    opened: Vec<String>,
    closed: Vec<String>,
}

async fn check_money_survives(database: &str) {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut promised = Vec::new();
    for kill in 0..KILLS {
        let server = serve(database).start().await;
        let (mut clients, opened) = (JoinSet::new(), Arc::new(Notify::new()));
        for client in 0..CLIENTS {
            let (url, name) = (server.url().to_owned(), format!("u{kill}-{client}"));
            clients.spawn(register_and_trade_until_killed(url, name, opened.clone()));
        }
        if kill % 5 == 0 {
            // However slow the machine is, some are killed while they trade.
            timeout(PATIENCE, opened.notified()).await.expect("somebody opens a position");
        }
        // This sleep waits for no condition: the moment of the kill is random.
        tokio::time::sleep(Duration::from_millis(random.u64(0..=LONGEST_LIFE_MS))).await;
        server.kill().await;
        while let Some(some) = clients.join_next().await {
            promised.extend(some.unwrap());
        }
    }

    let server = serve(database).start().await;
    for Promised { user, opened, closed } in &promised {
        check_promise(&user.clone().at(server.url()), opened, closed, seed).await;
    }
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));

    let audit = Doorstep::new(&["audit", "--database", database]).run().await;
    assert_eq!(audit.code, Some(0), "seed {seed}: {audit:#?}");
    let opened: usize = promised.iter().map(|p| p.opened.len()).sum();
    let closed: usize = promised.iter().map(|p| p.closed.len()).sum();
    println!(
        "seed {seed}: {KILLS} kills, {} users, {opened} positions opened and {closed} closed: {}",
        promised.len(),
        audit.stdout
    );
    assert!(opened > 0 && closed > 0, "nobody traded between the kills");
}

/// Prices that jump often and far enough to cross most triggers while the server lives.
fn serve(database: &str) -> Doorstep {
    Doorstep::serve(database)
        .env("DOORSTEP_LOG", "warn")
        .env("DOORSTEP_MARKET__TICK_INTERVAL", "5ms")
        .env("DOORSTEP_MARKET__SPEED", "200000")
}

async fn check_promise(user: &User, opened: &[String], closed: &[String], seed: u64) {
    let (status, ledger) = user.get("/v1/ledger?limit=100").await;
    assert_eq!(status, 200, "seed {seed}");
    let entries = ledger["entries"].as_array().cloned().unwrap_or_default();
    let count = |kind: &str, reference: &str| {
        let is = |entry: &&Value| entry["kind"] == kind && entry["reference"] == reference;
        entries.iter().filter(is).count()
    };
    assert_eq!(count("welcome_gift", &user.id), 1, "seed {seed}: {ledger}");
    assert!(ledger["next"].is_null(), "more entries than this test looks at");
    for id in opened {
        assert_eq!(count("position_opened", id), 1, "seed {seed}: {ledger}");
    }
    for id in closed {
        assert_eq!(count("position_closed", id), 1, "seed {seed}: {ledger}");
    }
}

/// Registers, opens three positions and closes one of them, again and again until the server stops responding.
async fn register_and_trade_until_killed(
    server: String,
    name: String,
    opened: Arc<Notify>,
) -> Vec<Promised> {
    let mut promised = Vec::new();
    for number in 0.. {
        match User::try_register(&server, &format!("{name}-{number}")).await {
            Ok(user) => {
                let mut mine = Promised { user, opened: vec![], closed: vec![] };
                let end = trade(&mut mine, &opened).await;
                promised.push(mine);
                if end.is_err() {
                    break;
                }
            }
            // Killed: whether this user exists is unknown.
            Err(NotRegistered::NoAnswer(_)) => break,
            Err(refused) => panic!("{refused:?}"),
        }
    }
    promised
}

async fn trade(mine: &mut Promised, opened: &Notify) -> Result<(), reqwest::Error> {
    // The gift comes a moment after the registration; until then, orders are refused.
    for _ in 0..3 {
        for (symbol, side) in [("ETH-USD", "long"), ("EUR-USD", "short"), ("ACME", "short")] {
            let (_, market) = mine.user.try_get("/v1/instruments").await?;
            let prices = market["instruments"].as_array().cloned().unwrap_or_default();
            let price = prices.iter().find(|quote| quote["symbol"] == symbol).cloned();
            let price: f64 =
                price.unwrap_or_default()["price"].as_str().unwrap_or("1").parse().unwrap();
            let (loss, gain) = if side == "long" { (0.99, 1.01) } else { (1.01, 0.99) };
            let order = json!({
                "symbol": symbol, "side": side, "quantity": format!("{:.6}", 10.0 / price),
                "stop_loss": format!("{:.6}", price * loss),
                "take_profit": format!("{:.6}", price * gain),
            });
            let (status, position) = mine.user.try_post("/v1/positions", &order, None).await?;
            match status {
                201 => {
                    mine.opened.push(position["id"].as_str().unwrap().to_owned());
                    opened.notify_one();
                }
                // No money yet, or the price has jumped over a trigger.
                422 => {}
                _ => panic!("{status} {position}"),
            }
        }
        if let Some(id) = mine.opened.last() {
            let path = format!("/v1/positions/{id}/close");
            let (status, answer) = mine.user.try_post(&path, &json!({}), None).await?;
            match status {
                200 => mine.closed.push(id.clone()),
                // The price was faster.
                409 => {}
                _ => panic!("{status} {answer}"),
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn money_survives_kill_9_on_sqlite() {
    check_money_survives(&SqliteFile::new().url()).await;
}

#[tokio::test]
async fn money_survives_kill_9_on_postgres() {
    check_money_survives(&Postgres::shared().await.database().await).await;
}

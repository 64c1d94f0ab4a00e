//! `kill -9` of the node, again and again, while writers commit and roll back: every notification that was committed
//! is delivered under its id, and none that was rolled back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};

use super::{Shop, publish};

const KILLS: u32 = 50;
const WRITERS: i64 = 3;
/// The longest a node lives after it serves.
const LONGEST_LIFE_MS: u64 = 300;

/// `KILL_SEED=...` plays the moments of another run again.
fn seed() -> u64 {
    std::env::var("KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_101)
}

/// Writes until it is told to stop. Returns the ids of what was committed.
async fn write(url: String, writer: i64, stop: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut backend = PgConnection::connect(&url).await.unwrap();
    let mut random = fastrand::Rng::with_seed(seed() + writer.unsigned_abs());
    let mut committed = BTreeSet::new();
    while !stop.load(Relaxed) {
        let mut transaction = backend.begin().await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..random.u8(1..=3) {
            ids.push(publish(&mut transaction, "ada", writer).await);
        }
        tokio::time::sleep(Duration::from_millis(random.u64(0..20))).await;
        if random.bool() {
            transaction.commit().await.unwrap();
            committed.extend(ids);
        } else {
            transaction.rollback().await.unwrap();
        }
    }
    committed
}

#[tokio::test]
async fn kill_9_loses_nothing_that_was_committed() {
    let (shop, ended) = (Shop::open().await, Arc::new(AtomicBool::new(false)));
    let mut random = fastrand::Rng::with_seed(seed());
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| tokio::spawn(write(shop.backend_url.clone(), n, ended.clone())))
        .collect();
    let mut door = shop.door_with("[delivery]\nttl = \"1h\"\nmax_per_user = 60000\n").await;
    let mut shown = BTreeSet::new();
    for kill in 0..KILLS {
        // The user is there in half of the lives, and acknowledges what comes.
        let reading = (kill % 2 == 0).then(|| {
            let user = door.user("ada");
            tokio::spawn(async move {
                let mut ids = BTreeSet::new();
                let mut socket = user.connect("doorstep.v1").await;
                while let Some(frame) = socket.try_notification().await {
                    ids.insert(frame["id"].as_str().unwrap().to_owned());
                    if socket.try_acknowledge(&frame).await.is_err() {
                        break;
                    }
                }
                ids
            })
        });
        // No moment is the right one, so this is no waiting for something: it is the dice.
        tokio::time::sleep(Duration::from_millis(random.u64(20..=LONGEST_LIFE_MS))).await;
        if kill + 1 == KILLS {
            ended.store(true, Relaxed);
        }
        door.server.kill().await;
        if let Some(reading) = reading {
            shown.extend(reading.await.unwrap());
        }
        door.server = door.call.start().await;
    }
    let mut committed = BTreeSet::new();
    for writer in writers {
        committed.extend(writer.await.unwrap());
    }
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    while !committed.is_subset(&shown) {
        let frame = socket.notification().await;
        shown.insert(frame["id"].as_str().unwrap().to_owned());
        socket.acknowledge(&frame).await;
    }
    // What was acknowledged just before a kill comes once more, and ends.
    let rest = async {
        while let Some(frame) = socket.try_notification().await {
            shown.insert(frame["id"].as_str().unwrap().to_owned());
            socket.try_acknowledge(&frame).await.ok();
        }
    };
    tokio::select! {
        () = rest => {}
        () = shop.until_empty() => {}
    }
    let invented: Vec<_> = shown.difference(&committed).collect();
    assert!(invented.is_empty(), "seed {}: rolled back, and shown: {invented:?}", seed());
    println!("seed {}: {KILLS} kills, {} committed, all shown", seed(), committed.len());
    assert!(committed.len() > 100, "hardly anything was written between the kills");
}

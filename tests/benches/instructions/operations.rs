//! The operations that are measured. Each is carried out some times before counting begins, so that memory which is
//! allocated once is not counted.

use super::door::Door;
use super::{Cost, Costs};

const ACKS: &str = "doorstep.v1";
const PLAIN: &str = "doorstep.plain.v1";
const TTL: u32 = 600;

pub(super) async fn measure() -> Costs {
    let mut costs = Costs::new();
    let mut note = |name: &str, cost: Cost| {
        eprintln!("{name}: {} instructions", cost.instructions);
        costs.insert(name.to_owned(), cost);
    };
    let mut door = Door::open().await;
    note("publish, absent", publish_absent(&mut door).await);
    note("publish, connected", publish_connected(&mut door).await);
    note("publish, batch of 100, absent", publish_batch(&mut door).await);
    note("handshake", handshake(&mut door, false).await);
    note("handshake and one waiting", handshake(&mut door, true).await);
    note("acknowledgement", acknowledge(&mut door).await);
    note("expiry", expire(&mut door).await);
    costs
}

/// Names of users whom nobody has used yet.
fn users(of: &str, count: u32) -> Vec<String> {
    (0..count).map(|n| format!("{of}-{n:06}")).collect()
}

async fn publish_absent(door: &mut Door) -> Cost {
    for user in users("warm", 300) {
        door.publish(&[user], TTL).await;
    }
    door.counts.zero();
    for user in users("absent", 1000) {
        door.publish(&[user], TTL).await;
    }
    door.counts.per_operation(1000)
}

async fn publish_connected(door: &mut Door) -> Cost {
    let user = ["connected".to_owned()];
    let mut socket = door.connect(&user[0], PLAIN).await;
    for round in 0..1300 {
        if round == 300 {
            door.counts.zero();
        }
        door.publish(&user, TTL).await;
        socket.notification().await;
    }
    door.counts.per_operation(1000)
}

async fn publish_batch(door: &mut Door) -> Cost {
    let all = users("batch", 6000);
    for (round, batch) in all.chunks(100).enumerate() {
        if round == 10 {
            door.counts.zero();
        }
        door.publish(batch, TTL).await;
    }
    door.counts.per_operation(50)
}

/// A connection is opened for a user, who is told what waits, and stays open.
async fn handshake(door: &mut Door, waiting: bool) -> Cost {
    let all = users(if waiting { "awaited" } else { "arriving" }, 400);
    if waiting {
        door.publish(&all, TTL).await;
    }
    let mut open = Vec::new();
    for (round, user) in all.iter().enumerate() {
        if round == 100 {
            door.counts.zero();
        }
        let mut socket = door.connect(user, PLAIN).await;
        if waiting {
            socket.notification().await;
        }
        open.push(socket);
    }
    door.counts.per_operation(300)
}

async fn acknowledge(door: &mut Door) -> Cost {
    let all = users("acknowledges", 10);
    let mut open = Vec::new();
    for user in &all {
        let mut socket = door.connect(user, ACKS).await;
        door.publish(&vec![user.clone(); 30], TTL).await;
        let mut frames = Vec::new();
        for _ in 0..30 {
            frames.push(socket.notification().await);
        }
        open.push((socket, frames));
    }
    door.counts.zero();
    for (socket, frames) in &mut open {
        for frame in frames.iter() {
            socket.acknowledge(frame).await;
        }
        // The server reads frames in order, so all acknowledgements have been taken when this one is answered.
        socket.round_trip().await;
    }
    door.counts.per_operation(300)
}

async fn expire(door: &mut Door) -> Cost {
    for batch in users("expiring", 4000).chunks(1000) {
        door.publish(batch, 8).await;
    }
    // It sleeps until all are due. Otherwise it depends on chance how often it wakes for how many.
    door.counts.pause();
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    door.counts.go_on();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    door.counts.per_operation(4000)
}

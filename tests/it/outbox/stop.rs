//! A planned stop: what waits stays in the outbox, and the next node takes it up at once.

use super::{OPEN, Shop, number, publish};

#[tokio::test]
async fn what_waits_at_a_stop_is_taken_up_by_the_next_node() {
    let shop = Shop::open().await;
    let mut door = shop.door().await;
    let mut backend = shop.backend().await;
    for n in 0..3 {
        publish(&mut backend, "ada", n).await;
    }
    shop.until_none("SELECT count(*) FROM doorstep.outbox").await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let frame = socket.notification().await;
    socket.acknowledge(&frame).await;
    socket.round_trip().await;
    door.server.terminate();
    let stopped = door.server.wait().await;
    assert_eq!(stopped.code, Some(0), "{}", stopped.stderr);
    assert_eq!(shop.number(OPEN).await, 2, "what has ended is forgotten, the rest is kept");
    let free = "SELECT count(*) FROM doorstep.consumer WHERE held_until > clock_timestamp()";
    assert_eq!(shop.number(free).await, 0, "the lease was given back");

    door.server = door.call.start().await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    for expected in [1, 2] {
        let frame = socket.notification().await;
        assert_eq!(number(&frame), expected);
        socket.acknowledge(&frame).await;
    }
    shop.until_empty().await;
}

//! One consumer at a time: another node takes over from one that hangs, and the late writes of that one change nothing.

use doorstep_adapters::outbox::PostgresOutbox;
use doorstep_domain::ports::{Bad, NotificationSource as _, SourceError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Shop, number, publish};
use crate::backends::Door;

fn signal(door: &Door, signal: Signal) {
    let pid = i32::try_from(door.server.pid().unwrap()).unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[tokio::test]
async fn another_node_takes_over_from_one_that_hangs() {
    let shop = Shop::open().await;
    let mut first = shop.door().await;
    first.server.logged("consumes the outbox", 1).await;
    let mut second = shop.door().await;
    let mut backend = shop.backend().await;
    let mut at_first = first.user("ada").connect("doorstep.v1").await;
    publish(&mut backend, "ada", 1).await;
    assert_eq!(number(&at_first.notification().await), 1);

    signal(&first, Signal::SIGSTOP);
    let extended = "SELECT (extract(epoch FROM held_until) * 1000)::bigint FROM doorstep.consumer";
    let before = shop.number(extended).await;
    let mut at_second = second.user("bob").connect("doorstep.v1").await;
    publish(&mut backend, "bob", 2).await;
    second.server.logged("consumes the outbox", 1).await;
    let frame = at_second.notification().await;
    assert_eq!(number(&frame), 2);
    at_second.acknowledge(&frame).await;
    // By the clock of the database: from the last sign of life of the first to the lease of the second.
    let fence = shop.number("SELECT fence FROM doorstep.consumer").await;
    assert_eq!(fence, 2);
    // Within 6 s on a machine that has the time; a busy one is not tested here.
    let took = shop.number(extended).await - before;
    assert!(took < 30_000, "{took} ms from the last sign of life of the first to the second");

    // The first wakes up, and notices.
    signal(&first, Signal::SIGCONT);
    first.server.logged("stopped consuming the outbox", 1).await;
    at_first.acknowledge(&serde_json::json!({ "id": frame["id"] })).await;
    publish(&mut backend, "bob", 3).await;
    assert_eq!(number(&at_second.notification().await), 3, "the second goes on");
    assert_eq!(shop.number("SELECT fence FROM doorstep.consumer").await, 2);
}

#[tokio::test]
async fn a_lease_ends_5_seconds_after_its_last_extension_and_late_writes_change_nothing() {
    let shop = Shop::open().await;
    let (one, two) = (
        PostgresOutbox::new(&shop.node_url).unwrap(),
        PostgresOutbox::new(&shop.node_url).unwrap(),
    );
    let mut backend = shop.backend().await;
    for n in 0..3 {
        publish(&mut backend, "ada", n).await;
    }
    let fence = one.lease().await.unwrap().unwrap();
    assert_eq!(two.lease().await.unwrap(), None);
    let rows = one.take(10).await.unwrap();
    let places: Vec<u64> = rows.iter().map(|row| row.place).collect();
    assert_eq!(one.accept(fence, &places[..1]).await.unwrap(), places[..1]);
    one.renew(fence).await.unwrap();
    let lasts = "SELECT count(*) FROM doorstep.consumer \
         WHERE held_until <= clock_timestamp() + interval '5 s'";
    assert_eq!(shop.number(lasts).await, 1);
    // As if the time had passed.
    shop.change("UPDATE doorstep.consumer SET held_until = clock_timestamp() - interval '1 ms'")
        .await;
    let second = two.lease().await.unwrap().unwrap();
    assert!(second > fence);

    let lost = |result: Result<(), SourceError>| {
        assert!(matches!(result, Err(SourceError::LeaseLost)), "{result:?}");
    };
    lost(one.renew(fence).await);
    lost(one.accept(fence, &places[1..]).await.map(drop));
    lost(one.reject(fence, &[Bad { place: places[1], errors: vec![] }]).await);
    lost(one.forget(fence, &places).await);
    one.release(fence).await.unwrap();
    assert_eq!(shop.number("SELECT count(*) FROM doorstep.outbox").await, 2);
    assert_eq!(shop.number("SELECT count(*) FROM doorstep.accepted").await, 1);
    assert_eq!(shop.number("SELECT count(*) FROM doorstep.rejected").await, 0);
    // The second takes up what the first had accepted.
    let accepted = two.accepted(0, 10).await.unwrap();
    assert_eq!(accepted.iter().map(|row| row.place).collect::<Vec<_>>(), places[..1]);
    two.renew(second).await.unwrap();
    two.forget(second, &places[..1]).await.unwrap();
    assert_eq!(two.accept(second, &places[1..]).await.unwrap(), places[1..]);
}

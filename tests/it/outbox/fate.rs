//! What is committed is delivered, what is rolled back never was; the TTL counts from the call.

use doorstep_tests::server::{Doorstep, SqliteFile};
use sqlx::{Connection as _, Executor as _};

use super::{OPEN, Shop, call, number, publish};
use crate::backends::Door;

#[tokio::test]
async fn a_commit_is_delivered_and_a_rollback_never_was() {
    let shop = Shop::open().await;
    let door = shop.door().await;
    let mut backend = shop.backend().await;
    let mut rolled_back = backend.begin().await.unwrap();
    rolled_back.execute("INSERT INTO customers VALUES ('ada')").await.unwrap();
    publish(&mut rolled_back, "ada", 1).await;
    rolled_back.rollback().await.unwrap();

    let mut committed = backend.begin().await.unwrap();
    committed.execute("INSERT INTO customers VALUES ('ada')").await.unwrap();
    let id = call(
        &mut committed,
        r#"'ada', 'order.shipped', '{"order": 7, "a b": [1, 2]}', topic => 'order/7', ttl => 300"#,
    )
    .await;
    publish(&mut committed, "ada", 2).await;
    publish(&mut committed, "ada", 3).await;
    committed.commit().await.unwrap();

    // The user comes later than the commit.
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let frame = socket.notification().await;
    assert_eq!(frame["id"], id.as_str());
    assert_eq!(id.as_bytes()[14], b'7', "a UUIDv7");
    assert_eq!((&frame["kind"], &frame["topic"]), (&"order.shipped".into(), &"order/7".into()));
    assert_eq!(frame["payload"].to_string(), r#"{"a b":[1,2],"order":7}"#);
    socket.acknowledge(&frame).await;
    for expected in [2, 3] {
        let frame = socket.notification().await;
        assert_eq!(number(&frame), expected);
        socket.acknowledge(&frame).await;
    }
    shop.until_empty().await;
    assert_eq!(shop.number("SELECT count(*) FROM doorstep.rejected").await, 0);
    let (status, state) = door.backend.get(&format!("/v1/notifications/{id}")).await;
    assert_eq!((status, &state["state"]), (200, &"delivered".into()));
}

#[tokio::test]
async fn a_user_who_is_there_gets_it_at_once() {
    let shop = Shop::open().await;
    let door = shop.door().await;
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    let mut backend = shop.backend().await;
    for expected in 0..20 {
        publish(&mut backend, "ada", expected).await;
        assert_eq!(number(&socket.notification().await), expected);
    }
    shop.until_empty().await;
}

#[tokio::test]
async fn a_row_that_is_too_old_ends_as_its_rule_says_and_is_never_shown() {
    let shop = Shop::open().await;
    let mut backend = shop.backend().await;
    let late = publish(&mut backend, "ada", 1).await;
    let kept = call(&mut backend, "'ada', 'kept', '2'").await;
    let never =
        call(&mut backend, "'ada', 'order.shipped', '3', policy => 'immediate', ttl => 0").await;
    shop.change("UPDATE doorstep.outbox SET called_at = called_at - interval '2 min'").await;
    let in_time = publish(&mut backend, "ada", 4).await;
    let database = SqliteFile::new();
    let call = Doorstep::serve(&database.url());
    let file = format!(
        "[trading]\nenabled = false\n[handover]\nenabled = false\n{}\
         [delivery.kinds.kept]\non_expiry = \"inbox\"\n",
        shop.section()
    );
    let door = Door::of(call, &file).await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    for (id, outcome) in [(&late, "expired"), (&kept, "promoted"), (&never, "expired")] {
        let path = format!("/v1/notifications/{id}?wait=30");
        let known = async {
            loop {
                let (status, state) = door.backend.get(&path).await;
                if status == 200 {
                    break state;
                }
            }
        };
        assert_eq!(known.await["state"], outcome, "{id}");
    }
    // What was promoted is in the inbox, and shown from there.
    let mut shown = vec![];
    for _ in 0..2 {
        let frame = socket.notification().await;
        shown.push(frame["id"].as_str().unwrap().to_owned());
        socket.acknowledge(&frame).await;
    }
    shown.sort_unstable();
    let mut expected = vec![kept, in_time];
    expected.sort_unstable();
    assert_eq!(shown, expected);
    shop.until_empty().await;
}

#[tokio::test]
async fn what_is_in_the_inbox_is_no_longer_in_the_outbox() {
    let shop = Shop::open().await;
    let database = SqliteFile::new();
    let file = format!("[trading]\nenabled = false\n{}", shop.section());
    let door = Door::of(Doorstep::serve(&database.url()), &file).await;
    let mut backend = shop.backend().await;
    call(&mut backend, "'ada', 'news', '1', policy => 'inbox'").await;
    shop.until_empty().await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    assert_eq!(number(&socket.notification().await), 1);
}

#[tokio::test]
async fn a_full_node_pauses_and_goes_on() {
    let shop = Shop::open().await;
    let mut door = shop.door_with("[delivery]\nmax_pending = 2\n").await;
    let mut backend = shop.backend().await;
    for n in 0..5 {
        publish(&mut backend, "ada", n).await;
    }
    door.server.logged("the node takes nothing", 1).await;
    // Nothing has ended, and nothing was rejected.
    assert_eq!(shop.number(OPEN).await, 5);
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    for expected in 0..5 {
        let frame = socket.notification().await;
        assert_eq!(number(&frame), expected);
        socket.acknowledge(&frame).await;
    }
    shop.until_empty().await;
    assert_eq!(shop.number("SELECT count(*) FROM doorstep.rejected").await, 0);
}

#[tokio::test]
async fn the_figures_show_what_waits() {
    let shop = Shop::open().await;
    let door = shop.door().await;
    let metrics = async || {
        let url = format!("{}/metrics", door.server.url());
        reqwest::get(url).await.unwrap().text().await.unwrap()
    };
    while !metrics().await.contains("doorstep_outbox_rows_waiting 0") {
        tokio::task::yield_now().await;
    }
    let mut backend = shop.backend().await;
    publish(&mut backend, "ada", 1).await;
    while !metrics().await.contains("doorstep_outbox_rows_total 1") {
        tokio::task::yield_now().await;
    }
    assert!(metrics().await.contains("doorstep_outbox_oldest_seconds 0"));
}

//! Rows that are no notifications: the backend's transaction never fails for them, and they hold up nobody.

use doorstep_tests::scrape::Scrape;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use super::{Shop, call, number, publish};
use crate::node::eventually;

/// Arguments in SQL, and the fields that are wrong with them.
const BAD: [(&str, &[&str]); 16] = [
    ("NULL, NULL, NULL", &["user_id", "kind", "payload"]),
    ("'', 'order.shipped', '1'", &["user_id"]),
    ("repeat('x', 129), 'order.shipped', '1'", &["user_id"]),
    ("repeat('x', 1000000), 'order.shipped', '1'", &["user_id"]),
    ("'ada', 'two words', '1'", &["kind"]),
    ("'ada', repeat('k', 65), '1'", &["kind"]),
    ("'ada', 'order.shipped', NULL", &["payload"]),
    ("'ada', 'order.shipped', to_jsonb(repeat('x', 33 * 1024))", &["payload"]),
    ("'ada', 'order.shipped', to_jsonb(repeat('x', 3 * 1024 * 1024))", &["payload"]),
    ("'ada', 'order.shipped', (repeat('[', 200) || repeat(']', 200))::jsonb", &["payload"]),
    ("'ada', 'order.shipped', '1', topic => 'a b'", &["topic"]),
    ("'ada', 'order.shipped', '1', ttl => -1", &["ttl"]),
    ("'ada', 'order.shipped', '1', ttl => 2147483647", &["ttl"]),
    ("'ada', 'order.shipped', '1', policy => 'sometimes'", &["policy"]),
    ("'ada', 'order.shipped', '1', policy => 'inbox'", &["policy"]),
    ("'', '', '1', '', -1, ''", &["user_id", "kind", "topic", "policy", "ttl"]),
];

#[tokio::test]
async fn a_bad_row_is_put_aside_with_its_errors() {
    let shop = Shop::open().await;
    let door = shop.door().await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let mut backend = shop.backend().await;
    let mut ids = Vec::new();
    let mut transaction = backend.begin().await.unwrap();
    for (arguments, _) in BAD {
        ids.push(call(&mut transaction, arguments).await);
    }
    publish(&mut transaction, "ada", 1).await;
    // JSON's null is a value; a trace that cannot be read is no fault.
    call(&mut transaction, "'ada', 'order.shipped', 'null', traceparent => 'nonsense'").await;
    transaction.commit().await.unwrap();
    assert_eq!(number(&socket.notification().await), 1);
    assert_eq!(socket.notification().await["payload"], Value::Null);
    shop.until_none("SELECT count(*) FROM doorstep.outbox").await;

    let mut owner = PgConnection::connect(&shop.url).await.unwrap();
    for (id, (arguments, fields)) in ids.iter().zip(BAD) {
        let query = format!("SELECT errors::text FROM doorstep.rejected WHERE id = '{id}'");
        let row = owner.fetch_one(AssertSqlSafe(query)).await.unwrap();
        let errors: Vec<Value> = serde_json::from_str(row.get(0)).unwrap();
        let found: Vec<&str> = errors.iter().map(|e| e["field"].as_str().unwrap()).collect();
        assert_eq!(found, fields, "{arguments}: {errors:?}");
    }
}

#[tokio::test]
async fn what_is_put_aside_is_bounded() {
    let shop = Shop::open().await;
    let mut backend = shop.backend().await;
    let many =
        "SELECT count(doorstep.publish('', 'bad', to_jsonb(n))) FROM generate_series(1, 10100) n";
    backend.execute(many).await.unwrap();
    let _door = shop.door().await;
    shop.until_none("SELECT count(*) FROM doorstep.outbox").await;
    assert_eq!(shop.number("SELECT count(*) FROM doorstep.rejected").await, 10_000);
    let oldest = "SELECT min(payload::text::bigint) FROM doorstep.rejected";
    assert_eq!(shop.number(oldest).await, 101);
}

#[tokio::test]
async fn a_full_mailbox_that_rejects_puts_the_row_aside() {
    let shop = Shop::open().await;
    let door = shop.door_with("[delivery]\nmax_per_user = 1\noverflow = \"reject\"\n").await;
    let mut backend = shop.backend().await;
    publish(&mut backend, "ada", 1).await;
    publish(&mut backend, "ada", 2).await;
    shop.until_none("SELECT 1 - count(*) FROM doorstep.rejected").await;
    eventually("it is counted", async || {
        let figures = Scrape::of(door.server.url()).await;
        figures.get("doorstep_outbox_rejected_total", &[]) == Some(1.0)
            && figures.get("doorstep_outbox_consuming", &[]) == Some(1.0)
    })
    .await;
    let mut socket = door.user("ada").connect("doorstep.plain.v1").await;
    assert_eq!(number(&socket.notification().await), 1);
    shop.until_empty().await;
}

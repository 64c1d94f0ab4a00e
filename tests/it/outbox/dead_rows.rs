//! Deleted rows that an old snapshot keeps: the node passes them, however long it takes.

use sqlx::Executor as _;

use super::{Shop, number, publish};

/// Passing these takes longer than one statement may.
const PASSED: i64 = 320;

#[tokio::test]
async fn rows_that_take_long_to_pass_hold_nothing_up_for_ever() {
    let shop = Shop::open().await;
    let mut backend = shop.backend().await;
    let all = format!(
        "SELECT doorstep.publish('nobody', 'order.shipped', '1') FROM generate_series(1, {PASSED})"
    );
    backend.execute(sqlx::AssertSqlSafe(all)).await.unwrap();
    // Ten million deleted rows would take minutes to make. To the node these are like them: it passes each, which takes
    // a while, and sees none.
    for table in ["outbox", "accepted"] {
        shop.change(&format!(
            "CREATE FUNCTION public.passes_{table}(seq bigint) RETURNS boolean LANGUAGE plpgsql AS $$ \
             BEGIN IF seq > {PASSED} THEN RETURN true; END IF; \
             PERFORM pg_sleep(0.01); RETURN false; END $$; \
             ALTER TABLE doorstep.{table} ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY reads ON doorstep.{table} FOR SELECT USING (public.passes_{table}(seq)); \
             CREATE POLICY deletes ON doorstep.{table} FOR DELETE USING (true); \
             CREATE POLICY inserts ON doorstep.{table} FOR INSERT WITH CHECK (true)"
        ))
        .await;
    }
    shop.change("INSERT INTO doorstep.accepted SELECT * FROM doorstep.outbox").await;
    publish(&mut backend, "ada", 1).await;
    let mut door = shop.door().await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    door.server.logged("reading the outbox in steps", 1).await;
    let frame = socket.notification().await;
    assert_eq!(number(&frame), 1);
    socket.acknowledge(&frame).await;
    publish(&mut backend, "ada", 2).await;
    let frame = socket.notification().await;
    assert_eq!(number(&frame), 2);
    socket.acknowledge(&frame).await;
    shop.until_none(&format!("SELECT count(*) FROM doorstep.outbox WHERE seq > {PASSED}")).await;
}

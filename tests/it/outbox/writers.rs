//! Whatever the backend's transactions look like.

use sqlx::{Connection as _, Executor as _, PgConnection};

use super::{Shop, call, number, publish};

async fn write(url: String, isolation: &str, user: String) {
    let mut backend = PgConnection::connect(&url).await.unwrap();
    for n in 0..40 {
        // Not one of them fails for another, or for the consumer.
        sqlx::raw_sql(match isolation {
            "serializable" => "BEGIN ISOLATION LEVEL SERIALIZABLE",
            _ => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        })
        .execute(&mut backend)
        .await
        .unwrap();
        publish(&mut backend, &user, n).await;
        backend.execute("COMMIT").await.unwrap();
    }
}

#[tokio::test]
async fn serializable_and_repeatable_read_writers_never_fail_for_it() {
    let shop = Shop::open().await;
    // The consumer must not be serializable either, whatever the database says.
    let database = shop.url.rsplit('/').next().unwrap();
    let setting =
        format!("ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'");
    shop.change(&setting).await;
    let door = shop.door().await;
    let mut writers = tokio::task::JoinSet::new();
    let mut sockets = Vec::new();
    for writer in 0..6 {
        let isolation = if writer % 2 == 0 { "serializable" } else { "repeatable read" };
        let user = format!("user{writer}");
        sockets.push(door.user(&user).connect("doorstep.plain.v1").await);
        writers.spawn(write(shop.backend_url.clone(), isolation, user));
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    for mut socket in sockets {
        for expected in 0..40 {
            assert_eq!(number(&socket.notification().await), expected);
        }
    }
    shop.until_empty().await;
}

#[tokio::test]
async fn an_id_that_is_used_in_two_transactions_is_shown_once() {
    let shop = Shop::open().await;
    let door = shop.door().await;
    let mut backend = shop.backend().await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let same = "'ada', 'order.shipped', '1', id => '018f4d4e-7b5a-7c3d-9a5e-2f1b6c7d8e9f'";
    let id = call(&mut backend, same).await;
    let frame = socket.notification().await;
    assert_eq!((frame["id"].as_str().unwrap(), number(&frame)), (id.as_str(), 1));
    // Again while it is in flight, and again after its end.
    assert_eq!(call(&mut backend, same).await, id);
    shop.until_none("SELECT count(*) FROM doorstep.outbox").await;
    socket.acknowledge(&frame).await;
    shop.until_empty().await;
    call(&mut backend, same).await;
    shop.until_empty().await;
    publish(&mut backend, "ada", 2).await;
    assert_eq!(number(&socket.notification().await), 2);
}

#[tokio::test]
async fn a_savepoint_that_is_rolled_back_takes_its_calls_with_it() {
    let shop = Shop::open().await;
    let door = shop.door().await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let mut backend = shop.backend().await;
    let mut transaction = backend.begin().await.unwrap();
    publish(&mut transaction, "ada", 1).await;
    transaction.execute("SAVEPOINT half").await.unwrap();
    publish(&mut transaction, "ada", 2).await;
    transaction.execute("ROLLBACK TO SAVEPOINT half").await.unwrap();
    publish(&mut transaction, "ada", 3).await;
    transaction.commit().await.unwrap();
    for expected in [1, 3] {
        assert_eq!(number(&socket.notification().await), expected);
    }
}

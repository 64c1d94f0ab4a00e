//! The order in which one user is shown what several transactions publish.

use sqlx::{Connection as _, PgConnection};

use super::{Shop, number, publish};

#[tokio::test]
async fn a_transaction_is_not_held_up_by_one_that_began_before_it() {
    let shop = Shop::open().await;
    let door = shop.door().await;
    let mut socket = door.user("ada").connect("doorstep.v1").await;
    let (mut one, mut two) = (shop.backend().await, shop.backend().await);
    let mut first = one.begin().await.unwrap();
    publish(&mut first, "ada", 1).await;
    publish(&mut first, "ada", 2).await;
    publish(&mut two, "ada", 10).await;
    assert_eq!(number(&socket.notification().await), 10, "shown while the first is open");
    // Many more go by, in batches of their own.
    for n in 11..20 {
        publish(&mut two, "ada", n).await;
        assert_eq!(number(&socket.notification().await), n);
    }
    first.commit().await.unwrap();
    // A call after that commit comes after it, although their numbers come in the other order.
    publish(&mut two, "ada", 30).await;
    for expected in [1, 2, 30] {
        assert_eq!(number(&socket.notification().await), expected);
    }
}

async fn write(url: String, user: String, count: i64) {
    let mut backend = PgConnection::connect(&url).await.unwrap();
    for n in 0..count {
        let mut transaction = backend.begin().await.unwrap();
        publish(&mut transaction, &user, 2 * n).await;
        publish(&mut transaction, &user, 2 * n + 1).await;
        // Every third changes its mind, and says it again.
        if n % 3 == 0 {
            transaction.rollback().await.unwrap();
            transaction = backend.begin().await.unwrap();
            publish(&mut transaction, &user, 2 * n).await;
            publish(&mut transaction, &user, 2 * n + 1).await;
        }
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn eight_writers_keep_the_order_of_each() {
    const COUNT: i64 = 60;
    let shop = Shop::open().await;
    let door = shop.door().await;
    let mut readers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let user = format!("user{writer}");
        let mut socket = door.user(&user).connect("doorstep.plain.v1").await;
        tokio::spawn(write(shop.backend_url.clone(), user, COUNT));
        readers.spawn(async move {
            for expected in 0..2 * COUNT {
                assert_eq!(number(&socket.notification().await), expected);
            }
        });
    }
    while let Some(read) = readers.join_next().await {
        read.unwrap();
    }
    shop.until_empty().await;
}

//! What every [`NotificationSource`] promises.

use doorstep_domain::NotificationId;
use doorstep_domain::ports::{Bad, NotificationSource, SourceError, WrittenPayload};

/// What a suite needs besides the port: the backend's side.
#[async_trait::async_trait]
pub trait SourceUnderTest: Send + Sync {
    /// The consumer's side, of one node.
    fn node(&self) -> std::sync::Arc<dyn NotificationSource>;
    /// Publishes to the user `ada` in a transaction of its own; the payload is the number.
    async fn publish(&self, number: u64) -> NotificationId;
    /// Lets the lease end, as if nobody had extended it for long enough.
    async fn lease_ends(&self);
}

/// The whole suite. The source must be empty.
///
/// # Panics
/// When a promise is broken.
pub async fn check_source(source: &impl SourceUnderTest) {
    rows_go_from_waiting_to_accepted_to_forgotten(source).await;
    a_lease_is_one_nodes_and_its_number_guards_every_write(source).await;
}

fn places(rows: Vec<doorstep_domain::ports::Written>) -> Vec<u64> {
    rows.into_iter().map(|row| row.place).collect()
}

async fn rows_go_from_waiting_to_accepted_to_forgotten(source: &impl SourceUnderTest) {
    let node = source.node();
    assert_eq!(node.backlog().await.expect("counted").waiting, 0);
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(source.publish(number).await);
    }
    let fence = node.lease().await.expect("taken").expect("free");
    assert_eq!(node.backlog().await.expect("counted").waiting, 5);
    let rows = node.take(10).await.expect("taken");
    for ((row, id), number) in rows.iter().zip(&ids).zip(0..) {
        assert_eq!(row.id, Some(*id));
        assert_eq!(row.user_id.as_deref(), Some("ada"));
        assert_eq!(row.payload, WrittenPayload::Json(format!("{number}")));
        assert_eq!((row.topic.as_deref(), row.ttl, row.policy.as_deref()), (None, None, None));
    }
    let all = places(rows);
    assert!(all.is_sorted() && all.len() == 5, "{all:?}");
    // To look changes nothing.
    assert_eq!(places(node.take(2).await.expect("taken")), all[..2]);

    let errors = vec![("payload".to_owned(), "is odd".to_owned())];
    node.reject(fence, &[Bad { place: all[1], errors: errors.clone() }]).await.expect("rejected");
    let moved = node.accept(fence, &[all[0], all[2], all[3]]).await.expect("accepted");
    assert_eq!(moved, [all[0], all[2], all[3]]);
    assert_eq!(node.accept(fence, &[all[0], all[1]]).await.expect("accepted"), [0_u64; 0]);
    assert_eq!(places(node.take(10).await.expect("taken")), all[4..]);
    node.forget(fence, &[all[0], 1 << 40]).await.expect("forgotten");
    node.reject(fence, &[Bad { place: all[2], errors }]).await.expect("rejected");
    assert_eq!(places(node.accepted(0, 10).await.expect("read")), all[3..4]);
    assert_eq!(places(node.accepted(all[3], 10).await.expect("read")), [0_u64; 0]);
    node.accept(fence, &all[4..]).await.expect("accepted");
    assert_eq!(places(node.accepted(0, 1).await.expect("read")), all[3..4]);
    node.forget(fence, &all).await.expect("forgotten");
    assert!(node.accepted(0, 10).await.expect("read").is_empty());
    node.release(fence).await.expect("released");
}

async fn a_lease_is_one_nodes_and_its_number_guards_every_write(source: &impl SourceUnderTest) {
    let (one, two) = (source.node(), source.node());
    source.publish(1).await;
    let first = one.lease().await.expect("taken").expect("free");
    assert_eq!(two.lease().await.expect("looked"), None);
    one.renew(first).await.expect("still its own");
    let all = places(one.take(10).await.expect("taken"));
    source.lease_ends().await;
    let second = two.lease().await.expect("taken").expect("free");
    assert!(second > first);
    let bad = [Bad { place: all[0], errors: vec![] }];
    for late in [
        one.renew(first).await,
        one.accept(first, &all).await.map(drop),
        one.reject(first, &bad).await,
        one.forget(first, &all).await,
    ] {
        assert!(matches!(late, Err(SourceError::LeaseLost)), "{late:?}");
    }
    // Nor does it end the lease of the other.
    one.release(first).await.ok();
    assert_eq!(one.lease().await.expect("looked"), None);
    assert_eq!(two.accept(second, &all).await.expect("accepted"), all);
    two.forget(second, &all).await.expect("forgotten");
    two.release(second).await.expect("released");
    let third = one.lease().await.expect("taken").expect("given back");
    one.release(third).await.expect("released");
}

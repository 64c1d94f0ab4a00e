//! What every [`NotificationSource`] promises.

use doorstep_domain::NotificationId;
use doorstep_domain::ports::{Bad, NotificationSource, SourceError, Withdrawal, WrittenPayload};

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
    what_waits_is_withdrawn_by_any_node(source).await;
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

async fn what_waits_is_withdrawn_by_any_node(source: &impl SourceUnderTest) {
    let (consumer, other) = (source.node(), source.node());
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(source.publish(number).await);
    }
    let fence = consumer.lease().await.expect("taken").expect("free");
    let all = places(consumer.take(10).await.expect("taken"));
    assert_eq!(consumer.accept(fence, &all[..1]).await.expect("accepted"), all[..1]);
    let ada = || "ada".parse().expect("a user");
    let topic = "prices".parse().expect("a topic");
    for nothing in [
        Withdrawal::One(ids[0]),
        Withdrawal::AllOf("bob".parse().expect("a user"), None),
        Withdrawal::AllOf(ada(), Some(topic)),
    ] {
        assert_eq!(other.withdraw(&nothing, 10).await.expect("looked"), [], "{nothing:?}");
    }
    let one = other.withdraw(&Withdrawal::One(ids[2]), 10).await.expect("withdrawn");
    let [row] = &one[..] else { panic!("{one:?}") };
    assert_eq!((row.place, row.id, row.user_id.as_deref()), (all[2], Some(ids[2]), Some("ada")));
    // What is gone is not accepted.
    assert_eq!(consumer.accept(fence, &all[1..3]).await.expect("accepted"), all[1..2]);
    let everything = Withdrawal::AllOf(ada(), None);
    assert_eq!(places(other.withdraw(&everything, 10).await.expect("withdrawn")), all[3..]);
    assert_eq!(other.withdraw(&everything, 10).await.expect("looked"), []);

    let accepted = |which, after, limit| {
        let other = &other;
        async move {
            let mut places = places(other.accepted_of(&which, after, limit).await.expect("read"));
            places.sort_unstable();
            places
        }
    };
    assert_eq!(accepted(everything.clone(), 0, 10).await, all[..2]);
    assert_eq!(accepted(everything.clone(), all[0], 10).await, all[1..2]);
    assert_eq!(accepted(everything, 0, 1).await.len(), 1);
    assert_eq!(accepted(Withdrawal::One(ids[0]), 0, 10).await, all[..1]);
    assert_eq!(accepted(Withdrawal::One(ids[3]), 0, 10).await, [0_u64; 0]);
    consumer.forget(fence, &all).await.expect("forgotten");
    consumer.release(fence).await.expect("released");
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

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{Accounts, Close, Fence, Lease, Positions, TakenLease};
use tokio::time::sleep;
use uuid::Uuid;

use super::positions::{gained, opening, position};
use super::sample::{at_once, entry, registered};

/// Longer than the suite takes.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(400);

fn name() -> String {
    Uuid::now_v7().to_string()
}

async fn take(lease: &dyn Lease, name: &str, lasts: Duration) -> Option<TakenLease> {
    lease.take(name, "somebody", lasts).await.expect("answers")
}

/// [`Lease`].
pub async fn lease(lease: Arc<dyn Lease>) {
    one_of_many_takes_it(&lease).await;
    it_ends_unless_it_is_renewed(&*lease).await;
    who_gave_it_back_or_lost_it_changes_nothing(&*lease).await;
}

async fn one_of_many_takes_it(lease: &Arc<dyn Lease>) {
    let (name, other) = (name(), name());
    let all = at_once((0..8).map(|_| {
        let (lease, name) = (lease.clone(), name.clone());
        async move { take(&*lease, &name, LONG).await }
    }));
    let taken: Vec<_> = all.await.into_iter().flatten().collect();
    assert_eq!(taken, [TakenLease { fence: Fence(1), note: String::new() }]);
    assert_eq!(take(&**lease, &name, LONG).await, None);
    assert!(take(&**lease, &other, LONG).await.is_some(), "another name is another lease");
}

async fn it_ends_unless_it_is_renewed(lease: &dyn Lease) {
    let name = name();
    let first = take(lease, &name, SHORT).await.expect("nobody has it").fence;
    assert!(lease.renew(&name, first, "a\nnote ✓", LONG).await.expect("answers"));
    sleep(SHORT * 2).await;
    assert_eq!(take(lease, &name, SHORT).await, None, "it was renewed");
    assert!(lease.renew(&name, first, "another", SHORT).await.expect("answers"));
    sleep(SHORT * 2).await;
    assert!(!lease.renew(&name, first, "too late", LONG).await.expect("answers"));
    let second = take(lease, &name, LONG).await.expect("it has ended");
    assert!(second.fence > first);
    assert_eq!(second.note, "another", "of its last holder");
}

async fn who_gave_it_back_or_lost_it_changes_nothing(lease: &dyn Lease) {
    let name = name();
    let first = take(lease, &name, LONG).await.expect("nobody has it").fence;
    lease.release(&name, first, "the last word").await.expect("answers");
    assert!(!lease.renew(&name, first, "x", LONG).await.expect("answers"));
    let second = take(lease, &name, LONG).await.expect("it was given back");
    assert_eq!(second.note, "the last word");
    assert!(!lease.renew(&name, first, "x", LONG).await.expect("answers"));
    lease.release(&name, first, "x").await.expect("answers");
    assert_eq!(take(lease, &name, LONG).await, None, "the second still has it");
    lease.release(&name, second.fence, "end").await.expect("answers");
    assert_eq!(take(lease, &name, LONG).await.expect("it was given back").note, "end");
}

/// [`Positions::close_under`]; all three are the same store.
pub async fn closing_under_a_lease(
    accounts: Arc<dyn Accounts>,
    positions: Arc<dyn Positions>,
    lease: Arc<dyn Lease>,
) {
    let (user, name) = (registered(&*accounts).await.id, name());
    accounts.grant(&entry(&user, 5000, "money")).await.expect("grants");
    let open = position(&user);
    positions.open(&opening(&open)).await.expect("opens");
    let closed = gained(&open);
    let close = async |fence| {
        let entry = opening(&open).entry;
        positions.close_under(&name, fence, &closed, entry).await.expect("answers")
    };
    assert_eq!(close(Fence(1)).await, Close::LeaseLost, "nobody has taken it");
    let first = take(&*lease, &name, SHORT).await.expect("nobody has it").fence;
    sleep(SHORT * 2).await;
    assert_eq!(close(first).await, Close::LeaseLost, "it has ended");
    let second = take(&*lease, &name, LONG).await.expect("it has ended").fence;
    assert_eq!(close(first).await, Close::LeaseLost, "somebody else has it");
    let found = positions.find(&user, open.id).await.expect("answers");
    assert_eq!(found.as_ref(), Some(&open), "nothing has changed");
    assert_eq!(close(second).await, Close::Closed(NonZeroU64::MIN));
    assert_eq!(close(second).await, Close::AlreadyClosed);
}

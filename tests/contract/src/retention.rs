use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{EnteredBy, Inbox, Retention, Which};
use doorstep_domain::{NotificationId, Timestamp, UserId};

use super::sample::{NOW, at_once, notifications, stranger};

/// [`Retention`].
pub async fn retention(inbox: Arc<dyn Inbox>, store: Arc<dyn Retention>) {
    read_items_go_the_first_read_first(&*inbox, &*store).await;
    a_removed_id_can_come_again(&*inbox, &*store).await;
    calls_at_once_share_the_work(&*inbox, &store).await;
}

/// This many seconds after [`NOW`].
fn at(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

/// Adds this many items and returns their ids.
async fn add(inbox: &dyn Inbox, user: &UserId, count: usize) -> Vec<NotificationId> {
    let added = notifications(user, count);
    inbox.add(&added, EnteredBy::Policy).await.expect("adds");
    added.iter().map(|notification| notification.id).collect()
}

async fn read(inbox: &dyn Inbox, user: &UserId, id: NotificationId, at: Timestamp) {
    inbox.mark_read(user, Which::One(id), at).await.expect("reads").expect("is there");
}

/// The user's items, in the order in which they were added.
async fn items(inbox: &dyn Inbox, user: &UserId) -> Vec<NotificationId> {
    let mut page = inbox.page(user, false, None, 10_000).await.expect("answers");
    page.reverse();
    page.iter().map(|item| item.notification.id).collect()
}

async fn read_items_go_the_first_read_first(inbox: &dyn Inbox, store: &dyn Retention) {
    let user = stranger();
    let ids = add(inbox, &user, 6).await;
    // The first two stay unread; one of them is delivered.
    inbox.mark_delivered(&[(user.clone(), ids[0])], NOW).await.expect("marks");
    for (place, seconds) in [(2, 3), (3, 1), (4, 2), (5, 4)] {
        read(inbox, &user, ids[place], at(seconds)).await;
    }
    assert_eq!(store.remove_read(at(0), 9).await.expect("answers"), 0);
    assert_eq!(store.remove_read(at(3), 0).await.expect("answers"), 0);
    assert_eq!(store.remove_read(at(3), 2).await.expect("answers"), 2);
    assert_eq!(items(inbox, &user).await, [ids[0], ids[1], ids[2], ids[5]]);
    assert_eq!(store.remove_read(at(3), 9).await.expect("answers"), 1, "up to the moment itself");
    assert_eq!(store.remove_read(at(3), 9).await.expect("answers"), 0);
    assert_eq!(items(inbox, &user).await, [ids[0], ids[1], ids[5]]);
    assert_eq!(inbox.unread(&user).await.expect("answers"), 2);
    assert_eq!(store.remove_read(Timestamp::MAX, 9).await.expect("answers"), 1);
    assert_eq!(items(inbox, &user).await, [ids[0], ids[1]], "unread items stay");
}

async fn a_removed_id_can_come_again(inbox: &dyn Inbox, store: &dyn Retention) {
    let user = stranger();
    let item = notifications(&user, 1);
    inbox.add(&item, EnteredBy::Policy).await.expect("adds");
    read(inbox, &user, item[0].id, NOW).await;
    inbox.add(&item, EnteredBy::Policy).await.expect("changes nothing");
    assert_eq!(inbox.unread(&user).await.expect("answers"), 0);
    assert_eq!(store.remove_read(NOW, 9).await.expect("answers"), 1);
    inbox.add(&item, EnteredBy::Policy).await.expect("adds");
    assert_eq!(inbox.unread(&user).await.expect("answers"), 1);
}

async fn calls_at_once_share_the_work(inbox: &dyn Inbox, store: &Arc<dyn Retention>) {
    let user = stranger();
    let ids = add(inbox, &user, 200).await;
    for id in &ids {
        read(inbox, &user, *id, NOW).await;
    }
    let mut removed = 0;
    while removed < 200 {
        let answers = at_once((0..8).map(|_| {
            let store = store.clone();
            async move { store.remove_read(NOW, 20).await.expect("answers") }
        }))
        .await;
        assert!(answers.iter().all(|removed| *removed <= 20));
        removed += answers.iter().sum::<u64>();
    }
    assert_eq!((removed, items(inbox, &user).await.len()), (200, 0));
}

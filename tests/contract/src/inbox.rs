use std::collections::BTreeSet;
use std::sync::Arc;

use doorstep_domain::ports::{EnteredBy, Inbox, InboxItem, Which};
use doorstep_domain::{Notification, NotificationId, Timestamp, UserId};
use uuid::Uuid;

use super::sample::{NOW, at_once, full_and_bare, notification, notifications, stranger};

/// [`Inbox`].
pub async fn inbox(store: Arc<dyn Inbox>) {
    added_items_are_read_back(&*store).await;
    adding_again_changes_nothing(&*store).await;
    a_thousand_at_a_time_keep_their_order(&*store).await;
    the_undelivered_come_oldest_first(&*store).await;
    how_it_came_in_is_remembered(&*store).await;
    delivered_items_are_not_undelivered(&*store).await;
    reading_one_delivers_it(&*store).await;
    reading_all_answers_what_was_undelivered(&*store).await;
    pages_go_back_from_the_newest(&*store).await;
    another_users_items_cannot_be_changed(&*store).await;
    concurrent_reads_return_each_item_once(&store).await;
}

const LATER: Timestamp = Timestamp::from_micros(NOW.as_micros() + 1);

async fn added_items_are_read_back(store: &dyn Inbox) {
    for user in [stranger(), UserId::from(Uuid::now_v7())] {
        let added = full_and_bare(&user);
        add(store, &added).await;
        assert_eq!(undelivered(store, &user).await, added);
        assert_eq!(store.unread(&user).await.expect("answers"), 2);
    }
    add(store, &[]).await;
    let nobody = stranger();
    assert_eq!(undelivered(store, &nobody).await, []);
    assert_eq!(store.unread(&nobody).await.expect("answers"), 0);
    assert_eq!(page(store, &nobody, false).await, []);
}

async fn adding_again_changes_nothing(store: &dyn Inbox) {
    let user = stranger();
    let [first, second] = full_and_bare(&user);
    add(store, std::slice::from_ref(&first)).await;
    store.mark_delivered(&[(user.clone(), first.id)], NOW).await.expect("marks");
    let changed = Notification { ttl: None, topic: None, ..first.clone() };
    let twice = [changed, second.clone(), second.clone()];
    add(store, &twice).await;
    assert_eq!(undelivered(store, &user).await, std::slice::from_ref(&second), "stays delivered");
    assert_eq!(page(store, &user, false).await, [second, first]);
}

async fn a_thousand_at_a_time_keep_their_order(store: &dyn Inbox) {
    let [one, two] = [stranger(), stranger()];
    let mut added = Vec::new();
    for _ in 0..500 {
        added.extend([notification(&one), notification(&two)]);
    }
    // The order in which they are added counts, not the order of their ids.
    added.reverse();
    add(store, &added).await;
    for user in [one, two] {
        let theirs: Vec<_> = added.iter().filter(|n| n.user_id == user).cloned().collect();
        assert_eq!(undelivered(store, &user).await, theirs);
    }
    let items: Vec<_> = added.iter().map(|n| (n.user_id.clone(), n.id)).collect();
    store.mark_delivered(&items, NOW).await.expect("marks a thousand");
    assert_eq!(undelivered(store, &items[0].0).await, []);
}

async fn the_undelivered_come_oldest_first(store: &dyn Inbox) {
    let user = stranger();
    let added = notifications(&user, 4);
    add(store, &added).await;
    store.mark_delivered(&[(user.clone(), added[1].id)], NOW).await.expect("marks");
    let some = store.undelivered(&user, 2).await.expect("answers");
    assert_eq!(some, [&added[0], &added[2]].map(unread));
    assert_eq!(store.undelivered(&user, 0).await.expect("answers"), []);
}

/// Every query returns with an item how it entered the inbox.
async fn how_it_came_in_is_remembered(store: &dyn Inbox) {
    let user = stranger();
    let [kept, promoted] = full_and_bare(&user);
    store.add(std::slice::from_ref(&kept), EnteredBy::Policy).await.expect("adds");
    store.add(&[promoted.clone(), kept.clone()], EnteredBy::Expiry).await.expect("adds");
    let kept = unread(&kept);
    let promoted = InboxItem { by: EnteredBy::Expiry, ..unread(&promoted) };
    let items = [kept.clone(), promoted.clone()];
    assert_eq!(store.undelivered(&user, 9).await.expect("answers"), items);
    let newest_first = [promoted.clone(), kept.clone()];
    assert_eq!(store.page(&user, false, None, 9).await.expect("answers"), newest_first);

    let read = |item: InboxItem| InboxItem { read_at: Some(NOW), ..item };
    let which = Which::One(kept.notification.id);
    let answer = store.mark_read(&user, which, NOW).await.expect("answers");
    assert_eq!(answer, Some(vec![read(kept)]));
    let answer = store.mark_read(&user, Which::All, NOW).await.expect("answers");
    assert_eq!(answer, Some(vec![read(promoted)]));
}

async fn delivered_items_are_not_undelivered(store: &dyn Inbox) {
    let user = stranger();
    let added = notifications(&user, 3);
    add(store, &added).await;
    let items = [(user.clone(), added[0].id), (user.clone(), added[2].id)];
    for _ in 0..2 {
        store.mark_delivered(&items, NOW).await.expect("marks, and marks again");
    }
    store.mark_delivered(&[], NOW).await.expect("nothing to mark is no error");
    assert_eq!(undelivered(store, &user).await, [added[1].clone()]);
    assert_eq!(store.unread(&user).await.expect("answers"), 3, "delivered is not read");
}

async fn reading_one_delivers_it(store: &dyn Inbox) {
    let user = stranger();
    let added = notifications(&user, 2);
    add(store, &added).await;
    store.mark_delivered(&[(user.clone(), added[0].id)], NOW).await.expect("marks");

    let read = |id, at| store.mark_read(&user, Which::One(id), at);
    let was_delivered = read(added[0].id, NOW).await.expect("answers");
    assert_eq!(was_delivered, Some(vec![]));
    let was_not = read(added[1].id, NOW).await.expect("answers");
    assert_eq!(was_not, Some(vec![InboxItem { read_at: Some(NOW), ..unread(&added[1]) }]));
    let again = read(added[1].id, LATER).await.expect("answers");
    assert_eq!(again, Some(vec![]));
    let unknown = read(NotificationId::new(Uuid::now_v7()), NOW).await.expect("answers");
    assert_eq!(unknown, None);

    assert_eq!(undelivered(store, &user).await, []);
    assert_eq!(store.unread(&user).await.expect("answers"), 0);
    let items = store.page(&user, false, None, 9).await.expect("answers");
    assert!(items.iter().all(|item| item.read_at == Some(NOW)), "the first reading counts");
}

async fn reading_all_answers_what_was_undelivered(store: &dyn Inbox) {
    let user = stranger();
    let other = notification(&stranger());
    let added = notifications(&user, 1_201);
    add(store, &added[..1_000]).await;
    add(store, &added[1_000..]).await;
    add(store, std::slice::from_ref(&other)).await;
    store.mark_delivered(&[(user.clone(), added[0].id)], NOW).await.expect("marks");

    let all = || async {
        let answer = store.mark_read(&user, Which::All, NOW).await.expect("answers");
        notifications_of(answer.expect("all are always known"))
    };
    assert_eq!(all().await, added[1..=1_000]);
    assert_eq!(all().await, added[1_001..]);
    assert_eq!(all().await, []);
    assert_eq!(store.unread(&user).await.expect("answers"), 0);
    assert_eq!(undelivered(store, &user).await, []);
    assert_eq!(page(store, &user, true).await, []);
    assert_eq!(undelivered(store, &other.user_id).await, [other], "another user's stay");
}

async fn pages_go_back_from_the_newest(store: &dyn Inbox) {
    let user = stranger();
    let mut added = notifications(&user, 5);
    add(store, &added).await;
    add(store, &notifications(&stranger(), 2)).await;
    let read = added[3].id;
    store.mark_read(&user, Which::One(read), NOW).await.expect("reads");
    added.reverse();

    for unread_only in [false, true] {
        let expected: Vec<_> =
            added.iter().filter(|n| !unread_only || n.id != read).cloned().collect();
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = store.page(&user, unread_only, before, 2).await.expect("answers");
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 2);
            before = Some(last.notification.id);
            for InboxItem { notification, read_at, .. } in page {
                assert_eq!(read_at, (notification.id == read).then_some(NOW));
                seen.push(notification);
            }
        }
        assert_eq!(seen, expected);
    }
    let unknown = Some(NotificationId::new(Uuid::now_v7()));
    assert_eq!(store.page(&user, false, unknown, 9).await.expect("answers"), []);
}

async fn another_users_items_cannot_be_changed(store: &dyn Inbox) {
    let [owner, other] = [stranger(), stranger()];
    let item = notification(&owner);
    add(store, std::slice::from_ref(&item)).await;
    store.mark_delivered(&[(other.clone(), item.id)], NOW).await.expect("changes nothing");
    let answer = store.mark_read(&other, Which::One(item.id), NOW).await.expect("answers");
    assert_eq!(answer, None);
    assert_eq!(store.page(&other, false, Some(item.id), 9).await.expect("answers"), []);
    assert_eq!(undelivered(store, &owner).await, [item]);
}

async fn concurrent_reads_return_each_item_once(store: &Arc<dyn Inbox>) {
    let user = stranger();
    let added = notifications(&user, 50);
    add(&**store, &added).await;
    let answers = at_once((0..16).map(|number| {
        let (store, user, id) = (Arc::clone(store), user.clone(), added[number].id);
        let which = if number % 2 == 0 { Which::All } else { Which::One(id) };
        async move { store.mark_read(&user, which, NOW).await.expect("answers") }
    }))
    .await;
    let answered: Vec<_> =
        answers.into_iter().flatten().flatten().map(|item| item.notification.id).collect();
    assert_eq!(answered.len(), added.len(), "each once");
    assert_eq!(
        answered.into_iter().collect::<BTreeSet<_>>(),
        added.iter().map(|n| n.id).collect::<BTreeSet<_>>()
    );
}

/// Adds notifications whose policy is the inbox.
async fn add(store: &dyn Inbox, notifications: &[Notification]) {
    store.add(notifications, EnteredBy::Policy).await.expect("adds");
}

async fn undelivered(store: &dyn Inbox, user: &UserId) -> Vec<Notification> {
    notifications_of(store.undelivered(user, 10_000).await.expect("answers"))
}

async fn page(store: &dyn Inbox, user: &UserId, unread_only: bool) -> Vec<Notification> {
    notifications_of(store.page(user, unread_only, None, 10_000).await.expect("answers"))
}

fn notifications_of(items: Vec<InboxItem>) -> Vec<Notification> {
    items.into_iter().map(|item| item.notification).collect()
}

/// The item that [`add`] creates from it.
fn unread(notification: &Notification) -> InboxItem {
    InboxItem { notification: notification.clone(), by: EnteredBy::Policy, read_at: None }
}

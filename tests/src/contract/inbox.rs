use std::collections::BTreeSet;
use std::sync::Arc;

use doorstep_domain::ports::{Inbox, InboxItem, Which};
use doorstep_domain::{Notification, NotificationId, Timestamp, UserId};
use uuid::Uuid;

use super::sample::{NOW, at_once, full_and_bare, notification, notifications, stranger};

/// [`Inbox`].
pub async fn inbox(store: Arc<dyn Inbox>) {
    what_is_added_is_there_as_it_was(&*store).await;
    what_is_there_stays_as_it_is(&*store).await;
    a_thousand_at_a_time_keep_their_order(&*store).await;
    the_undelivered_come_oldest_first(&*store).await;
    what_was_delivered_is_not_undelivered(&*store).await;
    reading_one_delivers_it(&*store).await;
    reading_all_answers_what_was_undelivered(&*store).await;
    pages_go_back_from_the_newest(&*store).await;
    nobody_touches_another_users_items(&*store).await;
    what_is_read_by_many_at_once_is_answered_once(&store).await;
    a_reader_who_follows_along_misses_nothing(&store).await;
}

const LATER: Timestamp = Timestamp::from_micros(NOW.as_micros() + 1);

async fn what_is_added_is_there_as_it_was(store: &dyn Inbox) {
    for user in [stranger(), UserId::from(Uuid::now_v7())] {
        let added = full_and_bare(&user);
        store.add(&added).await.expect("adds");
        assert_eq!(undelivered(store, &user).await, added);
        assert_eq!(store.unread(&user).await.expect("answers"), 2);
    }
    store.add(&[]).await.expect("nothing to add is no error");
    let nobody = stranger();
    assert_eq!(undelivered(store, &nobody).await, []);
    assert_eq!(store.unread(&nobody).await.expect("answers"), 0);
    assert_eq!(page(store, &nobody, false).await, []);
}

async fn what_is_there_stays_as_it_is(store: &dyn Inbox) {
    let user = stranger();
    let [first, second] = full_and_bare(&user);
    store.add(std::slice::from_ref(&first)).await.expect("adds");
    store.mark_delivered(&[(user.clone(), first.id)], NOW).await.expect("marks");
    let changed = Notification { ttl: None, topic: None, ..first.clone() };
    let twice = [changed, second.clone(), second.clone()];
    store.add(&twice).await.expect("adds what is new");
    assert_eq!(undelivered(store, &user).await, [second.clone()], "the first stays delivered");
    assert_eq!(page(store, &user, false).await, [second, first]);
}

async fn a_thousand_at_a_time_keep_their_order(store: &dyn Inbox) {
    let [one, two] = [stranger(), stranger()];
    let mut added = Vec::new();
    for _ in 0..500 {
        added.extend([notification(&one), notification(&two)]);
    }
    // Not the order of the ids: that in which they are added counts.
    added.reverse();
    store.add(&added).await.expect("adds a thousand");
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
    let added = notifications(&user, 5);
    store.add(&added).await.expect("adds");
    store.mark_delivered(&[(user.clone(), added[1].id)], NOW).await.expect("marks");
    let oldest = store.undelivered(&user, 2).await.expect("answers");
    assert_eq!(oldest, [added[0].clone(), added[2].clone()]);
    assert_eq!(store.undelivered(&user, 0).await.expect("answers"), []);
}

async fn what_was_delivered_is_not_undelivered(store: &dyn Inbox) {
    let user = stranger();
    let added = notifications(&user, 3);
    store.add(&added).await.expect("adds");
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
    store.add(&added).await.expect("adds");
    store.mark_delivered(&[(user.clone(), added[0].id)], NOW).await.expect("marks");

    let read = |id, at| store.mark_read(&user, Which::One(id), at);
    let was_delivered = read(added[0].id, NOW).await.expect("answers");
    assert_eq!(was_delivered, Some(vec![]));
    let was_not = read(added[1].id, NOW).await.expect("answers");
    assert_eq!(was_not, Some(vec![added[1].clone()]));
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
    store.add(&added[..1_000]).await.expect("adds");
    store.add(&added[1_000..]).await.expect("adds");
    store.add(std::slice::from_ref(&other)).await.expect("adds");
    store.mark_delivered(&[(user.clone(), added[0].id)], NOW).await.expect("marks");

    let all = || async {
        let answer = store.mark_read(&user, Which::All, NOW).await.expect("answers");
        answer.expect("all are always known")
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
    store.add(&added).await.expect("adds");
    store.add(&notifications(&stranger(), 2)).await.expect("adds");
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
            for InboxItem { notification, read_at } in page {
                assert_eq!(read_at, (notification.id == read).then_some(NOW));
                seen.push(notification);
            }
        }
        assert_eq!(seen, expected);
    }
    let unknown = Some(NotificationId::new(Uuid::now_v7()));
    assert_eq!(store.page(&user, false, unknown, 9).await.expect("answers"), []);
}

async fn nobody_touches_another_users_items(store: &dyn Inbox) {
    let [owner, other] = [stranger(), stranger()];
    let item = notification(&owner);
    store.add(std::slice::from_ref(&item)).await.expect("adds");
    store.mark_delivered(&[(other.clone(), item.id)], NOW).await.expect("changes nothing");
    let answer = store.mark_read(&other, Which::One(item.id), NOW).await.expect("answers");
    assert_eq!(answer, None);
    assert_eq!(store.page(&other, false, Some(item.id), 9).await.expect("answers"), []);
    assert_eq!(undelivered(store, &owner).await, [item]);
}

async fn what_is_read_by_many_at_once_is_answered_once(store: &Arc<dyn Inbox>) {
    let user = stranger();
    let added = notifications(&user, 50);
    store.add(&added).await.expect("adds");
    let answers = at_once((0..16).map(|number| {
        let (store, user, id) = (Arc::clone(store), user.clone(), added[number].id);
        let which = if number % 2 == 0 { Which::All } else { Which::One(id) };
        async move { store.mark_read(&user, which, NOW).await.expect("answers") }
    }))
    .await;
    let answered: Vec<_> = answers.into_iter().flatten().flatten().map(|n| n.id).collect();
    assert_eq!(answered.len(), added.len(), "each once");
    assert_eq!(
        answered.into_iter().collect::<BTreeSet<_>>(),
        added.iter().map(|n| n.id).collect::<BTreeSet<_>>()
    );
}

/// While many add for one user, somebody reads again and again: whoever is numbered first must be seen first,
/// or what is pushed in order of the reading is not in the order of the adding.
async fn a_reader_who_follows_along_misses_nothing(store: &Arc<dyn Inbox>) {
    const WRITERS: usize = 8;
    const EACH: usize = 25;
    let user = stranger();
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let (store, user) = (Arc::clone(store), user.clone());
        writers.push(async move {
            for item in notifications(&user, EACH) {
                // Beside it one of somebody else, so that more is drawn and written than one number.
                store.add(&[item, notification(&stranger())]).await.expect("adds");
            }
        });
    }
    let writing = tokio::spawn(at_once(writers));

    let mut seen: Vec<Notification> = Vec::new();
    loop {
        let done = writing.is_finished();
        let now = undelivered(&**store, &user).await;
        assert!(now.starts_with(&seen), "what was seen stays in front");
        seen = now;
        if done {
            break;
        }
        tokio::task::yield_now().await;
    }
    writing.await.expect("the writers write");
    assert_eq!(seen.len(), WRITERS * EACH);
    assert_eq!(seen, undelivered(&**store, &user).await);
}

async fn undelivered(store: &dyn Inbox, user: &UserId) -> Vec<Notification> {
    store.undelivered(user, 10_000).await.expect("answers")
}

async fn page(store: &dyn Inbox, user: &UserId, unread_only: bool) -> Vec<Notification> {
    let items = store.page(user, unread_only, None, 10_000).await.expect("answers");
    items.into_iter().map(|item| item.notification).collect()
}

//! Items that are removed: by their id, or because their sender takes them back.

use doorstep_domain::Notification;
use doorstep_domain::ports::{EnteredBy, Inbox, InboxItem, Removed, Which};

use super::{
    REMOVED, WITHDRAWN, WITHDRAWN_MOST, add, each_once, mark, page, read, undelivered, unread,
};
use crate::sample::{NOW, notification, notifications, stranger};

pub(super) async fn a_removed_item_is_gone(store: &dyn Inbox) {
    let user = stranger();
    let added = notifications(&user, 4);
    add(store, &added, REMOVED).await;
    mark(store, &[(user.clone(), added[1].id)], REMOVED).await;
    read(store, &user, Which::One(added[2].id), NOW, REMOVED).await;
    let was_read = InboxItem { read_at: Some(NOW), ..unread(&added[2]) };
    let expected = [(unread(&added[0]), false), (unread(&added[1]), true), (was_read, true)];
    for (item, delivered) in expected {
        let id = item.notification.id;
        let came = REMOVED.done("remove", store.remove(id).await);
        let was = came.as_ref().map(|removed| removed.delivered);
        REMOVED.same_one(
            "what was removed",
            came.map(|removed| removed.item).as_ref(),
            Some(&item),
        );
        REMOVED.same(format_args!("whether {id} was delivered"), &was, &Some(delivered));
        let again: Option<Removed> = REMOVED.done("remove", store.remove(id).await);
        REMOVED.same_one("to remove it again", again.map(|removed| removed.item).as_ref(), None);
    }
    let came = page(store, &user, false, REMOVED).await;
    REMOVED.same_all("the page after three of four were removed", &came, &added[3..]);
    // Its id may come again.
    add(store, &added[..1], REMOVED).await;
    let came = undelivered(store, &user, REMOVED).await;
    let expected = [added[3].clone(), added[0].clone()];
    REMOVED.same_all("what is undelivered after one was added again", &came, &expected);
}

pub(super) async fn what_is_withdrawn_is_undelivered(store: &dyn Inbox) {
    let [user, other] = [stranger(), stranger()];
    let topic: doorstep_domain::Topic = "order/7".parse().expect("a topic");
    let of_topic = |user| Notification { topic: Some(topic.clone()), ..notification(user) };
    let all = [of_topic(&user), notification(&user), of_topic(&user), notification(&user)];
    let theirs = of_topic(&other);
    let promoted = of_topic(&user);
    add(store, &all, WITHDRAWN).await;
    add(store, std::slice::from_ref(&theirs), WITHDRAWN).await;
    let adds = store.add(std::slice::from_ref(&promoted), EnteredBy::Expiry).await;
    WITHDRAWN.done("add", adds);
    mark(store, &[(user.clone(), all[0].id)], WITHDRAWN).await;
    read(store, &user, Which::One(all[1].id), NOW, WITHDRAWN).await;

    let remove = |topic| store.remove_undelivered(&user, topic);
    let none = Some("order/8".parse().expect("a topic"));
    let came = WITHDRAWN.done("remove_undelivered", remove(none).await);
    WITHDRAWN.same_all("of a topic without items", &came, &[]);
    let came = WITHDRAWN.done("remove_undelivered", remove(Some(topic.clone())).await);
    WITHDRAWN.same_all("of one topic", &came, &[unread(&all[2])]);
    let came = WITHDRAWN.done("remove_undelivered", remove(None).await);
    WITHDRAWN.same_all("of all topics", &came, &[unread(&all[3])]);
    let came = page(store, &user, false, WITHDRAWN).await;
    let expected = [promoted, all[1].clone(), all[0].clone()];
    WITHDRAWN.same_all("the page after that", &came, &expected);
    let came = undelivered(store, &other, WITHDRAWN).await;
    WITHDRAWN.same_all("what another user has", &came, &[theirs]);
}

pub(super) async fn a_thousand_are_withdrawn_at_a_time(store: &dyn Inbox) {
    let user = stranger();
    let added = notifications(&user, 1_010);
    add(store, &added[..1_000], WITHDRAWN_MOST).await;
    add(store, &added[1_000..], WITHDRAWN_MOST).await;
    let mut ids = Vec::new();
    for expected in [1_000, 10, 0] {
        let removed = store.remove_undelivered(&user, None).await;
        let removed = WITHDRAWN_MOST.done("remove_undelivered", removed);
        WITHDRAWN_MOST.same("how many one call removes", &removed.len(), &expected);
        ids.extend(removed.into_iter().map(|item| item.notification.id));
    }
    each_once(WITHDRAWN_MOST, "removed by all calls", ids, &added);
}

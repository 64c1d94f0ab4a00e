//! The suite of [`Inbox`].

mod removals;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use doorstep_domain::ports::{EnteredBy, Inbox, InboxItem, Which};
use doorstep_domain::{Notification, NotificationId, Timestamp, UserId};
use uuid::Uuid;

use crate::clause::clauses;
use crate::sample::{NOW, at_once, full_and_bare, notification, notifications, stranger};
use crate::{Clause, Reopens};

clauses! {
    /// The promises of [`Inbox`] that the suite checks.
    WHOLE = "inbox whole": "an item is read back with everything that was added";
    OWN = "inbox own": "a user's items are seen by that user only";
    KNOWN = "inbox known id": "an id that is there already is not changed";
    ORDER = "inbox order": "items keep the order in which they were added, of a thousand at a time as well";
    LIMIT = "inbox limit": "`undelivered` returns the oldest, at most `limit`";
    ENTERED = "inbox entered by": "each query returns with an item how it entered the inbox";
    DELIVERED = "inbox delivered": "what was delivered is not undelivered, and is still unread";
    FIRST_MARK = "inbox first mark": "marking returns what was undelivered until then, and the same again when it is repeated with the same time";
    READ = "inbox read": "an item that is read is delivered as well, and is returned only if it was undelivered until then";
    FIRST_READING = "inbox first reading": "an item that is read again keeps the time of the first reading";
    UNKNOWN = "inbox unknown": "to read an item that the user does not have returns None";
    READ_ALL = "inbox read all": "to read all reads each, and returns those that were undelivered, at most 1,000 at a time, until there are no more";
    PAGES = "inbox pages": "pages go back from the newest without a gap; before an unknown item there is nothing";
    UNREAD_ONLY = "inbox unread only": "with `unread_only` a page has unread items only";
    OTHERS = "inbox others": "nobody marks or reads an item of another user";
    AT_ONCE = "inbox read at once": "of any number of concurrent readings, one returns an item";
    REMOVED = "inbox remove": "a removed item is gone, and returned once with whether it had been delivered";
    WITHDRAWN = "inbox remove undelivered": "only what is the user's, undelivered, entered by policy, and of the topic is removed, and returned";
    WITHDRAWN_MOST = "inbox remove a thousand": "`remove_undelivered` removes at most 1,000 items, and the rest when it is called again";
    ALL_OR_NONE = "inbox all or none": "whoever looks while several are added sees all of them or none";
    DURABLE = "inbox durable": "what was added, delivered, read or removed is so after the store was closed and opened again";
}

/// [`Inbox`]: checks every promise of [`CLAUSES`] but the durability, for which see [`durable_inbox`].
pub async fn inbox(store: Arc<dyn Inbox>) {
    added_items_are_read_back(&*store).await;
    adding_again_changes_nothing(&*store).await;
    a_thousand_at_a_time_keep_their_order(&*store).await;
    the_undelivered_come_oldest_first(&*store).await;
    how_it_came_in_is_remembered(&*store).await;
    delivered_items_are_not_undelivered(&*store).await;
    the_first_to_mark_is_told(&*store).await;
    reading_one_delivers_it(&*store).await;
    reading_all_returns_what_was_undelivered(&*store).await;
    pages_go_back_from_the_newest(&*store).await;
    another_users_items_cannot_be_changed(&*store).await;
    concurrent_reads_return_each_item_once(&store).await;
    removals::a_removed_item_is_gone(&*store).await;
    removals::what_is_withdrawn_is_undelivered(&*store).await;
    removals::a_thousand_are_withdrawn_at_a_time(&*store).await;
    all_are_added_or_none(&store).await;
}

/// What [`Inbox`] promises to keep, in a store that can be closed and opened again.
pub async fn durable_inbox<R: Reopens<Store: Inbox>>(place: &mut R) {
    let user = stranger();
    let added = notifications(&user, 4);
    let store = place.reopen().await;
    add(&*store, &added, DURABLE).await;
    drop(store);
    let store = place.reopen().await;
    let expected: Vec<_> = added.iter().map(unread).collect();
    let came = DURABLE.done("undelivered", store.undelivered(&user, 9).await);
    DURABLE.same_all("what was added before it was opened again", &came, &expected);
    mark(&*store, &[(user.clone(), added[0].id)], DURABLE).await;
    read(&*store, &user, Which::One(added[1].id), NOW, DURABLE).await;
    DURABLE.done("remove", store.remove(added[2].id).await);
    drop(store);

    let store = place.reopen().await;
    let came = undelivered(&*store, &user, DURABLE).await;
    DURABLE.same_all("what is undelivered after that", &came, &added[3..]);
    let came = DURABLE.done("page", store.page(&user, false, None, 9).await);
    let was_read = InboxItem { read_at: Some(NOW), ..unread(&added[1]) };
    let expected = [unread(&added[3]), was_read, unread(&added[0])];
    DURABLE.same_all("the page after that", &came, &expected);
}

const LATER: Timestamp = Timestamp::from_micros(NOW.as_micros() + 1);

async fn the_first_to_mark_is_told(store: &dyn Inbox) {
    let user = stranger();
    let added = notifications(&user, 3);
    add(store, &added, FIRST_MARK).await;
    let [first, second, third] = [0, 1, 2].map(|place| (user.clone(), added[place].id));
    let marked = async |items: &[(UserId, NotificationId)], at| {
        let mut marked = FIRST_MARK.done("mark_delivered", store.mark_delivered(items, at).await);
        marked.sort_unstable();
        marked
    };
    let both = [first.clone(), second.clone()];
    let expected = [first.1, second.1].into_iter().collect::<BTreeSet<_>>();
    let expected: Vec<_> = expected.into_iter().collect();
    FIRST_MARK.same("the first marks", &marked(&both, NOW).await, &expected);
    FIRST_MARK.same("the same call again", &marked(&both, NOW).await, &expected);
    let of_another = marked(&[second, third.clone()], LATER).await;
    FIRST_MARK.same("marks of another time, one of them the first", &of_another, &vec![third.1]);
    read(store, &user, Which::One(first.1), LATER, FIRST_MARK).await;
}

async fn added_items_are_read_back(store: &dyn Inbox) {
    for user in [stranger(), UserId::from(Uuid::now_v7())] {
        for added in full_and_bare(&user) {
            add(store, std::slice::from_ref(&added), WHOLE).await;
            let came = WHOLE.done("undelivered", store.undelivered(&user, 9).await);
            WHOLE.same_one("the item that was added last", came.last(), Some(&unread(&added)));
            let came = WHOLE.done("page", store.page(&user, false, None, 9).await);
            WHOLE.same_one("the newest of the page", came.first(), Some(&unread(&added)));
        }
        is_unread(store, &user, 2, DELIVERED).await;
    }
    add(store, &[], WHOLE).await;
    let nobody = stranger();
    let came = undelivered(store, &nobody, OWN).await;
    OWN.same_all("what is undelivered for a user without items", &came, &[]);
    OWN.same_all("the page of a user without items", &page(store, &nobody, false, OWN).await, &[]);
    is_unread(store, &nobody, 0, OWN).await;
}

async fn adding_again_changes_nothing(store: &dyn Inbox) {
    let user = stranger();
    let [first, second] = full_and_bare(&user);
    add(store, std::slice::from_ref(&first), KNOWN).await;
    mark(store, &[(user.clone(), first.id)], KNOWN).await;
    let changed = Notification { ttl: None, topic: None, ..first.clone() };
    add(store, &[changed, second.clone(), second.clone()], KNOWN).await;
    let came = undelivered(store, &user, KNOWN).await;
    let delivered_stays = "what is undelivered, after one that was delivered is added again";
    KNOWN.same_all(delivered_stays, &came, std::slice::from_ref(&second));
    KNOWN.same_all("the page", &page(store, &user, false, KNOWN).await, &[second, first]);
}

async fn a_thousand_at_a_time_keep_their_order(store: &dyn Inbox) {
    let [one, two] = [stranger(), stranger()];
    let mut added = Vec::new();
    for _ in 0..500 {
        added.extend([notification(&one), notification(&two)]);
    }
    // The order in which they are added counts, not the order of their ids.
    added.reverse();
    add(store, &added, ORDER).await;
    for user in [one, two] {
        let theirs: Vec<_> = added.iter().filter(|n| n.user_id == user).cloned().collect();
        let came = undelivered(store, &user, ORDER).await;
        ORDER.same_all("what is undelivered of a thousand", &came, &theirs);
    }
    let items: Vec<_> = added.iter().map(|n| (n.user_id.clone(), n.id)).collect();
    mark(store, &items, DELIVERED).await;
    let came = undelivered(store, &items[0].0, DELIVERED).await;
    DELIVERED.same_all("what is undelivered after a thousand were delivered", &came, &[]);
}

async fn the_undelivered_come_oldest_first(store: &dyn Inbox) {
    let user = stranger();
    let added = notifications(&user, 4);
    add(store, &added, LIMIT).await;
    mark(store, &[(user.clone(), added[1].id)], LIMIT).await;
    let came = LIMIT.done("undelivered", store.undelivered(&user, 2).await);
    LIMIT.same_all("with a limit of 2", &came, &[&added[0], &added[2]].map(unread));
    let came = LIMIT.done("undelivered", store.undelivered(&user, 0).await);
    LIMIT.same_all("with a limit of 0", &came, &[]);
}

/// Every query returns with an item how it entered the inbox.
async fn how_it_came_in_is_remembered(store: &dyn Inbox) {
    let user = stranger();
    let [kept, promoted] = full_and_bare(&user);
    let adds = store.add(std::slice::from_ref(&kept), EnteredBy::Policy).await;
    ENTERED.done("add", adds);
    let adds = store.add(&[promoted.clone(), kept.clone()], EnteredBy::Expiry).await;
    ENTERED.done("add", adds);
    let kept = unread(&kept);
    let promoted = InboxItem { by: EnteredBy::Expiry, ..unread(&promoted) };
    let came = ENTERED.done("undelivered", store.undelivered(&user, 9).await);
    ENTERED.same_all("what is undelivered", &came, &[kept.clone(), promoted.clone()]);
    let came = ENTERED.done("page", store.page(&user, false, None, 9).await);
    ENTERED.same_all("the page", &came, &[promoted.clone(), kept.clone()]);

    let at_now = |item: InboxItem| InboxItem { read_at: Some(NOW), ..item };
    let which = Which::One(kept.notification.id);
    let came = read(store, &user, which, NOW, ENTERED).await.unwrap_or_default();
    ENTERED.same_all("what `mark_read` of one returns", &came, &[at_now(kept)]);
    let came = read(store, &user, Which::All, NOW, ENTERED).await.unwrap_or_default();
    ENTERED.same_all("what `mark_read` of all returns", &came, &[at_now(promoted)]);
}

async fn delivered_items_are_not_undelivered(store: &dyn Inbox) {
    let user = stranger();
    let added = notifications(&user, 3);
    add(store, &added, DELIVERED).await;
    let items = [(user.clone(), added[0].id), (user.clone(), added[2].id)];
    for _ in 0..2 {
        mark(store, &items, DELIVERED).await;
    }
    mark(store, &[], DELIVERED).await;
    let came = undelivered(store, &user, DELIVERED).await;
    DELIVERED.same_all("what is undelivered", &came, &added[1..2]);
    is_unread(store, &user, 3, DELIVERED).await;
}

async fn reading_one_delivers_it(store: &dyn Inbox) {
    let user = stranger();
    let added = notifications(&user, 2);
    add(store, &added, READ).await;
    mark(store, &[(user.clone(), added[0].id)], READ).await;

    let came = read(store, &user, Which::One(added[0].id), NOW, READ).await;
    READ.same_all("to read what was delivered", &known(came, READ), &[]);
    let came = read(store, &user, Which::One(added[1].id), NOW, READ).await;
    let expected = InboxItem { read_at: Some(NOW), ..unread(&added[1]) };
    READ.same_all("to read what was not delivered", &known(came, READ), &[expected]);
    let came = read(store, &user, Which::One(added[1].id), LATER, READ).await;
    READ.same_all("to read it again", &known(came, READ), &[]);
    let came = undelivered(store, &user, READ).await;
    READ.same_all("what is undelivered when all is read", &came, &[]);
    is_unread(store, &user, 0, READ).await;

    let unknown = Which::One(NotificationId::new(Uuid::now_v7()));
    let came = read(store, &user, unknown, NOW, UNKNOWN).await;
    UNKNOWN.same("how many an unknown id returns", &came.map(|items| items.len()), &None);

    for item in FIRST_READING.done("page", store.page(&user, false, None, 9).await) {
        let id = item.notification.id;
        FIRST_READING.same(format_args!("`read_at` of {id}"), &item.read_at, &Some(NOW));
    }
}

async fn reading_all_returns_what_was_undelivered(store: &dyn Inbox) {
    let user = stranger();
    let other = notification(&stranger());
    let added = notifications(&user, 1_201);
    add(store, &added[..1_000], READ_ALL).await;
    add(store, &added[1_000..], READ_ALL).await;
    add(store, std::slice::from_ref(&other), READ_ALL).await;
    mark(store, &[(user.clone(), added[0].id)], READ_ALL).await;

    let expected = [&added[1..=1_000], &added[1_001..], &[]];
    for (call, expected) in expected.into_iter().enumerate() {
        let came = known(read(store, &user, Which::All, NOW, READ_ALL).await, READ_ALL);
        let what = format_args!("what call {} returns", call + 1);
        READ_ALL.same_all(what, &notifications_of(came), expected);
    }
    let none = known(read(store, &stranger(), Which::All, NOW, READ_ALL).await, READ_ALL);
    READ_ALL.same_all("what a user without items reads", &none, &[]);
    is_unread(store, &user, 0, READ_ALL).await;
    let came = undelivered(store, &user, READ_ALL).await;
    READ_ALL.same_all("what is undelivered after all was read", &came, &[]);
    let came = page(store, &user, true, UNREAD_ONLY).await;
    UNREAD_ONLY.same_all("the unread page after all was read", &came, &[]);
    let came = undelivered(store, &other.user_id, OTHERS).await;
    OTHERS.same_all("what another user has, after all was read", &came, &[other]);
}

async fn pages_go_back_from_the_newest(store: &dyn Inbox) {
    let user = stranger();
    let mut added = notifications(&user, 5);
    add(store, &added, PAGES).await;
    add(store, &notifications(&stranger(), 2), PAGES).await;
    let was_read = added[3].id;
    read(store, &user, Which::One(was_read), NOW, PAGES).await;
    added.reverse();

    for unread_only in [false, true] {
        let clause = if unread_only { UNREAD_ONLY } else { PAGES };
        let item = |n: &Notification| InboxItem {
            read_at: (n.id == was_read).then_some(NOW),
            ..unread(n)
        };
        let expected: Vec<_> =
            added.iter().filter(|n| !unread_only || n.id != was_read).map(item).collect();
        let mut seen = Vec::new();
        let mut before = None;
        // One page more than are needed, so that a store that repeats itself comes to an end.
        for _ in 0..4 {
            let page = clause.done("page", store.page(&user, unread_only, before, 2).await);
            let Some(last) = page.last() else { break };
            let came = page.len();
            clause.holds(came <= 2, format_args!("expected at most 2 in a page, and got {came}"));
            before = Some(last.notification.id);
            seen.extend(page);
        }
        clause.same_all("all pages together", &seen, &expected);
    }
    let unknown = Some(NotificationId::new(Uuid::now_v7()));
    let came = PAGES.done("page", store.page(&user, false, unknown, 9).await);
    PAGES.same_all("the page before an unknown item", &came, &[]);
}

async fn another_users_items_cannot_be_changed(store: &dyn Inbox) {
    let [owner, other] = [stranger(), stranger()];
    let item = notification(&owner);
    add(store, std::slice::from_ref(&item), OTHERS).await;
    mark(store, &[(other.clone(), item.id)], OTHERS).await;
    let came = read(store, &other, Which::One(item.id), NOW, OTHERS).await;
    let what = "how many a reading of another user's item returns";
    OTHERS.same(what, &came.map(|items| items.len()), &None);
    let came = OTHERS.done("page", store.page(&other, false, Some(item.id), 9).await);
    OTHERS.same_all("the page before another user's item", &came, &[]);
    let came = undelivered(store, &owner, OTHERS).await;
    OTHERS.same_all("what is undelivered for its owner", &came, &[item]);
}

async fn concurrent_reads_return_each_item_once(store: &Arc<dyn Inbox>) {
    let user = stranger();
    let added = notifications(&user, 50);
    add(&**store, &added, AT_ONCE).await;
    let returned = at_once((0..16).map(|number| {
        let (store, user, id) = (Arc::clone(store), user.clone(), added[number].id);
        let which = if number % 2 == 0 { Which::All } else { Which::One(id) };
        async move { store.mark_read(&user, which, NOW).await }
    }))
    .await;
    let mut ids = Vec::new();
    for returned in returned {
        let items = AT_ONCE.done("mark_read", returned).unwrap_or_default();
        ids.extend(items.into_iter().map(|item| item.notification.id));
    }
    each_once(AT_ONCE, "returned by 16 readings at once", ids, &added);
}

async fn all_are_added_or_none(store: &Arc<dyn Inbox>) {
    let done = Arc::new(AtomicBool::new(false));
    let user = stranger();
    let added = notifications(&user, 200);
    let adding = tokio::spawn({
        let (store, added, done) = (Arc::clone(store), added.clone(), done.clone());
        async move {
            let adds = store.add(&added, EnteredBy::Policy).await;
            done.store(true, Relaxed);
            adds
        }
    });
    let mut seen = 0;
    while seen == 0 && !done.load(Relaxed) {
        seen = undelivered(&**store, &user, ALL_OR_NONE).await.len();
        ALL_OR_NONE.holds(
            seen == 0 || seen == added.len(),
            format_args!("expected 0 or {} while they are added, and got {seen}", added.len()),
        );
        tokio::task::yield_now().await;
    }
    ALL_OR_NONE.done("add", adding.await.expect("adding does not panic"));
}

/// Fails unless these are the ids of the notifications, each once.
pub(crate) fn each_once(
    clause: Clause,
    what: &str,
    came: Vec<NotificationId>,
    expected: &[Notification],
) {
    let (count, came): (_, BTreeSet<_>) = (came.len(), came.into_iter().collect());
    let expected: BTreeSet<_> = expected.iter().map(|n| n.id).collect();
    let missing: Vec<_> = expected.difference(&came).collect();
    if let Some(first) = missing.first() {
        let of = expected.len();
        clause
            .broken(format_args!("{what}: {} of {of} are missing, such as {first}", missing.len()));
    }
    if let Some(other) = came.difference(&expected).next() {
        clause.broken(format_args!("{what}: got {other}, which is none of them"));
    }
    clause.same(format_args!("how many were {what}"), &count, &expected.len());
}

/// Adds notifications whose policy is the inbox.
async fn add(store: &dyn Inbox, notifications: &[Notification], clause: Clause) {
    clause.done("add", store.add(notifications, EnteredBy::Policy).await);
}

async fn mark(store: &dyn Inbox, items: &[(UserId, NotificationId)], clause: Clause) {
    clause.done("mark_delivered", store.mark_delivered(items, NOW).await);
}

async fn read(
    store: &dyn Inbox,
    user: &UserId,
    which: Which,
    at: Timestamp,
    clause: Clause,
) -> Option<Vec<InboxItem>> {
    clause.done("mark_read", store.mark_read(user, which, at).await)
}

/// What a reading of something that is there returned.
fn known(came: Option<Vec<InboxItem>>, clause: Clause) -> Vec<InboxItem> {
    match came {
        Some(items) => items,
        None => clause.broken("expected that `mark_read` knows the item, and got None"),
    }
}

async fn is_unread(store: &dyn Inbox, user: &UserId, expected: u64, clause: Clause) {
    clause.same("`unread`", &clause.done("unread", store.unread(user).await), &expected);
}

async fn undelivered(store: &dyn Inbox, user: &UserId, clause: Clause) -> Vec<Notification> {
    notifications_of(clause.done("undelivered", store.undelivered(user, 10_000).await))
}

async fn page(
    store: &dyn Inbox,
    user: &UserId,
    unread_only: bool,
    clause: Clause,
) -> Vec<Notification> {
    notifications_of(clause.done("page", store.page(user, unread_only, None, 10_000).await))
}

fn notifications_of(items: Vec<InboxItem>) -> Vec<Notification> {
    items.into_iter().map(|item| item.notification).collect()
}

/// The item that [`add`] creates from it.
fn unread(notification: &Notification) -> InboxItem {
    InboxItem { notification: notification.clone(), by: EnteredBy::Policy, read_at: None }
}

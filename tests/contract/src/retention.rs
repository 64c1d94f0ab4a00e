//! The suite of [`Retention`].

use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{EnteredBy, Inbox, Retention, Which};
use doorstep_domain::{Notification, NotificationId, Timestamp, UserId};

use crate::Clause;
use crate::clause::clauses;
use crate::sample::{NOW, at_once, notifications, stranger};

clauses! {
    /// The promises of [`Retention`] that the suite checks.
    UNTIL = "retention until": "what was read at `until` or before is removed, and nothing that was read later";
    LIMIT = "retention limit": "at most `limit` are removed";
    FIRST = "retention first read first": "what was read first is removed first";
    COUNT = "retention count": "the call returns how many it removed";
    UNREAD = "retention unread": "unread items stay, delivered or not, whatever their age";
    AGAIN = "retention again": "an id that was removed can be added again";
    AT_ONCE = "retention at once": "calls at the same time remove each item once, and none of them fails";
}

/// [`Retention`], in a store without read items; `inbox` is the same store. Checks every promise of [`CLAUSES`].
pub async fn retention(inbox: Arc<dyn Inbox>, store: Arc<dyn Retention>) {
    read_items_go_the_first_read_first(&*inbox, &*store).await;
    a_removed_id_can_come_again(&*inbox, &*store).await;
    calls_at_once_share_the_work(&*inbox, &store).await;
}

/// This many seconds after [`NOW`].
fn at(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

async fn add(inbox: &dyn Inbox, added: &[Notification], clause: Clause) {
    clause.done("add", inbox.add(added, EnteredBy::Policy).await);
}

async fn read(inbox: &dyn Inbox, user: &UserId, id: NotificationId, at: Timestamp, clause: Clause) {
    clause.done("mark_read", inbox.mark_read(user, Which::One(id), at).await);
}

/// Fails unless the user has these items, in the order in which they were added.
async fn has(inbox: &dyn Inbox, user: &UserId, what: &str, all: &[&Notification], clause: Clause) {
    let mut page = clause.done("page", inbox.page(user, false, None, 10_000).await);
    page.reverse();
    let came: Vec<_> = page.into_iter().map(|item| item.notification).collect();
    let expected: Vec<_> = all.iter().map(|n| (*n).clone()).collect();
    clause.same_all(format_args!("what stays {what}"), &came, &expected);
}

async fn read_items_go_the_first_read_first(inbox: &dyn Inbox, store: &dyn Retention) {
    let user = stranger();
    let all = notifications(&user, 6);
    let [unread, delivered, third, first, second, fourth] = &all[..] else { unreachable!() };
    add(inbox, &all, UNTIL).await;
    let marks = inbox.mark_delivered(&[(user.clone(), delivered.id)], NOW).await;
    UNREAD.done("mark_delivered", marks);
    for (item, seconds) in [(third, 3), (first, 1), (second, 2), (fourth, 4)] {
        read(inbox, &user, item.id, at(seconds), UNTIL).await;
    }
    let remove =
        async |until, limit| UNTIL.done("remove_read", store.remove_read(until, limit).await);
    remove(at(0), 9).await;
    let everything = [unread, delivered, third, first, second, fourth];
    has(inbox, &user, "before the first was read", &everything, UNTIL).await;
    remove(at(3), 0).await;
    has(inbox, &user, "with a limit of 0", &everything, LIMIT).await;
    let removed = remove(at(3), 2).await;
    let left = inbox.page(&user, false, None, 10).await;
    LIMIT.same("how many stay with a limit of 2", &LIMIT.done("page", left).len(), &4);
    COUNT.same("what it returns, having removed 2", &removed, &2);
    let rest = [unread, delivered, third, fourth];
    has(inbox, &user, "with a limit of 2", &rest, FIRST).await;
    let removed = remove(at(3), 9).await;
    has(inbox, &user, "up to the time itself", &[unread, delivered, fourth], UNTIL).await;
    COUNT.same("what it returns, having removed 1", &removed, &1);
    COUNT.same("what it returns, having removed none", &remove(at(3), 9).await, &0);
    remove(Timestamp::MAX, 9).await;
    has(inbox, &user, "at the end of time", &[unread, delivered], UNREAD).await;
}

async fn a_removed_id_can_come_again(inbox: &dyn Inbox, store: &dyn Retention) {
    let user = stranger();
    let item = notifications(&user, 1);
    add(inbox, &item, AGAIN).await;
    read(inbox, &user, item[0].id, NOW, AGAIN).await;
    AGAIN.done("remove_read", store.remove_read(NOW, 9).await);
    add(inbox, &item, AGAIN).await;
    has(inbox, &user, "when it was added again", &[&item[0]], AGAIN).await;
    let unread = AGAIN.done("unread", inbox.unread(&user).await);
    AGAIN.same("how many are unread when it was added again", &unread, &1);
}

async fn calls_at_once_share_the_work(inbox: &dyn Inbox, store: &Arc<dyn Retention>) {
    let user = stranger();
    let all = notifications(&user, 200);
    add(inbox, &all, AT_ONCE).await;
    for item in &all {
        read(inbox, &user, item.id, NOW, AT_ONCE).await;
    }
    let mut removed = 0;
    // More often than is needed, because a call may leave to others what they are about to remove.
    for _ in 0..200 {
        let returned = at_once((0..8).map(|_| {
            let store = store.clone();
            async move { store.remove_read(NOW, 20).await }
        }))
        .await;
        for one in returned {
            let one = AT_ONCE.done("remove_read", one);
            AT_ONCE.holds(one <= 20, format_args!("expected at most 20 by a call, and got {one}"));
            removed += one;
        }
        if removed >= 200 {
            break;
        }
    }
    AT_ONCE.same("how many of 200 all calls say that they removed", &removed, &200);
    has(inbox, &user, "after that", &[], AT_ONCE).await;
}

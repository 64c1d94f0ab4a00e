use std::sync::Arc;

use doorstep_domain::ports::{Accounts, Grant, StoreError};
use doorstep_domain::{EntryId, LedgerEntry, Money, UserId};
use uuid::Uuid;

use super::sample::{at_once, entry, registered};

/// The part of [`Accounts`] about money.
pub async fn ledger(store: Arc<dyn Accounts>) {
    a_grant_is_on_the_ledger_and_in_the_balance(&*store).await;
    a_fact_is_rewarded_once(&*store).await;
    many_are_granted_together_or_none(&*store).await;
    an_unknown_user_is_granted_nothing(&*store).await;
    a_balance_stays_in_its_bounds(&*store).await;
    the_newest_entries_come_first_page_by_page(&*store).await;
    of_many_grants_for_one_fact_one_counts(&store).await;
    the_balance_is_exact_under_concurrent_grants(&store).await;
}

async fn a_grant_is_on_the_ledger_and_in_the_balance(store: &dyn Accounts) {
    let ada = registered(store).await.id;
    let gift = entry(&ada, 100_001, "for \\ 'ada' \0");
    assert_eq!(store.grant(&gift).await.expect("answers"), Grant::Granted);
    let fee = entry(&ada, -1, "a fee");
    assert_eq!(store.grant(&fee).await.expect("answers"), Grant::Granted);

    assert_eq!(entries(store, &ada).await, [fee, gift]);
    assert_eq!(balance(store, &ada).await, 100_000);
}

async fn a_fact_is_rewarded_once(store: &dyn Accounts) {
    let [ada, ben] = [registered(store).await.id, registered(store).await.id];
    let first = entry(&ada, 500, "fact");
    store.grant(&first).await.expect("answers");
    for amount in [500, 700, -9_999] {
        let again = entry(&ada, amount, "fact");
        assert_eq!(store.grant(&again).await.expect("answers"), Grant::AlreadyGranted);
    }
    assert_eq!(store.grant(&first).await.expect("answers"), Grant::AlreadyGranted);
    assert_eq!(entries(store, &ada).await, [first]);
    assert_eq!(balance(store, &ada).await, 500);

    let theirs = entry(&ben, 500, "fact");
    assert_eq!(store.grant(&theirs).await.expect("answers"), Grant::Granted, "another user's");
}

async fn many_are_granted_together_or_none(store: &dyn Accounts) {
    let [ada, ben] = [registered(store).await.id, registered(store).await.id];
    assert_eq!(store.grant_all(&[]).await.expect("answers"), []);
    store.grant(&entry(&ada, 500, "known")).await.expect("answers");
    let all = [
        entry(&ada, 200, "new"),
        entry(&ben, 300, "theirs"),
        entry(&ada, 900, "known"),
        entry(&ada, -700, "spent"),
        entry(&ben, 300, "theirs"),
    ];
    let grants = store.grant_all(&all).await.expect("answers");
    let (new, old) = (Grant::Granted, Grant::AlreadyGranted);
    assert_eq!(grants, [new, new, old, new, old]);
    assert_eq!((balance(store, &ada).await, balance(store, &ben).await), (0, 300));
    // One that cannot be granted takes all others with it.
    let nobody = entry(&UserId::from(Uuid::now_v7()), 1, "fact");
    let refused = store.grant_all(&[entry(&ben, 1, "before"), nobody]).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    assert_eq!(balance(store, &ben).await, 300);
    let thousand: Vec<_> = (0..1000).map(|n| entry(&ben, 1, &format!("{n}"))).collect();
    assert_eq!(store.grant_all(&thousand).await.expect("answers"), [new; 1000]);
    assert_eq!(balance(store, &ben).await, 1300);
}

async fn an_unknown_user_is_granted_nothing(store: &dyn Accounts) {
    let nobody = UserId::from(Uuid::now_v7());
    refuses(store, &entry(&nobody, 100, "fact")).await;
    assert_eq!(entries(store, &nobody).await, []);
}

async fn a_balance_stays_in_its_bounds(store: &dyn Accounts) {
    let ada = registered(store).await.id;
    refuses(store, &entry(&ada, -1, "below zero")).await;
    let all = entry(&ada, i64::MAX, "all there is");
    assert_eq!(store.grant(&all).await.expect("answers"), Grant::Granted);
    refuses(store, &entry(&ada, 1, "one more")).await;
    assert_eq!(entries(store, &ada).await, [all], "what is refused leaves nothing");
    assert_eq!(balance(store, &ada).await, i64::MAX);
}

async fn the_newest_entries_come_first_page_by_page(store: &dyn Accounts) {
    let [ada, ben] = [registered(store).await.id, registered(store).await.id];
    let mut newest_first = Vec::new();
    for number in 0..5 {
        let gift = entry(&ada, number, &number.to_string());
        store.grant(&gift).await.expect("answers");
        newest_first.insert(0, gift);
        store.grant(&entry(&ben, 1, &number.to_string())).await.expect("answers");
    }
    let mut pages = Vec::new();
    let mut before = None;
    loop {
        let page = store.entries(&ada, before, 2).await.expect("answers");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        before = Some(last.id);
        pages.extend(page);
    }
    assert_eq!(pages, newest_first);
    assert_eq!(store.entries(&ada, None, 0).await.expect("answers"), []);
    let unknown = Some(EntryId::new(Uuid::now_v7()));
    assert_eq!(store.entries(&ada, unknown, 9).await.expect("answers"), []);
}

async fn of_many_grants_for_one_fact_one_counts(store: &Arc<dyn Accounts>) {
    let ada = registered(&**store).await.id;
    let grants = at_once((0..32).map(|_| {
        let (store, gift) = (Arc::clone(store), entry(&ada, 100_000, "fact"));
        async move { store.grant(&gift).await.expect("a grant does not fail, it loses") }
    }))
    .await;
    assert_eq!(grants.iter().filter(|grant| **grant == Grant::Granted).count(), 1);
    assert_eq!(entries(&**store, &ada).await.len(), 1);
    assert_eq!(balance(&**store, &ada).await, 100_000);
}

async fn the_balance_is_exact_under_concurrent_grants(store: &Arc<dyn Accounts>) {
    let ada = registered(&**store).await.id;
    at_once((1..=32).map(|number| {
        let (store, gift) = (Arc::clone(store), entry(&ada, number, &number.to_string()));
        async move { store.grant(&gift).await.expect("a grant does not fail") }
    }))
    .await;
    let sum: i64 = entries(&**store, &ada).await.iter().map(|e| e.amount.minor_units()).sum();
    assert_eq!((sum, balance(&**store, &ada).await), (32 * 33 / 2, 32 * 33 / 2));
}

async fn refuses(store: &dyn Accounts, entry: &LedgerEntry) {
    let answer = store.grant(entry).await;
    assert!(matches!(answer, Err(StoreError::Corrupt(_))), "{answer:?}");
}

async fn entries(store: &dyn Accounts, user: &UserId) -> Vec<LedgerEntry> {
    store.entries(user, None, 1_000).await.expect("answers")
}

async fn balance(store: &dyn Accounts, user: &UserId) -> i64 {
    store.balance(user).await.expect("answers").map_or(i64::MIN, Money::minor_units)
}

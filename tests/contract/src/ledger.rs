//! The suite of the part of [`Accounts`] about money.

use std::sync::Arc;

use doorstep_domain::ports::{Accounts, Grant, StoreError};
use doorstep_domain::{EntryId, LedgerEntry, Money, UserId};
use uuid::Uuid;

use crate::clause::clauses;
use crate::sample::{at_once, entry, registered};
use crate::{Clause, Reopens};

clauses! {
    /// The promises of [`Accounts`] about money that the suite checks.
    GRANTED = "ledger grant": "a grant is on the ledger with everything that was given, and in the balance";
    ONCE = "ledger once": "an entry is granted once per user, kind and reference; again it changes nothing, whatever its amount";
    ITS_USER = "ledger own": "a grant changes nothing of another user, who can have one with the same reference";
    TOGETHER = "ledger together": "several are granted in their order, each with the result that it would have alone";
    TOGETHER_OR_NONE = "ledger all or none": "if one of several cannot be granted, none is";
    NOBODY = "ledger nobody": "a grant to an unknown user is Corrupt, and leaves nothing";
    BOUNDS = "ledger bounds": "a balance that would fall below zero or be out of range is Corrupt, and leaves nothing";
    PAGES = "ledger pages": "entries come newest first, at most `limit`, without a gap between pages; before an unknown entry there is nothing";
    ONCE_AT_ONCE = "ledger once at once": "of any number of concurrent grants of the same, one is granted, and none fails";
    EXACT = "ledger exact": "after concurrent grants the balance is the sum of the entries";
    DURABLE = "ledger durable": "a grant is on the ledger and in the balance after the store was closed and opened again";
}

/// The part of [`Accounts`] about money: checks every promise of [`CLAUSES`] but the durability, for which see
/// [`durable_ledger`].
pub async fn ledger(store: Arc<dyn Accounts>) {
    a_grant_is_on_the_ledger_and_in_the_balance(&*store).await;
    a_fact_is_rewarded_once(&*store).await;
    many_are_granted_together(&*store).await;
    one_that_fails_takes_all_with_it(&*store).await;
    an_unknown_user_is_granted_nothing(&*store).await;
    a_balance_stays_in_its_bounds(&*store).await;
    the_newest_entries_come_first_page_by_page(&*store).await;
    of_many_grants_for_one_fact_one_counts(&store).await;
    the_balance_is_exact_under_concurrent_grants(&store).await;
}

/// What [`Accounts`] promises to keep of money, in a store that can be closed and opened again.
pub async fn durable_ledger<R: Reopens<Store: Accounts>>(place: &mut R) {
    let store = place.reopen().await;
    let ada = registered(&*store).await.id;
    let [one, two, three] = [1, 20, 300].map(|minor| entry(&ada, minor, &minor.to_string()));
    grants(&*store, &one, Grant::Granted, DURABLE).await;
    DURABLE.done("grant_all", store.grant_all(&[two.clone(), three.clone()]).await);
    drop(store);
    let store = place.reopen().await;
    has(&*store, &ada, 321, &[three, two, one.clone()], DURABLE).await;
    grants(&*store, &one, Grant::AlreadyGranted, DURABLE).await;
}

async fn a_grant_is_on_the_ledger_and_in_the_balance(store: &dyn Accounts) {
    let ada = registered(store).await.id;
    let gift = entry(&ada, 100_001, "for \\ 'ada' \0");
    grants(store, &gift, Grant::Granted, GRANTED).await;
    let fee = entry(&ada, -1, "a fee");
    grants(store, &fee, Grant::Granted, GRANTED).await;
    has(store, &ada, 100_000, &[fee, gift], GRANTED).await;
}

async fn a_fact_is_rewarded_once(store: &dyn Accounts) {
    let [ada, ben] = [registered(store).await.id, registered(store).await.id];
    let first = entry(&ada, 500, "fact");
    grants(store, &first, Grant::Granted, ONCE).await;
    for amount in [500, 700, -9_999] {
        grants(store, &entry(&ada, amount, "fact"), Grant::AlreadyGranted, ONCE).await;
    }
    grants(store, &first, Grant::AlreadyGranted, ONCE).await;
    has(store, &ada, 500, std::slice::from_ref(&first), ONCE).await;

    let theirs = entry(&ben, 500, "fact");
    grants(store, &theirs, Grant::Granted, ITS_USER).await;
    has(store, &ada, 500, &[first], ITS_USER).await;
    has(store, &ben, 500, &[theirs], ITS_USER).await;
}

async fn many_are_granted_together(store: &dyn Accounts) {
    let [ada, ben] = [registered(store).await.id, registered(store).await.id];
    let none = TOGETHER.done("grant_all", store.grant_all(&[]).await);
    TOGETHER.same("the results of no grants", &none, &vec![]);
    grants(store, &entry(&ada, 500, "known"), Grant::Granted, TOGETHER).await;
    let all = [
        entry(&ada, 200, "new"),
        entry(&ben, 300, "theirs"),
        entry(&ada, 900, "known"),
        entry(&ada, -700, "spent"),
        entry(&ben, 300, "theirs"),
    ];
    let came = TOGETHER.done("grant_all", store.grant_all(&all).await);
    let (new, old) = (Grant::Granted, Grant::AlreadyGranted);
    TOGETHER.same("the results of five grants", &came, &vec![new, new, old, new, old]);
    has_balance(store, &ada, 0, TOGETHER).await;
    has_balance(store, &ben, 300, TOGETHER).await;
    let thousand: Vec<_> = (0..1000).map(|n| entry(&ben, 1, &format!("{n}"))).collect();
    let came = TOGETHER.done("grant_all", store.grant_all(&thousand).await);
    let granted = came.iter().filter(|grant| **grant == new).count();
    TOGETHER.same("how many of a thousand were granted", &granted, &1000);
    has_balance(store, &ben, 1300, TOGETHER).await;
    let mut newest_first = TOGETHER.done("entries", store.entries(&ben, None, 1000).await);
    newest_first.reverse();
    TOGETHER.same_all("the order of a thousand", &newest_first, &thousand);
}

async fn one_that_fails_takes_all_with_it(store: &dyn Accounts) {
    let ben = registered(store).await.id;
    let nobody = entry(&UserId::from(Uuid::now_v7()), 1, "fact");
    let came = store.grant_all(&[entry(&ben, 1, "before"), nobody, entry(&ben, 1, "after")]).await;
    let refused = matches!(came, Err(StoreError::Corrupt(_)));
    let what = "one of three is for nobody";
    TOGETHER_OR_NONE.holds(refused, format_args!("{what}: expected Corrupt, and got {came:?}"));
    has(store, &ben, 0, &[], TOGETHER_OR_NONE).await;
}

async fn an_unknown_user_is_granted_nothing(store: &dyn Accounts) {
    let nobody = UserId::from(Uuid::now_v7());
    refuses(store, &entry(&nobody, 100, "fact"), NOBODY).await;
    let came = NOBODY.done("entries", store.entries(&nobody, None, 9).await);
    NOBODY.same_all("the entries of nobody", &came, &[]);
}

async fn a_balance_stays_in_its_bounds(store: &dyn Accounts) {
    let ada = registered(store).await.id;
    refuses(store, &entry(&ada, -1, "below zero"), BOUNDS).await;
    let all = entry(&ada, i64::MAX, "all there is");
    grants(store, &all, Grant::Granted, BOUNDS).await;
    refuses(store, &entry(&ada, 1, "one more"), BOUNDS).await;
    has(store, &ada, i64::MAX, &[all], BOUNDS).await;
}

async fn the_newest_entries_come_first_page_by_page(store: &dyn Accounts) {
    let [ada, ben] = [registered(store).await.id, registered(store).await.id];
    let mut newest_first = Vec::new();
    for number in 0..5 {
        let gift = entry(&ada, number, &number.to_string());
        grants(store, &gift, Grant::Granted, PAGES).await;
        newest_first.insert(0, gift);
        grants(store, &entry(&ben, 1, &number.to_string()), Grant::Granted, PAGES).await;
    }
    let mut seen = Vec::new();
    let mut before = None;
    // One page more than are needed, so that a store that repeats itself comes to an end.
    for _ in 0..4 {
        let page = PAGES.done("entries", store.entries(&ada, before, 2).await);
        let Some(last) = page.last() else { break };
        let came = page.len();
        PAGES.holds(came <= 2, format_args!("expected at most 2 in a page, and got {came}"));
        before = Some(last.id);
        seen.extend(page);
    }
    PAGES.same_all("all pages together", &seen, &newest_first);
    for (before, limit) in [(None, 0), (Some(EntryId::new(Uuid::now_v7())), 9)] {
        let came = PAGES.done("entries", store.entries(&ada, before, limit).await);
        PAGES.same_all(format_args!("`entries` with a limit of {limit}"), &came, &[]);
    }
}

async fn of_many_grants_for_one_fact_one_counts(store: &Arc<dyn Accounts>) {
    let ada = registered(&**store).await.id;
    let results = at_once((0..32).map(|_| {
        let (store, gift) = (Arc::clone(store), entry(&ada, 100_000, "fact"));
        async move { store.grant(&gift).await }
    }))
    .await;
    let results = results.into_iter().map(|result| ONCE_AT_ONCE.done("grant", result));
    let granted = results.filter(|grant| *grant == Grant::Granted).count();
    ONCE_AT_ONCE.same("how many of 32 at once were granted", &granted, &1);
    let entries = ONCE_AT_ONCE.done("entries", store.entries(&ada, None, 99).await);
    ONCE_AT_ONCE.same("how many are on the ledger", &entries.len(), &1);
    has_balance(&**store, &ada, 100_000, ONCE_AT_ONCE).await;
}

async fn the_balance_is_exact_under_concurrent_grants(store: &Arc<dyn Accounts>) {
    let ada = registered(&**store).await.id;
    let results = at_once((1..=32).map(|number| {
        let (store, gift) = (Arc::clone(store), entry(&ada, number, &number.to_string()));
        async move { store.grant(&gift).await }
    }))
    .await;
    for result in results {
        EXACT.done("grant", result);
    }
    let entries = EXACT.done("entries", store.entries(&ada, None, 99).await);
    let sum: i64 = entries.iter().map(|entry| entry.amount.minor_units()).sum();
    EXACT.same("the sum of 32 entries, written at once", &sum, &(32 * 33 / 2));
    has_balance(&**store, &ada, sum, EXACT).await;
}

async fn grants(store: &dyn Accounts, entry: &LedgerEntry, expected: Grant, clause: Clause) {
    let came = clause.done("grant", store.grant(entry).await);
    clause.same(format_args!("the grant of {}", entry.id), &came, &expected);
}

async fn refuses(store: &dyn Accounts, entry: &LedgerEntry, clause: Clause) {
    let came = store.grant(entry).await;
    let refused = matches!(came, Err(StoreError::Corrupt(_)));
    let id = entry.id;
    clause.holds(refused, format_args!("the grant of {id}: expected Corrupt, and got {came:?}"));
}

async fn has_balance(store: &dyn Accounts, user: &UserId, minor: i64, clause: Clause) {
    let came = clause.done("balance", store.balance(user).await);
    clause.same("the balance", &came, &Some(Money::from_minor(minor)));
}

async fn has(
    store: &dyn Accounts,
    user: &UserId,
    minor: i64,
    entries: &[LedgerEntry],
    clause: Clause,
) {
    let came = clause.done("entries", store.entries(user, None, 1_000).await);
    clause.same_all("the entries", &came, entries);
    has_balance(store, user, minor, clause).await;
}

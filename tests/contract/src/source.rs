//! The suite of [`NotificationSource`].

use std::time::Duration;

use doorstep_domain::NotificationId;
use doorstep_domain::ports::{
    Backlog, Bad, Fence, NotificationSource, SourceError, Withdrawal, Written, WrittenPayload,
};

use crate::Clause;
use crate::clause::clauses;

clauses! {
    /// The promises of [`NotificationSource`] that the suite checks.
    WHOLE = "source whole": "a row is taken with what the backend wrote, and nothing that it did not write";
    ORDER = "source order": "what waits is taken in the order in which it was written, at most `limit`";
    LOOK = "source take": "to take changes nothing: what waits is taken again until it is accepted";
    BACKLOG = "source backlog": "the backlog counts what waits, and is zero if nothing does";
    ACCEPTED = "source accept": "what waits is moved to what is accepted, and only what was moved is returned";
    REJECTED = "source reject": "what is rejected is put aside, whether it waits or was accepted";
    FORGOTTEN = "source forget": "what is forgotten is not accepted any more; places that are not known change nothing";
    READ = "source accepted": "what is accepted is read in order, behind a place, at most `limit`, also by another node";
    LEASE = "source lease": "while a node holds the lease, no other gets it";
    NUMBER = "source lease number": "each lease has a larger number than those before it";
    LOST = "source lease lost": "a node that has lost the lease gets LeaseLost for each write, and changes nothing";
    RELEASED = "source lease released": "a lease that is given back is free at once; a lease that was lost cannot be given back";
    WITHDRAWN = "source withdraw": "any node withdraws what waits and matches: it is returned, and neither taken nor accepted any more";
    MATCHED = "source withdraw match": "what does not match, or does not wait, is not withdrawn";
    ACCEPTED_OF = "source accepted of": "any node reads what is accepted and matches, behind a place, at most `limit`";
    WRITTEN = "source written": "`written` returns after the given time at the latest";
}

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

/// How long the suite waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(5);

/// The whole suite: checks every promise of [`CLAUSES`]. The source must be empty.
///
/// # Panics
/// When a promise is broken.
pub async fn check_source(source: &impl SourceUnderTest) {
    rows_go_from_waiting_to_accepted_to_forgotten(source).await;
    a_lease_is_one_nodes_and_its_number_guards_every_write(source).await;
    what_waits_is_withdrawn_by_any_node(source).await;
}

fn places(rows: Vec<Written>) -> Vec<u64> {
    rows.into_iter().map(|row| row.place).collect()
}

/// Fails unless these are the places.
fn are(what: &str, came: Vec<Written>, expected: &[u64], clause: Clause) {
    clause.same(format_args!("the places {what}"), &places(came), &expected.to_vec());
}

async fn leased(node: &dyn NotificationSource, clause: Clause) -> Fence {
    match clause.done("lease", node.lease().await) {
        Some(fence) => fence,
        None => clause.broken("expected a lease that nobody holds, and got None"),
    }
}

async fn waits(node: &dyn NotificationSource, what: &str, expected: &[u64], clause: Clause) {
    let came = clause.done("take", node.take(10).await);
    are(&format!("that wait {what}"), came, expected, clause);
}

async fn is_accepted(node: &dyn NotificationSource, what: &str, expected: &[u64], clause: Clause) {
    let came = clause.done("accepted", node.accepted(0, 10).await);
    are(&format!("that are accepted {what}"), came, expected, clause);
}

async fn accepts(
    node: &dyn NotificationSource,
    fence: Fence,
    given: &[u64],
    expected: &[u64],
    clause: Clause,
) {
    let came = clause.done("accept", node.accept(fence, given).await);
    clause.same(format_args!("what `accept` of {given:?} moved"), &came, &expected.to_vec());
}

async fn rows_go_from_waiting_to_accepted_to_forgotten(source: &impl SourceUnderTest) {
    let node = source.node();
    let empty = BACKLOG.done("backlog", node.backlog().await);
    BACKLOG.same("the backlog of an empty source", &empty, &Backlog::default());
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(source.publish(number).await);
    }
    let fence = leased(&*node, LEASE).await;
    let five = BACKLOG.done("backlog", node.backlog().await).waiting;
    BACKLOG.same("the backlog of five", &five, &5);
    let rows = ORDER.done("take", node.take(10).await);
    ORDER.same("how many rows wait of five", &rows.len(), &5);
    for (id, number) in ids.iter().zip(0..) {
        let row = rows.iter().find(|row| row.payload == WrittenPayload::Json(format!("{number}")));
        let Some(row) = row else {
            WHOLE.broken(format_args!("no row has the payload that was written with {id}"))
        };
        WHOLE.same("the id of a row", &row.id, &Some(*id));
        WHOLE.same("the user of a row", &row.user_id.as_deref(), &Some("ada"));
        let rest = (row.topic.as_deref(), row.ttl, row.policy.as_deref());
        WHOLE.same("its topic, TTL and policy", &rest, &(None, None, None));
    }
    let order: Vec<_> = rows.iter().map(|row| row.id).collect();
    let written: Vec<_> = ids.iter().map(|id| Some(*id)).collect();
    ORDER.same("the ids of the rows", &order, &written);
    let all = places(rows);
    ORDER.holds(all.is_sorted_by(|a, b| a < b), format_args!("expected places that grow: {all:?}"));
    are("with a limit of 2", ORDER.done("take", node.take(2).await), &all[..2], ORDER);
    waits(&*node, "when they were looked at twice", &all, LOOK).await;

    let errors = vec![("payload".to_owned(), "is odd".to_owned())];
    let reject = async |place| {
        let bad = [Bad { place, errors: errors.clone() }];
        REJECTED.done("reject", node.reject(fence, &bad).await);
    };
    reject(all[1]).await;
    waits(&*node, "after one was rejected", &[&all[..1], &all[2..]].concat(), REJECTED).await;
    let three = [all[0], all[2], all[3]];
    accepts(&*node, fence, &three, &three, ACCEPTED).await;
    accepts(&*node, fence, &all[..2], &[], ACCEPTED).await;
    waits(&*node, "after three were accepted", &all[4..], ACCEPTED).await;
    is_accepted(&*node, "after that", &three, ACCEPTED).await;
    FORGOTTEN.done("forget", node.forget(fence, &[all[0], 1 << 40]).await);
    is_accepted(&*node, "after one was forgotten", &all[2..4], FORGOTTEN).await;
    reject(all[2]).await;
    is_accepted(&*node, "after one was rejected", &all[3..4], REJECTED).await;
    accepts(&*node, fence, &all[4..], &all[4..], ACCEPTED).await;
    let other = source.node();
    for (after, limit, expected) in
        [(0, 10, &all[3..]), (0, 1, &all[3..4]), (all[3], 10, &all[4..])]
    {
        let came = READ.done("accepted", other.accepted(after, limit).await);
        are(&format!("accepted behind {after}, at most {limit}"), came, expected, READ);
    }
    FORGOTTEN.done("forget", node.forget(fence, &all).await);
    is_accepted(&*node, "after all were forgotten", &[], FORGOTTEN).await;
    RELEASED.done("release", node.release(fence).await);
    let again = leased(&*other, RELEASED).await;
    RELEASED.done("release", other.release(again).await);
    let waited = tokio::time::timeout(PATIENCE, node.written(Duration::from_millis(20))).await;
    WRITTEN.holds(waited.is_ok(), "expected `written` to return after 20 ms, and it took 5 s");
}

async fn what_waits_is_withdrawn_by_any_node(source: &impl SourceUnderTest) {
    let (consumer, other) = (source.node(), source.node());
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(source.publish(number).await);
    }
    let fence = leased(&*consumer, LEASE).await;
    let all = places(WITHDRAWN.done("take", consumer.take(10).await));
    accepts(&*consumer, fence, &all[..1], &all[..1], ACCEPTED).await;
    let ada = || "ada".parse().expect("a user");
    let topic = "prices".parse().expect("a topic");
    let withdraw = async |which: &Withdrawal, clause: Clause| {
        clause.done("withdraw", other.withdraw(which, 10).await)
    };
    for (what, nothing) in [
        ("of what was accepted", Withdrawal::One(ids[0])),
        ("of another user", Withdrawal::AllOf("bob".parse().expect("a user"), None)),
        ("of a topic without rows", Withdrawal::AllOf(ada(), Some(topic))),
    ] {
        are(&format!("withdrawn {what}"), withdraw(&nothing, MATCHED).await, &[], MATCHED);
    }
    let one = withdraw(&Withdrawal::One(ids[2]), WITHDRAWN).await;
    let came: Vec<_> = one.iter().map(|row| (row.place, row.id, row.user_id.clone())).collect();
    let expected = vec![(all[2], Some(ids[2]), Some("ada".to_owned()))];
    WITHDRAWN.same("the row that was withdrawn", &came, &expected);
    waits(&*consumer, "after one was withdrawn", &[all[1], all[3]], WITHDRAWN).await;
    // What is gone is not accepted.
    accepts(&*consumer, fence, &all[1..3], &all[1..2], WITHDRAWN).await;
    let everything = Withdrawal::AllOf(ada(), None);
    for expected in [&all[3..], &[]] {
        let came = withdraw(&everything, WITHDRAWN).await;
        are("withdrawn of all of a user", came, expected, WITHDRAWN);
    }

    let [first, withdrawn] = [ids[0], ids[3]].map(Withdrawal::One);
    let accepted = async |which, after, limit| {
        let rows = ACCEPTED_OF.done("accepted_of", other.accepted_of(which, after, limit).await);
        let mut places = places(rows);
        places.sort_unstable();
        places
    };
    for (what, which, after, expected) in [
        ("of a user", &everything, 0, &all[..2]),
        ("of a user, behind the first", &everything, all[0], &all[1..2]),
        ("of one id", &first, 0, &all[..1]),
        ("of an id that was withdrawn", &withdrawn, 0, &[]),
    ] {
        let came = accepted(which, after, 10).await;
        ACCEPTED_OF.same(format_args!("the accepted {what}"), &came, &expected.to_vec());
    }
    let one = accepted(&everything, 0, 1).await.len();
    ACCEPTED_OF.same("how many with a limit of 1", &one, &1);
    FORGOTTEN.done("forget", consumer.forget(fence, &all).await);
    RELEASED.done("release", consumer.release(fence).await);
}

async fn a_lease_is_one_nodes_and_its_number_guards_every_write(source: &impl SourceUnderTest) {
    let (one, two) = (source.node(), source.node());
    source.publish(1).await;
    let first = leased(&*one, LEASE).await;
    let second = LEASE.done("lease", two.lease().await);
    LEASE.same("a second lease", &second, &None);
    LEASE.done("renew", one.renew(first).await);
    let all = places(LEASE.done("take", one.take(10).await));
    source.lease_ends().await;
    let second = leased(&*two, LEASE).await;
    let larger = second > first;
    NUMBER.holds(larger, format_args!("expected a number above {}, and got {}", first.0, second.0));
    let bad = [Bad { place: all[0], errors: vec![] }];
    for (write, late) in [
        ("renew", one.renew(first).await),
        ("accept", one.accept(first, &all).await.map(drop)),
        ("reject", one.reject(first, &bad).await),
        ("forget", one.forget(first, &all).await),
    ] {
        let lost = matches!(late, Err(SourceError::LeaseLost));
        LOST.holds(lost, format_args!("`{write}`: expected LeaseLost, and got {late:?}"));
    }
    waits(&*two, "after writes with a lost lease", &all, LOST).await;
    // Nor does it end the lease of the other.
    one.release(first).await.ok();
    let third = RELEASED.done("lease", one.lease().await);
    RELEASED.same("a lease after a lost one was given back", &third, &None);
    accepts(&*two, second, &all, &all, RELEASED).await;
    FORGOTTEN.done("forget", two.forget(second, &all).await);
    RELEASED.done("release", two.release(second).await);
    let third = leased(&*one, RELEASED).await;
    RELEASED.done("release", one.release(third).await);
}

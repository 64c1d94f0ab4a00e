//! The suite of [`Lease`], and of what its holder does to positions.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::Position;
use doorstep_domain::ports::{
    Accounts, Close, Closing, Fence, HeldLease, Lease, Positions, TakenLease,
};
use tokio::time::sleep;
use uuid::Uuid;

use crate::clause::clauses;
use crate::positions::{gained, opening, position};
use crate::sample::{at_once, entry, registered};
use crate::{Clause, Reopens};

clauses! {
    /// The promises of [`Lease`], and of [`Positions::close_all`], that the suites check.
    ONE = "lease one holder": "of any number of concurrent calls, one takes a lease that nobody holds";
    OWN = "lease own name": "leases of different names have nothing to do with each other";
    ENDS = "lease ends": "a lease that is not renewed ends: another can take it, and its holder cannot renew it";
    RENEWED = "lease renewed": "a lease that is renewed lasts for so long from then";
    GROWS = "lease number grows": "each holder's number is larger than that of the one before";
    NOTE = "lease note": "whoever takes a lease gets the last note of its holders, as it was written; an empty one if there is none";
    RELEASED = "lease released": "a lease that was given back can be taken at once, and not renewed";
    LOST = "lease lost": "with the number of an earlier holder, nothing is renewed, noted or given back";
    DURABLE = "lease durable": "a lease, its number and its note outlive the closing of the store";
    CLOSES = "close under a lease": "while the lease is held with this number, a position is closed as without one, and once";
    CLOSES_NOTHING = "close without the lease": "after the end of the lease, or with another number, the result is LeaseLost, and nothing changes";
}

/// Longer than the suite takes.
const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(200);
/// More than a clock of milliseconds rounds away.
const A_MOMENT: Duration = Duration::from_millis(10);

/// A lease that nobody has held.
struct Named<'a> {
    lease: &'a dyn Lease,
    name: String,
}

impl<'a> Named<'a> {
    fn of(lease: &'a dyn Lease) -> Self {
        Self { lease, name: Uuid::now_v7().to_string() }
    }

    async fn take(&self, lasts: Duration, clause: Clause) -> Option<TakenLease> {
        clause.done("take", self.lease.take(&self.name, "somebody", lasts).await)
    }

    /// Takes it when it must be free.
    async fn taken(&self, lasts: Duration, clause: Clause) -> TakenLease {
        match self.take(lasts, clause).await {
            Some(taken) => taken,
            None => clause.broken("`take`: expected a lease that is free, and got None"),
        }
    }

    async fn renew(&self, fence: Fence, note: &str, lasts: Duration, clause: Clause) -> bool {
        clause.done("renew", self.lease.renew(&self.name, fence, note, lasts).await)
    }

    async fn release(&self, fence: Fence, note: &str, clause: Clause) {
        clause.done("release", self.lease.release(&self.name, fence, note).await);
    }
}

/// [`Lease`]. Checks every promise of [`CLAUSES`] that is about leases alone, but the durability, for which see
/// [`durable_lease`].
pub async fn lease(lease: Arc<dyn Lease>) {
    one_of_many_takes_it(&lease).await;
    names_are_apart(&*lease).await;
    it_lasts_when_it_is_renewed(&*lease).await;
    it_ends(&*lease).await;
    it_can_be_given_back(&*lease).await;
    its_number_grows_and_its_note_is_passed_on(&*lease).await;
    an_earlier_holder_changes_nothing(&*lease).await;
}

/// What [`Lease`] promises to keep, in a store that can be closed and opened again.
pub async fn durable_lease<R: Reopens<Store: Lease>>(place: &mut R) {
    let store = place.reopen().await;
    let (held, free) = (Named::of(&*store), Named::of(&*store));
    let first = held.taken(LONG, DURABLE).await.fence;
    let before = free.taken(LONG, DURABLE).await.fence;
    free.release(before, "the last word", DURABLE).await;
    let (held, free) = (held.name, free.name);
    drop(store);
    let store = place.reopen().await;
    let held = Named { lease: &*store, name: held };
    let free = Named { lease: &*store, name: free };
    let after = free.taken(LONG, DURABLE).await;
    let grows = after.fence > before;
    DURABLE.holds(grows, format_args!("expected more than {before:?}, got {:?}", after.fence));
    DURABLE.same("its note", &after.note.as_str(), &"the last word");
    DURABLE.same("taking what is held", &held.take(LONG, DURABLE).await, &None);
    DURABLE.same("renewing it", &held.renew(first, "", LONG, DURABLE).await, &true);
}

async fn one_of_many_takes_it(lease: &Arc<dyn Lease>) {
    let name = Uuid::now_v7().to_string();
    let all = at_once((0..8).map(|_| {
        let (lease, name) = (lease.clone(), name.clone());
        async move { ONE.done("take", lease.take(&name, "somebody", LONG).await) }
    }));
    let taken = all.await.into_iter().flatten().count();
    ONE.same("how many of 8 have taken it", &taken, &1);
}

async fn names_are_apart(lease: &dyn Lease) {
    let (one, other) = (Named::of(lease), Named::of(lease));
    let first = one.taken(LONG, OWN).await.fence;
    let second = other.taken(LONG, OWN).await.fence;
    one.release(first, "", OWN).await;
    OWN.same("renewing the other", &other.renew(second, "", LONG, OWN).await, &true);
}

async fn it_ends(lease: &dyn Lease) {
    let it = Named::of(lease);
    let first = it.taken(SHORT, ENDS).await.fence;
    sleep(SHORT * 2).await;
    ENDS.same("renewing it after its end", &it.renew(first, "", LONG, ENDS).await, &false);
    it.taken(LONG, ENDS).await;
    ENDS.same("taking it again", &it.take(LONG, ENDS).await, &None);
}

async fn it_lasts_when_it_is_renewed(lease: &dyn Lease) {
    let it = Named::of(lease);
    // A machine that is busy may take longer than the first of these.
    for lasts in [SHORT, SHORT * 10, SHORT * 100] {
        let first = it.taken(lasts, RENEWED).await.fence;
        if it.renew(first, "", LONG, RENEWED).await {
            sleep(lasts * 2).await;
            RENEWED.same("taking what was renewed", &it.take(LONG, RENEWED).await, &None);
            let shorter = it.renew(first, "", SHORT, RENEWED).await;
            RENEWED.same("renewing it for a shorter time", &shorter, &true);
            sleep(SHORT * 2).await;
            it.taken(LONG, RENEWED).await;
            return;
        }
    }
    RENEWED.broken("expected that a lease of 20 s can be renewed, and it never was");
}

async fn its_number_grows_and_its_note_is_passed_on(lease: &dyn Lease) {
    let it = Named::of(lease);
    let (mut before, mut note) = (Fence(0), "");
    for (renewed, released) in
        [("one", "a\nnote ✓"), ("two", ""), ("three \"'\\", "{\"x\": 3}"), ("", "the last")]
    {
        let taken = it.taken(LONG, GROWS).await;
        let fence = taken.fence;
        GROWS.holds(fence > before, format_args!("expected more than {before:?}, got {fence:?}"));
        NOTE.same("the note", &taken.note.as_str(), &note);
        it.renew(fence, renewed, Duration::ZERO, NOTE).await;
        sleep(A_MOMENT).await;
        let after = it.taken(LONG, NOTE).await;
        NOTE.same("the note of a renewal", &after.note.as_str(), &renewed);
        it.release(after.fence, released, NOTE).await;
        (before, note) = (after.fence, released);
    }
}

async fn it_can_be_given_back(lease: &dyn Lease) {
    let it = Named::of(lease);
    let first = it.taken(LONG, RELEASED).await.fence;
    it.release(first, "", RELEASED).await;
    let renewed = it.renew(first, "", LONG, RELEASED).await;
    RELEASED.same("renewing what was given back", &renewed, &false);
    it.taken(LONG, RELEASED).await;
}

async fn an_earlier_holder_changes_nothing(lease: &dyn Lease) {
    let it = Named::of(lease);
    let first = it.taken(LONG, LOST).await.fence;
    it.release(first, "the first", LOST).await;
    let second = it.taken(LONG, LOST).await.fence;
    LOST.same("renewing with an old number", &it.renew(first, "x", LONG, LOST).await, &false);
    it.release(first, "x", LOST).await;
    LOST.same("taking it after that", &it.take(LONG, LOST).await, &None);
    let renewed = it.renew(second, "the second", Duration::ZERO, LOST).await;
    LOST.same("renewing with its own number", &renewed, &true);
    sleep(A_MOMENT).await;
    it.release(first, "x", LOST).await;
    let note = it.taken(LONG, LOST).await.note;
    LOST.same("the note", &note.as_str(), &"the second");
}

/// [`Positions::close_all`]; all three are the same store. Checks the promises of [`CLAUSES`] that are about positions.
pub async fn closing_under_a_lease(
    accounts: Arc<dyn Accounts>,
    positions: Arc<dyn Positions>,
    lease: Arc<dyn Lease>,
) {
    let user = registered(&*accounts).await.id;
    CLOSES.done("grant", accounts.grant(&entry(&user, 5000, "money")).await);
    let open = position(&user);
    CLOSES.done("open", positions.open(&opening(&open)).await);
    let closing = UnderLease { positions: &*positions, lease: Named::of(&*lease), open };
    closing.lost("closing while nobody has taken it", Fence(1)).await;
    let first = closing.lease.taken(SHORT, CLOSES_NOTHING).await.fence;
    sleep(SHORT * 2).await;
    closing.lost("closing after its end", first).await;
    let second = closing.lease.taken(LONG, CLOSES_NOTHING).await.fence;
    closing.lost("closing with the number of the holder before", first).await;
    closing.lost("closing with a number that nobody has yet", Fence(second.0 + 1)).await;
    let once = closing.close(second, CLOSES).await;
    CLOSES.same("closing", &once, &Close::Closed(NonZeroU64::MIN));
    closing.is(&gained(&closing.open), CLOSES).await;
    CLOSES.same("closing again", &closing.close(second, CLOSES).await, &Close::AlreadyClosed);
    closing.lease.release(second, "", CLOSES_NOTHING).await;
    let after = closing.close(second, CLOSES_NOTHING).await;
    CLOSES_NOTHING.same("closing after it was given back", &after, &Close::LeaseLost);
}

/// A position that is closed under a lease.
struct UnderLease<'a> {
    positions: &'a dyn Positions,
    lease: Named<'a>,
    open: Position,
}

impl UnderLease<'_> {
    async fn close(&self, fence: Fence, clause: Clause) -> Close {
        let closing = Closing { position: gained(&self.open), entry: opening(&self.open).entry };
        let lease = HeldLease { name: self.lease.name.as_str().into(), fence };
        let closes = self.positions.close_all(&[closing], Some(lease)).await;
        let closes = clause.done("close_all", closes);
        clause.same("how many results come of one closing", &closes.len(), &1);
        closes[0]
    }

    async fn lost(&self, what: &str, fence: Fence) {
        let close = self.close(fence, CLOSES_NOTHING).await;
        CLOSES_NOTHING.same(what, &close, &Close::LeaseLost);
        self.is(&self.open, CLOSES_NOTHING).await;
    }

    /// The store has the position like this.
    async fn is(&self, position: &Position, clause: Clause) {
        let found = clause.done("find", self.positions.find(&position.user_id, position.id).await);
        clause.same_one("the position", found.as_ref(), Some(position));
    }
}

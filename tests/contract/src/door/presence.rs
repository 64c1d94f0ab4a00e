use super::{
    ABSENT, DoorUnderTest, GONE, NOBODY, ONE_OF_TWO, PRESENT, READS, SHOWN, popup, push, push_on,
    shows, somebody,
};
use crate::Clause;
use doorstep_domain::UserId;
use doorstep_domain::ports::{Attempt, Pushed};

/// Who is there, and what a push says of it.
pub(super) async fn check<D: DoorUnderTest>(door: &D) {
    let user = somebody();
    is_online(door, &user, false, ABSENT).await;
    is_nobody(door, &user).await;

    let mut first = door.open(&user).await;
    is_online(door, &user, true, PRESENT).await;
    let n = popup(&user);
    push_on(door, &n, Attempt::FIRST, NOBODY).await;
    shows(door, &mut first, &[n.id], SHOWN).await;
    let reads = door.presence().is_reading(&user).await;
    READS.same("`is_reading` of a client that took everything", &reads, &true);

    let second = door.open(&user).await;
    door.close(first).await;
    is_online(door, &user, true, ONE_OF_TWO).await;
    push_on(door, &popup(&user), Attempt::FIRST, NOBODY).await;
    door.close(second).await;
    is_online(door, &user, false, GONE).await;
    is_nobody(door, &user).await;

    // And again, with what was remembered of it.
    let third = door.open(&user).await;
    is_online(door, &user, true, PRESENT).await;
    is_online(door, &somebody(), false, ABSENT).await;
    door.close(third).await;
    is_online(door, &user, false, GONE).await;
}

async fn is_online<D: DoorUnderTest>(door: &D, user: &UserId, expected: bool, clause: Clause) {
    let online = door.presence().is_online(user).await;
    clause.same("`is_online`", &online, &expected);
}

async fn is_nobody<D: DoorUnderTest>(door: &D, user: &UserId) {
    let pushed = push(door, &popup(user), Attempt::FIRST, NOBODY).await;
    NOBODY.same("a push to a user without a connection", &pushed, &Pushed::Nobody);
}

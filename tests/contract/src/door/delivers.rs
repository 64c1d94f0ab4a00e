use std::sync::Arc;
use std::time::Duration;

use doorstep_application::delivery::Acceptance;
use doorstep_domain::{Outcome, UserId};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{ACKNOWLEDGED, ARRIVAL, DEPARTURE, DoorUnderTest, PATIENCE, next, popup, somebody};
use crate::Clause;

/// How many users arrive at the same time.
const USERS: usize = 100;

/// What delivery makes of it: who arrives is shown what waits, and what was shown ends or is shown again.
pub(super) async fn check<D: DoorUnderTest>(door: &Arc<D>) {
    let mut all = JoinSet::new();
    for _ in 0..USERS {
        let door = door.clone();
        all.spawn(async move { arrives(&*door).await });
    }
    while let Some(one) = all.join_next().await {
        if let Err(failed) = one {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
    departs(&**door).await;
}

async fn arrives<D: DoorUnderTest>(door: &D) {
    let user = somebody();
    let n = popup(&user);
    let n = doorstep_domain::Notification { created_at: door.clock().wall(), ..n };
    let id = n.id;
    let receipt = match door.delivery().send(n).await {
        Ok(receipt) => receipt,
        Err(refused) => ARRIVAL.broken(format_args!("delivery refused it: {refused}")),
    };
    let mut client = door.open(&user).await;
    let came = next(door, &mut client, ARRIVAL, id).await;
    ARRIVAL.same("what waited for the user who arrived", &came, &id);
    door.acknowledge(&mut client, id).await;
    let outcome = timeout(PATIENCE, receipt.outcome()).await.ok().flatten();
    ACKNOWLEDGED.same("its outcome after 5 s", &outcome, &Some(Outcome::Delivered));
    door.close(client).await;
}

/// A client that goes without a word. One that gives no acknowledgements has been shown it, which was its end.
async fn departs<D: DoorUnderTest>(door: &D) {
    let user = somebody();
    let mut client = door.open(&user).await;
    let id = send(door, &user, DEPARTURE).await;
    next(door, &mut client, DEPARTURE, id).await;
    door.close(client).await;
    let waits = async {
        loop {
            match door.delivery().state_of(&user, id) {
                Some(Acceptance::Waiting) => return true,
                None => return false,
                Some(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    match timeout(PATIENCE, waits).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(_) => DEPARTURE.broken("5 s after the end of the connection it does not wait again"),
    }
    let mut client = door.open(&user).await;
    let came = next(door, &mut client, DEPARTURE, id).await;
    DEPARTURE.same("what the next connection shows", &came, &id);
    door.acknowledge(&mut client, id).await;
    door.close(client).await;
}

async fn send<D: DoorUnderTest>(
    door: &D,
    user: &UserId,
    clause: Clause,
) -> doorstep_domain::NotificationId {
    let n = popup(user);
    let n = doorstep_domain::Notification { created_at: door.clock().wall(), ..n };
    let id = n.id;
    if let Err(refused) = door.delivery().send(n).await {
        clause.broken(format_args!("delivery refused it: {refused}"));
    }
    id
}

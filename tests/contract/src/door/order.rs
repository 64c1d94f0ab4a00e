use std::sync::Arc;

use doorstep_domain::ports::Attempt;
use tokio::task::JoinSet;

use super::{DoorUnderTest, MANY, ORDER, popup, push_on, shows, somebody};
use crate::Clause;

/// How many users at the same time.
const USERS: usize = 100;
/// How many pushes one after the other. Few enough for the smallest queue that makes sense.
const PUSHES: usize = 8;
const ROUNDS: usize = 5;

/// The order of one user's notifications, alone and beside many others.
pub(super) async fn check<D: DoorUnderTest>(door: &Arc<D>) {
    of_one(&**door, ORDER).await;
    let mut all = JoinSet::new();
    for _ in 0..USERS {
        let door = door.clone();
        all.spawn(async move { of_one(&*door, MANY).await });
    }
    while let Some(one) = all.join_next().await {
        if let Err(failed) = one {
            std::panic::resume_unwind(failed.into_panic());
        }
    }
}

async fn of_one<D: DoorUnderTest>(door: &D, clause: Clause) {
    let user = somebody();
    let mut client = door.open(&user).await;
    for _ in 0..ROUNDS {
        let sent: Vec<_> = (0..PUSHES).map(|_| popup(&user)).collect();
        for n in &sent {
            push_on(door, n, Attempt::FIRST, clause).await;
        }
        let ids: Vec<_> = sent.iter().map(|n| n.id).collect();
        shows(door, &mut client, &ids, clause).await;
    }
    door.close(client).await;
}

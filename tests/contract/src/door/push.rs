use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use doorstep_domain::ports::Attempt;
use tokio::time::timeout;

use super::{
    AGAIN, ALL_CONNECTIONS, DEADLINE, DROPPED, DoorUnderTest, LATECOMER, ONCE, ONLY_ITS_USER,
    PATIENCE, SHOWN, asks, popup, push_on, shows, shows_nothing_more, somebody,
};

/// One push: who gets it, and how often.
pub(super) async fn check<D: DoorUnderTest>(door: &D) {
    let (user, other) = (somebody(), somebody());
    let (mut first, mut second) = (door.open(&user).await, door.open(&user).await);
    let mut stranger = door.open(&other).await;
    let n = popup(&user);
    push_on(door, &n, Attempt::FIRST, SHOWN).await;
    shows(door, &mut first, &[n.id], SHOWN).await;
    shows(door, &mut second, &[n.id], ALL_CONNECTIONS).await;
    shows_nothing_more(door, &other, &mut stranger, ONLY_ITS_USER).await;
    door.close(stranger).await;
    door.close(second).await;

    // In the same attempt it counts, and is not shown again; with a higher one it is.
    let n = popup(&user);
    push_on(door, &n, Attempt::FIRST, ONCE).await;
    push_on(door, &n, Attempt::FIRST, ONCE).await;
    shows(door, &mut first, &[n.id], ONCE).await;
    shows_nothing_more(door, &user, &mut first, ONCE).await;
    if asks(door, AGAIN) {
        let n = popup(&user);
        push_on(door, &n, Attempt::FIRST, AGAIN).await;
        push_on(door, &n, Attempt::FIRST.next(), AGAIN).await;
        shows(door, &mut first, &[n.id, n.id], AGAIN).await;
        push_on(door, &n, Attempt::FIRST.next().next(), AGAIN).await;
        shows(door, &mut first, &[n.id], AGAIN).await;
    }

    // Whoever was not there gets it in the same attempt.
    let n = popup(&user);
    push_on(door, &n, Attempt::FIRST, LATECOMER).await;
    let mut late = door.open(&user).await;
    push_on(door, &n, Attempt::FIRST, LATECOMER).await;
    shows(door, &mut late, &[n.id], LATECOMER).await;
    door.close(late).await;
    shows(door, &mut first, &[n.id], LATECOMER).await;
    shows_nothing_more(door, &user, &mut first, ONCE).await;

    // Its time is over: whatever the push returns, it is not shown.
    if asks(door, DEADLINE) {
        let n = popup(&user);
        let over = door.clock().now();
        if timeout(PATIENCE, door.pusher().push(&n, Attempt::FIRST, over)).await.is_err() {
            DEADLINE.broken("a push whose deadline has passed did not return within 5 s");
        }
        shows_nothing_more(door, &user, &mut first, DEADLINE).await;
    }

    // Polled once, and dropped; then made again.
    let drops = if asks(door, DROPPED) { 10 } else { 0 };
    for _ in 0..drops {
        let n = popup(&user);
        {
            let pusher = door.pusher();
            let deadline = door.clock().now() + Duration::from_hours(1);
            let mut half = pin!(pusher.push(&n, Attempt::FIRST, deadline));
            let _ = half.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        push_on(door, &n, Attempt::FIRST, DROPPED).await;
        shows(door, &mut first, &[n.id], DROPPED).await;
        shows_nothing_more(door, &user, &mut first, DROPPED).await;
    }
    door.close(first).await;
}

use doorstep_domain::ports::{Attempt, Pushed};

use super::{DoorUnderTest, FULL, push, shows, sized, somebody};

/// How large a payload is.
const BYTES: usize = 10_000;

/// A client that reads nothing.
pub(super) async fn check<D: DoorUnderTest>(door: &D) {
    let Some(most) = door.fills_after() else { return };
    let user = somebody();
    let mut client = door.open(&user).await;
    let mut taken = Vec::new();
    let full = loop {
        let n = sized(&user, BYTES);
        match push(door, &n, Attempt::FIRST, FULL).await {
            Pushed::Written | Pushed::InFlight => taken.push(n.id),
            Pushed::Full => break n,
            Pushed::Nobody => FULL.broken(format_args!(
                "expected Full for a client that reads nothing, and got Nobody after {} pushes",
                taken.len()
            )),
        }
        let came = taken.len();
        FULL.holds(
            came <= most,
            format_args!("expected Full after {most} pushes, and took {came}"),
        );
    };
    let online = door.presence().is_online(&user).await;
    FULL.same("`is_online` of a client that reads nothing", &online, &true);
    // It reads again: what it took comes, and there is room for what it did not.
    shows(door, &mut client, &taken, FULL).await;
    loop {
        match push(door, &full, Attempt::FIRST, FULL).await {
            Pushed::Written | Pushed::InFlight => break,
            Pushed::Full => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            Pushed::Nobody => FULL.broken("expected room for one more, and got Nobody"),
        }
    }
    shows(door, &mut client, &[full.id], FULL).await;
    door.close(client).await;
}

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};

use super::{PUBLISHERS, all_received, listen, open, publishers, tickets, user};
use crate::figures::{Figures, per};
use crate::messages::{Journeys, payload};
use crate::servers::Running;

/// Publishes at a constant rate to users who are connected.
pub(crate) async fn steady(
    server: &Running,
    users: usize,
    per_second: u32,
    lasts: Duration,
) -> Figures {
    let journeys = Rc::new(Journeys::new());
    let _listening = listen(open(server, tickets(server, users, false)).await, &journeys);
    let publishers = publishers(server).await;
    let cpu = server.processes.cpu();
    at_rate(server, publishers, users, per_second, lasts, &journeys).await;
    all_received(&journeys).await;
    let cpu = server.processes.cpu_since(cpu);
    let mut figures = Figures::default();
    figures.add_times("publish to receipt", &journeys.times());
    figures.add("server CPU of a message, us", per(cpu, journeys.sent()));
    figures
}

/// Each publisher has its turn at regular times, shifted against the others. Times are measured from when a request is
/// really sent.
pub(super) async fn at_rate(
    server: &Running,
    publishers: Vec<crate::publisher::Publisher>,
    users: usize,
    per_second: u32,
    lasts: Duration,
    journeys: &Rc<Journeys>,
) {
    let every = Duration::from_secs(1) / per_second;
    let begun = Instant::now();
    let turns = publishers.into_iter().enumerate().map(async |(n, mut publisher)| {
        let mut turn = begun + every * u32::try_from(n).expect("few publishers");
        while turn < begun + lasts {
            sleep_until(turn).await;
            let number = journeys.begin();
            // Not one after the other: who is next in memory is not next in turn.
            let request = server.publish(&[(user(number * 7919 % users), payload(number))]);
            publisher.send(&request).await.expect("it is accepted");
            turn += every * u32::try_from(PUBLISHERS).expect("few publishers");
        }
    });
    join_all(turns).await;
}

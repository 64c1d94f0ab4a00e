use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use futures_util::future::join_all;

use super::{all_received, listen, open, publishers, tickets, user};
use crate::figures::{Figures, per};
use crate::messages::{Journeys, payload};
use crate::servers::Running;

/// Publishes this many messages to users who are connected, one after the other. Each publisher sends its next request
/// after the response to the last.
pub(crate) async fn connected(server: &Running, users: usize, count: usize) -> Figures {
    let journeys = Rc::new(Journeys::new());
    let _listening = listen(open(server, tickets(server, users, false)).await, &journeys);
    let publishers = publishers(server).await;
    let left = Cell::new(count);
    let (cpu, begun) = (server.processes.cpu(), Instant::now());
    join_all(publishers.into_iter().map(async |mut publisher| {
        while left.get() > 0 {
            left.set(left.get() - 1);
            let number = journeys.begin();
            let request = server.publish(&[(user(number % users), payload(number))]);
            publisher.send(&request).await.expect("it is accepted");
        }
    }))
    .await;
    all_received(&journeys).await;
    let (took, cpu) = (begun.elapsed(), server.processes.cpu_since(cpu));
    let mut figures = Figures::default();
    figures.add("published to connected users, messages/s", 1.0 / per(took.as_secs_f64(), count));
    figures.add("server CPU of that, us", per(cpu, count));
    figures
}

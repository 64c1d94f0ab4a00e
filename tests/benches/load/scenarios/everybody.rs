use std::rc::Rc;
use std::time::Instant;

use super::{all_received, listen, open, publishers, tickets, user};
use crate::figures::{Figures, per};
use crate::messages::{Journeys, payload};
use crate::servers::Running;

/// Sends a message to every one of these connected users, from one publisher, as fast as it can; in batches of 100 if
/// the server has them.
pub(crate) async fn everybody(server: &Running, users: usize) -> Figures {
    let journeys = Rc::new(Journeys::new());
    let _listening = listen(open(server, tickets(server, users, false)).await, &journeys);
    let mut publisher = publishers(server).await.swap_remove(0);
    let batch = if server.contestant.has_batches() { 100 } else { 1 };
    let all: Vec<_> = (0..users).map(user).collect();
    let (cpu, begun) = (server.processes.cpu(), Instant::now());
    for users in all.chunks(batch) {
        let messages: Vec<_> =
            users.iter().map(|user| (user.clone(), payload(journeys.begin()))).collect();
        let request = server.publish(&messages);
        publisher.send(&request).await.expect("it is accepted");
    }
    all_received(&journeys).await;
    let (took, cpu) = (begun.elapsed(), server.processes.cpu_since(cpu));
    let mut figures = Figures::default();
    figures.add("messages/s", 1.0 / per(took.as_secs_f64(), users));
    figures.add_times("publish to receipt", &journeys.times());
    figures.add("server CPU of a message, us", per(cpu, users));
    figures
}

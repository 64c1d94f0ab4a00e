use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use futures_util::future::join_all;

use super::{publishers, user};
use crate::figures::{Figures, per, to_f64};
use crate::messages::payload;
use crate::servers::Running;

/// Publishes this many messages, each for another user, who is absent. Each publisher sends its next request after the
/// response to the last.
pub(crate) async fn absent(server: &Running, count: usize, batch: usize) -> Figures {
    let publishers = publishers(server).await;
    let next = Rc::new(Cell::new(0));
    let resident = server.processes.resident();
    let (cpu, begun) = (server.processes.cpu(), Instant::now());
    join_all(publishers.into_iter().map(|mut publisher| {
        let next = Rc::clone(&next);
        async move {
            while next.get() < count {
                let first = next.replace(next.get() + batch);
                let messages: Vec<_> =
                    (first..first + batch).map(|n| (user(n), payload(n))).collect();
                let request = server.publish(&messages);
                publisher.send(&request).await.expect("it is accepted");
            }
        }
    }))
    .await;
    let (took, cpu) = (begun.elapsed(), server.processes.cpu_since(cpu));
    let mut figures = Figures::default();
    let count = next.get();
    figures.add(
        "published for absent users, messages/s",
        per(1.0, 1) / per(took.as_secs_f64(), count),
    );
    figures.add("server CPU of it, us", per(cpu, count));
    let held = server.processes.resident().saturating_sub(resident);
    figures.add("held message, resident bytes", per(to_f64(held), count));
    figures
}

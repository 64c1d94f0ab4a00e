use std::cell::RefCell;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::iter;

use super::{PUBLISHERS, Progress, publishers, tickets, user};
use crate::figures::{Figures, per};
use crate::messages::{micros, payload, times};
use crate::servers::Running;
use crate::subscriber::Subscriber;

/// Lets these many users, for each of whom a message waits, arrive as fast as they can, some at the same time. Times
/// are from the beginning of a TCP connection to the receipt of the message.
pub(crate) async fn arrivals(server: &Running, users: usize, at_a_time: usize) -> Figures {
    let mut publishers = publishers(server).await;
    for n in 0..users {
        let request = server.publish(&[(user(n), payload(n))]);
        publishers[n % PUBLISHERS].send(&request).await.expect("it is accepted");
    }
    let took = RefCell::new(times());
    let progress = Progress::new("arrived", users);
    let tickets = tickets(server, users, false);
    let (cpu, begun) = (server.processes.cpu(), Instant::now());
    // All stay connected.
    let arrived: Vec<_> = iter(tickets)
        .map(async |ticket| {
            let begun = Instant::now();
            let mut subscriber = Subscriber::connect(server, ticket).await.expect("it opens");
            subscriber.next().await.expect("the message comes");
            took.borrow_mut().saturating_record(micros(begun.elapsed()));
            progress.step();
            subscriber
        })
        .buffer_unordered(at_a_time)
        .collect()
        .await;
    let (all, cpu) = (begun.elapsed(), server.processes.cpu_since(cpu));
    let mut figures = Figures::default();
    figures.add_times("TCP connect to held message", &took.borrow());
    figures.add("arrivals/s", 1.0 / per(all.as_secs_f64(), arrived.len()));
    figures.add("server CPU of an arrival, us", per(cpu, users));
    figures
}

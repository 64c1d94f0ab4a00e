use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;

use super::steady::at_rate;
use super::{all_received, listen, open, publishers, tickets, user};
use crate::figures::{Figures, per};
use crate::messages::Journeys;
use crate::servers::Running;
use crate::subscriber::{Subscriber, Ticket};

/// What a day brings: users who acknowledge get messages at a constant rate, while every tenth of them leaves and comes
/// back all the time, so that messages wait for some.
pub(crate) async fn mixed(
    server: Rc<Running>,
    users: usize,
    per_second: u32,
    lasts: Duration,
) -> Figures {
    let journeys = Rc::new(Journeys::new());
    let (restless, quiet): (Vec<_>, Vec<_>) =
        tickets(&server, users, true).into_iter().enumerate().partition(|(n, _)| n % 10 == 0);
    let quiet = quiet.into_iter().map(|(_, ticket)| ticket).collect();
    let _listening = listen(open(&server, quiet).await, &journeys);
    for (n, _) in restless {
        let (server, journeys) = (Rc::clone(&server), Rc::clone(&journeys));
        spawn_local(async move {
            // Spread over the time that they stay.
            tokio::time::sleep(STAYS * u32::try_from(n % 100).unwrap_or(0) / 100).await;
            loop {
                come_and_go(&server, n, &journeys).await;
            }
        });
    }
    let publishers = publishers(&server).await;
    let cpu = server.processes.cpu();
    at_rate(&server, publishers, users, per_second, lasts, &journeys).await;
    all_received(&journeys).await;
    let cpu = server.processes.cpu_since(cpu);
    let mut figures = Figures::default();
    figures.add_times("publish to receipt, of all", &journeys.times());
    figures.add("server CPU of a message, us", per(cpu, journeys.sent()));
    figures
}

/// How long a restless user stays, and stays away.
const STAYS: Duration = Duration::from_secs(1);

async fn come_and_go(server: &Running, n: usize, journeys: &Journeys) {
    let ticket = Ticket::new(server, n, &user(n), true);
    let mut subscriber = Subscriber::connect(server, ticket).await.expect("it opens");
    let leaves = tokio::time::sleep(STAYS);
    tokio::pin!(leaves);
    loop {
        tokio::select! {
            received = subscriber.next() => match received {
                Ok(number) => journeys.end(number),
                Err(_) => return,
            },
            () = leaves.as_mut() => break,
        }
    }
    drop(subscriber);
    tokio::time::sleep(STAYS).await;
}

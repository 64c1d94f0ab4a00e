//! The scenarios, one file each, and what they share: opening connections, and listening on them.

mod absent;
mod arrivals;
mod churn;
mod cluster;
mod connected;
mod everybody;
mod hostile;
mod idle;
mod mixed;
mod steady;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::task::JoinSet;

pub(crate) use absent::absent;
pub(crate) use arrivals::arrivals;
pub(crate) use churn::churn;
pub(crate) use cluster::{Sizes, cluster};
pub(crate) use connected::connected;
pub(crate) use everybody::everybody;
pub(crate) use hostile::hostile;
pub(crate) use idle::{Idle, idle};
pub(crate) use mixed::mixed;
pub(crate) use steady::steady;

use crate::messages::Journeys;
use crate::publisher::Publisher;
use crate::servers::Running;
use crate::subscriber::{Subscriber, Ticket};

/// How many connections publish.
pub(crate) const PUBLISHERS: usize = 32;
/// How many connections are opened at the same time.
const OPENING: usize = 64;
/// How long messages may take that are still on their way at the end.
const PATIENCE: Duration = Duration::from_secs(30);

fn user(n: usize) -> String {
    format!("user-{n:07}")
}

async fn publishers(server: &Running) -> Vec<Publisher> {
    let mut open = Vec::new();
    for n in 0..PUBLISHERS {
        open.push(Publisher::connect(server, n).await.expect("the server accepts publishers"));
    }
    open
}

fn tickets(server: &Running, count: usize, acknowledges: bool) -> Vec<Ticket> {
    (0..count).map(|n| Ticket::new(server, n, &user(n), acknowledges)).collect()
}

/// Opens a WebSocket with each of these tickets, in their order.
async fn open(server: &Running, tickets: Vec<Ticket>) -> Vec<Subscriber> {
    let progress = Progress::new("opened", tickets.len());
    iter(tickets)
        .map(|ticket| async {
            let subscriber = Subscriber::connect(server, ticket).await.expect("it opens");
            progress.step();
            subscriber
        })
        .buffered(OPENING)
        .collect()
        .await
}

/// Receives on all of these, each in a task of its own. A task ends with its connection; when the result is dropped, so
/// are all connections.
#[must_use]
fn listen(subscribers: Vec<Subscriber>, journeys: &Rc<Journeys>) -> JoinSet<()> {
    let mut listening = JoinSet::new();
    for mut subscriber in subscribers {
        let journeys = Rc::clone(journeys);
        listening.spawn_local(async move {
            while let Ok(number) = subscriber.next().await {
                journeys.end(number);
            }
        });
    }
    listening
}

/// Waits until everything that was sent has been received.
///
/// # Panics
/// When something does not come.
async fn all_received(journeys: &Journeys) {
    let begun = Instant::now();
    while journeys.received() < journeys.sent() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} of {} messages were received",
            journeys.received(),
            journeys.sent()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Says how far a long step has come, once a second.
struct Progress {
    what: &'static str,
    of: usize,
    done: Cell<usize>,
    said: Cell<Instant>,
}

impl Progress {
    fn new(what: &'static str, of: usize) -> Self {
        Self { what, of, done: Cell::new(0), said: Cell::new(Instant::now()) }
    }

    fn step(&self) {
        self.done.set(self.done.get() + 1);
        if self.said.get().elapsed() >= Duration::from_secs(1) {
            self.said.set(Instant::now());
            eprintln!("  {} {} of {}", self.what, self.done.get(), self.of);
        }
    }
}

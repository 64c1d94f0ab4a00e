//! What the event bus costs, beside the same hop through PostgreSQL `LISTEN`/`NOTIFY`.
//!
//! Run it with `cargo bench -p doorstep-tests --bench bus`; once built it takes about 20 seconds. Latency is
//! from before `publish` to the handler's first line, one event at a time; events per second are those of one
//! publisher in a hurry, until every handler has handled them all. Seen on a virtual machine with 2 cores,
//! PostgreSQL 15 on the same machine, while other work kept both cores busy (the maxima are that work's):
//!
//! ```text
//! publish to handler                  p50        p99        max       events/s
//! bus, 1 handler(s)                0.2 us     3.6 us    4104 us        3815695
//! bus, 3 handler(s)                0.4 us    14.4 us    4301 us        1288700
//! LISTEN/NOTIFY, 1 listener       70.8 us  2049.0 us   12788 us          14736
//! ```
//!
//! # What we learnt
//! - The hop itself is the runtime's: a handler that is woken from a worker thread runs next on that thread,
//!   with no system call. The 99th percentile of three handlers is that of the ones which another thread
//!   comes to steal: it was asleep, and waking it (an `eventfd` write) is most of what a profile shows.
//! - So what counts is to wake seldom. A handler that is at work is never woken: only one at rest is, once,
//!   and it takes what has come together, up to 256 events, under one lock.
//! - One lock for all queues is not the bottleneck, as only pointers move under it: three handlers see more
//!   than the million events per second that we set out for, and the order comes for free.
//! - A publisher has to yield now and then (tokio's coop budget does it), or a tight loop of publishes keeps
//!   the handler that it woke waiting on its own thread until the queue is full.

use std::{
    hint::black_box,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use doorstep_adapters::bus::Bus;
use doorstep_domain::{
    DomainEvent, EntryKind, Money, Timestamp, UserId,
    ports::{EventHandler, EventPublisher, HandlerError},
};
use doorstep_tests::postgres::{Durability, Postgres};
use hdrhistogram::Histogram;
use sqlx::{PgConnection, postgres::PgListener};
use tokio::sync::{Mutex, Semaphore};
use uuid::Uuid;

/// Hops that are measured one at a time, after as many again for warming up.
const HOPS: u64 = 100_000;
/// Events published as fast as they are taken.
const FLOOD_EVENTS: u64 = 3_000_000;
/// How long each way of asking PostgreSQL may take.
const POSTGRES_FOR: Duration = Duration::from_secs(4);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!(
        "{:<28} {:>10} {:>10} {:>10} {:>14}",
        "publish to handler", "p50", "p99", "max", "events/s"
    );
    for handlers in [1, 3] {
        // From a worker of the runtime, where a server's tasks are as well.
        let (latency, per_second) = tokio::spawn(async move {
            hops(handlers, HOPS).await;
            let latency = hops(handlers, HOPS).await;
            flood(handlers, FLOOD_EVENTS / 10).await;
            (latency, flood(handlers, FLOOD_EVENTS).await)
        })
        .await
        .expect("the bench does not panic");
        row(&format!("bus, {handlers} handler(s)"), &latency, per_second);
    }
    let server = Postgres::start(Durability::Durable).await;
    let url = server.database().await;
    let asking =
        tokio::spawn(async move { listen_notify(&url).await.expect("PostgreSQL answers") });
    let (latency, per_second) = asking.await.expect("the bench does not panic");
    row("LISTEN/NOTIFY, 1 listener", &latency, per_second);
}

/// Times in microseconds; the histogram holds nanoseconds.
fn row(name: &str, latency: &Histogram<u64>, per_second: f64) {
    let micros = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1e6;
    println!(
        "{name:<28} {:>7.1} us {:>7.1} us {:>7.0} us {per_second:>14.0}",
        micros(latency.value_at_quantile(0.5)),
        micros(latency.value_at_quantile(0.99)),
        micros(latency.max()),
    );
}

/// An event as the server raises them: with ids to clone and a text to allocate.
fn event() -> DomainEvent {
    DomainEvent::RewardGranted {
        user_id: UserId::from(Uuid::nil()),
        reward: EntryKind::WelcomeGift,
        amount: Money::from_minor(100_000),
        reference: String::from("01890a5d-ac96-774b-bcce-b302099a8057"),
        at: Timestamp::from_micros(0),
    }
}

/// Notes when an event reaches it, or only that it did.
struct Probe {
    /// When the one event under way was published, in nanoseconds since `EPOCH`; 0 in a flood.
    published: Arc<AtomicU64>,
    latency: Mutex<Histogram<u64>>,
    /// A permit for each event of those sent one at a time.
    arrived: Arc<Semaphore>,
}

#[async_trait]
impl EventHandler for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn wants(&self, event: &DomainEvent) -> bool {
        matches!(event, DomainEvent::RewardGranted { .. })
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        let published = self.published.load(Ordering::Relaxed);
        if published == 0 {
            black_box(event);
            return Ok(());
        }
        let latency = now() - published;
        self.latency.lock().await.record(latency)?;
        self.arrived.add_permits(1);
        Ok(())
    }
}

fn now() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    // Never 0, which means something else; and 64 bits of nanoseconds are 584 years.
    let since = EPOCH.get_or_init(Instant::now).elapsed().as_nanos();
    u64::try_from(since).unwrap_or(u64::MAX).max(1)
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits are allowed")
}

/// One event at a time: each is published when the one before has reached every handler.
async fn hops(handlers: u32, count: u64) -> Histogram<u64> {
    let (bus, events, probes) = start(handlers);
    let arrived = Arc::clone(&probes[0].arrived);
    for _ in 0..count {
        let event = event();
        probes[0].published.store(now(), Ordering::Relaxed);
        events.publish(event).await.expect("the bus runs");
        arrived.acquire_many(handlers).await.expect("it stays open").forget();
    }
    bus.stop().await;
    let mut all = histogram();
    for probe in probes {
        all.add(&*probe.latency.lock().await).expect("they are alike");
    }
    all
}

/// As many as it takes, from one publisher: events per second until every handler has handled them all.
async fn flood(handlers: u32, count: u64) -> f64 {
    let (bus, events, _) = start(handlers);
    let begin = Instant::now();
    for _ in 0..count {
        events.publish(event()).await.expect("the bus runs");
    }
    bus.stop().await;
    let seconds = begin.elapsed().as_secs_f64();
    for stats in bus.stats() {
        assert_eq!(stats.handled, count, "events are missing");
    }
    per_second(count, seconds)
}

fn start(handlers: u32) -> (Bus, Arc<dyn EventPublisher>, Vec<Arc<Probe>>) {
    let (published, arrived) = (Arc::new(AtomicU64::new(0)), Arc::new(Semaphore::new(0)));
    let mut wiring = Bus::wire();
    let events = wiring.publisher();
    let probe = || Probe {
        published: Arc::clone(&published),
        latency: Mutex::new(histogram()),
        arrived: Arc::clone(&arrived),
    };
    let probes: Vec<_> = (0..handlers).map(|_| Arc::new(probe())).collect();
    for probe in &probes {
        wiring = wiring.handler(Arc::clone(probe) as Arc<dyn EventHandler>);
    }
    (wiring.start(), events, probes)
}

/// The hop through the database: `pg_notify` on one connection, the notification on another.
async fn listen_notify(url: &str) -> Result<(Histogram<u64>, f64), sqlx::Error> {
    let mut listener = PgListener::connect(url).await?;
    listener.listen("events").await?;
    let mut connection = <PgConnection as sqlx::Connection>::connect(url).await?;
    for _ in 0..200 {
        notify(&mut connection).await?;
        listener.recv().await?;
    }

    let mut latency = histogram();
    let until = Instant::now() + POSTGRES_FOR;
    while Instant::now() < until {
        let published = now();
        let (sent, received) = tokio::join!(notify(&mut connection), async {
            let received = listener.recv().await;
            (received, now())
        });
        sent?;
        received.0?;
        latency.record(received.1 - published).expect("the histogram grows as needed");
    }

    let begin = Instant::now();
    let listening = tokio::spawn(async move {
        let mut count = 0_u64;
        // The last one says so.
        while listener.recv().await?.payload() != "end" {
            count += 1;
        }
        Ok::<_, sqlx::Error>(count)
    });
    while begin.elapsed() < POSTGRES_FOR {
        notify(&mut connection).await?;
    }
    sqlx::query("SELECT pg_notify('events', 'end')").execute(&mut connection).await?;
    let count = listening.await.expect("it does not panic")?;
    Ok((latency, per_second(count, begin.elapsed().as_secs_f64())))
}

async fn notify(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // An event's name and id: what one would send, and look the rest up.
    sqlx::query("SELECT pg_notify('events', $1)")
        .bind("RewardGranted 01890a5d-ac96-774b-bcce-b302099a8057")
        .execute(connection)
        .await
        .map(drop)
}

#[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

//! The cost of the event bus, compared with the same hop through PostgreSQL `LISTEN`/`NOTIFY`.
//!
//! Run it with `cargo bench -p doorstep-tests --bench bus`; once built it takes about 20 seconds. Latency is
//! measured from before `publish` to the handler's first line, one event at a time. Events per second are those of
//! one publisher without pauses, until every handler has handled all of them. Measured on a virtual machine with 2
//! cores, PostgreSQL 15 on the same machine, while other work kept both cores busy (which caused the maxima):
//!
//! ```text
//! publish to handler                  p50        p99        max       events/s
//! bus, 1 handler(s)                0.2 us     3.6 us    4104 us        3815695
//! bus, 3 handler(s)                0.4 us    14.4 us    4301 us        1288700
//! LISTEN/NOTIFY, 1 listener       70.8 us  2049.0 us   12788 us          14736
//! ```
//!
//! # Findings
//! - The runtime does the hop: a handler that is woken from a worker thread runs next on that thread, without a
//!   system call. The 99th percentile with three handlers comes from tasks that another thread steals: it was
//!   asleep, and waking it (an `eventfd` write) dominates the profile.
//! - The goal is therefore to wake seldom. A busy handler is never woken. An idle one is woken once, and takes the
//!   events that have accumulated, up to 256, under one lock.
//! - One lock for all queues is not the bottleneck, because only pointers move under it: three handlers exceed our
//!   goal of a million events per second, and the lock also gives the order.
//! - A publisher has to yield now and then (tokio's coop budget does it). Otherwise a tight loop of publishes keeps
//!   the handler that it woke waiting on the same thread until the queue is full.

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

/// Hops that are measured one at a time, after the same number for warming up.
const HOPS: u64 = 100_000;
/// Events that are published as fast as the bus takes them.
const FLOOD_EVENTS: u64 = 3_000_000;
/// How long each measurement with PostgreSQL may take.
const POSTGRES_FOR: Duration = Duration::from_secs(4);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!(
        "{:<28} {:>10} {:>10} {:>10} {:>14}",
        "publish to handler", "p50", "p99", "max", "events/s"
    );
    for handlers in [1, 3] {
        // On a worker thread of the runtime, like the tasks of a server.
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

/// An event like those of the server: with ids to clone and a text to allocate.
fn event() -> DomainEvent {
    DomainEvent::RewardGranted {
        user_id: UserId::from(Uuid::nil()),
        reward: EntryKind::WelcomeGift,
        amount: Money::from_minor(100_000),
        reference: String::from("01890a5d-ac96-774b-bcce-b302099a8057"),
        at: Timestamp::from_micros(0),
    }
}

/// Records when an event reaches it, or only that it did.
struct Probe {
    /// When the one event under way was published, in nanoseconds since `EPOCH`; 0 in a flood.
    published: Arc<AtomicU64>,
    latency: Mutex<Histogram<u64>>,
    /// One permit per event of those sent one at a time.
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
    // Never 0, which means a flood. 64 bits of nanoseconds are 584 years.
    let since = EPOCH.get_or_init(Instant::now).elapsed().as_nanos();
    u64::try_from(since).unwrap_or(u64::MAX).max(1)
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits are allowed")
}

/// One event at a time: each is published after the previous one has reached every handler.
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

/// One publisher without pauses: events per second until every handler has handled all of them.
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
        // The last payload marks the end.
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
    // An event's name and id, from which a receiver would look up the rest.
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

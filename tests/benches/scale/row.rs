//! One row of the table, in its own process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use doorstep_application::delivery::{Delivery, Limits, Policy, Rule, Rules, Strategy};
use doorstep_domain::ports::Clock;
use doorstep_domain::{Outcome, Timestamp, Ttl};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::world::{World, notification, user};

#[derive(Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) strategy: String,
    pub(crate) count: usize,
    pub(crate) accepted_per_s: f64,
    pub(crate) bytes_each: f64,
    pub(crate) idle_cpu: f64,
    pub(crate) push_p50_us: f64,
    pub(crate) push_p99_us: f64,
    pub(crate) push_max_us: f64,
    /// Only for `wake`: `poll` is orders of magnitude slower.
    pub(crate) cold_p50_us: Option<f64>,
    pub(crate) cold_p99_us: Option<f64>,
    pub(crate) expire_all_ms: f64,
    pub(crate) expire_each_us: f64,
}

const PAYLOAD: f64 = 200.0;
const WAIT: Duration = Duration::from_hours(1);
const BATCH: u64 = 1000;
/// The number of arrivals with cold caches.
const COLD: usize = 500;
/// Larger than a core's caches.
const CACHES: usize = 64 << 20;

#[allow(clippy::cast_precision_loss)]
fn float(n: usize) -> f64 {
    n as f64
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux's /proc");
    let pages: usize = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("pages");
    pages * 4096
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).expect("time passes"))
}

pub(crate) fn run(strategy: &str, count: usize, idle: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let strategy_named = strategy.to_owned();
    let strategy = if strategy == "poll" { Strategy::Poll } else { Strategy::Wake };
    let figures =
        runtime.block_on(async { tokio::spawn(row(strategy_named, strategy, count, idle)).await });
    println!("{}", serde_json::to_string(&figures.expect("no panic")).expect("figures"));
}

async fn row(name: String, strategy: Strategy, count: usize, idle: u64) -> Figures {
    let world = Arc::new(World::new());
    let rule = Rule { policy: Policy::Deferred(strategy), ..Rule::default() };
    let delivery = Arc::new(
        Delivery::builder(world.clone(), world.clone(), world.clone())
            .rules(Rules { default: rule, ..Rules::default() })
            .limits(Limits {
                max_pending: usize::MAX,
                max_pending_bytes: usize::MAX,
                ..Limits::default()
            })
            .start()
            .expect("a runtime"),
    );
    let deadline = world.now() + WAIT;
    let before = resident();
    let accepted_per_s = accept(&world, &delivery, count, deadline).await;
    let bytes_each = (float(resident()) - float(before)) / float(count) - PAYLOAD;
    let cpu_before = cpu();
    tokio::time::sleep(Duration::from_secs(idle)).await;
    let idle_cpu =
        cpu().saturating_sub(cpu_before).as_secs_f64() / Duration::from_secs(idle).as_secs_f64();
    let pushes = arrive(&world, &delivery, strategy, count).await;
    let cold = match strategy {
        Strategy::Wake => Some(arrive_from_the_cold(&world, &delivery, count).await),
        Strategy::Poll => None,
    };
    let left = float(delivery.held().waiting);
    let expire_all_ms = expire(&world, &delivery, deadline).await;
    Figures {
        strategy: name,
        count,
        accepted_per_s,
        bytes_each,
        idle_cpu,
        push_p50_us: at(&pushes, 0.5),
        push_p99_us: at(&pushes, 0.99),
        push_max_us: at(&pushes, 1.0),
        cold_p50_us: cold.as_deref().map(|pushes| at(pushes, 0.5)),
        cold_p99_us: cold.as_deref().map(|pushes| at(pushes, 0.99)),
        expire_all_ms,
        expire_each_us: expire_all_ms * 1000.0 / left,
    }
}

/// The quantile of sorted times, in microseconds.
fn at(sorted: &[Duration], quantile: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let index = (float(sorted.len() - 1) * quantile) as usize;
    sorted[index].as_secs_f64() * 1e6
}

/// Two tasks send; creating the notifications is not counted. Returns the sum of their rates.
async fn accept(
    world: &Arc<World>,
    delivery: &Arc<Delivery>,
    count: usize,
    deadline: Timestamp,
) -> f64 {
    let half = count as u64 / 2;
    let sender = |from: u64, to: u64| {
        let (world, delivery) = (world.clone(), delivery.clone());
        tokio::spawn(async move {
            let mut sending = Duration::ZERO;
            for start in (from..to).step_by(usize::try_from(BATCH).unwrap_or(1)) {
                let now = world.now();
                let batch: Vec<_> = (start..(start + BATCH).min(to))
                    .map(|n| notification(n, now, deadline))
                    .collect();
                let begin = Instant::now();
                for n in batch {
                    drop(delivery.send(n).await.expect("accepted"));
                }
                sending += begin.elapsed();
            }
            float(usize::try_from(to - from).unwrap_or(0)) / sending.as_secs_f64()
        })
    };
    let (a, b) = tokio::join!(sender(0, half), sender(half, count as u64));
    a.expect("no panic") + b.expect("no panic")
}

async fn arrive(
    world: &Arc<World>,
    delivery: &Arc<Delivery>,
    strategy: Strategy,
    count: usize,
) -> Vec<Duration> {
    let most = if strategy == Strategy::Wake { 10_000 } else { 2000 };
    let arrivals = most.min(count / 4);
    for i in 0..arrivals {
        let user = user((count / arrivals * i) as u64);
        world.arrive(&user);
        delivery.arrived(&user);
        if strategy == Strategy::Poll {
            tokio::time::sleep(Duration::from_millis(1)).await;
        } else {
            tokio::task::yield_now().await;
            delivery.departed(&user);
            world.leave(&user);
        }
    }
    let mut pushes = world.pushes(arrivals).await;
    pushes.sort_unstable();
    pushes
}

/// Arrivals as on a busy server: between two of them other work has filled the caches. The time therefore includes
/// the cache misses of an arrival.
async fn arrive_from_the_cold(
    world: &Arc<World>,
    delivery: &Arc<Delivery>,
    count: usize,
) -> Vec<Duration> {
    let mut other_work = vec![1_u8; CACHES];
    let mut pushes = Vec::new();
    for i in 0..COLD {
        for line in other_work.chunks_mut(64) {
            line[0] = line[0].wrapping_add(1);
        }
        std::hint::black_box(&mut other_work);
        // The first arrival loads the code into the caches, which all arrivals share; the second one is measured.
        for n in [2 * i, 2 * i + 1] {
            // Spread over all users, without those who have arrived before.
            let user = user((count / (2 * COLD) * (n * 617 % (2 * COLD)) + 1) as u64);
            world.arrive(&user);
            delivery.arrived(&user);
            delivery.departed(&user);
            world.leave(&user);
        }
        pushes.extend(world.pushes(2).await.pop());
    }
    pushes.sort_unstable();
    pushes
}

async fn expire(world: &Arc<World>, delivery: &Arc<Delivery>, deadline: Timestamp) -> f64 {
    let ahead = Duration::from_millis(300);
    let waiting = u64::try_from(delivery.held().waiting).unwrap_or(u64::MAX);
    world.put_forward((deadline - ahead).since(world.now()));
    // A notification that is due sooner makes the timer check the clock.
    let now = world.now();
    let mut probe = notification(u64::MAX, now, deadline);
    probe.ttl = Ttl::new(Duration::from_millis(1));
    drop(delivery.send(probe).await.expect("accepted"));
    loop {
        if delivery.ended(Outcome::Expired) > waiting {
            return world.now().since(deadline).as_secs_f64() * 1000.0;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

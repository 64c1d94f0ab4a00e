//! A deterministic, seeded simulation of the real delivery policy: virtual time, one thread, simulated
//! connections and stores, and everything going wrong that can.
//!
//! [`run`] plays one schedule: a few hundred steps of notifications, arrivals, departures, half-open
//! connections, pushes that fail or hang, acknowledgements that are lost, late, doubled or forged, topic
//! storms, full mailboxes and a full node, an inbox that is slow or away, planned stops, crashes and
//! restarts. After each step it holds what happened against the promises (`checks`). The same seed plays the
//! same schedule.
//!
//! It bites. These bugs were put in one at a time, and the schedules of seeds 0 and up found each, so many
//! schedules later at the latest:
//!
//! | bug | found after |
//! | --- | --- |
//! | presence looked at before the notification is in the mailbox | 2 |
//! | a flush that does not hold the mailbox against another | 4 |
//! | an acknowledgement that comes after the connection has ended is ignored | 1 |
//! | the expiry ends what a flush is just pushing | 246 |
//! | a handover without what is in flight | 179 |
//!
//! And it found what nobody had put in: a failed push whose notification ended before its next try left
//! those behind it to nobody; a node smaller than a batch took up nothing; a push that nobody took made the
//! inbox come second; a stop that promoted last marked nothing delivered any more.
//!
//! `cargo test -p doorstep-tests --test it simulation` plays 20,000 schedules;
//! `cargo run --release -p doorstep-tests --bin simulation -- --seed 42` plays one again, and
//! `-- --schedules 5000000` plays millions.

mod checks;
mod client;
mod dice;
mod node;
mod ports;
mod stores;
mod world;

use std::sync::Arc;
use std::time::Duration;

use self::dice::Dice;
use self::node::{KINDS, Node};
use self::world::World;

/// What a schedule saw.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Steps taken.
    pub steps: u64,
    /// Notifications accepted.
    pub accepted: u64,
    /// Notifications delivered.
    pub delivered: u64,
}

/// A promise that was broken: which, and at which step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Plays the schedule again.
    pub seed: u64,
    /// Counted from 0.
    pub step: u64,
    /// What was promised and did not happen, or the reverse.
    pub what: String,
    /// All that happened, in words; empty unless asked for.
    pub story: Vec<String>,
}

/// Plays the schedule of this seed on a runtime of its own.
pub fn run(seed: u64) -> Result<Played, Broken> {
    run_telling(seed, false)
}

/// The same; a broken promise comes with the story of how it came about.
///
/// # Panics
/// When there is no runtime to play on.
pub fn run_telling(seed: u64, tell: bool) -> Result<Played, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can always be built");
    let played = runtime.block_on(play(seed, tell));
    runtime.shutdown_background();
    played
}

async fn play(seed: u64, tell: bool) -> Result<Played, Broken> {
    let mut dice = Dice::new(seed);
    let world = World::new(dice.fork(), tell);
    let steps = 40 + dice.below(160);
    let mut step = 0;
    match play_steps(&mut dice, &world, steps, &mut step).await {
        Ok(()) => Ok(world.played(steps)),
        Err(what) => {
            let story = world.state().story.take().unwrap_or_default();
            Err(Broken { seed, step, what, story })
        }
    }
}

async fn play_steps(
    dice: &mut Dice,
    world: &Arc<World>,
    steps: u64,
    step: &mut u64,
) -> Result<(), String> {
    let mut node = Node::start(world).await;
    while *step < steps {
        take_step(dice, world, &mut node).await;
        settle().await;
        world.check(&node)?;
        *step += 1;
    }
    finish(world, &mut node).await
}

/// Lets everything happen that needs no time to pass.
async fn settle() {
    for _ in 0..40 {
        tokio::task::yield_now().await;
    }
}

async fn take_step(dice: &mut Dice, world: &Arc<World>, node: &mut Node) {
    let user = dice.below(world::USERS);
    match dice.below(100) {
        0..30 => send(dice, world, node, user).await,
        30..32 => {
            // A topic storm, or a burst: more than a mailbox or an outbox holds.
            for _ in 0..4 + dice.below(12) {
                send(dice, world, node, user).await;
            }
        }
        32..48 => client::connect(world, node, user, dice.one_in(3)),
        48..56 => client::disconnect(world, node, user),
        56..60 => client::half_open(world, user),
        60..66 => client::forge(dice, world, node, user),
        66..70 => world.weather(dice),
        70..72 => {
            let read = doorstep_domain::ports::Which::All;
            world.reading(user);
            drop(node.delivery.read(&world::user(user), read).await);
        }
        72..74 => node.stop_and_restart(world).await,
        74 => node.crash_and_restart(world).await,
        75..85 => tokio::time::sleep(Duration::from_millis(1 + dice.below(20))).await,
        85..87 => recall(dice, world, node).await,
        87..95 => tokio::time::sleep(Duration::from_millis(100 + dice.below(1500))).await,
        _ => tokio::time::sleep(Duration::from_millis(2000 + dice.below(10_000))).await,
    }
}

/// A sender takes back something that it sent: one of the last, so that it may be anywhere on its way.
async fn recall(dice: &mut Dice, world: &Arc<World>, node: &Node) {
    let Some(id) = world.one_of_the_last(dice.below(12)) else { return };
    let before = world.state().lives[&id].push_begun;
    let recalled = node.delivery.recall(id).await;
    world.tell(|| format!("recall of {}: {recalled:?}", world::short(id)));
    if let Ok(Some(recall)) = recalled {
        world.recalled(id, recall, before);
    }
}

async fn send(dice: &mut Dice, world: &Arc<World>, node: &Node, user: u64) {
    // No two at one moment, so that the time of creation tells the order. Most are so close that no socket has
    // taken the one before.
    if dice.one_in(4) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    } else {
        world.moment();
    }
    let kind = KINDS[usize::try_from(dice.below(KINDS.len() as u64)).unwrap_or(0)];
    let topic = dice.one_in(3).then(|| dice.below(2));
    let notification = world.create(user, kind, topic);
    let id = notification.id;
    match node.delivery.send(notification).await {
        Ok(receipt) => world.accepted(id, receipt),
        Err(refused) => world.refused(id, &refused),
    }
}

/// Fair weather, everybody comes, everything ends: what was promised has happened, and nothing is left.
async fn finish(world: &Arc<World>, node: &mut Node) -> Result<(), String> {
    world.fair_weather();
    world.state().quiet = true;
    for user in 0..world::USERS {
        client::disconnect_all(world, node, user);
        client::connect(world, node, user, true);
    }
    tokio::time::sleep(Duration::from_mins(2)).await;
    settle().await;
    world.check(node)?;
    for user in 0..world::USERS {
        client::disconnect_all(world, node, user);
    }
    tokio::time::sleep(Duration::from_mins(2)).await;
    settle().await;
    world.check_end(node).await
}

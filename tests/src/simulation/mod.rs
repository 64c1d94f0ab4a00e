//! A deterministic, seeded simulation of the real delivery policy: virtual time, one thread, simulated
//! connections and stores, and every kind of failure.
//!
//! [`run`] plays one schedule: a few hundred steps of notifications, arrivals, departures, half-open
//! connections, pushes that fail or hang, acknowledgements that are lost, late, doubled or forged, topic
//! storms, full mailboxes and a full node, recalls, an inbox that is slow or away, planned stops, crashes and
//! restarts. After each step it checks the promises against what happened (`checks`). The same seed plays the
//! same schedule.
//!
//! It finds bugs. Each of these was put in alone, and playing the seeds from 0 upwards found it after this many
//! schedules at most:
//!
//! | bug | found after |
//! | --- | --- |
//! | presence is checked before the notification is in the mailbox | 1 |
//! | a flush does not lock the mailbox against another flush | 1 |
//! | an acknowledgement after the end of its connection is ignored | 1 |
//! | the timer ends a notification that a flush is pushing | 6 |
//! | a handover leaves out notifications in flight | 89 |
//! | a recall is answered before the notification is out of its mailbox | 49 |
//! | a recalled item is pushed once more, from a page of the inbox that was on its way | 1 |
//!
//! It also found bugs that were in the code: when a notification ended between a failed push and the next try,
//! those queued behind it were never pushed; a node with less room than a batch took up nothing; a push without
//! a receiver changed the order between mailbox and inbox; a stop whose last step was a promotion did not mark
//! the rest as delivered; a recall missed what was being promoted; an item that was read was pushed again from a page
//! of the inbox that was on its way.
//!
//! `cargo test -p doorstep-tests --test it simulation` plays 20,000 schedules;
//! `cargo run --release -p doorstep-tests --bin simulation -- --seed 42` replays one, and
//! `-- --schedules 5000000` plays millions.

mod checks;
mod client;
pub mod cluster;
mod dice;
mod node;
mod ports;
mod recall;
mod stores;
mod world;

use std::sync::Arc;
use std::time::Duration;

use self::dice::Dice;
use self::node::{KINDS, Node};
use self::world::World;

/// The counts of one schedule.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Steps taken.
    pub steps: u64,
    /// Notifications accepted.
    pub accepted: u64,
    /// Notifications delivered.
    pub delivered: u64,
}

/// A broken promise: which one, and at which step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The seed that replays the schedule.
    pub seed: u64,
    /// Counted from 0.
    pub step: u64,
    /// What was expected and did not happen, or the reverse.
    pub what: String,
    /// Everything that happened, in words; empty unless requested.
    pub story: Vec<String>,
}

/// Plays the schedule of this seed on its own runtime.
pub fn run(seed: u64) -> Result<Played, Broken> {
    run_telling(seed, false)
}

/// Like [`run`], and a broken promise includes the story of how it happened.
///
/// # Panics
/// When no runtime can be built.
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

/// Lets everything happen that can happen without time passing.
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
        85 => recall::recall_one(dice, world, node).await,
        86 => recall::recall_all(dice, world, node).await,
        87..95 => tokio::time::sleep(Duration::from_millis(100 + dice.below(1500))).await,
        _ => tokio::time::sleep(Duration::from_millis(2000 + dice.below(10_000))).await,
    }
}

async fn send(dice: &mut Dice, world: &Arc<World>, node: &Node, user: u64) {
    // No two at the same moment, so that the creation time gives the order. Most are so close together that no
    // socket has taken the previous one.
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
        Err(refused) => world.refused(id, &refused.why),
    }
}

/// The end: failures stop, every user connects, every notification ends. All promises are kept, nothing is left.
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

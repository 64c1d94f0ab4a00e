//! Several nodes of the real delivery on one simulated log: virtual time, one thread, and every kind of failure of the way
//! between a node and the log.
//!
//! [`run`] plays one schedule: notifications that are accepted by any node, users who connect to any node and move between
//! them, appends that are slow, refused, answered late or not at all (done or not done), tails that lag and reconnect, a log
//! that loses everything, nodes with different clocks that stop, crash and start, recalls at any node. After each step, and at
//! the end, it checks what a cluster promises (`checks`). The same seed plays the same schedule.

mod checks;
mod node;
mod ports;
mod steps;
mod world;

use super::dice::Dice;
use super::{Broken, Played};

use self::steps::play_steps;
use self::world::World;

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
    let steps = 20 + dice.below(60);
    let mut step = 0;
    match play_steps(&mut dice, &world, steps, &mut step).await {
        Ok(()) => Ok(world.played(steps)),
        Err(what) => {
            let story = world.state().story.take().unwrap_or_default();
            Err(Broken { seed, step, what, story })
        }
    }
}

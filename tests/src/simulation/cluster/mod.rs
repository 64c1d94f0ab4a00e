//! Several nodes of the real delivery on one simulated log: virtual time, one thread, and every kind of failure of the way
//! between a node and the log.
//!
//! [`run`] plays one schedule: notifications that are accepted by any node, users who connect to any node and move between
//! them, appends that are slow, refused, answered late or not at all (done or not done), tails that lag and reconnect, a log
//! that loses everything, nodes with different clocks that stop, crash and start, recalls at any node. After each step, and at
//! the end, it checks what a cluster promises (`checks`). The same seed plays the same schedule.
//!
//! It finds bugs. Each of these was put in alone, and playing the seeds from 0 upwards found it after this many
//! schedules at most:
//!
//! | bug | found after |
//! | --- | --- |
//! | an end wins whatever the last entry is | 1 |
//! | an outcome is told by a node that lost, too | 1 |
//! | a node is up to date before its barrier has come by | 30 |
//! | an append without an answer is taken as failed for good | 3 |
//! | an append without an answer is taken as done | 23 |
//! | deadlines count from the clock of the sender | 3 |
//! | a node reads before it knows the log's time | 85 |
//! | a tail skips an entry when it is connected again | 2 |
//! | a recall is answered from this node's memory | 18 |
//! | an end is appended where the log has nothing of its id | 179 |
//! | an end expects nothing, whatever the log has | 1 |
//! | a node goes on with the places of a log that was lost | 347 |
//! | a node forgets the ends that it has proposed when the log is lost | 448 |
//! | a refusal is taken for an end | 1074 |
//! | a promotion is written before it has won | 2 |
//! | a newer one of a topic replaces nothing | 17 |
//! | what is offered once is offered again by a node that reads it later | 42 |
//! | a log that came back empty is read on from where it was | 66 |
//! | what a lost log had is not appended again | 66 |
//! | the ends that a node has proposed are forgotten when it is cut off | 26 |
//! | what is appended again is not in the order of its user | 347 |
//! | an end is told again when the log is read again | 187 |
//!
//! It does not find an expiry that is proposed at the deadline, without a grace. The last one was in the code, and so were two more: a recall found nothing when the promotion of what it looked for was
//! in the log and not read yet, and a recall of all did not wait for what was to be
//! dropped, which other nodes still pushed.

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

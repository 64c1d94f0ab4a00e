//! Stories: what happened to a notification, step by step, so that 'did it arrive?' has an answer.
//!
//! Delivery and the connections note each step as it happens ([`Chronicle`]). The latest steps are remembered, in memory
//! that is bounded by their number and by their bytes; **the oldest step is forgotten first**, whosever it is.
//!
//! Noting a step is an addition to a ring. Reading a story searches the ring, because stories are asked for seldom, and
//! an index would cost every notification.
//!
//! | file | contents |
//! | --- | --- |
//! | `ring` | the latest steps of some users |
//! | `story` | the steps of one notification, and what follows from them |
//! | `sentences` | steps and stories in words |

mod ring;
mod sentences;
mod story;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use doorstep_domain::ports::{Chronicle, Clock};
use doorstep_domain::{NotificationId, Step, Timestamp, UserId};
use foldhash::fast::RandomState;
use std::hash::BuildHasher as _;

use self::ring::{Noted, StepRing};
pub use self::story::{NotificationStory, StoryStep};

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoryLimits {
    /// The most steps.
    pub max_steps: usize,
    /// The most bytes that they take.
    pub max_bytes: usize,
}

impl Default for StoryLimits {
    /// The steps of some 25,000 notifications.
    fn default() -> Self {
        Self { max_steps: 100_000, max_bytes: 16 * 1024 * 1024 }
    }
}

/// Remembers the latest steps. All times in it are on the clock's timeline, and are told as time of day.
pub struct Stories {
    rings: [Mutex<StepRing>; RINGS],
    hasher: RandomState,
    clock: Arc<dyn Clock>,
}

opaque!(Stories);

/// Users are spread over as many rings, so that threads seldom wait for each other. A limit applies to each ring's share.
const RINGS: usize = 16;

/// The stories of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserStories {
    /// Newest notification first.
    pub stories: Vec<NotificationStory>,
    /// Whether there are more.
    pub more: bool,
    /// Since when every step of this user is remembered; `None` if none was forgotten.
    pub since: Option<Timestamp>,
}

impl Stories {
    /// Remembers nothing yet.
    pub fn new(limits: StoryLimits, clock: Arc<dyn Clock>) -> Self {
        let (steps, bytes) = (limits.max_steps / RINGS, limits.max_bytes / RINGS);
        let rings = std::array::from_fn(|_| Mutex::new(StepRing::new(steps, bytes)));
        // Backends choose user ids, so the hash is seeded at random.
        Self { rings, hasher: RandomState::default(), clock }
    }

    /// What is remembered of one notification; `None` if that is nothing.
    pub fn of(&self, id: NotificationId) -> Option<NotificationStory> {
        self.rings.iter().find_map(|ring| {
            let ring = locked(ring);
            let steps: Vec<Noted> = ring.iter().filter(|noted| noted.id == id).cloned().collect();
            drop(ring);
            NotificationStory::from_steps(steps, &*self.clock)
        })
    }

    /// What is remembered of a user's notifications: of the `most` that had their first step last.
    pub fn of_user(&self, user: &UserId, most: usize) -> UserStories {
        let ring = locked(self.ring_of(user));
        let steps: Vec<Noted> = ring.iter().filter(|noted| noted.user == *user).cloned().collect();
        let since = ring.forgotten_until();
        drop(ring);
        let mut places = std::collections::HashMap::new();
        let mut by_id: Vec<Vec<Noted>> = Vec::new();
        for step in steps {
            let place = *places.entry(step.id).or_insert(by_id.len());
            if place == by_id.len() {
                by_id.push(Vec::new());
            }
            by_id[place].push(step);
        }
        let more = by_id.len() > most;
        let newest_first = by_id.into_iter().rev().take(most);
        let stories =
            newest_first.filter_map(|steps| NotificationStory::from_steps(steps, &*self.clock));
        UserStories {
            stories: stories.collect(),
            more,
            since: since.map(|since| self.clock.wall_of(since)),
        }
    }

    /// How many steps are remembered.
    pub fn remembered(&self) -> usize {
        self.rings.iter().map(|ring| locked(ring).len()).sum()
    }

    fn ring_of(&self, user: &UserId) -> &Mutex<StepRing> {
        // The number of rings is a power of two that fits any usize; the cut keeps the low bits.
        #[expect(clippy::cast_possible_truncation)]
        let index = self.hasher.hash_one(user) as usize % RINGS;
        &self.rings[index]
    }
}

impl Chronicle for Stories {
    fn note(&self, user: &UserId, id: NotificationId, step: Step) {
        let at = self.clock.now();
        let noted = Noted { id, user: user.clone(), at, step };
        locked(self.ring_of(user)).push(noted);
    }
}

/// No change to a ring can stop half-way.
fn locked(ring: &Mutex<StepRing>) -> MutexGuard<'_, StepRing> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

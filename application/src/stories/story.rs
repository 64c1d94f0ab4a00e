use std::time::Duration;

use doorstep_domain::ports::Clock;
use doorstep_domain::{
    Kind, NotificationId, Outcome, SentBy, Step, Timestamp, TraceParent, UserId,
};

use super::ring::Noted;

/// What is remembered of one notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationStory {
    /// The notification.
    pub id: NotificationId,
    /// Its user.
    pub user: UserId,
    /// Its kind, if its first step is remembered.
    pub kind: Option<Kind>,
    /// Where it came from, if its first step is remembered.
    pub sent_by: Option<SentBy>,
    /// The trace that it belongs to.
    pub trace: Option<TraceParent>,
    /// How it ended; `None` if it has not, as far as is remembered.
    pub outcome: Option<Outcome>,
    /// Whether its first step is remembered. If not, others may be missing too.
    pub complete: bool,
    /// Its steps, oldest first. There is at least one.
    pub steps: Vec<StoryStep>,
}

/// One step, with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoryStep {
    /// When it happened, as time of day.
    pub at: Timestamp,
    /// The time since the first step that is remembered.
    pub after: Duration,
    /// What happened.
    pub step: Step,
}

impl NotificationStory {
    /// The story that these steps of one notification tell, oldest first; `None` without steps.
    pub(super) fn from_steps(steps: Vec<Noted>, clock: &dyn Clock) -> Option<Self> {
        let first = steps.first()?;
        let (id, user, began) = (first.id, first.user.clone(), first.at);
        let complete = matches!(first.step, Step::Received { .. });
        let (kind, sent_by, trace) = match &first.step {
            Step::Received { sent_by, kind, trace, .. } => {
                (Some(kind.clone()), Some(sent_by.clone()), *trace)
            }
            _ => (None, None, None),
        };
        let steps = steps.into_iter().map(|noted| StoryStep {
            at: clock.wall_of(noted.at),
            after: noted.at.since(began),
            step: noted.step,
        });
        let steps: Vec<_> = steps.collect();
        // One that was refused may have been sent again.
        let since = steps.iter().rposition(|step| matches!(step.step, Step::Received { .. }));
        let latest = steps[since.unwrap_or(0)..].iter();
        let outcome = latest.rev().find_map(StoryStep::outcome);
        Some(Self { id, user, kind, sent_by, trace, outcome, complete, steps })
    }

    /// How many of its steps `such` accepts, at most one per connection.
    pub(super) fn connections(&self, such: impl Fn(&Step) -> Option<u64>) -> usize {
        let mut ids: Vec<u64> = self.steps.iter().filter_map(|step| such(&step.step)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }

    /// The time from the first step to the first push, if both are remembered.
    pub fn waited(&self) -> Option<Duration> {
        let pushed = self.steps.iter().find(|step| matches!(step.step, Step::Pushed { .. }))?;
        self.complete.then_some(pushed.after)
    }
}

impl StoryStep {
    fn outcome(&self) -> Option<Outcome> {
        match self.step {
            Step::Ended { outcome, .. } => Some(outcome),
            Step::Refused(_) => Some(Outcome::Rejected),
            _ => None,
        }
    }
}

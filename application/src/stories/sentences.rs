//! Steps and stories in words, the same in the terminal, on the page and in the API.

use std::fmt;
use std::time::Duration;

use doorstep_domain::ports::RetractReason;
use doorstep_domain::{ConnectionRef, Outcome, SentBy, Step};

use super::{NotificationStory, StoryStep};

impl fmt::Display for StoryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Step::Received { sent_by, policy, .. } => {
                write!(f, "received from {}, policy {policy}", Name(sent_by))
            }
            Step::Refused(reason) => write!(f, "rejected: {}", in_words(reason)),
            Step::Kept => f.write_str("written to the inbox"),
            Step::Pushed { connection, attempt: 1 } => write!(f, "pushed to {}", At(connection)),
            Step::Pushed { connection, attempt } => {
                write!(f, "pushed again to {}, attempt {attempt}", At(connection))
            }
            Step::NoRoom => f.write_str("held back: the user's connections are slow to read"),
            Step::PushFailed => f.write_str("a push failed, and is repeated"),
            Step::Written(connection) => {
                write!(f, "written to {}, which does not acknowledge", At(connection))
            }
            Step::Acknowledged(connection) => write!(f, "acknowledged by {}", At(connection)),
            Step::Retracted { connection, reason } => {
                let why = match reason {
                    RetractReason::Recalled => "its sender took it back",
                    RetractReason::AcknowledgedElsewhere => "another connection acknowledged it",
                    RetractReason::DismissedElsewhere => "its user closed it elsewhere",
                };
                write!(f, "retracted on {}: {why}", At(connection))
            }
            Step::Ended { outcome, here: true } => f.write_str(meaning(*outcome)),
            Step::Ended { outcome, here: false } => {
                write!(f, "{}, says another node", meaning(*outcome))
            }
            Step::Told => f.write_str("the webhook's receiver took the outcome"),
            Step::NotTold => {
                f.write_str("the webhook's receiver did not take the outcome, which is lost")
            }
        }
    }
}

impl NotificationStory {
    /// The story in one sentence, with the outcome first.
    pub fn summary(&self) -> String {
        let mut parts = vec![match self.outcome {
            Some(outcome) => outcome.as_str().to_owned(),
            None => "not ended".to_owned(),
        }];
        let pushed = self.connections(|step| match step {
            Step::Pushed { connection, .. } => Some(connection.id),
            _ => None,
        });
        let refused = self.outcome == Some(Outcome::Rejected);
        match (self.waited(), pushed) {
            (Some(waited), pushed) => {
                parts.push(format!("waited {}", Span(waited)));
                parts.push(format!("pushed to {}", counted(pushed)));
            }
            (None, 0) if !refused && self.complete => parts.push("never pushed".to_owned()),
            (None, 0) => {}
            (None, pushed) => parts.push(format!("pushed to {}", counted(pushed))),
        }
        let acknowledged = self.connections(|step| match step {
            Step::Acknowledged(connection) | Step::Written(connection) => Some(connection.id),
            _ => None,
        });
        let retracted = self.connections(|step| match step {
            Step::Retracted { connection, .. } => Some(connection.id),
            _ => None,
        });
        if pushed > 0 || acknowledged > 0 {
            parts.push(match acknowledged {
                0 => "taken by none".to_owned(),
                taken => format!("taken by {taken}"),
            });
        }
        if retracted > 0 {
            parts.push(format!("retracted on {retracted}"));
        }
        parts.join(", ")
    }
}

fn counted(connections: usize) -> String {
    if connections == 1 { "1 connection".to_owned() } else { format!("{connections} connections") }
}

/// What an outcome means.
const fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "delivered",
        Outcome::Expired => "expired: its TTL ended first",
        Outcome::Promoted => "promoted: its TTL ended, and it is in the inbox",
        Outcome::Replaced => "replaced by a newer one of its topic",
        Outcome::Dropped => "dropped: the mailbox was full, or the node stopped",
        Outcome::Rejected => "rejected",
        Outcome::Recalled => "recalled: its sender took it back",
        _ => outcome.as_str(),
    }
}

fn in_words(reason: &str) -> String {
    reason.replace('_', " ")
}

struct Name<'a>(&'a SentBy);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SentBy::Program => f.write_str("this server"),
            SentBy::Key(name) => write!(f, "key {name}"),
            SentBy::Outbox => f.write_str("the outbox"),
            SentBy::Handover => f.write_str("a node that stopped"),
            SentBy::OtherNode => f.write_str("another node"),
        }
    }
}

struct At<'a>(&'a ConnectionRef);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConnectionRef { id, transport } = self.0;
        write!(f, "connection {id} ({transport})")
    }
}

/// A time span in the unit that fits it.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs_f64();
        match self.0 {
            span if span < Duration::from_millis(1) => write!(f, "{} µs", span.as_micros()),
            span if span < Duration::from_secs(1) => write!(f, "{:.1} ms", secs * 1e3),
            span if span < Duration::from_mins(2) => write!(f, "{secs:.1} s"),
            span => write!(f, "{} min", span.as_secs() / 60),
        }
    }
}

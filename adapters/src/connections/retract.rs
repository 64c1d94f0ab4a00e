use bytes::Bytes;
use doorstep_domain::ports::RetractReason;
use doorstep_domain::{NotificationId, Step, UserId};

use super::Connections;

/// The frame that tells a client to take a notification away (docs/wire.md).
pub(super) fn retract_frame(id: NotificationId, reason: RetractReason) -> Bytes {
    let reason = reason.as_str();
    format!(r#"{{"type":"retract","id":"{id}","reason":"{reason}"}}"#).into()
}

impl Connections {
    /// Tells the user's connections that were handed this notification to take it away, but for the connection
    /// `except`. Best effort: a connection without room is not told.
    pub(crate) fn retract(
        &self,
        user: &UserId,
        id: NotificationId,
        reason: RetractReason,
        except: Option<u64>,
    ) {
        self.with(user, |theirs| {
            let others = theirs.iter().filter(|c| c.is_open() && Some(c.id) != except);
            for connection in others {
                let told = connection.outbox.retract(id, reason);
                // A client may dismiss as often as it likes, which would fill the story.
                if told && reason != RetractReason::DismissedElsewhere {
                    let connection = connection.reference();
                    self.note(user, id, || Step::Retracted { connection, reason });
                }
            }
        });
    }
}

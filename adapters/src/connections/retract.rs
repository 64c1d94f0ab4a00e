use bytes::Bytes;
use doorstep_domain::{NotificationId, UserId};

use super::Connections;

/// Why a client takes a notification away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RetractReason {
    /// Its sender took it back.
    Recalled,
    /// Another connection of the user acknowledged it. A client that already shows it keeps showing it.
    AcknowledgedElsewhere,
    /// The user closed it at another connection.
    #[cfg_attr(not(feature = "websocket"), allow(dead_code))]
    DismissedElsewhere,
}

impl RetractReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Recalled => "recalled",
            Self::AcknowledgedElsewhere => "acknowledged_elsewhere",
            Self::DismissedElsewhere => "dismissed_elsewhere",
        }
    }
}

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
                connection.outbox.retract(id, reason);
            }
        });
    }
}

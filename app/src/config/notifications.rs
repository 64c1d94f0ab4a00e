//! The `[notifications]` table: exceptions to the rules of `[delivery]`.

use doorstep_domain::CloseReason;

use super::reader::SettingReader;
use super::value::words;

/// Policies for single notifications of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotificationsConfig {
    pub(crate) position_closed: PositionClosedConfig,
}

/// The policy for `position.closed`, by the reason for which the position was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PositionClosedConfig {
    pub(crate) user: PolicyOrKind,
    pub(crate) stop_loss: PolicyOrKind,
    pub(crate) take_profit: PolicyOrKind,
    pub(crate) liquidated: PolicyOrKind,
}

words! {
    /// A policy, or the policy of the kind.
    PolicyOrKind, "kind (as delivery.kinds says), immediate, deferred or inbox", {
        Kind = "kind",
        Immediate = "immediate",
        Deferred = "deferred",
        Inbox = "inbox",
    }
}

impl NotificationsConfig {
    pub(super) fn read(reader: &mut SettingReader) -> Self {
        let mut read = |reason: CloseReason, default| {
            reader.read(&["notifications", "position_closed", reason.as_str()], default)
        };
        Self {
            position_closed: PositionClosedConfig {
                // A user who closes a position is online; a user whose position the price closes is probably not.
                user: read(CloseReason::User, PolicyOrKind::Kind),
                stop_loss: read(CloseReason::StopLoss, PolicyOrKind::Inbox),
                take_profit: read(CloseReason::TakeProfit, PolicyOrKind::Inbox),
                liquidated: read(CloseReason::Liquidated, PolicyOrKind::Inbox),
            },
        }
    }
}

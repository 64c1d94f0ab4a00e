use doorstep_domain::CloseReason;

use super::reader::SettingReader;
use super::value::words;

/// Where one kind of notification is treated differently from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotificationsConfig {
    pub(crate) position_closed: PositionClosedConfig,
}

/// By which policy `position.closed` is delivered, by the reason for which the position was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PositionClosedConfig {
    pub(crate) user: PolicyOrKind,
    pub(crate) stop_loss: PolicyOrKind,
    pub(crate) take_profit: PolicyOrKind,
    pub(crate) liquidated: PolicyOrKind,
}

words! {
    /// A policy, or that of the kind.
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
                // Who closes it is there; who is closed by the price is probably away.
                user: read(CloseReason::User, PolicyOrKind::Kind),
                stop_loss: read(CloseReason::StopLoss, PolicyOrKind::Inbox),
                take_profit: read(CloseReason::TakeProfit, PolicyOrKind::Inbox),
                liquidated: read(CloseReason::Liquidated, PolicyOrKind::Inbox),
            },
        }
    }
}

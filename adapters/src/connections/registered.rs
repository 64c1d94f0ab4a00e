use std::sync::Arc;

use doorstep_application::Caller;
use doorstep_application::delivery::Delivery;
use doorstep_domain::{NotificationId, UserId};

use crate::http::Client;

use super::{CloseReason, Connection, Connections, Pace, RetractReason, Room, Transport};

/// A connection that asks to be taken in.
pub(crate) struct Newcomer<'a> {
    pub(crate) transport: Transport,
    pub(crate) caller: &'a Caller,
    pub(crate) client: Client,
    pub(crate) pace: Pace,
}

/// What a connection reports to delivery.
#[derive(Clone)]
pub(crate) struct Line {
    pub(super) connections: Arc<Connections>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) user: UserId,
    pub(super) connection: Arc<Connection>,
}

/// A place in the registry. Dropping it, for whatever reason, takes the connection out and then tells delivery
/// that it has departed.
pub(crate) struct Registered {
    pub(super) line: Line,
    pub(super) stage: Stage,
}

/// How far a registration came, which says what is to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Refused,
    Counted,
    Addressed,
    Pushable,
}

impl Line {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Its user has arrived. Call it once, right after the registration.
    pub(crate) fn announce(&self) {
        self.delivery.arrived(&self.user);
    }

    /// The client acknowledged this notification, or was written it and does not acknowledge.
    pub(crate) fn acknowledged(&self, id: NotificationId) {
        self.connection.outbox.done(id);
        if self.delivery.acknowledged(&self.user, id) {
            self.retract_elsewhere(id, RetractReason::AcknowledgedElsewhere);
        }
    }

    /// The user closed this notification at this connection.
    pub(crate) fn dismissed(&self, id: NotificationId) {
        self.retract_elsewhere(id, RetractReason::DismissedElsewhere);
    }

    fn retract_elsewhere(&self, id: NotificationId, reason: RetractReason) {
        self.connections.retract(&self.user, id, reason, Some(self.connection.id));
    }

    /// Reports what the outbox said of its room.
    pub(crate) fn report(&self, room: Room) {
        match room {
            Room::NotWanted => {}
            Room::Ready => self.delivery.ready(&self.user),
            Room::Missed => self.delivery.arrived(&self.user),
        }
    }
}

impl Registered {
    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// The connection ends now, for this reason. Its place is free when this returns, whatever its socket does.
    pub(crate) fn end(self, reason: CloseReason) {
        self.line.connection.close(reason);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Line { connections, delivery, user, connection } = &self.line;
        if self.stage >= Stage::Pushable {
            connections.remove(user, connection);
        }
        if self.stage >= Stage::Addressed {
            connections.leave_address(connection.address);
        }
        if self.stage >= Stage::Counted {
            connections.leave(connection);
        }
        if self.stage >= Stage::Pushable {
            connections.record_end(user, connection);
            delivery.departed(user);
        }
    }
}

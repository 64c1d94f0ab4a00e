use std::sync::Arc;

use doorstep_application::Caller;
use doorstep_application::delivery::Delivery;
use doorstep_domain::{NotificationId, UserId};

use crate::http::Client;

use super::{CloseReason, Connection, Connections, Pace, Room, Transport};

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
    pub(super) delivery: Arc<Delivery>,
    pub(super) user: UserId,
    pub(super) connection: Arc<Connection>,
}

/// A place in the registry. Dropping it, for whatever reason, takes the connection out and then tells delivery
/// that it has departed.
pub(crate) struct Registered {
    pub(super) connections: Arc<Connections>,
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
        self.delivery.acknowledged(&self.user, id);
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
        let Line { delivery, user, connection } = &self.line;
        if self.stage >= Stage::Pushable {
            self.connections.remove(user, connection);
        }
        if self.stage >= Stage::Addressed {
            self.connections.leave_address(connection.address);
        }
        if self.stage >= Stage::Counted {
            self.connections.leave(connection);
        }
        if self.stage >= Stage::Pushable {
            self.connections.record_end(user, connection);
            delivery.departed(user);
        }
    }
}

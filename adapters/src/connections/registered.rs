use std::sync::Arc;
use std::time::Instant;

use doorstep_application::Caller;
use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::RetractReason;
use doorstep_domain::{ConnectionRef, NotificationId, Step, UserId};

use crate::http::ClientAddress;

use super::{Connection, Connections, DisconnectReason, Pace, Room, Transport};

/// A connection to be registered.
pub(crate) struct Newcomer<'a> {
    pub(crate) transport: Transport,
    pub(crate) caller: &'a Caller,
    pub(crate) client: ClientAddress,
    pub(crate) pace: Pace,
}

/// The way from a connection to delivery: arrivals, acknowledgements, room in the outbox.
#[derive(Clone)]
pub(crate) struct DeliveryLink {
    pub(super) connections: Arc<Connections>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) user: UserId,
    pub(super) connection: Arc<Connection>,
}

/// A registered connection. Dropping it removes the connection from the registry, and then tells delivery that the
/// connection has departed.
pub(crate) struct Registered {
    pub(super) link: DeliveryLink,
    pub(super) stage: RegistrationStage,
}

/// How far a registration got, and therefore what must be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RegistrationStage {
    /// Nothing is counted yet.
    Begun,
    CountedOnNode,
    CountedForAddress,
    /// The user's connections include it.
    Pushable,
}

impl DeliveryLink {
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Reports that the user has arrived. Call it once, right after the registration.
    pub(crate) fn announce(&self) {
        self.delivery.arrived(&self.user);
    }

    /// Reports that the client acknowledged this notification.
    pub(crate) fn acknowledged(&self, id: NotificationId) {
        self.done(id, Step::Acknowledged);
    }

    /// Reports that this notification was written to a client that does not acknowledge.
    pub(crate) fn written_for_good(&self, id: NotificationId) {
        self.done(id, Step::Written);
    }

    fn done(&self, id: NotificationId, step: impl FnOnce(ConnectionRef) -> Step) {
        // Only the first time, because a client may acknowledge any id as often as it likes.
        if self.connection.outbox.done(id) {
            self.connections.note(&self.user, id, || step(self.connection.reference()));
        }
        if self.delivery.acknowledged(&self.user, id) {
            self.retract_elsewhere(id, RetractReason::AcknowledgedElsewhere);
        }
    }

    /// Counts how long it took until the socket had this frame.
    pub(crate) fn written(&self, pushed_at: Instant) {
        let pushes = &self.connections.pushes[self.connection.transport as usize];
        pushes.count(pushed_at.elapsed());
    }

    /// The user closed this notification at this connection.
    #[cfg(feature = "websocket")]
    pub(crate) fn dismissed(&self, id: NotificationId) {
        self.retract_elsewhere(id, RetractReason::DismissedElsewhere);
        self.delivery.dismissed(&self.user, id);
    }

    fn retract_elsewhere(&self, id: NotificationId, reason: RetractReason) {
        self.connections.retract(&self.user, id, reason, Some(self.connection.id));
    }

    /// Reports the room in the outbox.
    pub(crate) fn report(&self, room: Room) {
        match room {
            Room::NotWanted => {}
            Room::Ready => self.delivery.ready(&self.user),
            Room::Missed => self.delivery.arrived(&self.user),
        }
    }
}

impl Registered {
    pub(crate) fn link(&self) -> &DeliveryLink {
        &self.link
    }

    /// Ends the connection for this reason. Its place is free when this returns, even if its socket is still open.
    pub(crate) fn end(self, reason: DisconnectReason) {
        self.link.connection.close(reason);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let DeliveryLink { connections, delivery, user, connection } = &self.link;
        if self.stage >= RegistrationStage::Pushable {
            connections.remove(user, connection);
        }
        if self.stage >= RegistrationStage::CountedForAddress {
            connections.limits.leave_address(connection.address);
        }
        if self.stage >= RegistrationStage::CountedOnNode {
            connections.limits.leave_node(connection.transport);
        }
        if self.stage >= RegistrationStage::Pushable {
            connections.record_end(user, connection);
            delivery.departed(user);
        }
    }
}

use std::sync::Arc;

use crate::ports::RetractReason;
use crate::{Kind, Outcome, TraceParent};

/// One step of what happens to a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Delivery was asked to deliver it. If it is not accepted, [`Refused`](Self::Refused) follows.
    Received {
        /// Where it came from.
        sent_by: SentBy,
        /// Its kind.
        kind: Kind,
        /// The name of the policy that applies to it.
        policy: &'static str,
        /// The trace that it belongs to.
        trace: Option<TraceParent>,
    },
    /// It was not accepted, for this reason.
    Refused(&'static str),
    /// It was written to the inbox, before any push.
    Kept,
    /// It was queued for one connection.
    Pushed {
        /// The connection.
        connection: ConnectionRef,
        /// The number of the attempt, from 1.
        attempt: u16,
    },
    /// The user's connections had no room for it. It is pushed when one has.
    NoRoom,
    /// The push failed, and is repeated soon.
    PushFailed,
    /// It was written to the socket of a connection that does not acknowledge.
    Written(ConnectionRef),
    /// A connection acknowledged it.
    Acknowledged(ConnectionRef),
    /// A connection was told to take it away.
    Retracted {
        /// The connection.
        connection: ConnectionRef,
        /// Why.
        reason: RetractReason,
    },
    /// It ended. `here`: this node tells the outcome; otherwise another node of the cluster does.
    Ended {
        /// How it ended.
        outcome: Outcome,
        /// Whether this node tells it.
        here: bool,
    },
    /// The webhook's receiver took its outcome.
    Told,
    /// The webhook's receiver did not take its outcome, which is lost.
    NotTold,
}

/// Where a notification came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SentBy {
    /// This program itself.
    Program,
    /// A backend, with the service key of this name.
    Key(Arc<str>),
    /// A backend, by its outbox.
    Outbox,
    /// A node that has stopped left it.
    Handover,
    /// Another node of the cluster accepted it.
    OtherNode,
}

/// A connection, as logs and stories name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionRef {
    /// Unique on its node.
    pub id: u64,
    /// The name of its transport.
    pub transport: &'static str,
}

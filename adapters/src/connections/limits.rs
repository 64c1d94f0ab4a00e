use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use doorstep_domain::UserId;

use super::{ConnectionSettings, DisconnectReason, Transport};
use crate::http::{ClientAddress, LimitLog};

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionRefusal {
    /// The node is stopping.
    #[error("this node is stopping; come back soon")]
    Stopping,
    /// The limit per user is reached ([`ConnectionSettings::max_per_user`]).
    #[error("this user has too many connections; try again later")]
    User,
    /// The limit per address is reached ([`ConnectionSettings::max_per_address`]).
    #[error("there are too many connections from this address; try again later")]
    Address,
    /// The node's limit for this transport is reached.
    #[error("this node has too many connections; try again later")]
    Node,
}

impl ConnectionRefusal {
    /// Every reason, in the order of its variants.
    pub const ALL: [Self; 4] = [Self::Stopping, Self::User, Self::Address, Self::Node];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::User => "user",
            Self::Address => "address",
            Self::Node => "node",
        }
    }
}

impl From<ConnectionRefusal> for DisconnectReason {
    fn from(refusal: ConnectionRefusal) -> Self {
        match refusal {
            ConnectionRefusal::Stopping => Self::Restart,
            ConnectionRefusal::User | ConnectionRefusal::Address | ConnectionRefusal::Node => {
                Self::OverLimit
            }
        }
    }
}

/// The limits on live connections: per user, per address and per node. Counts connections per address and per
/// transport; the registry knows how many a user has.
pub(super) struct ConnectionLimits {
    max_per_user: usize,
    max_per_address: usize,
    /// In the order of [`Transport::ALL`].
    max_per_transport: [usize; Transport::ALL.len()],
    per_transport: [AtomicUsize; Transport::ALL.len()],
    per_address: Mutex<HashMap<IpAddr, usize>>,
    /// How many connections were refused, in the order of [`ConnectionRefusal::ALL`].
    pub(super) refused: [AtomicU64; ConnectionRefusal::ALL.len()],
    user_log: LimitLog,
    address_log: LimitLog,
    node_log: LimitLog,
}

impl ConnectionLimits {
    pub(super) fn new(settings: &ConnectionSettings) -> Self {
        Self {
            max_per_user: settings.max_per_user,
            max_per_address: settings.max_per_address,
            max_per_transport: [settings.max_websockets, settings.max_streams],
            per_transport: Default::default(),
            per_address: Mutex::default(),
            refused: Default::default(),
            user_log: LimitLog::new("limits.connections_per_user"),
            address_log: LimitLog::new("limits.connections_per_address"),
            node_log: LimitLog::new("limits.connections"),
        }
    }

    /// Live connections of this transport.
    pub(super) fn connections(&self, transport: Transport) -> usize {
        self.per_transport[transport as usize].load(Ordering::Relaxed)
    }

    /// Counts one more connection of this transport, unless the node has as many as it may.
    pub(super) fn enter_node(&self, transport: Transport) -> Result<(), ConnectionRefusal> {
        let most = self.max_per_transport[transport as usize];
        // Counted before it is judged, so that two connections cannot take the last place.
        if self.per_transport[transport as usize].fetch_add(1, Ordering::Relaxed) < most {
            return Ok(());
        }
        self.leave_node(transport);
        self.node_log.reached_by(transport.as_str());
        Err(ConnectionRefusal::Node)
    }

    pub(super) fn leave_node(&self, transport: Transport) {
        self.per_transport[transport as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts one more connection from this address, unless it has as many as one address may.
    pub(super) fn enter_address(&self, client: &ClientAddress) -> Result<(), ConnectionRefusal> {
        let mut addresses = self.addresses();
        let count = addresses.entry(client.address()).or_insert(0);
        if *count >= self.max_per_address {
            self.address_log.reached(client);
            return Err(ConnectionRefusal::Address);
        }
        *count += 1;
        Ok(())
    }

    pub(super) fn leave_address(&self, address: IpAddr) {
        if let Entry::Occupied(mut count) = self.addresses().entry(address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Checks whether a user with this many connections may have one more.
    pub(super) fn check_user(&self, user: &UserId, open: usize) -> Result<(), ConnectionRefusal> {
        if open < self.max_per_user {
            return Ok(());
        }
        self.user_log.reached_by(user);
        Err(ConnectionRefusal::User)
    }

    /// A panic elsewhere leaves the map intact: every change to it is one call.
    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.per_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

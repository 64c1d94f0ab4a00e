use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::ServerSettings;
use super::large_heads::{LargeHead, LargeHeads};
use super::watch::Watch;

/// The places for connections: limits their number, and decides which connection gives way.
pub(super) struct Places {
    general: usize,
    reserved: usize,
    per_address: usize,
    live: Mutex<Live>,
    large_heads: LargeHeads,
}

#[derive(Default)]
struct Live {
    next: u64,
    connections: HashMap<u64, PlacedConnection>,
    general: usize,
    reserved: usize,
    addresses: HashMap<IpAddr, usize>,
}

struct PlacedConnection {
    watch: Arc<Watch>,
    kind: PlaceKind,
    give_way: CancellationToken,
}

/// What a connection may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceKind {
    /// Any request.
    General,
    /// Requests that must be answered while all other connections are busy.
    Reserved,
}

/// The result for a connection that was accepted.
pub(super) enum ConnectionAdmission {
    /// The connection has a place.
    Place(ConnectionPlace),
    /// Its address has as many connections as one address may.
    AddressFull,
    /// All places are busy, including the reserved ones.
    Full,
}

impl Places {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        Self {
            general: settings.max_connections.max(1),
            reserved: settings.reserved,
            per_address: settings.max_per_address.max(1),
            live: Mutex::default(),
            large_heads: LargeHeads::default(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a place for a connection: a free one, or that of the connection that has waited longest for a
    /// request, or, when all are busy, a reserved one. `address` is the address to count, if its connections are
    /// limited.
    pub(super) fn admit(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        watch: Arc<Watch>,
    ) -> ConnectionAdmission {
        let mut live = self.locked();
        if let Some(address) = address
            && live.addresses.get(&address).is_some_and(|count| *count >= self.per_address)
        {
            return ConnectionAdmission::AddressFull;
        }
        let kind = if live.general < self.general || live.make_room(PlaceKind::General) {
            live.general += 1;
            PlaceKind::General
        } else if live.reserved < self.reserved || live.make_room(PlaceKind::Reserved) {
            live.reserved += 1;
            PlaceKind::Reserved
        } else {
            return ConnectionAdmission::Full;
        };
        if let Some(address) = address {
            *live.addresses.entry(address).or_default() += 1;
        }
        let id = live.next;
        live.next += 1;
        let give_way = CancellationToken::new();
        live.connections.insert(id, PlacedConnection { watch, kind, give_way: give_way.clone() });
        ConnectionAdmission::Place(ConnectionPlace {
            places: Arc::clone(self),
            id,
            kind,
            address,
            give_way,
            is_large: false,
        })
    }
}

impl Live {
    /// Tells the connection of this kind that has waited longest to give way. Its place is free from now on; its
    /// task ends when it is next polled. Scans all connections, but only when every place is taken.
    fn make_room(&mut self, kind: PlaceKind) -> bool {
        let waiting = self.connections.iter().filter(|(_, held)| held.kind == kind);
        let longest = waiting
            .filter_map(|(id, held)| Some((held.watch.waits_since()?, *id)))
            .min()
            .map(|(_, id)| id);
        let Some(held) = longest.and_then(|id| self.connections.remove(&id)) else { return false };
        held.give_way.cancel();
        self.leave(kind);
        true
    }

    fn leave(&mut self, kind: PlaceKind) {
        match kind {
            PlaceKind::General => self.general -= 1,
            PlaceKind::Reserved => self.reserved -= 1,
        }
    }
}

/// The place of a connection, free again when this is dropped.
pub(super) struct ConnectionPlace {
    places: Arc<Places>,
    id: u64,
    kind: PlaceKind,
    address: Option<IpAddr>,
    give_way: CancellationToken,
    is_large: bool,
}

impl ConnectionPlace {
    pub(super) fn kind(&self) -> PlaceKind {
        self.kind
    }

    /// Whether the connection has had a large head.
    pub(super) fn keeps_large_buffer(&self) -> bool {
        self.is_large
    }

    /// The connection has a large head, and a large buffer from now on.
    pub(super) fn has_large_buffer(&mut self, watch: Arc<Watch>) {
        self.is_large = true;
        let give_way = self.give_way.clone();
        self.places.large_heads.add(self.id, LargeHead { watch, give_way });
    }

    /// Waits until the connection has to give way to another.
    pub(super) async fn give_way(&self) {
        self.give_way.cancelled().await;
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        if self.is_large {
            self.places.large_heads.remove(self.id);
        }
        let mut live = self.places.locked();
        if live.connections.remove(&self.id).is_some() {
            live.leave(self.kind);
        }
        if let Some(address) = self.address
            && let Entry::Occupied(mut count) = live.addresses.entry(address)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(max_connections: usize, reserved: usize, max_per_address: usize) -> Arc<Places> {
        let settings =
            ServerSettings { max_connections, max_per_address, reserved, ..Default::default() };
        Arc::new(Places::new(&settings))
    }

    /// Admits a connection from this address, busy or not.
    fn admit(
        places: &Arc<Places>,
        address: u8,
        busy: bool,
    ) -> Result<ConnectionPlace, &'static str> {
        let watch = Arc::new(Watch::begin());
        if busy {
            watch.busy();
        }
        match places.admit(Some([10, 0, 0, address].into()), watch) {
            ConnectionAdmission::Place(place) => Ok(place),
            ConnectionAdmission::AddressFull => Err("address"),
            ConnectionAdmission::Full => Err("full"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_has_waited_longest_gives_way_and_busy_ones_do_not() {
        let places = places(3, 0, 100);
        let busy = admit(&places, 1, true).unwrap();
        let first = admit(&places, 2, false).unwrap();
        tokio::time::advance(std::time::Duration::from_millis(5)).await;
        let second = admit(&places, 3, false).unwrap();
        let third = admit(&places, 4, true).unwrap();
        assert!(first.give_way.is_cancelled());
        assert!(!second.give_way.is_cancelled() && !busy.give_way.is_cancelled());
        drop(first);
        let _fourth = admit(&places, 5, true).unwrap();
        assert!(second.give_way.is_cancelled());
        drop(second);
        assert_eq!(admit(&places, 6, true).err(), Some("full"));
        drop(third);
        assert!(admit(&places, 6, true).is_ok());
        drop(busy);
    }

    #[tokio::test(start_paused = true)]
    async fn reserved_places_are_used_when_all_others_are_busy() {
        let places = places(1, 1, 100);
        let general = admit(&places, 1, true).unwrap();
        let reserved = admit(&places, 2, false).unwrap();
        assert_eq!((general.kind, reserved.kind), (PlaceKind::General, PlaceKind::Reserved));
        let newer = admit(&places, 3, true).unwrap();
        assert_eq!(newer.kind, PlaceKind::Reserved);
        assert!(reserved.give_way.is_cancelled());
        assert_eq!(admit(&places, 4, true).err(), Some("full"));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_per_address_are_limited() {
        let places = places(10, 0, 2);
        let one = admit(&places, 1, true).unwrap();
        let two = admit(&places, 1, false).unwrap();
        assert_eq!(admit(&places, 1, true).err(), Some("address"));
        let _other = admit(&places, 2, true).unwrap();
        drop((one, two));
        assert!(admit(&places, 1, true).is_ok());
        assert_eq!(places.locked().addresses.len(), 1);
    }
}

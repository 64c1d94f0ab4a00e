//! The clients: they connect, vanish, and acknowledge in time, late, twice, never, or for another user.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::Clock;
use doorstep_domain::{NotificationId, Outcome};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

use super::dice::Dice;
use super::node::Node;
use super::world::{Connection, World, short, user};

/// Like the server: registers the connection first, then reports the arrival.
pub(super) fn connect(world: &Arc<World>, node: &Node, who: u64, acks: bool) {
    connect_to(world, &node.delivery, who, acks);
}

pub(super) fn connect_to(world: &Arc<World>, delivery: &Arc<Delivery>, who: u64, acks: bool) {
    let number = world.number();
    world.tell(|| format!("user {who} connects as {number}, acknowledging: {acks}"));
    let (frames, received) = unbounded_channel();
    let connection = Connection {
        user: who,
        acks,
        half_open: false,
        handed: BTreeMap::new(),
        queued: 0,
        room_wanted: false,
        frames,
    };
    world.state().connections.insert(number, connection);
    let socket = Socket { number, who, acks, delivery: Arc::downgrade(delivery) };
    tokio::spawn(socket.read(world.clone(), received));
    delivery.arrived(&user(who));
}

/// Like the server: removes the connection first, then reports the departure.
pub(super) fn disconnect(world: &World, node: &Node, who: u64) {
    disconnect_from(world, &node.delivery, who);
}

pub(super) fn disconnect_from(world: &World, delivery: &Delivery, who: u64) {
    let connection = {
        let state = world.state();
        let mut theirs = state.connections.iter().filter(|(_, c)| c.user == who);
        theirs.next().map(|(number, _)| *number)
    };
    if let Some(number) = connection {
        world.tell(|| format!("connection {number} of user {who} ends"));
        world.state().connections.remove(&number);
        delivery.departed(&user(who));
    }
}

pub(super) fn disconnect_all(world: &World, node: &Node, who: u64) {
    while world.state().connections.values().any(|c| c.user == who) {
        disconnect(world, node, who);
    }
}

/// A peer vanishes without closing the connection.
pub(super) fn half_open(world: &World, who: u64) {
    if let Some(c) = world.state().connections.values_mut().find(|c| c.user == who && c.acks) {
        c.half_open = true;
    }
}

/// The client's end of a connection.
struct Socket {
    number: u64,
    who: u64,
    acks: bool,
    delivery: Weak<Delivery>,
}

impl Socket {
    /// Reads the frames of the connection, one at a time.
    async fn read(self, world: Arc<World>, mut frames: UnboundedReceiver<NotificationId>) {
        while let Some(id) = frames.recv().await {
            tokio::task::yield_now().await;
            if world.state().took(self.number)
                && let Some(delivery) = self.delivery.upgrade()
            {
                world.tell(|| format!("connection {} has room again", self.number));
                delivery.ready(&user(self.who));
            }
            if self.acks {
                self.acknowledge(&world, id);
            }
        }
    }

    /// Acknowledges at once, late, twice, or not at all. A late acknowledgement may come after the connection has
    /// ended, as if sent over the next one.
    fn acknowledge(&self, world: &Arc<World>, id: NotificationId) {
        let (times, after) = {
            let mut state = world.state();
            // At the end no acknowledgement is lost any more.
            let least = usize::from(state.quiet);
            let dice = &mut state.dice;
            let times = [0, 1, 1, 1, 2][usize::try_from(dice.below(5)).unwrap_or(0)].max(least);
            let late = if dice.one_in(3) { dice.below(1500) } else { 0 };
            (times, Duration::from_millis(5 + late))
        };
        let (world, delivery, who) = (world.clone(), self.delivery.clone(), self.who);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            for _ in 0..times {
                if let Some(delivery) = delivery.upgrade() {
                    acknowledge_one(&world, &delivery, who, id);
                }
            }
        });
    }
}

fn acknowledge_one(world: &World, delivery: &Delivery, who: u64, id: NotificationId) {
    let counts = counts(world, id);
    world.tell(|| format!("user {who} acknowledges {}", short(id)));
    let before = delivery.ended(Outcome::Delivered);
    delivery.acknowledged(&user(who), id);
    let ended = delivery.ended(Outcome::Delivered) > before;
    let mut state = world.state();
    if counts && !ended {
        state.break_promise(format!("the acknowledgement of {id} was ignored"));
    }
    if let Some(life) = state.lives.get_mut(&id) {
        // Another acknowledgement may come before the observers are told.
        life.acknowledged |= ended;
    }
}

/// Whether an acknowledgement must end it: this node pushed it, and its TTL has not ended.
fn counts(world: &World, id: NotificationId) -> bool {
    let (state, now) = (world.state(), world.now());
    let life = &state.lives[&id];
    let deferred = !matches!(life.kind, "inbox" | "now");
    let open =
        life.outcome.is_none() && !life.acknowledged && !life.gone && now < life.expires_at();
    deferred && open && life.pushed_in == Some(state.node_life)
}

/// Acknowledges a notification of another user, one that does not exist, or one that was never pushed. This
/// must have no effect.
pub(super) fn forge(dice: &mut Dice, world: &World, node: &Node, who: u64) {
    let state = world.state();
    let victims: Vec<_> = state
        .lives
        .values()
        .filter(|life| life.user != who || !life.push_begun)
        .map(|life| life.notification.id)
        .collect();
    drop(state);
    let unknown = NotificationId::new(Uuid::max());
    let pick = usize::try_from(dice.below(victims.len() as u64 + 1)).unwrap_or(0);
    let id = victims.get(pick).copied().unwrap_or(unknown);
    let ended = || Outcome::ALL.map(|outcome| node.delivery.ended(outcome));
    let before = ended();
    node.delivery.acknowledged(&user(who), id);
    if ended() != before {
        world.state().break_promise(format!("a forged acknowledgement ended {id}"));
    }
}

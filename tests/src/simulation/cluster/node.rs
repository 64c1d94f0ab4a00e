//! One node: the real delivery on simulated ports and a simulated way to the log.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use doorstep_application::cluster::{ClusterEntry, NodeId};
use doorstep_application::delivery::{
    Delivery, Limits, OnExpiry, Overflow, Policy, Rule, Rules, SharedLog,
};
use doorstep_domain::{Append, Expecting, Ttl};

use super::ports::{Elsewhere, Ports};
use super::world::{NODES, World};
use crate::memory_log::{Fate, MemoryNode};

/// The kinds of notifications, each with its rule.
pub(super) const KINDS: [&str; 5] = ["plain", "brief", "few", "promote", "now"];
pub(super) const MAX_PER_USER: usize = 5;

/// A node; `None` inside while it is down.
pub(super) struct Node {
    pub(super) number: usize,
    pub(super) up: Option<Up>,
}

/// A node that runs.
pub(super) struct Up {
    pub(super) delivery: Arc<Delivery>,
    pub(super) way: MemoryNode,
}

fn rules() -> Rules {
    let plain = Rule {
        ttl: Ttl::from_secs(30),
        ack_timeout: Duration::from_secs(1),
        max_per_user: MAX_PER_USER,
        ..Rule::default()
    };
    let brief = Rule { ttl: Ttl::from_secs(3), ..plain };
    let few = Rule { overflow: Overflow::Reject, ..plain };
    let promote = Rule { on_expiry: OnExpiry::Inbox, ..brief };
    let now = Rule { policy: Policy::Immediate, ..plain };
    let kinds = KINDS.into_iter().zip([plain, brief, few, promote, now]);
    let named = kinds.map(|(kind, rule)| (kind.parse().expect("a kind"), rule));
    Rules { default: plain, kinds: named.collect() }
}

impl Node {
    pub(super) fn new(number: usize) -> Self {
        Self { number, up: None }
    }

    /// Starts it. Its clock may be wrong, by up to minutes.
    pub(super) fn start(&mut self, world: &Arc<World>) {
        let (life, ahead) = {
            let mut state = world.state();
            state.node_lives[self.number] += 1;
            let ahead = if state.dice.one_in(2) { state.dice.below(400) } else { 200 };
            (state.node_lives[self.number], i64::try_from(ahead).unwrap_or(0) - 200)
        };
        let way = world.log.node();
        way.set_fates(watched(world, || Fate::PROMPT));
        way.set_clock(ahead * 1_000_000);
        let ports = Arc::new(Ports {
            world: world.clone(),
            node: self.number,
            life,
            way: way.clone(),
            delivery: OnceLock::new(),
        });
        let mut node = [0; 16];
        node[0] = u8::try_from(self.number * 40).unwrap_or(0);
        node[1] = u8::try_from(self.number + 1).unwrap_or(0);
        node[2..8].copy_from_slice(&life.to_be_bytes()[2..]);
        let limits = Limits {
            push_timeout: Duration::from_secs(2),
            push_retry: Duration::from_millis(500),
            inbox_patience: Duration::from_millis(300),
            ..Limits::default()
        };
        let delivery = Delivery::builder(ports.clone(), ports.clone(), ports.clone())
            .rules(rules())
            .limits(limits)
            .hash_seed(1)
            .inbox(ports.clone())
            .outcomes(ports.clone())
            .shared(SharedLog {
                log: Arc::new(way.clone()),
                node: NodeId(node),
                control: None,
                elsewhere: Some(Arc::new(Elsewhere(ports.clone()))),
            })
            .start()
            .expect("an inbox and a runtime");
        let delivery = Arc::new(delivery);
        ports.delivery.set(Arc::downgrade(&delivery)).ok();
        world.tell(|| format!("node {} starts, {ahead} s ahead", self.number));
        world.calm(self.number);
        let lag = {
            let mut state = world.state();
            state.dice.one_in(4).then(|| Duration::from_millis(state.dice.below(3000)))
        };
        if let Some(lag) = lag {
            way.set_lag(lag);
            world.trouble(self.number);
            world.tell(|| format!("its tail lags by {lag:?}"));
        }
        self.up = Some(Up { delivery, way });
    }

    /// Whether users may connect to it.
    pub(super) fn is_ready(&self) -> bool {
        self.up.as_ref().is_some_and(|up| up.delivery.serves_arrivals())
    }

    /// `kill -9`: what it held is gone, and nobody is told.
    pub(super) fn crash(&mut self, world: &Arc<World>) {
        world.tell(|| format!("node {} is killed", self.number));
        {
            let mut state = world.state();
            let life = state.node_lives[self.number];
            state.crashed.insert((self.number, life));
            state.node_lives[self.number] += 1;
            state.connections.retain(|_, connection| connection.node != self.number);
        }
        if let Some(up) = self.up.take() {
            // What it sent may still arrive; what it would send does not.
            up.way.cut(Some("it is dead"));
        }
    }

    /// A planned stop: its connections close first.
    pub(super) async fn stop(&mut self, world: &Arc<World>) {
        let Some(up) = self.up.take() else { return };
        super::steps::disconnect_all(world, self.number, &up.delivery);
        let calm = world.state().is_calm(self.number);
        // It stops to read, while pushes that are under way go on.
        world.trouble(self.number);
        let stopped = up.delivery.stop(Duration::from_secs(10)).await;
        world.tell(|| format!("node {} stops: {stopped:?}", self.number));
        let mut state = world.state();
        // What a log has lost is dropped if there was no time to append it again.
        if stopped.handed_over > 0 || (stopped.dropped > 0 && state.losses == 0) {
            state.break_promise(format!("a stop says {stopped:?}"));
        }
        // If it could not reach the log, its last outcomes are not told.
        let life = state.node_lives[self.number];
        if !calm {
            state.crashed.insert((self.number, life));
        }
        state.node_lives[self.number] += 1;
    }
}

/// What happens to the appends of a node, and what must hold of each.
pub(super) fn watched(
    world: &Arc<World>,
    mut fates: impl FnMut() -> Fate + Send + 'static,
) -> impl FnMut(&Append) -> Fate + Send + 'static {
    let world = world.clone();
    move |append| {
        let entry = ClusterEntry::decode(append.key, &append.bytes);
        if matches!(entry, Ok(ClusterEntry::Ended { .. } | ClusterEntry::Promoting { .. }))
            && append.expecting == Expecting::Nothing
        {
            let what = format!("{} is to end where it was not accepted", append.key);
            world.state().break_promise(what);
        }
        fates()
    }
}

/// What happens to the appends of a node in bad weather.
pub(super) fn bad_fates(mut dice: super::super::dice::Dice) -> impl FnMut() -> Fate + Send {
    move || {
        let ms =
            |dice: &mut super::super::dice::Dice, most| Duration::from_millis(dice.below(most));
        match dice.below(8) {
            0 => Fate::GONE,
            1 => Fate::UNANSWERED,
            2 => Fate::LOST_TO_NOBODY,
            3 => Fate { arrives: Some(ms(&mut dice, 20_000)), answered: None },
            4 => Fate { arrives: Some(ms(&mut dice, 3000)), answered: Some(ms(&mut dice, 1000)) },
            _ => Fate { arrives: Some(ms(&mut dice, 20)), answered: Some(ms(&mut dice, 20)) },
        }
    }
}

pub(super) fn all() -> [Node; NODES] {
    std::array::from_fn(Node::new)
}

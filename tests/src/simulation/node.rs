//! The node: the real delivery on simulated ports. It is started, stopped and killed.

use std::sync::Arc;
use std::time::Duration;

use doorstep_application::delivery::{Delivery, Limits, OnExpiry, Overflow, Policy, Rule, Rules};
use doorstep_domain::Ttl;

use super::ports::Ports;
use super::world::World;

/// The kinds of notifications, each with its rule.
pub(super) const KINDS: [&str; 6] = ["plain", "brief", "few", "inbox", "promote", "now"];

pub(super) const MAX_PER_USER: usize = 5;
pub(super) const MAX_PENDING: usize = 40;

pub(super) struct Node {
    pub(super) delivery: Arc<Delivery>,
}

fn rules() -> Rules {
    let plain = Rule {
        ttl: Ttl::from_secs(20),
        ack_timeout: Duration::from_secs(1),
        max_per_user: MAX_PER_USER,
        ..Rule::default()
    };
    let brief = Rule { ttl: Ttl::from_secs(2), ..plain };
    let few = Rule { overflow: Overflow::Reject, ..plain };
    let inbox = Rule { policy: Policy::Inbox, ..plain };
    let promote = Rule { on_expiry: OnExpiry::Inbox, ..brief };
    let now = Rule { policy: Policy::Immediate, ..plain };
    let kinds = KINDS.into_iter().zip([plain, brief, few, inbox, promote, now]);
    let named = kinds.map(|(kind, rule)| (kind.parse().expect("a kind"), rule));
    Rules { default: plain, kinds: named.collect() }
}

impl Node {
    pub(super) async fn start(world: &Arc<World>) -> Self {
        let limits = Limits {
            max_pending: MAX_PENDING,
            push_timeout: Duration::from_secs(2),
            push_retry: Duration::from_millis(500),
            inbox_patience: Duration::from_millis(300),
            ..Limits::default()
        };
        let ports = Ports::new(world);
        let delivery = Delivery::builder(ports.clone(), ports.clone(), world.clone())
            .rules(rules())
            .limits(limits)
            .hash_seed(1)
            .inbox(ports.clone())
            .handover(ports.clone())
            .outcomes(ports)
            .start()
            .expect("an inbox and a runtime");
        let delivery = Arc::new(delivery);
        let taken_up = delivery.take_up().await.expect("the stores answer at a start");
        world.tell(|| format!("a node started, and took up {taken_up}"));
        // Users connect only after the node has taken up what an earlier node left.
        world.state().delivery = Arc::downgrade(&delivery);
        Self { delivery }
    }

    /// A deployment: connections are closed, waiting notifications are handed over, and the next node takes them up.
    pub(super) async fn stop_and_restart(&mut self, world: &Arc<World>) {
        // The handover to an unavailable store is the one planned loss; another test covers it.
        world.fair_weather();
        for user in 0..super::world::USERS {
            super::client::disconnect_all(world, self, user);
        }
        let stopped = self.delivery.stop(Duration::from_secs(10)).await;
        world.stopped();
        world.tell(|| format!("the node stopped: {stopped:?}"));
        *self = Self::start(world).await;
    }

    /// `kill -9`: everything in memory is lost; everything in the stores stays.
    pub(super) async fn crash_and_restart(&mut self, world: &Arc<World>) {
        world.fair_weather();
        world.crashed();
        world.tell(|| "the node was killed".to_owned());
        *self = Self::start(world).await;
    }
}

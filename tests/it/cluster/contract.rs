//! The contract of live connections, for a cluster: clients are connected to two nodes in turns, and everything begins at a
//! third. The log and the questions between the nodes go through a real NATS server.
//!
//! No node pushes to the connections of another. What reaches them is what a node accepts, and the log brings it to all of
//! them. So a push of the suite is a `send` at the third node here, and its result is what the nodes with connections of the
//! user then say.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_adapters::nats::{NatsLog, NatsPeers, NatsSettings, NodeStatus};
use doorstep_application::cluster::NodeId;
use doorstep_application::delivery::{Delivery, Rule, Rules, SharedLog, Standing};
use doorstep_domain::ports::{
    Attempt, Chronicle, Clock, ConnectionControl, Presence, PushError, Pushed, Pusher,
};
use doorstep_domain::{Notification, NotificationId, Step, SystemClock, Timestamp, Ttl, UserId};
use doorstep_tests::contract::{DoorUnderTest, presence_and_pusher};
use doorstep_tests::nats::NatsServer;
use tokio::sync::Notify;

use crate::doors::{By, Client, Door, Joined};
use crate::node::eventually;

/// How often a question to the other nodes is repeated. One that is not answered in a quarter of a second counts as no.
const QUESTIONS: usize = 10;

/// The node at which everything begins. No client connects to it.
const SENDER: usize = 2;

/// One node.
struct Member {
    door: Arc<Door>,
    peers: Arc<NatsPeers>,
    steps: Arc<Steps>,
}

impl Member {
    async fn join(number: u8, nats: &NatsServer, clock: &Arc<dyn Clock>) -> Self {
        let log: Arc<NatsLog> =
            Arc::new(crate::nats::open(&NatsSettings::new(&nats.url(), "doors")).await);
        let peers = Arc::new(NatsPeers::of(&log, format!("node-{number}"), String::new()));
        let steps = Arc::new(Steps::default());
        let node = NodeId([number; 16]);
        let elsewhere = Some(peers.clone() as Arc<dyn Presence>);
        let joined = Joined {
            shared: SharedLog { log, node, control: None, elsewhere },
            chronicle: steps.clone(),
        };
        // Nothing is repeated or dropped by the policy while the suite looks at pushes alone.
        let rule = Rule {
            ack_timeout: Duration::from_hours(1),
            max_per_user: Rule::MOST_PER_USER,
            ..Rule::default()
        };
        let rules = Rules { default: rule, ..Rules::default() };
        let door = Door::start(By::WebSocket, clock.clone(), rules, Some(joined)).await;
        let status = || NodeStatus { word: "up_to_date", lag_entries: 0, makes_prices: false };
        peers.begin(door.connections.clone(), status);
        let mut standing = door.delivery.standing().unwrap();
        standing.wait_for(|standing| *standing == Standing::UpToDate).await.unwrap();
        Self { door, peers, steps }
    }
}

/// What the node has noted of the pushes to its connections.
#[derive(Default)]
struct Steps {
    of: Mutex<HashMap<NotificationId, Latest>>,
    changed: Notify,
}

#[derive(Default)]
struct Latest {
    /// The connections that it was handed to.
    handed_to: HashSet<u64>,
    no_room: bool,
}

impl Chronicle for Steps {
    fn note(&self, _: &UserId, id: NotificationId, step: Step) {
        {
            let mut of = self.of.lock().unwrap();
            match step {
                Step::Pushed { connection, .. } => {
                    let latest = of.entry(id).or_default();
                    latest.handed_to.insert(connection.id);
                    latest.no_room = false;
                }
                Step::NoRoom => of.entry(id).or_default().no_room = true,
                _ => return,
            }
        }
        self.changed.notify_waiters();
    }
}

impl Steps {
    /// Waits until this many connections have it, or had no room for it.
    async fn pushed(&self, id: NotificationId, connections: usize) -> Pushed {
        if connections == 0 {
            return Pushed::Nobody;
        }
        loop {
            let changed = self.changed.notified();
            if let Some(latest) = self.of.lock().unwrap().get(&id) {
                if latest.no_room {
                    return Pushed::Full;
                }
                if latest.handed_to.len() >= connections {
                    return Pushed::InFlight;
                }
            }
            changed.await;
        }
    }
}

/// Whether a user is connected at any node, as the sender learns it.
struct Asked(Arc<NatsPeers>);

#[async_trait]
impl Presence for Asked {
    async fn is_online(&self, user: &UserId) -> bool {
        for _ in 0..QUESTIONS {
            if self.0.is_online(user).await {
                return true;
            }
        }
        false
    }

    async fn is_reading(&self, user: &UserId) -> bool {
        for _ in 0..QUESTIONS {
            if self.0.is_reading(user).await {
                return true;
            }
        }
        false
    }
}

/// Pushes by sending at one node what the others have connections for.
struct ThroughTheLog {
    sender: Arc<Delivery>,
    presence: Arc<Asked>,
    doors: Vec<(Arc<Door>, Arc<Steps>)>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Pusher for ThroughTheLog {
    async fn push(
        &self,
        n: &Notification,
        _: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        // A TTL of 0 would mean: once, to whoever is there. So it is an hour old.
        let age = Duration::from_hours(1);
        let ttl = Ttl::new(age + deadline.since(self.clock.now()));
        let created_at = self.clock.wall() - age;
        let sent = Notification { created_at, ttl, ..n.clone() };
        drop(self.sender.send(sent).await.map_err(|refused| PushError(Box::new(refused)))?);
        if !self.presence.is_online(&n.user_id).await {
            // A pusher keeps nothing.
            self.sender.recall(n.id).await.map_err(|error| PushError(Box::new(error)))?;
            return Ok(Pushed::Nobody);
        }
        for (door, steps) in &self.doors {
            let connections = door.connections.count_of(&n.user_id);
            let left = deadline.since(self.clock.now());
            let pushed = tokio::time::timeout(left, steps.pushed(n.id, connections));
            match pushed.await {
                Ok(Pushed::Full) => return Ok(Pushed::Full),
                Ok(_) => {}
                // Nobody is handed what is over.
                Err(over) => return Err(PushError(Box::new(over))),
            }
        }
        Ok(Pushed::InFlight)
    }
}

struct Cluster {
    _nats: NatsServer,
    members: Vec<Member>,
    opened: AtomicUsize,
    presence: Arc<Asked>,
    pusher: Arc<ThroughTheLog>,
    clock: Arc<dyn Clock>,
}

impl Cluster {
    async fn start() -> Arc<Self> {
        let nats = NatsServer::start();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let mut members = Vec::new();
        for number in 0..3 {
            members.push(Member::join(number, &nats, &clock).await);
        }
        eventually("the nodes know each other", async || {
            members.iter().all(|member| member.peers.nodes().1.len() == 2)
        })
        .await;
        let presence = Arc::new(Asked(members[SENDER].peers.clone()));
        let doors = members[..SENDER].iter().map(|m| (m.door.clone(), m.steps.clone())).collect();
        let pusher = Arc::new(ThroughTheLog {
            sender: members[SENDER].door.delivery.clone(),
            presence: presence.clone(),
            doors,
            clock: clock.clone(),
        });
        Arc::new(Self {
            _nats: nats,
            members,
            opened: AtomicUsize::new(0),
            presence,
            pusher,
            clock,
        })
    }
}

/// A client, and the node that it is connected to.
struct Connected(usize, Client);

#[async_trait]
impl DoorUnderTest for Cluster {
    type Client = Connected;

    fn presence(&self) -> Arc<dyn Presence> {
        self.presence.clone()
    }

    fn pusher(&self) -> Arc<dyn Pusher> {
        self.pusher.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn delivery(&self) -> Arc<Delivery> {
        self.members[SENDER].door.delivery.clone()
    }

    async fn open(&self, user: &UserId) -> Connected {
        let node = self.opened.fetch_add(1, Relaxed) % SENDER;
        Connected(node, self.members[node].door.open(user).await)
    }

    async fn shown(&self, client: &mut Connected) -> NotificationId {
        self.members[client.0].door.shown(&mut client.1).await
    }

    /// Waits until every node has read that it has ended: who connects before that to another node is shown it again.
    async fn acknowledge(&self, client: &mut Connected, id: NotificationId) {
        self.members[client.0].door.acknowledge(&mut client.1, id).await;
        let user = &client.1.user;
        let is_open = |member: &Member| member.door.delivery.state_of(user, id).is_some();
        let read = async {
            while self.members.iter().any(is_open) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), read).await.expect("the end is read");
    }

    async fn close(&self, client: Connected) {
        self.members[client.0].door.close(client.1).await;
    }

    fn fills_after(&self) -> Option<usize> {
        self.members[0].door.fills_after()
    }

    fn not_asked(&self) -> &[(&'static str, &'static str)] {
        &[(
            "a higher attempt",
            "the node with the connection counts the attempts, and no other node can choose one",
        )]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_contract_of_live_connections() {
    presence_and_pusher(Cluster::start().await).await;
}

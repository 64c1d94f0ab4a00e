use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use doorstep_domain::ports::{Chronicle, Clock, Handover, Inbox, Outcomes, Presence, Pusher};
use tokio::runtime::Handle;

use super::Delivery;
use super::capacity::Capacity;
use super::census::Census;
use super::claimer::Claimer;
use super::cluster::{Cluster, Decisions, SharedLog};
use super::context::Context;
use super::endings::Endings;
use super::kinds::Kinds;
use super::policy::{Limits, Rules};
use super::poll::Poll;
use super::refusals::RefusedCounts;
use super::tasks::Tasks;
use super::wake::Wake;

/// Collects the parts of a [`Delivery`] and starts it.
pub struct Builder {
    presence: Arc<dyn Presence>,
    pusher: Arc<dyn Pusher>,
    clock: Arc<dyn Clock>,
    rules: Rules,
    limits: Limits,
    inbox: Option<Arc<dyn Inbox>>,
    handover: Option<Arc<dyn Handover>>,
    outcomes: Vec<Arc<dyn Outcomes>>,
    witnesses: Vec<Arc<dyn Outcomes>>,
    shared: Option<SharedLog>,
    chronicle: Option<Arc<dyn Chronicle>>,
    kinds: Arc<Kinds>,
    hash_seed: Option<u64>,
}

opaque!(Builder);

/// Why a delivery cannot start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A rule writes to the inbox, by its policy or when a TTL ends, and no inbox was given: notifications that
    /// should be kept would be dropped.
    #[error("a rule keeps notifications in the inbox (policy or on_expiry), and there is no inbox")]
    NoInbox,
    /// There is no tokio runtime here for the background work.
    #[error("delivery must be started inside a tokio runtime")]
    NoRuntime,
    /// A rule has the strategy `poll`, which knows only one node.
    #[error("a rule has the strategy poll, which does not work with several nodes; use wake")]
    PollInCluster,
}

impl Builder {
    pub(super) fn new(
        presence: Arc<dyn Presence>,
        pusher: Arc<dyn Pusher>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            presence,
            pusher,
            clock,
            rules: Rules::default(),
            limits: Limits::default(),
            inbox: None,
            handover: None,
            outcomes: Vec::new(),
            witnesses: Vec::new(),
            shared: None,
            chronicle: None,
            kinds: Arc::default(),
            hash_seed: None,
        }
    }

    /// The rule for each kind; the default is [`Rule::default`](super::Rule::default) for all kinds.
    #[must_use]
    pub fn rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The limits of this node.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The inbox: required if a rule uses it.
    #[must_use]
    pub fn inbox(self, inbox: Arc<dyn Inbox>) -> Self {
        Self { inbox: Some(inbox), ..self }
    }

    /// The store in which a stopping node leaves the notifications that wait. Without it, a stop drops them.
    #[must_use]
    pub fn handover(self, handover: Arc<dyn Handover>) -> Self {
        Self { handover: Some(handover), ..self }
    }

    /// Shares the notifications with other nodes: what any of them accepts reaches a user at any of them. All must have
    /// the same rules.
    ///
    /// [`Delivery::standing`] tells when this node has read what the others have accepted: before that it accepts nothing,
    /// and users who arrive would miss what waits for them.
    #[must_use]
    pub fn shared(self, shared: SharedLog) -> Self {
        Self { shared: Some(shared), ..self }
    }

    /// Adds an observer, which is told of every end that this node sees. In a cluster, each end is seen by every node, and
    /// told to the [`outcomes`](Self::outcomes) of one.
    #[must_use]
    pub fn witness(mut self, witness: Arc<dyn Outcomes>) -> Self {
        self.witnesses.push(witness);
        self
    }

    /// Adds an observer, which is told how each notification ended.
    #[must_use]
    pub fn outcomes(mut self, outcomes: Arc<dyn Outcomes>) -> Self {
        self.outcomes.push(outcomes);
        self
    }

    /// Notes each step of what happens to notifications. Without it, none is noted, which costs nothing.
    ///
    /// Give it to the [`Pusher`] too: delivery does not know single connections.
    #[must_use]
    pub fn chronicle(self, chronicle: Arc<dyn Chronicle>) -> Self {
        Self { chronicle: Some(chronicle), ..self }
    }

    /// The kinds that are told apart in figures, if they are shared with other figures.
    #[must_use]
    pub fn kinds(self, kinds: Arc<Kinds>) -> Self {
        Self { kinds, ..self }
    }

    /// Fixes how users are spread over the shards, so that a simulation repeats the same schedule. Not for a
    /// service: with a known seed, user ids can be chosen that all fall into one shard.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn hash_seed(self, seed: u64) -> Self {
        Self { hash_seed: Some(seed), ..self }
    }

    /// Starts the background work on the current tokio runtime.
    pub fn start(self) -> Result<Delivery, StartError> {
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        if self.inbox.is_none() && self.rules.use_inbox() {
            return Err(StartError::NoInbox);
        }
        if self.shared.is_some() && self.rules.poll() {
            return Err(StartError::PollInCluster);
        }
        let tasks = Arc::new(Tasks::new(Some(runtime)));
        let capacity = Arc::new(Capacity::new(&self.limits, &self.rules));
        let decisions = self
            .shared
            .as_ref()
            .map(|shared| Arc::new(Decisions::new(shared.node, self.clock.clone())));
        let endings = Endings::new(
            self.outcomes,
            self.witnesses,
            decisions.clone(),
            self.chronicle,
            self.clock.clone(),
            &tasks,
            &capacity,
        );
        let cx = Arc::new(Context {
            endings,
            capacity,
            census: Arc::new(Census::new(self.kinds)),
            refusals: RefusedCounts::default(),
            accepted: AtomicU64::new(0),
            presence: self.presence,
            pusher: self.pusher,
            clock: self.clock,
            rules: self.rules,
            limits: self.limits,
            tasks,
            presence_checks: AtomicU64::new(0),
            others: OnceLock::new(),
        });
        let wake = Wake::new(cx.clone(), self.inbox, self.hash_seed);
        wake.start();
        let cluster = self.shared.zip(decisions).map(|(shared, decisions)| {
            let cluster = Cluster::new(cx.clone(), wake.clone(), shared, decisions);
            cluster.start();
            cluster
        });
        // What another process leaves is taken up by appending it.
        let store = self.handover.clone().filter(|_| cluster.is_none());
        let claimer = store.map(|store| Claimer::new(cx.clone(), wake.clone(), store));
        if let Some(claimer) = &claimer {
            claimer.start();
        }
        Ok(Delivery {
            poll: Poll::new(cx.clone()),
            wake,
            cx,
            handover: self.handover,
            claimer,
            cluster,
            kept_elsewhere: OnceLock::new(),
        })
    }
}

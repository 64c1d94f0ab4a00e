//! Delivery embedded in another service, whose code has locks, threads and faults of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{VirtualClock, ada, pass, popup, virtual_clock};
use async_trait::async_trait;
use doorstep_application::delivery::{
    Builder, Delivery, OnExpiry, Policy, Rule, Rules, StartError, Strategy,
};
use doorstep_domain::ports::{
    Attempt, EnteredBy, Inbox, InboxItem, MockInbox, Outcomes, Presence, PushError, Pushed, Pusher,
    Removed, StoreError, Which,
};
use doorstep_domain::{
    Ended, Notification, NotificationId, Outcome, Timestamp, Topic, Ttl, UserId,
};

/// A registry behind one mutex. The tests call delivery while it is locked.
#[derive(Default)]
struct Registry(Mutex<HashMap<UserId, Vec<NotificationId>>>);

impl Registry {
    fn shown(&self) -> Vec<NotificationId> {
        self.0.lock().unwrap().get(&ada()).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl Presence for Registry {
    async fn is_online(&self, user: &UserId) -> bool {
        self.0.lock().unwrap().contains_key(user)
    }
}

#[async_trait]
impl Pusher for Registry {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        let mut sockets = self.0.lock().unwrap();
        let Some(shown) = sockets.get_mut(&n.user_id) else { return Ok(Pushed::Nobody) };
        if !shown.contains(&n.id) {
            shown.push(n.id);
        }
        Ok(Pushed::InFlight)
    }
}

fn builder(clock: &Arc<VirtualClock>) -> (Arc<Registry>, Builder) {
    let registry = Arc::new(Registry::default());
    let builder = Delivery::builder(registry.clone(), registry.clone(), clock.clone());
    (registry, builder)
}

#[tokio::test(start_paused = true)]
async fn delivery_may_be_called_under_a_lock_that_the_ports_take() {
    let clock = virtual_clock();
    let (registry, builder) = builder(&clock);
    let delivery = builder.start().unwrap();
    let receipt = delivery.send(popup(1, &clock)).await.unwrap();
    {
        let mut sockets = registry.0.lock().unwrap();
        sockets.insert(ada(), Vec::new());
        delivery.arrived(&ada());
    }
    pass(Duration::from_millis(1)).await;
    assert_eq!(registry.shown(), [popup(1, &clock).id]);
    {
        let mut sockets = registry.0.lock().unwrap();
        sockets.remove(&ada());
        delivery.departed(&ada());
        sockets.insert(ada(), Vec::new());
        delivery.ready(&ada());
        delivery.arrived(&ada());
    }
    pass(Duration::from_millis(1)).await;
    {
        let _sockets = registry.0.lock().unwrap();
        delivery.acknowledged(&ada(), popup(1, &clock).id);
    }
    assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
}

#[test]
fn delivery_may_be_called_outside_the_runtime() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (registry, delivery, clock, receipt) = runtime.block_on(async {
        let clock = virtual_clock();
        let (registry, builder) = builder(&clock);
        let delivery = builder.start().unwrap();
        let receipt = delivery.send(popup(1, &clock)).await.unwrap();
        (registry, delivery, clock, receipt)
    });
    registry.0.lock().unwrap().insert(ada(), Vec::new());
    delivery.arrived(&ada());
    while registry.shown().is_empty() {
        std::thread::yield_now();
    }
    delivery.acknowledged(&ada(), popup(1, &clock).id);
    assert_eq!(runtime.block_on(receipt.outcome()), Some(Outcome::Delivered));
    delivery.departed(&ada());
    // Even `send` needs no runtime around it.
    let sent = delivery.send(popup(2, &clock));
    assert!(futures_util::FutureExt::now_or_never(sent).unwrap().is_ok());
}

#[test]
fn without_a_runtime_it_does_not_start() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let clock = runtime.block_on(async { virtual_clock() });
    let (_registry, builder) = builder(&clock);
    assert_eq!(builder.start().err(), Some(StartError::NoRuntime));
}

#[tokio::test(start_paused = true)]
async fn rules_that_use_the_inbox_do_not_start_without_one() {
    let clock = virtual_clock();
    let promotes = Rule { on_expiry: OnExpiry::Inbox, ..Rule::default() };
    let keeps = Rule { policy: Policy::Inbox, ..Rule::default() };
    for rule in [promotes, keeps] {
        let of_a_kind = [("rare".parse().unwrap(), rare(rule))];
        for rules in [
            Rules { default: rule, ..Rules::default() },
            Rules { default: Rule::default(), kinds: of_a_kind.into() },
        ] {
            let start = builder(&clock).1.rules(rules.clone()).start();
            assert_eq!(start.err(), Some(StartError::NoInbox));
            assert!(
                builder(&clock).1.rules(rules).inbox(Arc::new(MockInbox::new())).start().is_ok()
            );
        }
    }
}

fn rare(rule: Rule) -> Rule {
    Rule { max_per_user: 1, ..rule }
}

/// Panics on every call, and counts the calls.
#[derive(Default)]
struct Faulty(AtomicUsize);

impl Faulty {
    fn fault(&self) -> ! {
        self.0.fetch_add(1, SeqCst);
        panic!("a fault in an embedder's code, as the test wants")
    }
}

#[async_trait]
impl Outcomes for Faulty {
    async fn ended(&self, _: Vec<Ended>) {
        self.fault();
    }
}

#[async_trait]
impl Presence for Faulty {
    async fn is_online(&self, _: &UserId) -> bool {
        self.fault();
    }
}

#[async_trait]
impl Inbox for Faulty {
    async fn add(&self, _: &[Notification], _: EnteredBy) -> Result<(), StoreError> {
        self.fault();
    }

    async fn undelivered(&self, _: &UserId, _: usize) -> Result<Vec<InboxItem>, StoreError> {
        self.fault();
    }

    async fn mark_delivered(
        &self,
        _: &[(UserId, NotificationId)],
        _: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError> {
        self.fault();
    }

    async fn page(
        &self,
        _: &UserId,
        _: bool,
        _: Option<NotificationId>,
        _: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.fault();
    }

    async fn mark_read(
        &self,
        _: &UserId,
        _: Which,
        _: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        self.fault();
    }

    async fn remove(&self, _: NotificationId) -> Result<Option<Removed>, StoreError> {
        self.fault();
    }

    async fn remove_undelivered(
        &self,
        _: &UserId,
        _: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.fault();
    }

    async fn unread(&self, _: &UserId) -> Result<u64, StoreError> {
        self.fault();
    }
}

/// Records outcomes.
#[derive(Default)]
struct Witness(Mutex<Vec<Outcome>>);

#[async_trait]
impl Outcomes for Witness {
    async fn ended(&self, ended: Vec<Ended>) {
        self.0.lock().unwrap().extend(ended.iter().map(|end| end.outcome));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_stops_neither_the_timer_nor_a_flush_nor_other_observers() {
    let clock = virtual_clock();
    let (registry, builder) = builder(&clock);
    let (faulty, witness) = (Arc::new(Faulty::default()), Arc::new(Witness::default()));
    let delivery = builder.outcomes(faulty.clone()).outcomes(witness.clone()).start().unwrap();
    let brief = |n| Notification { ttl: Some(Ttl::from_secs(1)), ..popup(n, &clock) };
    for n in 1..=3 {
        // They expire one after the other: the timer goes on.
        drop(delivery.send(brief(n)).await.unwrap());
        pass(Duration::from_secs(2)).await;
    }
    assert_eq!(*witness.0.lock().unwrap(), [Outcome::Expired; 3]);
    // One ends in a flush, on arrival: the flush gives its hold back.
    drop(
        delivery.send(Notification { topic: Some("t".parse().unwrap()), ..popup(4, &clock) }).await,
    );
    registry.0.lock().unwrap().insert(ada(), Vec::new());
    delivery.arrived(&ada());
    pass(Duration::from_millis(1)).await;
    delivery.acknowledged(&ada(), popup(4, &clock).id);
    let receipt = delivery.send(popup(5, &clock)).await.unwrap();
    pass(Duration::from_millis(1)).await;
    delivery.acknowledged(&ada(), receipt.id());
    assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    pass(Duration::from_millis(1)).await;
    assert_eq!(witness.0.lock().unwrap().len(), 5);
    assert_eq!((delivery.panics(), faulty.0.load(SeqCst)), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_panics_counts_as_unavailable() {
    let clock = virtual_clock();
    let (registry, builder) = builder(&clock);
    let kept = Rule { policy: Policy::Inbox, ..Rule::default() };
    let promoted = Rule { on_expiry: OnExpiry::Inbox, ttl: Ttl::from_secs(1), ..Rule::default() };
    let kinds = [("kept".parse().unwrap(), kept), ("promoted".parse().unwrap(), promoted)];
    let rules = Rules { kinds: kinds.into(), ..Rules::default() };
    let delivery = builder.rules(rules).inbox(Arc::new(Faulty::default())).start().unwrap();
    let of_kind = |kind: &str, n| Notification { kind: kind.parse().unwrap(), ..popup(n, &clock) };
    assert!(delivery.send(of_kind("kept", 1)).await.is_err());
    drop(delivery.send(of_kind("promoted", 2)).await.unwrap());
    pass(Duration::from_secs(2)).await;
    let receipt = delivery.send(popup(3, &clock)).await.unwrap();
    registry.0.lock().unwrap().insert(ada(), Vec::new());
    delivery.arrived(&ada());
    pass(Duration::from_millis(1)).await;
    delivery.acknowledged(&ada(), receipt.id());
    assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    assert!(delivery.panics() >= 3, "writing, promoting and loading");
    assert!(delivery.read(&ada(), Which::All).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_of_presence_the_push_finds_out() {
    for strategy in [Strategy::Wake, Strategy::Poll] {
        let clock = virtual_clock();
        let registry = Arc::new(Registry::default());
        let presence = Arc::new(Faulty::default());
        let rule = Rule { policy: Policy::Deferred(strategy), ..Rule::default() };
        let delivery = Delivery::builder(presence, registry.clone(), clock.clone())
            .rules(Rules { default: rule, ..Rules::default() })
            .start()
            .unwrap();
        let receipt = delivery.send(popup(1, &clock)).await.unwrap();
        registry.0.lock().unwrap().insert(ada(), Vec::new());
        delivery.arrived(&ada());
        pass(Duration::from_secs(1)).await;
        delivery.acknowledged(&ada(), receipt.id());
        assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    }
}

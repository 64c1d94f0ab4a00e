//! Stories: what a delivery notes of a notification, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use doorstep_application::delivery::{Delivery, OnExpiry, Overflow, Policy, Rule, Rules, Strategy};
use doorstep_application::stories::{Stories, StoryLimits};
use doorstep_domain::ports::{Chronicle, MockPusher, PushError, Pushed};
use doorstep_domain::{ConnectionRef, Notification, SentBy, Step, Topic, Ttl};

use crate::support::{Door, VirtualClock, ada, deferred, pass, popup, virtual_clock};

const LAPTOP: ConnectionRef = ConnectionRef { id: 1, transport: "websocket" };

struct World {
    door: Door,
    clock: Arc<VirtualClock>,
    stories: Arc<Stories>,
    delivery: Arc<Delivery>,
}

/// A delivery whose one connection notes what it is pushed, like the transports do.
fn world(rule: Rule) -> World {
    let (door, clock) = (Door::default(), virtual_clock());
    let stories = Arc::new(Stories::new(StoryLimits::default(), clock.clone()));
    let mut pusher = MockPusher::new();
    let chronicle = stories.clone();
    pusher.expect_push().returning(move |n, attempt, _| {
        let attempt = attempt.number();
        chronicle.note(&n.user_id, n.id, Step::Pushed { connection: LAPTOP, attempt });
        Ok::<_, PushError>(Pushed::InFlight)
    });
    pusher.expect_retract().returning(|_, _, _| ());
    let delivery = Delivery::builder(Arc::new(door.presence()), Arc::new(pusher), clock.clone())
        .rules(Rules { default: rule, ..Rules::default() })
        .chronicle(stories.clone())
        .start()
        .unwrap();
    World { door, clock, stories, delivery: Arc::new(delivery) }
}

impl World {
    fn popup(&self, n: u128) -> Notification {
        popup(n, &self.clock)
    }

    async fn send(&self, n: Notification) {
        let by = SentBy::Key("shop".into());
        let policy = self.delivery.rule_of(&n.kind).policy;
        let _ = self.delivery.accept_from(by, policy, n).await;
    }

    fn arrive(&self) {
        self.door.set(true);
        self.delivery.arrived(&ada());
    }

    /// Each step with its second since the first one.
    fn told(&self, n: u128) -> Vec<(u64, String)> {
        let Some(story) = self.stories.of(self.popup(n).id) else { return Vec::new() };
        story.steps.iter().map(|step| (step.after.as_secs(), step.to_string())).collect()
    }
}

fn lines<const N: usize>(expected: [(u64, &str); N]) -> Vec<(u64, String)> {
    expected.map(|(second, text)| (second, text.to_owned())).to_vec()
}

const RECEIVED: (u64, &str) = (0, "received from key shop, policy deferred");

#[tokio::test(start_paused = true)]
async fn one_that_waits_is_pushed_twice_and_acknowledged() {
    let world = world(deferred(Strategy::Wake));
    world.send(world.popup(1)).await;
    pass(Duration::from_secs(3)).await;
    world.arrive();
    // The first push is not acknowledged within ten seconds.
    pass(Duration::from_secs(12)).await;
    world.delivery.acknowledged(&ada(), world.popup(1).id);
    pass(Duration::from_secs(1)).await;
    assert_eq!(
        world.told(1),
        lines([
            RECEIVED,
            (3, "pushed to connection 1 (websocket)"),
            (13, "pushed again to connection 1 (websocket), attempt 2"),
            (15, "delivered"),
        ])
    );
    let summary = world.stories.of(world.popup(1).id).unwrap().summary();
    assert_eq!(summary, "delivered, waited 3.0 s, pushed to 1 connection, taken by none");
}

#[tokio::test(start_paused = true)]
async fn one_whose_user_never_comes_expires() {
    for strategy in [Strategy::Wake, Strategy::Poll] {
        let world = world(deferred(strategy));
        world.send(Notification { ttl: Some(Ttl::from_secs(7)), ..world.popup(1) }).await;
        pass(Duration::from_secs(9)).await;
        let expected = lines([RECEIVED, (7, "expired: its TTL ended first")]);
        assert_eq!(world.told(1), expected, "{strategy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_its_sender_takes_back_is_recalled() {
    let world = world(deferred(Strategy::Wake));
    world.send(world.popup(1)).await;
    pass(Duration::from_secs(2)).await;
    world.delivery.recall(world.popup(1).id).await.unwrap();
    let expected = lines([RECEIVED, (2, "recalled: its sender took it back")]);
    assert_eq!(world.told(1), expected);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_replaced_or_for_which_there_is_no_room_says_so() {
    let rule = Rule { max_per_user: 1, overflow: Overflow::Reject, ..deferred(Strategy::Wake) };
    let world = world(rule);
    let topic: Option<Topic> = Some("price".parse().unwrap());
    world.send(Notification { topic: topic.clone(), ..world.popup(1) }).await;
    pass(Duration::from_secs(1)).await;
    world.send(Notification { topic, ..world.popup(2) }).await;
    world.send(world.popup(3)).await;
    let replaced = lines([RECEIVED, (1, "replaced by a newer one of its topic")]);
    assert_eq!(world.told(1), replaced);
    assert_eq!(world.told(2), lines([RECEIVED]), "it waits");
    assert_eq!(world.told(3), lines([RECEIVED, (0, "rejected: mailbox full")]));
}

#[tokio::test(start_paused = true)]
async fn what_the_program_sends_itself_is_told_apart() {
    let rule = Rule { policy: Policy::Immediate, on_expiry: OnExpiry::Drop, ..Rule::default() };
    let world = world(rule);
    drop(world.delivery.send(world.popup(1)).await.unwrap());
    let received = (0, "received from this server, policy immediate");
    assert_eq!(world.told(1), lines([received, (0, "expired: its TTL ended first")]));
}

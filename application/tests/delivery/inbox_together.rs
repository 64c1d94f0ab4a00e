//! What many senders send to the inbox is written together.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

use doorstep_application::delivery::{
    Acceptance, Delivery, NotAccepted, Policy, Refused, Rule, Rules,
};
use doorstep_application::events_to_notifications::{Notifier, PositionClosedPolicies};
use doorstep_domain::ports::{
    EnteredBy, EventHandler, Inbox, InboxItem, MockIds, MockInbox, MockPresence, MockPusher,
    Pushed, StoreError,
};
use doorstep_domain::{
    CloseReason, DomainEvent, Notification, Order, Position, PositionId, Side, Timestamp, UserId,
};
use futures_util::future::join_all;
use uuid::Uuid;

use crate::support::{Door, VirtualClock, popup, virtual_clock};

/// Each write, as numbers of notifications.
type Writes = Arc<Mutex<Vec<Vec<u128>>>>;

/// An inbox that notes its writes, and answers each.
fn inbox(answer: fn(&[u128]) -> Result<(), StoreError>) -> (MockInbox, Writes) {
    let (mut inbox, writes) = (MockInbox::new(), Writes::default());
    let noted = writes.clone();
    inbox.expect_add().returning(move |some, by| {
        assert_eq!(by, EnteredBy::Policy);
        let ids: Vec<u128> = some.iter().map(number).collect();
        let answer = answer(&ids);
        noted.lock().unwrap().push(ids);
        answer
    });
    (inbox, writes)
}

fn number(n: &Notification) -> u128 {
    n.id.as_uuid().as_u128()
}

fn keeping_in(inbox: impl Inbox + 'static) -> (Delivery, Arc<VirtualClock>) {
    let clock = virtual_clock();
    let presence = Arc::new(Door::default().presence());
    let delivery = Delivery::builder(presence, Arc::new(MockPusher::new()), clock.clone())
        .rules(Rules {
            default: Rule { policy: Policy::Inbox, ..Rule::default() },
            ..Rules::default()
        })
        .inbox(Arc::new(inbox))
        .start();
    (delivery.unwrap(), clock)
}

#[tokio::test(start_paused = true)]
async fn many_senders_share_a_write_that_keeps_their_order() {
    let (inbox, writes) = inbox(|_| Ok(()));
    let (delivery, clock) = keeping_in(inbox);
    let sent = join_all((1..=1500).map(|n| delivery.send(popup(n, &clock)))).await;
    for receipt in sent {
        assert_eq!(receipt.unwrap().state(), Acceptance::Waiting);
    }
    let (sizes, order): (Vec<usize>, Vec<u128>) = {
        let writes = writes.lock().unwrap();
        (writes.iter().map(Vec::len).collect(), writes.concat())
    };
    assert_eq!(sizes, [1000, 500], "no more than the port takes");
    assert!(order.into_iter().eq(1..=1500), "in order, each once");
    let _ = delivery.send(popup(2000, &clock)).await.unwrap();
    assert_eq!(writes.lock().unwrap().last(), Some(&vec![2000]), "the next one is not forgotten");
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_is_away_refuses_all_and_one_bad_notification_only_itself() {
    let (away, writes) = inbox(|_| Err(StoreError::Unavailable("simulated".into())));
    let (delivery, clock) = keeping_in(away);
    for sent in join_all((1..=3).map(|n| delivery.send(popup(n, &clock)))).await {
        let Err(NotAccepted { why: Refused::Store(error), .. }) = sent else { panic!("{sent:?}") };
        assert_eq!(error.to_string(), "the store is unavailable: simulated");
    }
    assert_eq!(*writes.lock().unwrap(), [[1, 2, 3]], "it is not asked for each of them");

    let (picky, writes) = inbox(|ids| {
        let bad = ids.contains(&2);
        if bad { Err(StoreError::Corrupt("simulated".into())) } else { Ok(()) }
    });
    let (delivery, clock) = keeping_in(picky);
    let sent = join_all((1..=3).map(|n| delivery.send(popup(n, &clock)))).await;
    let fine: Vec<bool> = sent.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, false, true]);
    assert_eq!(*writes.lock().unwrap(), [vec![1, 2, 3], vec![1], vec![2], vec![3]]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_not_written() {
    let (inbox, writes) = inbox(|_| Ok(()));
    let (delivery, clock) = keeping_in(inbox);
    tokio::select! {
        biased;
        _ = delivery.send(popup(1, &clock)) => panic!("the write has not begun"),
        () = std::future::ready(()) => {}
    }
    let _ = delivery.send(popup(2, &clock)).await.unwrap();
    assert_eq!(*writes.lock().unwrap(), [[2]]);
}

/// A position that was closed for this reason.
fn closed(user: &str, n: u128, reason: CloseReason) -> Arc<DomainEvent> {
    let order = Order {
        symbol: "BTC-USD".parse().unwrap(),
        side: Side::Long,
        quantity: "0.5".parse().unwrap(),
        stop_loss: None,
        take_profit: None,
    };
    let (id, price) = (PositionId::new(Uuid::from_u128(n)), "100".parse().unwrap());
    let user: UserId = user.parse().unwrap();
    let open = Position::open(id, user, order, price, Timestamp::default()).unwrap();
    let position = Box::new(open.closed_at(price, reason, Timestamp::default()));
    Arc::new(DomainEvent::PositionClosed { position, number: NonZeroU64::MIN })
}

#[tokio::test(start_paused = true)]
async fn popups_of_a_busy_market_share_a_write_and_each_user_gets_theirs_in_order() {
    let clock = virtual_clock();
    let (mut inbox, writes) = inbox(|_| Ok(()));
    inbox.expect_undelivered().times(1).returning(|user, _| {
        let notification = Notification { user_id: user.clone(), ..popup(1, &virtual_clock()) };
        Ok(vec![InboxItem { notification, by: EnteredBy::Policy, read_at: None }])
    });
    inbox.expect_undelivered().returning(|_, _| Ok(Vec::new()));
    inbox.expect_mark_delivered().returning(|_, _| Ok(Vec::new()));
    let shown = Writes::default();
    let (mut presence, mut pusher) = (MockPresence::new(), MockPusher::new());
    presence.expect_is_online().returning(|user| user.to_string() == "ada");
    let noted = shown.clone();
    pusher.expect_push().returning(move |n, _, _| {
        noted.lock().unwrap().push(vec![number(n)]);
        Ok(Pushed::Written)
    });
    let delivery = Delivery::builder(Arc::new(presence), Arc::new(pusher), clock.clone())
        .inbox(Arc::new(inbox))
        .start();
    let mut ids = MockIds::new();
    let mut next = 0;
    ids.expect_next().returning(move || {
        next += 1;
        Uuid::from_u128(next)
    });
    let notifier = Notifier::new(Arc::new(delivery.unwrap()), clock, Arc::new(ids))
        .position_closed(PositionClosedPolicies::default());
    let results = notifier
        .handle_together(&[
            closed("ada", 1, CloseReason::StopLoss),
            closed("ben", 2, CloseReason::TakeProfit),
            // Deferred, for a user with nothing on the way to the inbox: it waits for nobody.
            closed("cleo", 3, CloseReason::User),
            closed("cleo", 4, CloseReason::StopLoss),
            // Deferred, after one that is on the way to the inbox: that one first.
            closed("ada", 5, CloseReason::User),
            // Of another user: it need not wait for that.
            closed("ben", 6, CloseReason::Liquidated),
            // After one that waits, so not before it.
            closed("ada", 7, CloseReason::StopLoss),
            closed("ben", 8, CloseReason::StopLoss),
        ])
        .await;
    assert!(results.len() == 8 && results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(*writes.lock().unwrap(), [vec![1, 2, 4, 6, 8], vec![7]]);
    assert_eq!(*shown.lock().unwrap(), [[1], [5]]);
}

//! Any schedule of publishers and a stop: the order is kept, and nothing is lost.

use std::{collections::HashSet, sync::Arc};

use doorstep_domain::ports::PublishError;
use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};
use tokio::task::yield_now;

use super::{Does, FOLLOW_UP, Recorder, event, start};

/// The input of the property test: arbitrary sizes and moments.
#[derive(Debug, Clone)]
struct Schedule {
    queue: usize,
    /// How often each publisher yields before each of its events.
    publishers: Vec<Vec<u8>>,
    /// How often the test yields before it stops the bus.
    stop_after: u16,
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let publisher = prop::collection::vec(0_u8..4, 0..40);
    (1_usize..6, prop::collection::vec(publisher, 1..5), 0_u16..120)
        .prop_map(|(queue, publishers, stop_after)| Schedule { queue, publishers, stop_after })
}

/// Runs publishers, handlers of every kind and a stop, in an arbitrary interleaving. `witness` wants every event,
/// so the others must agree with the order that it saw.
async fn play(schedule: Schedule) -> Result<(), TestCaseError> {
    let witness = Arc::new(Recorder::new());
    let relay =
        Arc::new(Recorder { wants: |n| n < FOLLOW_UP, does: |_| Does::Follow, ..Recorder::new() });
    let troubled = Arc::new(Recorder {
        wants: |n| n % 3 != 0,
        does: |n| if n % 2 == 0 { Does::Fail } else { Does::Panic },
        ..Recorder::new()
    });
    let slow =
        Arc::new(Recorder { wants: |n| n % 2 == 0, does: |_| Does::Yield, ..Recorder::new() });
    let handlers = [&witness, &relay, &troubled, &slow];
    let (bus, events) = start(schedule.queue, &handlers);

    let publishers = schedule.publishers.iter().zip(0_i64..).map(|(yields, publisher)| {
        let (events, yields) = (Arc::clone(&events), yields.clone());
        tokio::spawn(async move {
            let mut taken = Vec::new();
            for (yields, n) in yields.into_iter().zip(0_i64..) {
                for _ in 0..yields {
                    yield_now().await;
                }
                let number = publisher * 1_000 + n;
                match events.publish(event(number)).await {
                    Ok(()) => taken.push(number),
                    Err(PublishError::Stopped) => break,
                }
            }
            taken
        })
    });
    let publishers: Vec<_> = publishers.collect();
    for _ in 0..schedule.stop_after {
        yield_now().await;
    }
    bus.stop().await;

    let order = witness.seen();
    let unique: HashSet<_> = order.iter().copied().collect();
    prop_assert_eq!(unique.len(), order.len(), "an event came twice");
    let mut taken = HashSet::new();
    for publisher in publishers {
        let own = publisher.await.unwrap();
        let positions: Vec<_> =
            own.iter().map(|n| order.iter().position(|seen| seen == n)).collect();
        prop_assert!(positions.iter().all(Option::is_some), "an event that was taken is lost");
        prop_assert!(positions.is_sorted(), "a publisher's events overtook each other");
        taken.extend(own.iter().copied().chain(own.iter().map(|n| n + FOLLOW_UP)));
    }
    prop_assert_eq!(unique, taken, "what came is not what was taken, with all that follows");
    for handler in handlers {
        let wanted: Vec<_> = order.iter().copied().filter(|n| (handler.wants)(*n)).collect();
        prop_assert_eq!(handler.seen(), wanted, "a handler saw another order");
    }
    for (stats, handler) in bus.stats().iter().zip(handlers) {
        let all = usize::try_from(stats.handled + stats.failed + stats.panicked).unwrap();
        prop_assert_eq!((all, stats.queued), (handler.seen().len(), 0));
    }
    Ok(())
}

#[test]
fn any_schedule_keeps_order_and_loses_nothing() {
    let config = ProptestConfig {
        cases: 300,
        rng_seed: RngSeed::Fixed(20),
        failure_persistence: None,
        ..Default::default()
    };
    // One thread, on which only the schedule decides what runs next: a seed gives the same run again.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    TestRunner::new(config)
        .run(&schedules(), |schedule| runtime.block_on(play(schedule)))
        .unwrap_or_else(|error| panic!("{error}"));
}

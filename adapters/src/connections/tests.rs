//! The registry without a transport.

use std::sync::Arc;
use std::time::Duration;

use doorstep_application::delivery::Delivery;
use doorstep_application::{Caller, LetInBy};
use doorstep_domain::{SystemClock, Timestamp, TokenHash, UserId};
use uuid::Uuid;

use super::{
    ConnectionRefusal, ConnectionSettings, Connections, DisconnectReason, Newcomer, Pace,
    Registered, Transport,
};

#[tokio::test]
async fn a_refused_connection_leaves_no_trace() {
    let settings =
        ConnectionSettings { max_per_user: 1, max_per_address: 2, ..ConnectionSettings::default() };
    let connections = Arc::new(Connections::new(settings));
    let clock = Arc::new(SystemClock::start());
    let delivery = Delivery::builder(connections.clone(), connections.clone(), clock);
    let delivery = Arc::new(delivery.start().unwrap());
    // One limit for all transports: this user connects over both.
    let register = |user: u128, transport| {
        let caller = Caller {
            user_id: UserId::from(Uuid::from_u128(user)),
            session: TokenHash::new([1; 32]),
            by: LetInBy::Session,
            expires_at: Timestamp::MAX,
        };
        let client = crate::http::ClientAddress::UNKNOWN;
        let newcomer = Newcomer { transport, caller: &caller, client, pace: Pace::new() };
        connections.register(newcomer, delivery.clone())
    };
    let first = register(1, Transport::WebSocket).unwrap();
    assert_eq!(register(1, Transport::Sse).err(), Some(ConnectionRefusal::User));
    let second = register(2, Transport::Sse).unwrap();
    assert_eq!(register(3, Transport::WebSocket).err(), Some(ConnectionRefusal::Address));
    assert_eq!(connections.count(), 2);
    drop(first);
    let third = register(3, Transport::WebSocket).unwrap();
    drop((second, third));
    assert_eq!(connections.count(), 0);
    assert_eq!(connections.stop(Duration::from_secs(1)).await, 0);
    assert_eq!(register(1, Transport::WebSocket).err(), Some(ConnectionRefusal::Stopping));
}

/// A node with this many connections, each of a user of its own.
fn with_connections(
    count: u128,
) -> (Arc<Connections>, impl Fn(u128) -> Result<Registered, ConnectionRefusal>) {
    let settings = ConnectionSettings {
        max_per_address: 100_000,
        max_streams: 100_000,
        ..ConnectionSettings::default()
    };
    let connections = Arc::new(Connections::new(settings));
    let clock = Arc::new(SystemClock::start());
    let delivery = Delivery::builder(connections.clone(), connections.clone(), clock);
    let delivery = Arc::new(delivery.start().unwrap());
    let registry = connections.clone();
    let register = move |user: u128| {
        let caller = Caller {
            user_id: UserId::from(Uuid::from_u128(user)),
            session: TokenHash::new([1; 32]),
            by: LetInBy::Session,
            expires_at: Timestamp::MAX,
        };
        let client = crate::http::ClientAddress::UNKNOWN;
        let transport = Transport::ALL[usize::from(user.is_multiple_of(2))];
        let newcomer = Newcomer { transport, caller: &caller, client, pace: Pace::new() };
        registry.register(newcomer, delivery.clone())
    };
    for user in 0..count {
        let registered = register(user).unwrap();
        // As a transport does: it holds the registration until it is asked to close.
        connections.tasks.spawn(async move {
            let reason = registered.link().connection().closed().await;
            registered.end(reason);
        });
    }
    (connections, register)
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_many_evenly_and_refuses_newcomers() {
    const ALL: usize = 20_000;
    const TENTH: Duration = Duration::from_secs(1);
    let (connections, register) = with_connections(ALL as u128);
    tokio::task::yield_now().await;
    let draining = connections.clone();
    let drain = tokio::spawn(async move { draining.drain(TENTH * 10).await });
    let mut before = ALL;
    for tenth in 0..9 {
        tokio::time::sleep(TENTH).await;
        let closed = before - connections.count();
        assert!((ALL / 10 - 50..=ALL / 10 + 50).contains(&closed), "{closed} in tenth {tenth}");
        before = connections.count();
        assert_eq!(register(7).err(), Some(ConnectionRefusal::Stopping));
    }
    tokio::time::sleep(TENTH + TENTH / 10).await;
    assert!(drain.is_finished());
    assert_eq!(connections.count(), 0);
    assert_eq!(connections.ended_by(DisconnectReason::Restart), ALL as u64);
}

#[tokio::test(start_paused = true)]
async fn fewer_connections_are_closed_in_less_time() {
    for (count, millis) in [(0, 0), (1, 1), (101, 101), (2000, 2000), (5000, 3000)] {
        let (connections, _) = with_connections(count);
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        connections.drain(Duration::from_secs(3)).await;
        // The clock of the tests counts milliseconds.
        let took = begun.elapsed().as_millis();
        assert!((millis..=millis + 1).contains(&took), "{count} took {took} ms");
        assert_eq!(connections.stop(Duration::from_secs(1)).await, 0);
        assert_eq!(u128::from(connections.ended_by(DisconnectReason::Restart)), count);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_those_who_have_gone() {
    let (connections, _) = with_connections(50_000);
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    let leaving = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        connections.close_all();
    };
    tokio::join!(connections.drain(Duration::from_mins(1)), leaving);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

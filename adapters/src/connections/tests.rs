//! The registry without a transport.

use std::sync::Arc;
use std::time::Duration;

use doorstep_application::delivery::Delivery;
use doorstep_application::{Caller, LetInBy};
use doorstep_domain::{Timestamp, TokenHash, UserId};
use uuid::Uuid;

use super::{ConnectionRefusal, ConnectionSettings, Connections, Newcomer, Pace, Transport};
use crate::system::SystemClock;

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

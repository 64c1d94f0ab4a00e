//! The habits of simulated users.

use std::time::Duration;

use crate::client::Protocol;

/// How a user connects and disconnects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habit {
    pub(super) protocol: Protocol,
    /// From the registration to the first connection.
    pub(super) connect_after: Duration,
    /// How many connections are open at once.
    pub(super) tabs: u32,
    /// About how long a connection lasts.
    pub(super) stays: Duration,
    /// About how long the user is offline between two connections; far below the TTL of 60 s.
    pub(super) away: Duration,
}

impl Habit {
    /// The habit of the user with this number.
    pub(super) fn of(number: u32) -> Self {
        let habit = |protocol, connect_after, tabs, stays, away| Self {
            protocol,
            connect_after: Duration::from_millis(connect_after),
            tabs,
            stays: Duration::from_millis(stays),
            away: Duration::from_millis(away),
        };
        let (acks, plain) = (Protocol::Acks, Protocol::Plain);
        match number % 5 {
            // Connects at once, and stays.
            0 => habit(acks, 0, 1, 3_600_000, 0),
            // Connects late.
            1 => habit(acks, 3_000, 1, 20_000, 1_000),
            // Comes and goes.
            2 => habit(acks, 500, 1, 2_000, 1_500),
            // Three tabs.
            3 => habit(acks, 1_000, 3, 8_000, 500),
            // An old front end that does not acknowledge. It stays connected, because a notification that is written to a
            // closing socket counts as delivered.
            _ => habit(plain, 2_000, 1, 3_600_000, 0),
        }
    }
}

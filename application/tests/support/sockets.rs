use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use doorstep_domain::ports::{Attempt, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{Notification, Timestamp, UserId};
use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

/// Your registry of live connections: here one per user, with a bounded queue in place of a socket.
#[derive(Default)]
struct Sockets(Mutex<HashMap<UserId, Sender<Notification>>>);

impl Sockets {
    fn users(&self) -> MutexGuard<'_, HashMap<UserId, Sender<Notification>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, user: &UserId) -> Receiver<Notification> {
        let (queue, frames) = mpsc::channel(4);
        self.users().insert(user.clone(), queue);
        frames
    }

    fn disconnect(&self, user: &UserId) {
        self.users().remove(user);
    }
}

#[async_trait::async_trait]
impl Presence for Sockets {
    async fn is_online(&self, user: &UserId) -> bool {
        self.users().contains_key(user)
    }
}

#[async_trait::async_trait]
impl Pusher for Sockets {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        let queue = self.users().get(&n.user_id).cloned();
        Ok(match queue.map(|queue| queue.try_send(n.clone())) {
            // The client will acknowledge. For one that does not: `Written`.
            Some(Ok(())) => Pushed::InFlight,
            Some(Err(TrySendError::Full(_))) => Pushed::Full,
            Some(Err(TrySendError::Closed(_))) | None => Pushed::Nobody,
        })
    }
}

//! A registry of live connections of one's own, in one file, with delivery on top of it: a user who is away, a client
//! that leaves without an acknowledgement, and a burst that is larger than the connection's queue.
//!
//! `cargo run -p doorstep-application --example own_registry`

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use doorstep_application::delivery::{Acceptance, Delivery};
use doorstep_domain::ports::{Attempt, Clock, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{
    Notification, NotificationId, Outcome, Payload, SystemClock, Timestamp, UserId,
};
use tokio::sync::mpsc;

/// How many frames wait for one connection.
const QUEUE: usize = 4;

/// The live connections of every user.
#[derive(Default)]
struct Registry(Mutex<HashMap<UserId, Vec<Connection>>>);

/// One connection: in a server, a task empties the queue into a socket.
struct Connection {
    queue: mpsc::Sender<Notification>,
    /// What it got and has not acknowledged, with the attempt.
    got: HashMap<NotificationId, Attempt>,
}

impl Registry {
    fn users(&self) -> MutexGuard<'_, HashMap<UserId, Vec<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Presence for Registry {
    async fn is_online(&self, user: &UserId) -> bool {
        let open = |connection: &Connection| !connection.queue.is_closed();
        self.users().get(user).is_some_and(|connections| connections.iter().any(open))
    }
}

#[async_trait]
impl Pusher for Registry {
    async fn push(
        &self,
        notification: &Notification,
        attempt: Attempt,
        _deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        let mut users = self.users();
        let connections = users.entry(notification.user_id.clone()).or_default();
        connections.retain(|connection| !connection.queue.is_closed());
        if connections.is_empty() {
            users.remove(&notification.user_id);
            return Ok(Pushed::Nobody);
        }
        let mut taken = false;
        for connection in connections {
            // It is not sent twice in one attempt, but its acknowledgement is still outstanding.
            let has_it = connection.got.get(&notification.id).is_some_and(|got| *got >= attempt);
            if has_it || connection.queue.try_send(notification.clone()).is_ok() {
                connection.got.insert(notification.id, attempt);
                taken = true;
            }
        }
        // A connection that is only full is never `Nobody`.
        Ok(if taken { Pushed::InFlight } else { Pushed::Full })
    }
}

/// What a transport does around the registry.
struct Transport {
    registry: Arc<Registry>,
    delivery: Delivery,
}

/// The other end of a connection.
struct Client {
    user: UserId,
    frames: mpsc::Receiver<Notification>,
}

impl Transport {
    /// A client connects. The registry knows the connection before delivery hears of it.
    fn connect(&self, user: &UserId) -> Client {
        let (queue, frames) = mpsc::channel(QUEUE);
        let connection = Connection { queue, got: HashMap::new() };
        self.registry.users().entry(user.clone()).or_default().push(connection);
        self.delivery.arrived(user);
        Client { user: user.clone(), frames }
    }

    /// The client reads one frame, so its queue has room for another.
    async fn read(&self, client: &mut Client) -> Option<Notification> {
        let frame = client.frames.recv().await?;
        self.delivery.ready(&client.user);
        Some(frame)
    }

    /// The client acknowledges.
    fn acknowledge(&self, client: &Client, id: NotificationId) {
        if let Some(connections) = self.registry.users().get_mut(&client.user) {
            for connection in connections {
                connection.got.remove(&id);
            }
        }
        self.delivery.acknowledged(&client.user, id);
    }

    /// The connection ends. The registry forgets it before delivery hears of it.
    fn disconnect(&self, client: Client) {
        drop(client.frames);
        self.delivery.departed(&client.user);
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let (registry, clock) = (Arc::new(Registry::default()), Arc::new(SystemClock::start()));
    let delivery = Delivery::builder(registry.clone(), registry.clone(), clock.clone()).start()?;
    let transport = Transport { registry, delivery };
    let ada: UserId = "ada".parse()?;
    let message = |text: &str| -> Result<Notification, Box<dyn Error>> {
        let (id, payload) = (NotificationId::now_v7(), Payload::new(text)?);
        Ok(Notification::new(id, ada.clone(), "message".parse()?, payload, clock.wall()))
    };

    let receipt = transport.delivery.send(message("hello")?).await?;
    assert_eq!(receipt.state(), Acceptance::Waiting);
    println!("Ada is away: 'hello' waits.");

    let mut client = transport.connect(&ada);
    let first = transport.read(&mut client).await.ok_or("the connection ended")?;
    transport.disconnect(client);
    println!("Ada got {} and was gone before she acknowledged it.", first.payload.as_str());

    let mut client = transport.connect(&ada);
    let again = transport.read(&mut client).await.ok_or("the connection ended")?;
    assert_eq!(again.id, first.id);
    transport.acknowledge(&client, again.id);
    let outcome = receipt.outcome().await;
    assert_eq!(outcome, Some(Outcome::Delivered));
    println!("Ada came back and got it again, with the same id: it is delivered.");

    for number in 0..20 {
        drop(transport.delivery.send(message(&number.to_string())?).await?);
    }
    for number in 0..20 {
        let frame = transport.read(&mut client).await.ok_or("the connection ended")?;
        assert_eq!(frame.payload, Payload::new(&number.to_string())?);
        transport.acknowledge(&client, frame.id);
    }
    assert_eq!(transport.delivery.ended(Outcome::Delivered), 21);
    println!("A burst of 20 went through a queue of {QUEUE}, in order, and nothing was lost.");
    Ok(())
}

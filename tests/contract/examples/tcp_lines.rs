//! A transport of one's own, from nothing: lines of text over TCP, with a registry of its connections.
//!
//! | the client sends | the server sends |
//! | --- | --- |
//! | `hello TOKEN`, first | `welcome`, or it closes |
//! | `ack ID` | `ID PAYLOAD` for each notification |
//!
//! `cargo run -p doorstep-contract --example tcp_lines`

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::Delivery;
use doorstep_application::{Authenticator, Caller, LetInBy, NotAuthenticated};
use doorstep_domain::ports::{Attempt, Clock, Presence, PushError, Pushed, Pusher, StoreError};
use doorstep_domain::{
    Notification, NotificationId, Outcome, Payload, SystemClock, Timestamp, TokenHash, UserId,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// More wait until one of these ends.
const MAX_CONNECTIONS: usize = 1_000;
/// How many notifications wait for one connection's socket.
const QUEUE: usize = 32;
/// A client's longest line, in bytes.
const MAX_LINE: u64 = 1_000;
/// How long a client may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// A socket that takes nothing for this long is closed: what waits for it goes to the user's next connection.
const TAKES_WITHIN: Duration = Duration::from_secs(30);

/// The live connections of every user.
#[derive(Default)]
pub(crate) struct Registry(Mutex<HashMap<UserId, Vec<Connection>>>);

struct Connection {
    number: u64,
    /// A task writes these to the socket, each until its deadline.
    queue: mpsc::Sender<(Notification, Timestamp)>,
    /// What it got and has not acknowledged, with the attempt.
    got: HashMap<NotificationId, Attempt>,
    /// It was full when something came. Until it has room it gets nothing, so that it gets all in order.
    missed: Arc<AtomicBool>,
}

impl Registry {
    fn users(&self) -> MutexGuard<'_, HashMap<UserId, Vec<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Presence for Registry {
    async fn is_online(&self, user: &UserId) -> bool {
        self.users().contains_key(user)
    }
}

#[async_trait]
impl Pusher for Registry {
    async fn push(
        &self,
        n: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        let mut users = self.users();
        let Some(connections) = users.get_mut(&n.user_id) else { return Ok(Pushed::Nobody) };
        let mut taken = false;
        for connection in connections {
            taken |= connection.take(n, attempt, deadline);
        }
        // A connection that is only full is never `Nobody`.
        Ok(if taken { Pushed::InFlight } else { Pushed::Full })
    }
}

impl Connection {
    /// Queues it, and returns whether this connection has it now.
    fn take(&mut self, n: &Notification, attempt: Attempt, deadline: Timestamp) -> bool {
        if self.got.get(&n.id).is_some_and(|got| *got >= attempt) {
            return true;
        }
        // Set before the try: when it fails, the task that makes room is sure to see it.
        if self.missed.swap(true, Ordering::SeqCst) {
            return false;
        }
        let queued = self.queue.try_send((n.clone(), deadline)).is_ok();
        if queued {
            self.missed.store(false, Ordering::SeqCst);
            self.got.insert(n.id, attempt);
        }
        queued
    }
}

/// Accepts connections, and tells delivery what happens on them.
pub(crate) struct Server {
    pub(crate) registry: Arc<Registry>,
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) who: Arc<dyn Authenticator>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Server {
    /// Serves until the future is dropped, which ends all connections.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let (room, mut connections) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), JoinSet::new());
        while let Ok(place) = room.clone().acquire_owned().await {
            while connections.try_join_next().is_some() {}
            let Ok((socket, _)) = listener.accept().await else {
                // Such as too many open files: it passes.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let server = self.clone();
            connections.spawn(async move {
                server.connection(socket).await;
                drop(place);
            });
        }
    }

    /// One connection, from its first line to its end. `None` is an end too.
    async fn connection(&self, socket: TcpStream) -> Option<()> {
        let (read, mut write) = socket.into_split();
        let mut read = BufReader::new(read);
        let hello = timeout(HELLO_WITHIN, line(&mut read, MAX_LINE)).await.ok()??;
        let caller = self.who.authenticate(hello.strip_prefix("hello ")?).await.ok()??;

        // First the registry knows it, then delivery hears of it. When `here` is dropped, the reverse.
        let (queue, frames) = mpsc::channel(QUEUE);
        let here = Here::enter(self, caller.user_id, queue);
        self.delivery.arrived(&here.user);
        tokio::select! {
            end = here.reads(&mut read) => end,
            end = here.writes(&mut write, frames) => end,
        }
    }
}

/// A connection in the registry. Leaves it when dropped, also if its task is aborted.
struct Here<'a> {
    server: &'a Server,
    user: UserId,
    number: u64,
    missed: Arc<AtomicBool>,
}

impl<'a> Here<'a> {
    fn enter(
        server: &'a Server,
        user: UserId,
        queue: mpsc::Sender<(Notification, Timestamp)>,
    ) -> Self {
        let missed = Arc::new(AtomicBool::new(false));
        let mut users = server.registry.users();
        let theirs = users.entry(user.clone()).or_default();
        let number = theirs.last().map_or(0, |last| last.number + 1);
        let got = HashMap::new();
        theirs.push(Connection { number, queue, got, missed: missed.clone() });
        drop(users);
        Self { server, user, number, missed }
    }

    async fn reads(&self, socket: &mut BufReader<OwnedReadHalf>) -> Option<()> {
        loop {
            let id = line(socket, MAX_LINE).await?.strip_prefix("ack ")?.parse().ok()?;
            // All connections forget it: what is acknowledged is not pushed again.
            for connection in self.server.registry.users().get_mut(&self.user)? {
                connection.got.remove(&id);
            }
            self.server.delivery.acknowledged(&self.user, id);
        }
    }

    async fn writes(
        &self,
        socket: &mut OwnedWriteHalf,
        mut frames: mpsc::Receiver<(Notification, Timestamp)>,
    ) -> Option<()> {
        write(socket, "welcome\n").await?;
        loop {
            let (n, deadline) = frames.recv().await?;
            if self.missed.swap(false, Ordering::SeqCst) {
                // There is room again: what it missed is pushed, also what another connection took.
                self.server.delivery.arrived(&self.user);
            }
            // What is over is not shown.
            if self.server.clock.now() < deadline {
                // Between the parts of JSON a new line is a space, and inside of them there is none.
                let payload = n.payload.as_str().replace(['\n', '\r'], " ");
                write(socket, &format!("{} {payload}\n", n.id)).await?;
            }
        }
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        let mut users = self.server.registry.users();
        if let Some(theirs) = users.get_mut(&self.user) {
            theirs.retain(|connection| connection.number != self.number);
            if theirs.is_empty() {
                users.remove(&self.user);
            }
        }
        drop(users);
        self.server.delivery.departed(&self.user);
    }
}

/// The next line. `None` at the end, and for a line that is too long.
async fn line(socket: &mut BufReader<OwnedReadHalf>, longest: u64) -> Option<String> {
    let mut line = String::new();
    socket.take(longest).read_line(&mut line).await.ok()?;
    line.strip_suffix('\n').map(str::to_owned)
}

async fn write(socket: &mut OwnedWriteHalf, text: &str) -> Option<()> {
    timeout(TAKES_WITHIN, socket.write_all(text.as_bytes())).await.ok()?.ok()
}

/// Lets everybody in: a token is the name of its user. Yours asks a database, or checks a signature.
pub(crate) struct Names;

#[async_trait]
impl Authenticator for Names {
    async fn authenticate(&self, token: &str) -> Result<Option<Caller>, NotAuthenticated> {
        Ok(token.parse().ok().map(|user_id| Caller {
            user_id,
            session: TokenHash::new([0; 32]),
            by: LetInBy::SignedToken,
            expires_at: Timestamp::MAX,
        }))
    }

    async fn is_alive(&self, _: &Caller) -> Result<bool, StoreError> {
        Ok(true)
    }
}

/// The other end of a connection.
pub(crate) struct Client {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Client {
    /// A payload has at most 64 KiB.
    const MAX_LINE: u64 = 100_000;

    /// Connects, and returns once the server has let it in.
    pub(crate) async fn connect(address: SocketAddr, token: &str) -> Option<Self> {
        let (read, write) = TcpStream::connect(address).await.ok()?.into_split();
        let mut client = Self { read: BufReader::new(read), write };
        write_line(&mut client.write, &format!("hello {token}")).await?;
        (line(&mut client.read, Self::MAX_LINE).await? == "welcome").then_some(client)
    }

    /// The next notification: its id and its payload.
    pub(crate) async fn next(&mut self) -> Option<(NotificationId, String)> {
        let line = line(&mut self.read, Self::MAX_LINE).await?;
        let (id, payload) = line.split_once(' ')?;
        Some((id.parse().ok()?, payload.to_owned()))
    }

    /// Acknowledges it.
    pub(crate) async fn acknowledge(&mut self, id: NotificationId) -> Option<()> {
        write_line(&mut self.write, &format!("ack {id}")).await
    }

    /// Leaves, and returns once the server has closed too.
    pub(crate) async fn close(mut self) {
        drop(self.write);
        while line(&mut self.read, Self::MAX_LINE).await.is_some() {}
    }
}

async fn write_line(socket: &mut OwnedWriteHalf, text: &str) -> Option<()> {
    write(socket, &format!("{text}\n")).await
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let (registry, clock) = (Arc::new(Registry::default()), Arc::new(SystemClock::start()));
    let delivery = Delivery::builder(registry.clone(), registry.clone(), clock.clone()).start()?;
    let delivery = Arc::new(delivery);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (who, server_s_clock) = (Arc::new(Names), clock.clone());
    let server = Server { registry, delivery: delivery.clone(), who, clock: server_s_clock };
    let serving = tokio::spawn(Arc::new(server).serve(listener));

    // Ada is away: it waits for her.
    let (id, payload) = (NotificationId::now_v7(), Payload::new("hello")?);
    let hello = Notification::new(id, "ada".parse()?, "greeting".parse()?, payload, clock.wall());
    let receipt = delivery.send(hello).await?;

    let mut ada = Client::connect(address, "ada").await.ok_or("she is not let in")?;
    let (came, payload) = ada.next().await.ok_or("the connection ended")?;
    assert_eq!((came, payload.as_str()), (id, "\"hello\""));
    ada.acknowledge(id).await.ok_or("the connection ended")?;
    assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    println!("Ada came later, and has {payload}.");
    ada.close().await;
    serving.abort();
    Ok(())
}

//! The contract of live connections, on real sockets: WebSocket, Server-Sent Events, and both for the same user.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use doorstep::composition::{Core, CoreParts};
use doorstep_adapters::connections::{ConnectionSettings, Connections};
use doorstep_adapters::http::{self, AllowedOrigins, ServerSettings};
use doorstep_adapters::system::NothingKept;
use doorstep_adapters::websocket::WebSocketSettings;

use doorstep_application::delivery::{Delivery, Limits, Rules, SharedLog};
use doorstep_application::{Authenticator, Caller, LetInBy, NotAuthenticated};
use doorstep_domain::ports::{Chronicle, Clock, ConnectionControl, Presence, Pusher, StoreError};
use doorstep_domain::{NotificationId, SystemClock, Timestamp, TokenHash, UserId, V7Ids};
use doorstep_tests::client::{Socket, User};
use doorstep_tests::contract::{DoorUnderTest, presence_and_pusher};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::sse::Stream;

/// A token is the name of its user.
struct Names;

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

/// By which transport clients come.
#[derive(Clone, Copy)]
pub(crate) enum By {
    WebSocket,
    Stream,
    Turns,
}

/// The door of the service, without a store.
pub(crate) struct Door {
    by: By,
    url: String,
    opened: AtomicUsize,
    pub(crate) connections: Arc<Connections>,
    pub(crate) delivery: Arc<Delivery>,
    clock: Arc<dyn Clock>,
    stopping: CancellationToken,
}

/// What a door has that belongs to a cluster.
pub(crate) struct Joined {
    pub(crate) shared: SharedLog,
    pub(crate) chronicle: Arc<dyn Chronicle>,
}

impl Door {
    async fn alone(by: By) -> Arc<Self> {
        Self::start(by, Arc::new(SystemClock::start()), Rules::default(), None).await
    }

    /// Starts one, alone or as a node of a cluster.
    pub(crate) async fn start(
        by: By,
        clock: Arc<dyn Clock>,
        rules: Rules,
        joined: Option<Joined>,
    ) -> Arc<Self> {
        let (shared, chronicle) = joined.map(|joined| (joined.shared, joined.chronicle)).unzip();
        let (core, wiring) = Core::new(CoreParts {
            clock: clock.clone(),
            ids: Arc::new(V7Ids),
            inbox: None,
            handover: None,
            readiness: Arc::new(NothingKept),
            observers: Vec::new(),
            witnesses: Vec::new(),
            shared,
            chronicle,
            rules,
            limits: Limits::default(),
            connections: ConnectionSettings { outbox_frames: 32, ..ConnectionSettings::default() },
            websocket: WebSocketSettings::default(),
            allowed_origins: AllowedOrigins::default(),
        })
        .unwrap();
        drop(wiring.start());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = core.receiving(&[], Arc::new(Names)).into_endpoints();
        let settings = ServerSettings::default();
        tokio::spawn(http::serve(listener, routes, settings, core.stopping.clone()));
        Arc::new(Self {
            by,
            url,
            opened: AtomicUsize::new(0),
            connections: core.connections.clone(),
            delivery: core.delivery.clone(),
            clock,
            stopping: core.stopping.clone(),
        })
    }

    /// Waits until the user has this many connections.
    async fn count_is(&self, user: &UserId, count: usize) {
        let counted = async {
            while self.connections.count_of(user) != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), counted).await.expect("it is noticed");
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

pub(crate) struct Client {
    pub(crate) user: UserId,
    transport: ClientTransport,
}

enum ClientTransport {
    WebSocket(Box<Socket>),
    Stream(Box<Stream>),
}

#[async_trait]
impl DoorUnderTest for Door {
    type Client = Client;

    fn presence(&self) -> Arc<dyn Presence> {
        self.connections.clone()
    }

    fn pusher(&self) -> Arc<dyn Pusher> {
        self.connections.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn delivery(&self) -> Arc<Delivery> {
        self.delivery.clone()
    }

    async fn open(&self, user: &UserId) -> Client {
        let before = self.connections.count_of(user);
        let number = self.opened.fetch_add(1, Relaxed);
        let name = user.to_string();
        let who = User::with_token(&self.url, &name, &name);
        let streams =
            matches!(self.by, By::Stream) || matches!(self.by, By::Turns) && number % 2 == 1;
        let transport = if streams {
            ClientTransport::Stream(Box::new(Stream::at(&self.url, &who, None).await))
        } else {
            ClientTransport::WebSocket(Box::new(who.connect("doorstep.v1").await))
        };
        self.count_is(user, before + 1).await;
        Client { user: user.clone(), transport }
    }

    async fn shown(&self, client: &mut Client) -> NotificationId {
        let id = match &mut client.transport {
            ClientTransport::WebSocket(socket) => loop {
                let frame = socket.try_notification().await.expect("it is open");
                // In a cluster, one that another connection acknowledged is taken away.
                if frame["type"] == "notification" {
                    break frame["id"].as_str().unwrap().to_owned();
                }
            },
            ClientTransport::Stream(stream) => stream.next().await.expect("it is open").id,
        };
        id.parse().unwrap()
    }

    async fn acknowledge(&self, client: &mut Client, id: NotificationId) {
        if let ClientTransport::WebSocket(socket) = &mut client.transport {
            socket.acknowledge(&json!({"id": id.to_string()})).await;
        }
    }

    async fn close(&self, client: Client) {
        let before = self.connections.count_of(&client.user);
        drop(client.transport);
        self.count_is(&client.user, before - 1).await;
    }

    /// The frames of the server, and what the sockets of both sides take.
    fn fills_after(&self) -> Option<usize> {
        Some(4_000)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_keep_the_contract() {
    presence_and_pusher(Door::alone(By::WebSocket).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_keep_the_contract() {
    presence_and_pusher(Door::alone(By::Stream).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_together_keep_the_contract() {
    presence_and_pusher(Door::alone(By::Turns).await).await;
}

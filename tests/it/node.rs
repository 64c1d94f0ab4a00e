//! A whole node inside the test's process: real store, real bus, real sockets on a free port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use doorstep::composition::{Core, CoreParts, Routes};
use doorstep_adapters::api::assets::{self, Asset};
use doorstep_adapters::api::{accounts, sessions, users};
use doorstep_adapters::bus::Bus;
use doorstep_adapters::connections::{self, Connections};
use doorstep_adapters::http::{self, AddressLimit, AllowedOrigins, Rate, Router, ServerSettings};
use doorstep_adapters::security::{Argon2Passwords, HashingLimits, RandomTokens};
use doorstep_adapters::sql::{Store, connect};
use doorstep_adapters::websocket::WebSocketSettings;
use doorstep_application::accounts::AccountViews;
use doorstep_application::delivery::{Delivery, Limits, Rules, Stopped};
use doorstep_application::events_to_notifications::Notifier;
use doorstep_application::registration::{Registration, RegistrationParts};
use doorstep_application::rewards::{RewardParts, Rewards};
use doorstep_application::sign_ins::{SignInParts, SignIns};
use doorstep_domain::ports::{Clock, EventHandler, Handover, Ids, Inbox, PasswordHasher};
use doorstep_domain::{
    Kind, Notification, NotificationId, Payload, RewardRules, SystemClock, Timestamp, UserId, V7Ids,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The time of day, which a test can advance.
pub(crate) struct MovableClock {
    real: SystemClock,
    moved_micros: AtomicU64,
}

impl MovableClock {
    pub(crate) fn forward(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap();
        self.moved_micros.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        self.real.now() + Duration::from_micros(self.moved_micros.load(Ordering::SeqCst))
    }
}

/// The options of a node.
pub(crate) struct Options {
    pub(crate) websocket: WebSocketSettings,
    pub(crate) rate: Rate,
    pub(crate) server: ServerSettings,
    pub(crate) connections: connections::ConnectionSettings,
    pub(crate) hashing: HashingLimits,
    /// Whether events become notifications.
    pub(crate) notifications: bool,
    pub(crate) rules: Rules,
    pub(crate) limits: Limits,
    /// The database's URL.
    pub(crate) database: String,
    /// Wraps the store's inbox before delivery gets it.
    pub(crate) inbox: fn(Arc<Store>) -> Arc<dyn Inbox>,
    /// Whether a stop hands waiting notifications over to the store.
    pub(crate) handover: bool,
    /// An additional handler on the bus.
    pub(crate) handler: Option<Arc<dyn EventHandler>>,
    /// Additional routes.
    pub(crate) more: Router,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            websocket: WebSocketSettings::default(),
            rate: Rate { per_second: 0, burst: 0 },
            server: ServerSettings::default(),
            connections: connections::ConnectionSettings::default(),
            hashing: HashingLimits::default(),
            notifications: true,
            rules: Rules::default(),
            limits: Limits::default(),
            database: "sqlite::memory:".to_owned(),
            inbox: |store| store,
            handover: true,
            handler: None,
            more: Router::new(),
        }
    }
}

/// A running node.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<MovableClock>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) bus: Bus,
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) stopping: CancellationToken,
    pub(crate) server: JoinHandle<()>,
    http: reqwest::Client,
}

/// A user who has just registered over HTTP.
pub(crate) struct Registered {
    pub(crate) id: UserId,
    pub(crate) token: String,
}

pub(crate) const PASSWORD: &str = "correct horse";

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let store = Arc::new(connect(&options.database).await.unwrap());
        let clock =
            Arc::new(MovableClock { real: SystemClock::start(), moved_micros: AtomicU64::new(0) });
        let the_clock: Arc<dyn Clock> = clock.clone();
        let ids: Arc<dyn Ids> = Arc::new(V7Ids);
        let passwords: Arc<dyn PasswordHasher> =
            Arc::new(Argon2Passwords::new(options.hashing).unwrap());

        let (core, wiring) = Core::new(CoreParts {
            chronicle: None,
            clock: clock.clone(),
            ids: ids.clone(),
            inbox: Some((options.inbox)(store.clone())),
            handover: options.handover.then(|| store.clone() as Arc<dyn Handover>),
            readiness: store.clone(),
            observers: Vec::new(),
            witnesses: Vec::new(),
            shared: None,
            rules: options.rules,
            limits: options.limits,
            connections: options.connections,
            websocket: options.websocket,
            allowed_origins: AllowedOrigins::default(),
        })
        .unwrap();
        let (connections, delivery) = (core.connections.clone(), core.delivery.clone());
        let events = core.events.clone();
        let rewards = Rewards::new(RewardParts {
            accounts: store.clone(),
            positions: store.clone(),
            events: events.clone(),
            clock: the_clock.clone(),
            ids: ids.clone(),
            rules: RewardRules::default(),
        });
        let mut wiring = wiring.handler(Arc::new(rewards));
        if options.notifications {
            wiring = wiring.handler(Arc::new(Notifier::new(
                delivery.clone(),
                the_clock.clone(),
                ids.clone(),
            )));
        }
        if let Some(handler) = options.handler {
            wiring = wiring.handler(handler);
        }
        let bus = wiring.start();
        core.measure(&bus).unwrap();
        delivery.take_up().await.unwrap();

        let session_ttl = Duration::from_hours(1);
        let registration = Registration::new(RegistrationParts {
            accounts: store.clone(),
            passwords: passwords.clone(),
            tokens: Arc::new(RandomTokens),
            clock: the_clock.clone(),
            ids,
            events,
            session_ttl,
        });
        let sign_ins = SignIns::new(SignInParts {
            accounts: store.clone(),
            sessions: store.clone(),
            passwords,
            tokens: Arc::new(RandomTokens),
            clock: the_clock.clone(),
            session_end: connections.clone(),
            session_ttl,
        });
        let limit = AddressLimit::new(options.rate, "limits.test");
        let page = Asset {
            path: "/",
            content_type: "text/html; charset=utf-8",
            body: b"<!doctype html><title>Doorstep</title>",
        };
        let views = AccountViews::new(store.clone(), Some(store.clone()));
        let more = users::router(registration, limit.clone())
            .merge(sessions::router(sign_ins.clone(), limit))
            .merge(accounts::router(views, sign_ins.clone()))
            .merge(core.metrics_router())
            .merge(assets::router(&[page]))
            .merge(options.more);
        let routes =
            core.receiving(&[], sign_ins.into()).merge(Routes::hidden(more)).into_endpoints();
        let stopping = core.stopping.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = http::serve(listener, routes, options.server, stopping.clone());
        let server = tokio::spawn(serving);
        let http = reqwest::Client::new();
        Self { address, store, clock, connections, bus, delivery, stopping, server, http }
    }

    /// `http://ADDR`, for clients.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops in the same order as the service: the transports, the events under way, the waiting notifications, and
    /// last the events that this has raised.
    pub(crate) async fn stop(self, patience: Duration) -> Stopped {
        self.stopping.cancel();
        self.connections.stop(patience / 5).await;
        self.bus.quiet().await;
        let stopped = self.delivery.stop(patience).await;
        self.bus.stop().await;
        self.store.disconnect().await;
        stopped
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    /// POSTs JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    /// GETs with a token, and expects success.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Value {
        let response = self.request(Method::GET, path).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    pub(crate) async fn register(&self, username: &str) -> Registered {
        let body = json!({"username": username, "password": PASSWORD});
        let response = self.post("/v1/users", &body).await;
        assert_eq!(response.status(), 201);
        let body: Value = response.json().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Registered { id: text(&body["user"]["id"]).parse().unwrap(), token: text(&body["token"]) }
    }

    /// A notification for this user, with this many bytes of payload.
    pub(crate) fn notification(&self, user: &UserId, bytes: usize) -> Notification {
        Notification {
            id: NotificationId::new(V7Ids.next()),
            user_id: user.clone(),
            kind: "test".parse::<Kind>().unwrap(),
            topic: None,
            payload: Payload::new(&"x".repeat(bytes)).unwrap(),
            created_at: self.clock.now(),
            ttl: None,
            trace: None,
        }
    }
}

/// Waits until a condition holds; fails after a minute.
pub(crate) async fn eventually(what: &str, mut come_about: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_mins(1), async {
        while !come_about().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

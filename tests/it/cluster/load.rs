//! A load: one backend that publishes to all nodes, and users who read at all nodes.
//!
//! For each user a sender publishes one notification after the other, each under its own id, and sends it again to the
//! next node until it is accepted. A reader is connected to one node, acknowledges what it is shown, and goes to the next
//! node when its connection ends. A receiver takes the webhooks of all nodes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use doorstep_tests::client::User;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Nodes;
use crate::backends::token;
use crate::node::eventually;

/// The pace of a sender, and the pause before it sends something again, or a reader connects again.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a sender waits for an answer before it asks another node.
const PATIENCE: Duration = Duration::from_secs(15);

/// What happened so far.
#[derive(Default)]
struct Seen {
    /// Where nodes listen. One may be gone.
    urls: Vec<String>,
    /// What was accepted.
    accepted: HashSet<String>,
    /// How often each was shown.
    shown: HashMap<String, usize>,
    /// What the webhooks told, by their ids: a repeated one counts once.
    told: BTreeMap<String, Vec<(String, String)>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    /// Requests that were refused, or had no answer.
    refused: AtomicUsize,
    /// Connections that readers have opened.
    connections: AtomicUsize,
    stop_sending: CancellationToken,
    stop_reading: CancellationToken,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of one of the nodes: of another one for the next number.
    fn url(&self, number: usize) -> String {
        let seen = self.seen();
        seen.urls[number % seen.urls.len()].clone()
    }
}

/// Receives the webhooks.
pub(super) struct Receiver(TcpListener);

impl Receiver {
    pub(super) async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The settings of nodes that tell it, and that let many notifications wait for long.
    pub(super) fn settings(&self) -> String {
        let address = self.0.local_addr().unwrap();
        format!(
            "[delivery]\nttl = \"10m\"\nack_timeout = \"1m\"\nmax_per_user = 60000\n\
             [webhook]\nurl = \"http://{address}/\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n"
        )
    }
}

/// A load that runs.
pub(super) struct Load {
    shared: Arc<Shared>,
    senders: JoinSet<()>,
    readers: JoinSet<()>,
    users: Vec<String>,
    key: String,
}

impl Load {
    /// Starts it: users with this rule, who are called by their names.
    pub(super) async fn start(nodes: &Nodes, receiver: Receiver, users: &[(&str, &str)]) -> Self {
        let shared = Arc::<Shared>::default();
        shared.seen().urls = nodes.urls();
        let hook = {
            let shared = shared.clone();
            post(async move |headers: HeaderMap, body: Bytes| {
                let id = headers["webhook-id"].to_str().unwrap().to_owned();
                let message: Value = serde_json::from_slice(&body).unwrap();
                let ended = message["data"]["notifications"].as_array().unwrap();
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let ended = ended.iter().map(|one| (text(&one["id"]), text(&one["outcome"])));
                shared.seen().told.insert(id, ended.collect());
            })
        };
        tokio::spawn(async move {
            axum::serve(receiver.0, Router::new().route("/", hook)).await.unwrap();
        });
        let mut load = Self {
            shared,
            senders: JoinSet::new(),
            readers: JoinSet::new(),
            users: users.iter().map(|(user, _)| (*user).to_owned()).collect(),
            key: nodes.backend(0).key.clone(),
        };
        for (number, (user, policy)) in users.iter().enumerate() {
            let (user, policy) = ((*user).to_owned(), (*policy).to_owned());
            load.readers.spawn(read(load.shared.clone(), user.clone(), number));
            let key = load.key.clone();
            load.senders.spawn(send(load.shared.clone(), key, user, policy, number));
        }
        load.goes_on().await;
        load
    }

    /// From now on every user reads at two nodes, and acknowledges at both.
    pub(super) fn read_twice(&mut self) {
        for (number, user) in self.users.iter().enumerate() {
            self.readers.spawn(read(self.shared.clone(), user.clone(), number + 1));
        }
    }

    /// Nodes listen here from now on.
    pub(super) fn moved(&self, nodes: &Nodes) {
        self.shared.seen().urls = nodes.urls();
    }

    /// Waits until every user has been shown some more.
    pub(super) async fn goes_on(&self) {
        let enough = self.shared.seen().shown.len() + 20 * self.users.len();
        eventually("the load goes on", async || self.shared.seen().shown.len() >= enough).await;
    }

    /// Waits until this many requests more were refused.
    pub(super) async fn is_refused(&self, times: usize) {
        let enough = self.shared.refused.load(Relaxed) + times;
        eventually("nothing is accepted", async || self.shared.refused.load(Relaxed) >= enough)
            .await;
    }

    /// How many connections the readers have opened.
    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Relaxed)
    }

    /// Ends it. Everything that was accepted must have been shown, and have ended as delivered. Returns the ids.
    pub(super) async fn end(mut self) -> Told {
        self.shared.stop_sending.cancel();
        while let Some(sender) = self.senders.join_next().await {
            sender.unwrap();
        }
        let missing = || -> Vec<String> {
            let seen = self.shared.seen();
            seen.accepted.iter().filter(|id| !seen.shown.contains_key(*id)).cloned().collect()
        };
        let all_shown = tokio::time::timeout(Duration::from_secs(40), async {
            while !missing().is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        });
        let in_time = all_shown.await.is_ok();
        let missing = missing();
        assert!(in_time, "never shown: {missing:?}");
        self.shared.stop_reading.cancel();
        while let Some(reader) = self.readers.join_next().await {
            reader.unwrap();
        }
        let accepted = self.shared.seen().accepted.clone();
        let shown: HashSet<_> = self.shared.seen().shown.keys().cloned().collect();
        assert_eq!(shown, accepted, "nothing else was shown");
        Told { shared: self.shared.clone(), accepted }
    }
}

/// What the webhooks told about a load that has ended.
pub(super) struct Told {
    shared: Arc<Shared>,
    pub(super) accepted: HashSet<String>,
}

impl Told {
    /// Waits until everything was told to have been delivered, each once.
    pub(super) async fn all_once(&self) {
        eventually("every outcome is told", async || self.outcomes().len() == self.accepted.len())
            .await;
        self.at_most_once();
    }

    /// Nothing was told twice, and nothing but `delivered`.
    pub(super) fn at_most_once(&self) {
        for (id, outcomes) in self.outcomes() {
            assert_eq!(outcomes, ["delivered"], "{id}");
            assert!(self.accepted.contains(&id), "{id}");
        }
    }

    fn outcomes(&self) -> HashMap<String, Vec<String>> {
        let mut outcomes: HashMap<_, Vec<_>> = HashMap::new();
        for (id, outcome) in self.shared.seen().told.values().flatten() {
            outcomes.entry(id.clone()).or_default().push(outcome.clone());
        }
        outcomes
    }
}

/// Publishes for one user until it is told to stop; what it has begun, it sends until it is accepted.
async fn send(shared: Arc<Shared>, key: String, user: String, policy: String, number: usize) {
    let http = reqwest::Client::new();
    let mut node = number;
    for n in 0.. {
        if shared.stop_sending.is_cancelled() {
            return;
        }
        let id = Uuid::now_v7().to_string();
        let draft = json!({
            "id": id, "user_id": user, "kind": "news", "policy": policy, "payload": {"n": n}
        });
        // One after the other at another node, and so is each repeat.
        node += 1;
        while !is_accepted(&http, &shared.url(node), &key, &draft).await {
            shared.refused.fetch_add(1, Relaxed);
            node += 1;
            tokio::time::sleep(PAUSE).await;
        }
        shared.seen().accepted.insert(id);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Publishes it. Returns false if it is to be sent again.
async fn is_accepted(http: &reqwest::Client, url: &str, key: &str, draft: &Value) -> bool {
    let request = http.post(format!("{url}/v1/notifications")).bearer_auth(key).json(draft);
    // Without an answer, it may have been accepted.
    let Ok(response) = request.timeout(PATIENCE).send().await else { return false };
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let Ok(answer) = response.json::<Value>().await else { return false };
    if status == 503 {
        assert!(headers.contains_key("retry-after"), "{answer}");
        return false;
    }
    assert_eq!(status, 202, "{answer}");
    let result = &answer["notifications"][0];
    let word = |field: &str| result[field].as_str().unwrap_or_default().to_owned();
    match (&*word("state"), &*word("reason")) {
        ("waiting" | "in_flight" | "delivered", _) => true,
        ("rejected", "inbox_away" | "cluster_away" | "stopping") => false,
        _ => panic!("{answer}"),
    }
}

/// Reads what one user is shown, and acknowledges it.
async fn read(shared: Arc<Shared>, user: String, number: usize) {
    for node in number.. {
        if shared.stop_reading.is_cancelled() {
            return;
        }
        let there = User::with_token(&shared.url(node), &user, &token(&user));
        let Ok(mut socket) = there.try_connect("doorstep.v1").await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        shared.connections.fetch_add(1, Relaxed);
        let mut last = None;
        loop {
            let frame = tokio::select! {
                biased;
                () = shared.stop_reading.cancelled() => return,
                frame = socket.try_notification() => frame,
            };
            let Some(frame) = frame else { break };
            if frame["type"] != "notification" {
                continue;
            }
            // On one connection everything comes once, and in the order in which it was accepted.
            let n = frame["payload"]["n"].as_u64();
            assert!(n > last, "{user}: {n:?} after {last:?}");
            last = n;
            let id = frame["id"].as_str().unwrap().to_owned();
            *shared.seen().shown.entry(id).or_default() += 1;
            // If the node has gone, it comes again.
            socket.try_acknowledge(&frame).await.ok();
        }
    }
}

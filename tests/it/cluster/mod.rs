//! Several nodes: real processes, a real NATS server, real sockets.

mod away;
mod contract;
mod cut_off;
mod database;
mod hints;
mod kept;
mod kills;
mod late;
mod load;
mod makers;
mod nats_restarts;
mod outcomes;
mod paused;
mod peers;
mod prices;
mod refusals;
mod replicas;
mod restarts;
mod rolling;
mod sign_out;
mod slow;

use doorstep_tests::client::User;
use doorstep_tests::nats::NatsServer;
use doorstep_tests::server::{Doorstep, Finished, Server};
use serde_json::{Value, json};

use crate::backends::{BARE, Backend, Door, token};
use crate::node::eventually;

/// Nodes that share a log. They keep nothing.
pub(crate) struct Nodes {
    nats: Vec<NatsServer>,
    doors: Vec<Door>,
    config: String,
}

impl Nodes {
    /// Starts this many, each ready.
    async fn start(count: usize) -> Self {
        Self::with(count, "").await
    }

    /// Starts this many, with more settings, each ready.
    pub(crate) async fn with(count: usize, more: &str) -> Self {
        let nats = NatsServer::start();
        let url = nats.url();
        Self::through(vec![nats], &url, count, &format!("{BARE}\n{more}")).await
    }

    /// Starts this many with these settings, each ready. They reach NATS, of which each server has a
    /// replica, at these addresses.
    async fn through(nats: Vec<NatsServer>, url: &str, count: usize, settings: &str) -> Self {
        let replicas = nats.len();
        let config = format!("{settings}\n[cluster]\nnats = \"{url}\"\nreplicas = {replicas}\n");
        let first = Door::with(&config).await;
        let mut nodes = Self { nats, doors: vec![first], config };
        while nodes.doors.len() < count {
            nodes.add().await;
        }
        for node in 0..count {
            nodes.is_ready(node).await;
        }
        nodes
    }

    /// Starts one more, with the keys of the first.
    async fn add(&mut self) {
        self.add_with(Doorstep::new(&["--listen", "127.0.0.1:0"])).await;
    }

    /// The same, with a prepared call.
    async fn add_with(&mut self, call: Doorstep) {
        let first = &self.doors[0];
        let text = std::fs::read_to_string(first.call.dir().join("doorstep.toml")).unwrap();
        assert!(text.contains(&self.config));
        let call = call.file("doorstep.toml", &text);
        let server = call.start().await;
        let backend = first.backend.at(server.url());
        self.doors.push(Door { call, server, backend });
    }

    /// Ends this node with `end`, and starts another in its place. Returns what the old one
    /// said. The new one has another address, and may not be ready.
    async fn replace(
        &mut self,
        node: usize,
        end: impl AsyncFnOnce(Server) -> Finished,
    ) -> Finished {
        let Door { call, server, backend } = self.doors.remove(node);
        let finished = end(server).await;
        let server = call.start().await;
        let backend = backend.at(server.url());
        self.doors.insert(node, Door { call, server, backend });
        finished
    }

    /// The addresses of all nodes.
    fn urls(&self) -> Vec<String> {
        self.doors.iter().map(|door| door.server.url().to_owned()).collect()
    }

    pub(crate) fn server(&self, node: usize) -> &Server {
        &self.doors[node].server
    }

    pub(crate) fn backend(&self, node: usize) -> &Backend {
        &self.doors[node].backend
    }

    fn user(&self, node: usize, id: &str) -> User {
        User::with_token(self.server(node).url(), id, &token(id))
    }

    /// Publishes at this node. Returns the id and the state.
    async fn publish(&self, node: usize, draft: Value) -> (String, String) {
        let answers = self.backend(node).publish(&draft).await;
        let text = |field: &str| answers[0][field].as_str().unwrap().to_owned();
        (text("id"), text("state"))
    }

    /// Waits until the node says that it is ready.
    async fn is_ready(&self, node: usize) {
        self.says(node, (200, "ready")).await;
    }

    /// Waits until the readiness of the node is this.
    async fn says(&self, node: usize, expected: (u16, &str)) {
        becomes_ready(self.server(node), expected).await;
    }

    /// Waits until the state of a notification, asked of this node, is this.
    async fn becomes(&self, node: usize, id: &str, state: &str) {
        eventually(&format!("{id} is {state} at node {node}"), async || {
            self.backend(node).state(id).await["state"] == state
        })
        .await;
    }
}

/// Waits until the readiness of a node is this.
async fn becomes_ready(server: &Server, expected: (u16, &str)) {
    let url = format!("{}/health/ready", server.url());
    eventually(&format!("{url} is {expected:?}"), async || {
        let answer = reqwest::get(&url).await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        (status, body["status"].as_str().unwrap_or_default()) == expected
    })
    .await;
}

fn draft(user: &str, n: usize) -> Value {
    json!({"user_id": user, "kind": "order.shipped", "payload": {"n": n}})
}

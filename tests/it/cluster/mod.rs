//! Several nodes: real processes, a real NATS server, real sockets.

mod away;
mod kept;
mod makers;
mod outcomes;
mod peers;
mod prices;
mod refusals;
mod restarts;
mod sign_out;

use std::time::Duration;

use doorstep_tests::client::User;
use doorstep_tests::nats::NatsServer;
use doorstep_tests::server::{Doorstep, Server};
use serde_json::{Value, json};

use crate::backends::{BARE, Backend, Door, token};

/// Nodes that share a log. They keep nothing.
pub(crate) struct Nodes {
    nats: NatsServer,
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
        let config = format!("{BARE}\n{more}[cluster]\nnats = \"{}\"\n", nats.url());
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
        let first = &self.doors[0];
        let call = Doorstep::new(&["--listen", "127.0.0.1:0"]);
        let text = std::fs::read_to_string(first.call.dir().join("doorstep.toml")).unwrap();
        assert!(text.contains(&self.config));
        let call = call.file("doorstep.toml", &text);
        let server = call.start().await;
        let backend = first.backend.at(server.url());
        self.doors.push(Door { call, server, backend });
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
        let url = format!("{}/health/ready", self.server(node).url());
        loop {
            let answer = reqwest::get(&url).await.unwrap();
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.unwrap();
            let said = body["status"].as_str().unwrap_or_default().to_owned();
            if (status, &*said) == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the state of a notification, asked of this node, is this.
    async fn becomes(&self, node: usize, id: &str, state: &str) {
        while self.backend(node).state(id).await["state"] != state {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn draft(user: &str, n: usize) -> Value {
    json!({"user_id": user, "kind": "order.shipped", "payload": {"n": n}})
}

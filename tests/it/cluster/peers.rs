//! What nodes ask each other: who is there, and where a user is connected.

use doorstep_tests::client::User;
use serde_json::{Value, json};

use super::{Nodes, draft};
use crate::node::eventually;

const FEW: &str = "[delivery.kinds.few]\nmax_per_user = 2\n";

impl Nodes {
    /// What a node answers to this question of a backend.
    async fn answers(&self, node: usize, path: &str) -> (u16, Value) {
        let request = reqwest::Client::new().get(format!("{}{path}", self.server(node).url()));
        let answer = request.bearer_auth(&self.backend(node).key).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// How many nodes this one knows, and the state of each.
    async fn known_at(&self, node: usize) -> Vec<String> {
        let (status, cluster) = self.answers(node, "/v1/cluster").await;
        assert_eq!(status, 200, "{cluster}");
        let nodes = cluster["nodes"].as_array().unwrap();
        assert_eq!(nodes[0]["id"], cluster["node"], "the one that was asked is the first");
        nodes.iter().map(|node| node["status"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until every one of these nodes knows of all of them that they are up to date.
    async fn know_each_other(&self, nodes: &[usize]) {
        let all = vec!["up_to_date"; nodes.len()];
        for node in nodes {
            eventually("the nodes know each other", async || self.known_at(*node).await == all)
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_reaches_a_user_who_reads_at_another_node() {
    let nodes = Nodes::with(3, FEW).await;
    nodes.know_each_other(&[0, 1, 2]).await;
    let mut ada = nodes.user(1, "ada").connect("doorstep.v1").await;
    let few = |user: &str, n: usize| json!({"user_id": user, "kind": "few", "payload": n});
    let mut ids = Vec::new();
    for n in 0..20 {
        let (id, state) = nodes.publish(0, few("ada", n)).await;
        assert_ne!(state, "dropped");
        ids.push(id);
    }
    for id in &ids {
        let shown = ada.notification().await;
        assert_eq!(shown["id"], **id, "in order");
        ada.acknowledge(&shown).await;
    }
    for id in &ids {
        nodes.becomes(2, id, "delivered").await;
    }
    // Nobody reads for Bob: the two newest wait.
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(nodes.publish(0, few("bob", n)).await.0);
    }
    for (n, id) in ids.iter().enumerate() {
        nodes.becomes(2, id, if n < 3 { "dropped" } else { "waiting" }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_known_at_every_node() {
    let nodes = Nodes::start(2).await;
    nodes.know_each_other(&[0, 1]).await;
    let is_online = async |node: usize, user: &str| {
        let (_, presence) = nodes.answers(node, &format!("/v1/users/{user}/presence")).await;
        presence["online"].as_bool().unwrap()
    };
    assert!(!is_online(0, "ada").await);
    let ada: User = nodes.user(1, "ada");
    let socket = ada.connect("doorstep.v1").await;
    assert!(is_online(0, "ada").await && is_online(1, "ada").await && !is_online(0, "bob").await);
    let many = json!({"user_ids": ["bob", "ada"]}).to_string();
    let (status, answer) = nodes.backend(0).post("/v1/presence", many).await;
    assert_eq!(status, 200);
    assert_eq!(answer["presence"][0]["online"], false);
    assert_eq!(answer["presence"][1]["online"], true);
    let (_, overview) = nodes.answers(0, "/v1/users/ada").await;
    assert_eq!((&overview["online"], &overview["connections"]), (&true.into(), &0.into()));
    drop(socket);
    eventually("she has left", async || !is_online(0, "ada").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_or_dies_is_known_to_be_gone() {
    let mut nodes = Nodes::start(3).await;
    nodes.know_each_other(&[0, 1, 2]).await;
    nodes.doors.pop().unwrap().server.kill().await;
    nodes.know_each_other(&[0, 1]).await;
    nodes.server(1).terminate();
    nodes.know_each_other(&[0]).await;
    // Nobody is left to answer.
    assert_eq!(nodes.publish(0, draft("ada", 1)).await.1, "waiting");
    let (_, presence) = nodes.answers(0, "/v1/users/ada/presence").await;
    assert_eq!(presence["online"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_do_not_understand_of_each_other_is_ignored() {
    let nodes = Nodes::start(2).await;
    nodes.know_each_other(&[0, 1]).await;
    let client = async_nats::connect(nodes.nats[0].url()).await.unwrap();
    let long = format!("{{\"id\":\"{}\"}}", "x".repeat(5000));
    for bad in ["", "nonsense", "[]", "{\"id\":7}", &long] {
        for subject in ["doorstep-nodes.doorstep.beat", "doorstep-nodes.doorstep.ask"] {
            client
                .publish_with_reply(subject, client.new_inbox(), bad.to_owned().into())
                .await
                .unwrap();
        }
    }
    // A newer version says more, and in words of its own.
    let newer = json!({"id": "new", "name": "n", "status": "dancing", "more": [1]}).to_string();
    client.publish("doorstep-nodes.doorstep.beat", newer.into()).await.unwrap();
    client.flush().await.unwrap();
    eventually("the newer one is known", async || {
        nodes.known_at(0).await.contains(&"dancing".to_owned())
    })
    .await;
    // It does not answer, and is not waited for longer than a moment.
    let (_, presence) = nodes.answers(0, "/v1/users/ada/presence").await;
    assert_eq!(presence["online"], false);
    nodes.know_each_other(&[0, 1]).await;
}

#[tokio::test]
async fn a_node_alone_has_no_cluster() {
    let door = crate::backends::Door::open().await;
    let request = reqwest::Client::new().get(format!("{}/v1/cluster", door.server.url()));
    let answer = request.bearer_auth(&door.backend.key).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    let answer = reqwest::get(format!("{}/v1/cluster", door.server.url())).await.unwrap();
    assert_eq!(answer.status(), 401);
}

//! The promises of delivery (docs/promises.md), one test each, over real sockets and a real store. The simulation
//! tests the promises in many schedules; these tests show that they hold at the wire.

mod bounds;
mod idle;
mod outcomes;
mod pushes;

use std::time::Duration;

use doorstep_application::delivery::{Receipt, Rule, Rules};
use doorstep_domain::{Notification, NotificationId, Ttl, UserId};
use doorstep_tests::client::{Socket, User};
use serde_json::Value;

use crate::node::{Node, Options, eventually};

const ACKS: &str = "doorstep.v1";
const PLAIN: &str = "doorstep.plain.v1";
/// A TTL that a test can wait for.
const SOON: Duration = Duration::from_millis(50);

/// A node that sends only the test's own notifications.
fn quiet() -> Options {
    Options { notifications: false, ..Options::default() }
}

/// The same, with this rule for every kind.
fn ruled(default: Rule) -> Options {
    Options { rules: Rules { default, ..Rules::default() }, ..quiet() }
}

/// A user, and their id as delivery knows it.
async fn registered(node: &Node, name: &str) -> (User, UserId) {
    let user = User::register(&node.url(), name).await;
    let id = user.id.parse().unwrap();
    (user, id)
}

/// Connects, and waits until the node has registered the connection.
async fn connected(node: &Node, user: &User, subprotocol: &str) -> Socket {
    let before = node.connections.count();
    let socket = user.connect(subprotocol).await;
    eventually("it is there", async || node.connections.count() > before).await;
    socket
}

/// Drops the connection, and waits until the node has noticed.
async fn gone(node: &Node, socket: Socket) {
    let before = node.connections.count();
    drop(socket);
    eventually("it is gone", async || node.connections.count() < before).await;
}

async fn send(node: &Node, notification: Notification) -> Receipt {
    node.delivery.send(notification).await.unwrap()
}

fn of_kind(kind: &str, notification: Notification) -> Notification {
    Notification { kind: kind.parse().unwrap(), ..notification }
}

fn with_ttl(ttl: Duration, notification: Notification) -> Notification {
    Notification { ttl: Some(Ttl::new(ttl).unwrap()), ..notification }
}

fn with_topic(topic: &str, notification: Notification) -> Notification {
    Notification { topic: Some(topic.parse().unwrap()), ..notification }
}

fn id_of(frame: &Value) -> NotificationId {
    frame["id"].as_str().unwrap().parse().unwrap()
}

/// The ids of the next `count` notifications.
async fn ids(socket: &mut Socket, count: usize) -> Vec<NotificationId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(id_of(&socket.notification().await));
    }
    ids
}

async fn nothing_waits(node: &Node) {
    eventually("nothing waits", async || node.delivery.held().mailboxes == 0).await;
    let held = node.delivery.held();
    assert_eq!((held.waiting, held.in_flight, held.bytes), (0, 0, 0));
}

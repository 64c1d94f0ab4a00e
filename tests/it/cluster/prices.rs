//! The trading simulation on several nodes: one makes the prices and closes what they cross.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use doorstep_tests::client::User;
use doorstep_tests::nats::NatsServer;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::{Doorstep, Server};
use serde_json::{Value, json};

use super::becomes_ready;
use crate::backends::Door;
use crate::node::eventually;

/// Nodes with users, money and a market.
pub(super) struct Traders {
    pub(super) nats: NatsServer,
    pub(super) doors: Vec<Door>,
    database: String,
}

/// `CLIMB` costs 100, and one more every quarter of a second, for longer than a test takes. `STILL` always costs 100.
fn prices() -> String {
    let mut prices = "symbol,time,price\nSTILL,2026-01-01T00:00:00Z,100\n".to_owned();
    for tick in 0..4800 {
        let (minute, second, millis) = (tick / 240, tick / 4 % 60, tick % 4 * 250);
        let price = 100 + tick;
        writeln!(prices, "CLIMB,2026-01-01T00:{minute:02}:{second:02}.{millis:03}Z,{price}")
            .unwrap();
    }
    prices
}

impl Traders {
    /// Starts this many nodes, each ready, that know each other.
    pub(super) async fn start(count: usize) -> Self {
        let (nats, database) = (NatsServer::start(), Postgres::shared().await.database().await);
        let config = format!(
            "database = {database:?}\n[market]\nsource = \"replay\"\nfile = \"prices.csv\"\n\
             [cluster]\nnats = \"{}\"\n",
            nats.url()
        );
        let call = || Doorstep::new(&["--listen", "127.0.0.1:0"]).file("prices.csv", &prices());
        let first = Door::of(call(), &config).await;
        let text = std::fs::read_to_string(first.call.dir().join("doorstep.toml")).unwrap();
        let mut doors = vec![first];
        while doors.len() < count {
            let call = call().file("doorstep.toml", &text);
            let server = call.start().await;
            let backend = doors[0].backend.at(server.url());
            doors.push(Door { call, server, backend });
        }
        let this = Self { nats, doors, database };
        for node in 0..count {
            becomes_ready(this.server(node), (200, "ready")).await;
            eventually("there is a maker", async || this.makers(node).await.len() == 1).await;
            eventually("all are there", async || this.cluster(node).await.len() == count).await;
        }
        this
    }

    async fn cluster(&self, node: usize) -> Vec<Value> {
        let (status, cluster) = self.doors[node].backend.get("/v1/cluster").await;
        assert_eq!(status, 200, "{cluster}");
        cluster["nodes"].as_array().unwrap().clone()
    }

    /// The ids of those that make the prices, as this node knows them.
    async fn makers(&self, node: usize) -> Vec<String> {
        let nodes = self.cluster(node).await.into_iter();
        let makers = nodes.filter(|node| node["makes_prices"] == true);
        makers.map(|node| node["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Which node makes the prices. A machine that is busy may change that at any time.
    async fn maker(&self) -> usize {
        let mut maker = 0;
        eventually("a node says that it makes the prices", async || {
            for node in 0..self.doors.len() {
                if self.makes_prices(node).await {
                    maker = node;
                    return true;
                }
            }
            false
        })
        .await;
        maker
    }

    /// Whether this node says so of itself.
    async fn makes_prices(&self, node: usize) -> bool {
        self.cluster(node).await[0]["makes_prices"] == true
    }

    pub(super) fn url(&self, node: usize) -> &str {
        self.doors[node].server.url()
    }

    fn server(&self, node: usize) -> &Server {
        &self.doors[node].server
    }

    /// The price of an instrument at this node, and the time of the price.
    async fn quote(&self, node: usize, symbol: &str) -> (f64, String) {
        let url = format!("{}/v1/instruments", self.url(node));
        let all: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        let found = all["instruments"].as_array().unwrap().iter();
        let found = found.clone().find(|one| one["symbol"] == symbol).unwrap();
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        (text("price").parse().unwrap(), text("at"))
    }

    /// Waits until a price, with its time, has been seen at each of these nodes. Returns it.
    async fn agree(&self, nodes: &[usize]) -> f64 {
        let mut seen = vec![BTreeSet::new(); nodes.len()];
        let mut agreed = 0.0;
        eventually("all have had the same price", async || {
            for (node, seen) in nodes.iter().zip(&mut seen) {
                let (price, at) = self.quote(*node, "CLIMB").await;
                seen.insert((at, price.to_string()));
            }
            let at_all = seen[0].iter().find(|one| seen.iter().all(|all| all.contains(*one)));
            agreed = at_all.map_or(0.0, |(_, price)| price.parse().unwrap());
            at_all.is_some()
        })
        .await;
        agreed
    }

    /// Waits until the price at this node has risen from one that it has known to at least another.
    async fn rises(&self, node: usize, from: f64, to: f64) {
        eventually("the price is reached", async || {
            let (price, _) = self.quote(node, "CLIMB").await;
            assert!(price >= from, "it went back from {from} to {price}");
            price >= to
        })
        .await;
    }

    /// Opens a position at this node that is closed when the price has risen by so much. Returns the price at which it is.
    async fn opened(&self, node: usize, user: &User, rise: f64) -> f64 {
        let user = user.clone().at(self.url(node));
        loop {
            let take_profit = self.quote(node, "CLIMB").await.0 + rise;
            let order = json!({
                "symbol": "CLIMB", "side": "long", "quantity": "0.1",
                "take_profit": take_profit.to_string(),
            });
            let (status, position) = user.post("/v1/positions", &order).await;
            match status {
                201 => return take_profit,
                // No price has come yet, or a later one.
                503 | 422 => tokio::time::sleep(A_MOMENT).await,
                _ => panic!("{status} {position}"),
            }
        }
    }

    /// Stops all nodes, and checks the money.
    pub(super) async fn audit(self) {
        for door in self.doors {
            door.server.terminate();
            assert_eq!(door.server.wait().await.code, Some(0));
        }
        let audit = Doorstep::new(&["audit", "--database", &self.database]).run().await;
        assert_eq!(audit.code, Some(0), "{audit:#?}");
    }
}

/// Between two attempts.
const A_MOMENT: Duration = Duration::from_millis(20);

/// A user with money.
async fn ada(url: &str) -> User {
    let ada = User::register(url, "ada").await;
    ada.has("1000.00").await;
    ada
}

/// Waits until one of the user's positions is closed. Returns it, and the price at which it was.
async fn closed(user: &User) -> (Value, f64) {
    let mut closed = None;
    eventually("a position is closed", async || {
        let (_, page) = user.get("/v1/positions?status=closed").await;
        closed = page["positions"].get(0).cloned();
        closed.is_some()
    })
    .await;
    let closed = closed.unwrap();
    let price = closed["exit_price"].as_str().unwrap().parse().unwrap();
    (closed, price)
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_the_same_at_all_nodes_and_go_on_when_their_maker_is_killed() {
    let mut nodes = Traders::start(3).await;
    let before = nodes.agree(&[0, 1, 2]).await;
    let maker = nodes.maker().await;
    let ada = ada(nodes.url(maker)).await;
    let take_profit = nodes.opened(maker, &ada, 8.0).await;
    nodes.doors.remove(maker).server.kill().await;
    // Two are left, which have other numbers now.
    nodes.rises(0, before, before + 4.0).await;
    let (_, price) = closed(&ada.at(nodes.url(0))).await;
    assert!(price >= take_profit, "{price}");
    let before = nodes.agree(&[0, 1]).await;
    // A planned stop hands it over too.
    let maker = nodes.maker().await;
    let last = nodes.doors.remove(maker);
    last.server.terminate();
    assert_eq!(last.server.wait().await.code, Some(0));
    nodes.rises(0, before, before + 4.0).await;
    eventually("the last one makes them", async || nodes.makes_prices(0).await).await;
    nodes.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_any_node_is_closed_by_the_maker_and_its_popup_arrives_at_another() {
    let nodes = Traders::start(3).await;
    let maker = nodes.maker().await;
    let (opens, shows) = ((maker + 1) % 3, (maker + 2) % 3);
    let ada = ada(nodes.url(opens)).await;
    let mut socket = ada.clone().at(nodes.url(shows)).connect("doorstep.v1").await;
    let take_profit = nodes.opened(opens, &ada, 8.0).await;
    let popup = loop {
        let frame = socket.notification().await;
        socket.acknowledge(&frame).await;
        if frame["kind"] == "position.closed" {
            break frame;
        }
    };
    assert_eq!(popup["payload"]["reason"], "take_profit");
    let (closed, price) = closed(&ada).await;
    assert_eq!(popup["payload"]["position_id"], closed["id"]);
    assert!(price >= take_profit, "{price}");
    nodes.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maker_that_was_paused_closes_nothing_and_its_place_is_taken() {
    let nodes = Traders::start(2).await;
    let paused = nodes.maker().await;
    let other = 1 - paused;
    let ada = ada(nodes.url(other)).await;
    let take_profit = nodes.opened(other, &ada, 16.0).await;
    nodes.server(paused).pause();
    // Longer than the lease, and so long that the prices which it has missed reach this one.
    tokio::time::sleep(Duration::from_secs(6)).await;
    eventually("it makes them", async || nodes.makes_prices(other).await).await;
    // Of the time that it has missed it would now make many prices at once.
    nodes.server(paused).resume();
    eventually("it knows", async || !nodes.makes_prices(paused).await).await;
    let (_, price) = closed(&ada).await;
    // It was a price that all knew by then.
    let (now, _) = nodes.quote(other, "CLIMB").await;
    assert!(take_profit <= price && price <= now, "{take_profit} {price} {now}");
    nodes.agree(&[paused, other]).await;
    nodes.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_maker_was_not_told_it_finds_in_the_store() {
    let mut nodes = Traders::start(2).await;
    let maker = nodes.maker().await;
    let other = 1 - maker;
    let ada = ada(nodes.url(other)).await;
    // An order is filled for a moment after NATS has gone.
    let take_profit = loop {
        nodes.opened(other, &ada, 2000.0).await;
        let take_profit = nodes.quote(other, "CLIMB").await.0 + 48.0;
        nodes.nats.kill();
        let order = json!({
            "symbol": "CLIMB", "side": "long", "quantity": "0.1",
            "take_profit": take_profit.to_string(),
        });
        if ada.post("/v1/positions", &order).await.0 == 201 {
            break take_profit;
        }
        nodes.nats.start_again();
    };
    // The maker does not need NATS.
    let (_, price) = closed(&ada).await;
    assert!(price >= take_profit, "{price}");
    nodes.nats.start_again();
    nodes.agree(&[0, 1]).await;
    nodes.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn popups_of_this_node_wait_while_nats_is_away() {
    let mut nodes = Traders::start(2).await;
    let ada = ada(nodes.url(0)).await;
    let mut socket = ada.clone().at(nodes.url(1)).connect("doorstep.v1").await;
    let maker = nodes.maker().await;
    let there = ada.clone().at(nodes.url(maker));
    nodes.nats.kill();
    let still = json!({"symbol": "STILL", "side": "long", "quantity": "1"});
    let mut closed = Vec::new();
    for _ in 0..3 {
        let position = traded(&there, "/v1/positions", &still).await;
        let id = position["id"].as_str().unwrap().to_owned();
        traded(&there, &format!("/v1/positions/{id}/close"), &json!({})).await;
        closed.push(id);
    }
    nodes.nats.start_again();
    let mut shown = Vec::new();
    while shown.len() < closed.len() {
        let popup = socket.notification().await;
        socket.acknowledge(&popup).await;
        if popup["kind"] == "position.closed" {
            shown.push(popup["payload"]["position_id"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(shown, closed, "in order");
    nodes.audit().await;
}

/// Trades at a node that makes prices, again and again until they are current.
async fn traded(user: &User, path: &str, body: &Value) -> Value {
    let mut done = None;
    eventually("the price is current", async || match user.post(path, body).await {
        (503, _) => false,
        (status, answer) => {
            assert!(matches!(status, 200 | 201), "{status} {answer}");
            done = Some(answer);
            true
        }
    })
    .await;
    done.unwrap()
}

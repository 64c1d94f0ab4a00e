//! Trading over the wire: the real server, with prices from a file.

use std::fmt::Write as _;

use doorstep_tests::client::User;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::{Doorstep, Server, SqliteFile};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// `STILL` always costs 100. `SAW` falls from 100 to 80 and rises again, four times per second for a minute.
async fn server(database: &str) -> Server {
    let mut prices = "symbol,time,price\nSTILL,2026-01-01T00:00:00Z,100\n".to_owned();
    for tick in 0..240 {
        let price = if tick % 2 == 0 { 100 } else { 80 };
        let (second, millis) = (tick / 4, tick % 4 * 250);
        writeln!(prices, "SAW,2026-01-01T00:00:{second:02}.{millis:03}Z,{price}").unwrap();
    }
    Doorstep::serve(database)
        .env("DOORSTEP_MARKET__SOURCE", "replay")
        .env("DOORSTEP_MARKET__FILE", "prices.csv")
        .file("prices.csv", &prices)
        .start()
        .await
}

async fn ada(server: &Server) -> User {
    let user = User::register(server.url(), "ada").await;
    user.has("1000.00").await;
    user
}

fn order(quantity: &str) -> Value {
    json!({ "symbol": "STILL", "side": "long", "quantity": quantity })
}

fn id(position: &Value) -> &str {
    position["id"].as_str().unwrap()
}

async fn close(user: &User, position: &str) -> (u16, Value) {
    user.post(&format!("/v1/positions/{position}/close"), &json!({})).await
}

async fn audit(server: Server, database: &str) {
    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));
    let audit = Doorstep::new(&["audit", "--database", database]).run().await;
    assert_eq!(audit.code, Some(0), "{audit:#?}");
}

#[tokio::test]
async fn a_position_is_opened_shown_closed_and_rewarded() {
    let file = SqliteFile::new();
    let server = server(&file.url()).await;
    let user = ada(&server).await;
    let mut socket = user.connect("doorstep.plain.v1").await;
    assert_eq!(socket.kinds(2).await, ["welcome", "reward.granted"]);

    let full = json!({
        "symbol": "STILL", "side": "short", "quantity": "0.5",
        "stop_loss": "110", "take_profit": null,
    });
    let (status, position) = user.post("/v1/positions", &full).await;
    assert_eq!(status, 201, "{position}");
    for (field, expected) in [
        ("symbol", "STILL"),
        ("side", "short"),
        ("quantity", "0.50"),
        ("fill_price", "100.00"),
        ("stop_loss", "110.00"),
        ("cost", "50.00"),
        ("status", "open"),
    ] {
        assert_eq!(position[field], expected, "{field}");
    }
    assert_eq!(position["take_profit"], Value::Null);
    assert_eq!(user.balance().await, "950.00");
    let (_, open) = user.get("/v1/positions?status=open").await;
    assert_eq!(open, json!({ "positions": [position], "next": null }));

    let (status, closed) = close(&user, id(&position)).await;
    assert_eq!(status, 200, "{closed}");
    assert_eq!(closed["exit_price"], "100.00");
    assert_eq!(closed["realised_pnl"], "0.00");
    assert_eq!(closed["close_reason"], "user");
    assert_eq!(close(&user, id(&position)).await.0, 409);
    // The stake is returned, and the first closed position earns a reward.
    user.has("1010.00").await;
    let mut kinds = socket.kinds(2).await;
    kinds.sort();
    assert_eq!(kinds, ["position.closed", "reward.granted"]);
    let (_, listed) = user.get("/v1/positions?status=closed").await;
    assert_eq!(listed["positions"][0], closed);
    let (_, none) = user.get("/v1/positions?status=open").await;
    assert_eq!(none["positions"], json!([]));
    audit(server, &file.url()).await;
}

#[tokio::test]
async fn the_price_closes_a_position_and_its_absent_user_finds_it_in_the_inbox() {
    let file = SqliteFile::new();
    let server = server(&file.url()).await;
    let user = ada(&server).await;
    let order = json!({ "symbol": "SAW", "side": "long", "quantity": "1", "stop_loss": "90" });
    // While the saw is low, the stop-loss is on the wrong side of the price.
    let position = loop {
        match user.post("/v1/positions", &order).await {
            (201, position) => break position,
            (422, _) => {}
            other => panic!("{other:?}"),
        }
    };
    let closed = loop {
        let (_, page) = user.get("/v1/positions?status=closed").await;
        if let Some(closed) = page["positions"].get(0) {
            break closed.clone();
        }
    };
    assert_eq!(id(&closed), id(&position));
    // The price jumped over the trigger, and the position closes at the new price.
    assert_eq!(closed["exit_price"], "80.00");
    assert_eq!(closed["realised_pnl"], "-20.00");
    assert_eq!(closed["close_reason"], "stop_loss");
    assert_eq!(close(&user, id(&position)).await.0, 409);
    user.has("990.00").await;

    let item = loop {
        let (_, me) = user.get("/v1/me").await;
        if me["unread"] == 1 {
            break me;
        }
    };
    assert_eq!(item["unread"], 1);
    let mut socket = user.connect("doorstep.plain.v1").await;
    let mut kinds = socket.kinds(4).await;
    kinds.sort();
    assert_eq!(kinds, ["position.closed", "reward.granted", "reward.granted", "welcome"]);
    audit(server, &file.url()).await;
}

#[tokio::test]
async fn an_idempotency_key_opens_one_position() {
    let file = SqliteFile::new();
    let server = server(&file.url()).await;
    let user = ada(&server).await;
    let open = |quantity: &'static str, key: &'static str| {
        let user = user.clone();
        async move { user.try_post("/v1/positions", &order(quantity), Some(key)).await.unwrap() }
    };
    let (status, first) = open("1", "k 1").await;
    assert_eq!(status, 201);
    assert_eq!(open("1", "k 1").await, (201, first.clone()));
    assert_eq!(
        open("1.000", "k 1").await,
        (201, first.clone()),
        "the same order, written differently"
    );
    let (status, problem) = open("2", "k 1").await;
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("Idempotency-Key")));
    close(&user, id(&first)).await;
    assert_eq!(open("1", "k 1").await, (201, first), "the same response, whatever happened since");
    assert_eq!(open("1", "k 2").await.0, 201);
    assert_eq!(open("1", "").await.0, 422);
    assert_eq!(open("1", &"x".repeat(129).leak()[..]).await.0, 422);
    let (_, all) = user.get("/v1/positions").await;
    assert_eq!(all["positions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn bad_orders_get_the_right_answer_and_change_nothing() {
    let file = SqliteFile::new();
    let server = server(&file.url()).await;
    let user = ada(&server).await;
    let with = |field: &str, value: Value| {
        let mut order = order("1");
        order[field] = value;
        order
    };
    let cases = [
        (with("quantity", json!("0")), "quantity"),
        (with("quantity", json!("0.000000")), "quantity"),
        (with("quantity", json!("-1")), "quantity"),
        (with("quantity", json!("0.0000001")), "quantity"),
        (with("quantity", json!("0.000001")), "quantity"),
        (with("quantity", json!("1e2")), "quantity"),
        (with("quantity", json!("NaN")), "quantity"),
        (with("quantity", json!("")), "quantity"),
        (with("quantity", json!(1)), "quantity"),
        (with("quantity", json!("10.0001")), "quantity"),
        (with("quantity", json!("1000000000")), "quantity"),
        (with("quantity", json!("9".repeat(400))), "quantity"),
        (with("quantity", Value::Null), "quantity"),
        (with("symbol", json!("GONE")), "symbol"),
        (with("symbol", json!("still")), "symbol"),
        (with("symbol", json!("'; DROP TABLE users")), "symbol"),
        (with("symbol", json!([])), "symbol"),
        (with("side", json!("up")), "side"),
        (with("side", Value::Null), "side"),
        (with("stop_loss", json!("100")), "stop_loss"),
        (with("stop_loss", json!("101")), "stop_loss"),
        (with("stop_loss", json!("0")), "stop_loss"),
        (with("stop_loss", json!("-5")), "stop_loss"),
        (with("stop_loss", json!(5)), "stop_loss"),
        (with("take_profit", json!("100")), "take_profit"),
        (with("take_profit", json!("99.999999")), "take_profit"),
        (with("take_profit", json!("100.0000001")), "take_profit"),
        (with("leverage", json!("100")), "leverage"),
    ];
    for (order, field) in cases {
        let (status, problem) = user.post("/v1/positions", &order).await;
        assert_eq!(status, 422, "{order}: {problem}");
        let fields: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|e| &e["field"]).collect();
        assert_eq!(fields, [field], "{order}: {problem}");
    }

    let ben = User::register(server.url(), "ben").await;
    let (_, position) = user.post("/v1/positions", &order("1")).await;
    assert_eq!(close(&ben, id(&position)).await.0, 404, "another user's");
    for nothing in ["0192f0c1-2345-7abc-8def-0123456789ab", "7", "%00", "not-an-id"] {
        assert_eq!(close(&user, nothing).await.0, 404, "{nothing}");
    }
    for bad in ["?status=ajar", "?limit=0", "?limit=101", "?before=7", "?nonsense=1"] {
        assert_eq!(user.get(&format!("/v1/positions{bad}")).await.0, 422, "{bad}");
    }
    let (_, theirs) = ben.get("/v1/positions").await;
    assert_eq!(theirs["positions"], json!([]));
    let (_, mine) = user.get("/v1/positions").await;
    assert_eq!(mine["positions"], json!([position]));
    assert_eq!(user.balance().await, "900.00");

    let stranger = reqwest::get(format!("{}/v1/instruments", server.url())).await.unwrap();
    let market: Value = serde_json::from_str(&stranger.text().await.unwrap()).unwrap();
    assert_eq!(market["instruments"][1]["symbol"], "STILL");
    assert_eq!(market["instruments"][1]["price"], "100.00");
    let stranger = reqwest::get(format!("{}/v1/positions", server.url())).await.unwrap();
    assert_eq!(stranger.status().as_u16(), 401);
    audit(server, &file.url()).await;
}

/// One user on 32 connections: orders above the balance are refused; two requests close each position at once,
/// and exactly one succeeds.
async fn check_many_connections(database: &str) {
    let server = server(database).await;
    let user = ada(&server).await;
    let mut clients = JoinSet::new();
    for _ in 0..32 {
        let user = user.clone();
        clients.spawn(async move {
            let (mut refused, mut closed) = (0, 0);
            for _ in 0..4 {
                match user.post("/v1/positions", &order("0.7")).await {
                    (201, position) => {
                        let (a, b) =
                            tokio::join!(close(&user, id(&position)), close(&user, id(&position)));
                        let mut both = [a.0, b.0];
                        both.sort_unstable();
                        assert_eq!(both, [200, 409], "one closes it");
                        closed += 1;
                    }
                    (422, _) => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
            (refused, closed)
        });
    }
    let mut closed = 0;
    for (mine_refused, mine_closed) in clients.join_all().await {
        assert_eq!(mine_refused + mine_closed, 4);
        closed += mine_closed;
    }
    // At a constant price there is no gain; the rewards are for the first and for each tenth position.
    let expected = 1000 + 10 + closed / 10 * 25;
    user.has(&format!("{expected}.00")).await;
    println!("{closed} of 128 orders were filled");
    audit(server, database).await;
}

#[tokio::test]
async fn thirty_two_connections_of_one_user_keep_the_balance_exact_on_sqlite() {
    check_many_connections(&SqliteFile::new().url()).await;
}

#[tokio::test]
async fn thirty_two_connections_of_one_user_keep_the_balance_exact_on_postgres() {
    check_many_connections(&Postgres::shared().await.database().await).await;
}

#[tokio::test]
async fn a_file_of_prices_that_is_wrong_is_refused_at_the_start_with_its_lines() {
    let refused = Doorstep::serve("sqlite::memory:")
        .env("DOORSTEP_MARKET__SOURCE", "replay")
        .env("DOORSTEP_MARKET__FILE", "prices.csv")
        .file("prices.csv", "STILL,2026-01-01T00:00:00Z,100\nSTILL,noon,-3\nSTILL\n")
        .run()
        .await;
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    for part in ["line 2: \"noon\" is not a time", "line 3: it has 1 columns, not 3"] {
        assert!(refused.stderr.contains(part), "{refused:#?}");
    }
}

//! What the outbox takes: `cargo bench -p doorstep-tests --bench outbox`.
//!
//! The real binary as a process of its own, without simulation and store, and a PostgreSQL of its own whose commits
//! reach the disk. Everything runs on the same machine.
//!
//! `BACKLOG=10000000` plays the last part alone, with so many rows: they lie there while a snapshot that is older than all of them is
//! open, so that none of the rows that the node deletes can be removed.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on ends here")]

use std::time::{Duration, Instant};

use doorstep_tests::client::User;
use doorstep_tests::postgres::{Durability, Postgres};
use doorstep_tests::server::{Doorstep, Server};
use hdrhistogram::Histogram;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

const SECRET: &str = "a secret of thirty-two bytes ok!";
const LASTS: Duration = Duration::from_secs(5);
const ROUNDS: usize = 1000;
const PAYLOAD: &str = "jsonb_build_object('text', repeat('x', 180))";

#[tokio::main]
async fn main() {
    // `cargo test --benches` must not take half a minute.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let postgres = Postgres::start(Durability::Durable).await;
    println!("200 bytes of payload, commits reach the disk\n");
    if let Ok(rows) = std::env::var("BACKLOG") {
        return backlog(&postgres, rows.parse().unwrap()).await;
    }
    for notify in [true, false] {
        commit_to_frame(&postgres, notify).await;
    }
    what_the_call_adds(&postgres).await;
    println!("\n  writers   rows a transaction   notify   written/s   consumed/s");
    for notify in [true, false] {
        for (writers, rows) in [(1, 1), (8, 1), (1, 100), (8, 100)] {
            throughput(&postgres, notify, writers, rows).await;
        }
    }
    backlog(&postgres, 500_000).await;
}

async fn install(postgres: &Postgres, notify: bool) -> String {
    let url = postgres.database().await;
    let mut args = vec!["outbox", "install", "--url", &url];
    if !notify {
        args.push("--no-notify");
    }
    let installed = Doorstep::new(&args).run().await;
    assert_eq!(installed.code, Some(0), "{}", installed.stderr);
    url
}

async fn serve(url: &str) -> Server {
    let file = format!(
        "[trading]\nenabled = false\n[inbox]\nenabled = false\n[handover]\nenabled = false\n\
         [delivery]\nmax_pending = 20000000\nmax_pending_bytes = \"16GiB\"\nttl = \"60s\"\n\
         [outbox]\nurl = {url:?}\n[jwt.keys.shop]\nkey = {SECRET:?}\n"
    );
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).file("doorstep.toml", &file);
    let mut server =
        call.env("DOORSTEP_LOG", "warn,doorstep_application::outbox=info").start().await;
    server.logged("consumes the outbox", 1).await;
    server
}

fn user(server: &Server, id: &str) -> User {
    let claims = json!({"sub": id, "exp": 4_000_000_000_u64});
    let header = Header { kid: Some("shop".into()), ..Header::new(Algorithm::HS256) };
    let token = encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    User::with_token(server.url(), id, &token)
}

fn publish(user: &str) -> String {
    format!("SELECT doorstep.publish({user}, 'bench', {PAYLOAD})")
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap()
}

fn said(name: &str, times: &Histogram<u64>) {
    let ms =
        |quantile| Duration::from_micros(times.value_at_quantile(quantile)).as_secs_f64() * 1e3;
    println!("{name:<44} p50 {:>7.2} ms   p99 {:>7.2} ms", ms(0.5), ms(0.99));
}

async fn commit_to_frame(postgres: &Postgres, notify: bool) {
    let url = install(postgres, notify).await;
    let server = serve(&url).await;
    let mut socket = user(&server, "ada").connect("doorstep.plain.v1").await;
    let mut backend = PgConnection::connect(&url).await.unwrap();
    let call = publish("'ada'");
    let (mut sent, mut committed) = (Histogram::new(3).unwrap(), Histogram::new(3).unwrap());
    for _ in 0..ROUNDS / if notify { 1 } else { 10 } {
        backend.execute("BEGIN").await.unwrap();
        backend.execute(AssertSqlSafe(call.clone())).await.unwrap();
        let begun = Instant::now();
        let frame = async {
            socket.notification().await;
            Instant::now()
        };
        let commit = async {
            backend.execute("COMMIT").await.unwrap();
            Instant::now()
        };
        let (frame, commit) = tokio::join!(frame, commit);
        let all = frame.duration_since(begun).as_micros();
        sent.record(u64::try_from(all).unwrap()).unwrap();
        let rest = frame.saturating_duration_since(commit).as_micros();
        committed.record(u64::try_from(rest).unwrap()).unwrap();
    }
    let how = if notify { "NOTIFY" } else { "polling" };
    said(&format!("COMMIT sent to frame, {how}"), &sent);
    said(&format!("COMMIT confirmed to frame, {how}"), &committed);
}

/// Alternating, so that what else the machine does falls on both.
async fn what_the_call_adds(postgres: &Postgres) {
    let url = install(postgres, true).await;
    let mut backend = PgConnection::connect(&url).await.unwrap();
    backend.execute("CREATE TABLE customers (name text PRIMARY KEY)").await.unwrap();
    let call = publish("'ada'");
    let (mut without, mut with) = (Histogram::new(3).unwrap(), Histogram::new(3).unwrap());
    for round in 0..2 * ROUNDS {
        let begun = Instant::now();
        backend.execute("BEGIN").await.unwrap();
        let insert = format!("INSERT INTO customers VALUES ('{round}')");
        backend.execute(AssertSqlSafe(insert)).await.unwrap();
        if round % 2 == 1 {
            backend.execute(AssertSqlSafe(call.clone())).await.unwrap();
        }
        backend.execute("COMMIT").await.unwrap();
        let times = if round % 2 == 1 { &mut with } else { &mut without };
        times.record(micros(begun)).unwrap();
    }
    said("a transaction with one INSERT", &without);
    said("the same with a call", &with);
}

async fn throughput(postgres: &Postgres, notify: bool, writers: usize, rows: usize) {
    let url = install(postgres, notify).await;
    let _server = serve(&url).await;
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let url = url.clone();
        tasks.spawn(async move {
            let mut backend = PgConnection::connect(&url).await.unwrap();
            let call = format!(
                "SELECT count(doorstep.publish('u{writer}/' || n, 'bench', {PAYLOAD}, ttl => 2)) \
                 FROM generate_series(1, {rows}) n"
            );
            let mut written = 0;
            while begun.elapsed() < LASTS {
                backend.execute(AssertSqlSafe(call.clone())).await.unwrap();
                written += rows;
            }
            written
        });
    }
    let mut written = 0;
    while let Some(one) = tasks.join_next().await {
        written += one.unwrap();
    }
    let (writing, mut owner) = (begun.elapsed(), PgConnection::connect(&url).await.unwrap());
    while count(&mut owner).await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!(
        "  {writers:>7}   {rows:>18}   {:>6}   {:>9.0}   {:>10.0}",
        if notify { "yes" } else { "no" },
        rate(written, writing),
        rate(written, begun.elapsed()),
    );
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(rows: usize, time: Duration) -> f64 {
    rows as f64 / time.as_secs_f64()
}

async fn count(owner: &mut PgConnection) -> i64 {
    owner.fetch_one("SELECT count(*) FROM doorstep.outbox").await.unwrap().get(0)
}

/// How fast rows go when few have been deleted, and when most have and all of these are still there.
/// How many rows the node has taken, as it says itself: counting them in the database takes longer than taking them.
async fn taken(server: &Server) -> i64 {
    let metrics = reqwest::get(format!("{}/metrics", server.url())).await.unwrap();
    let text = metrics.text().await.unwrap();
    let taken = text.lines().find_map(|line| line.strip_prefix("doorstep_outbox_rows_total "));
    taken.unwrap().parse().unwrap()
}

async fn backlog(postgres: &Postgres, rows: i64) {
    let url = install(postgres, true).await;
    let mut owner = PgConnection::connect(&url).await.unwrap();
    let mut reader = PgConnection::connect(&url).await.unwrap();
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    reader.execute("SELECT count(*) FROM doorstep.outbox").await.unwrap();
    let fill = format!(
        "INSERT INTO doorstep.outbox (id, user_id, kind, payload, ttl, called_at) \
         SELECT gen_random_uuid(), 'u' || n, 'bench', {PAYLOAD}, 86400, clock_timestamp() \
         FROM generate_series(1, {rows}) n"
    );
    owner.execute(AssertSqlSafe(fill)).await.unwrap();
    owner.execute("ANALYZE doorstep.outbox").await.unwrap();
    let server = serve(&url).await;
    let mut marks = Vec::new();
    let (begun, tenth) = (Instant::now(), rows / 10);
    while marks.len() < 10 {
        let taken = taken(&server).await;
        while marks.len() < 10 && taken >= tenth * i64::try_from(marks.len() + 1).unwrap() {
            marks.push(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let rows = usize::try_from(tenth).unwrap();
    println!("\n{} rows left behind, an old snapshot open:", 10 * rows);
    println!("  the first tenth   {:>8.0} rows/s", rate(rows, marks[0]));
    println!("  the last tenth    {:>8.0} rows/s", rate(rows, marks[9].saturating_sub(marks[8])));
}

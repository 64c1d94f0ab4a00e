//! A network before a database, a node or NATS that can hang: nothing is closed, and nothing comes through. It can also
//! be slow.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How many pieces may be on their way in one direction of a connection.
const ON_THEIR_WAY: usize = 1024;

/// One proxy; gone when dropped.
#[derive(Debug)]
pub struct FreezingProxy {
    url: String,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    frozen: bool,
    /// The connections through which nothing comes any more, by the port that the server sees.
    hung: BTreeSet<u16>,
    /// How long each piece is on its way: this many milliseconds.
    slow_ms: Option<Range<u64>>,
}

impl FreezingProxy {
    /// Starts one before this database.
    ///
    /// # Panics
    /// When there is no port for it, or the URL is not one of PostgreSQL.
    pub async fn before(database: &str) -> Self {
        let server = PgConnectOptions::from_str(database).expect("a URL of PostgreSQL");
        Self::at(database, format!("{}:{}", server.get_host(), server.get_port())).await
    }

    /// Starts one before this node.
    ///
    /// # Panics
    /// When there is no port for it, or the URL is not `http://ADDRESS`.
    pub async fn before_node(url: &str) -> Self {
        let to = url.strip_prefix("http://").expect("a URL of a node");
        Self::at(url, to.to_owned()).await
    }

    /// Starts one before this server of NATS.
    ///
    /// # Panics
    /// When there is no port for it, or the URL is not `nats://ADDRESS`.
    pub async fn before_nats(url: &str) -> Self {
        let to = url.strip_prefix("nats://").expect("a URL of NATS");
        Self::at(url, to.to_owned()).await
    }

    /// Starts one before the server `to`, which is in this URL.
    async fn at(url: &str, to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let here: SocketAddr = listener.local_addr().expect("a bound port");
        let url = url.replacen(&to, &here.to_string(), 1);
        let (state, seen) = watch::channel(State::default());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&to).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let Ok(port) = to_server.local_addr().map(|address| address.port()) else {
                    continue;
                };
                tokio::spawn(carry(from_client, to_server, port, seen.clone()));
                tokio::spawn(carry(from_server, to_client, port, seen.clone()));
            }
        });
        Self { url, state, accepting }
    }

    /// The database or node, through it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on, or until `false`, nothing comes through.
    pub fn freeze(&self, frozen: bool) {
        self.state.send_modify(|state| state.frozen = frozen);
    }

    /// From now on each piece is this many milliseconds on its way, in each direction. The order stays, and many can be on
    /// their way.
    pub fn slow_down(&self, milliseconds: Range<u64>) {
        self.state.send_modify(|state| state.slow_ms = Some(milliseconds));
    }

    /// Nothing comes through one connection any more. `port` is the port from which the server sees it come.
    pub fn hang(&self, port: u16) {
        self.state.send_modify(|state| {
            state.hung.insert(port);
        });
    }
}

impl Drop for FreezingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    port: u16,
    state: watch::Receiver<State>,
) {
    let (sender, pieces) = mpsc::channel(ON_THEIR_WAY);
    tokio::spawn(hand_over(pieces, to, port, state.clone()));
    let (mut buffer, mut count) = (vec![0; 16 * 1024], 0);
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        count += 1;
        let slow_ms = state.borrow().slow_ms.clone();
        // They differ, and are the same in every run.
        let delay = slow_ms.map_or(0, |ms| ms.start + count * 37 % (ms.end - ms.start));
        let piece = (Instant::now() + Duration::from_millis(delay), buffer[..length].to_vec());
        if sender.send(piece).await.is_err() {
            return;
        }
    }
}

async fn hand_over(
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    port: u16,
    mut state: watch::Receiver<State>,
) {
    while let Some((due, piece)) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        let open =
            state.wait_for(|state| !state.frozen && !state.hung.contains(&port)).await.is_ok();
        if !open || to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

//! One connection in virtual time, without a network.

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;
use crate::http::{Fields, Problem};

pub(super) const BIG: usize = 4 * 1024 * 1024;

fn endpoints() -> Endpoints {
    let routes = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/health/live", get(|| async { "live" }))
        .route("/big", get(|| async { vec![b'x'; BIG] }))
        .route("/fields", post(|body: Fields| async { body.read(|_| ()).map(|()| "taken") }))
        .route("/refused", post(|| async { Problem::no_token() }));
    Endpoints::new(routes)
}

/// A connection that has the next place.
pub(super) fn connection_at(places: &Arc<Places>, settings: ServerSettings) -> HttpConnection {
    let watch = Arc::new(Watch::begin());
    let ConnectionAdmission::Place(place) = places.admit(None, Arc::clone(&watch)) else {
        panic!("full")
    };
    let service = Service {
        endpoints: endpoints(),
        peer: Peer::Unix,
        watch: Arc::clone(&watch),
        settings: Arc::new(settings),
        reserved: place.kind() == PlaceKind::Reserved,
        stopping: CancellationToken::new(),
    };
    HttpConnection { watch, place, service, http: http() }
}

/// The client's end of a served connection.
fn connect(settings: ServerSettings, kind: PlaceKind) -> DuplexStream {
    let settings = match kind {
        PlaceKind::General => settings,
        // The only other place is taken by a busy connection.
        PlaceKind::Reserved => ServerSettings { max_connections: 1, ..settings },
    };
    let (client, server) = duplex(16 * 1024);
    let places = Arc::new(Places::new(&settings));
    let other = Arc::new(Watch::begin());
    other.busy();
    let other = (kind == PlaceKind::Reserved).then(|| places.admit(None, other));
    let connection = connection_at(&places, settings);
    assert_eq!(connection.place.kind(), kind);
    tokio::spawn(async move {
        connection.run(server).await;
        drop(other);
    });
    client
}

fn connected() -> DuplexStream {
    connect(ServerSettings::default(), PlaceKind::General)
}

/// Reads one response with a `Content-Length`; returns its status and its head.
pub(super) async fn answer(client: &mut (impl AsyncRead + Unpin)) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.expect("an answer"));
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    client.read_exact(&mut body).await.unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
}

/// Reads to the end of the connection; returns after how many seconds it ended.
pub(super) async fn ends_after(client: &mut (impl AsyncRead + Unpin)) -> u64 {
    let begun = Instant::now();
    // A reset counts as an end.
    let mut all = Vec::new();
    tokio::time::timeout(Duration::from_hours(1), client.read_to_end(&mut all)).await.ok();
    begun.elapsed().as_secs()
}

pub(super) const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: door\r\n\r\n";

fn post_with(path: &str, headers: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: door\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
    )
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_the_proxys_minute_and_an_unfinished_head_does_not() {
    let mut client = connected();
    for _ in 0..3 {
        client.write_all(GET).await.unwrap();
        assert_eq!(answer(&mut client).await.0, 200);
        tokio::time::sleep(Duration::from_secs(70)).await;
    }
    client.write_all(GET).await.unwrap();
    assert_eq!(answer(&mut client).await.0, 200);
    assert_eq!(ends_after(&mut client).await, 75);

    for begun in [&b""[..], b"GET / HTTP/1.1\r\nhost"] {
        let mut client = connected();
        client.write_all(begun).await.unwrap();
        assert_eq!(ends_after(&mut client).await, 30, "{begun:?}");
    }
    // A head that begins after a pause has its own time, and single bytes do not extend it.
    let mut client = connected();
    client.write_all(GET).await.unwrap();
    answer(&mut client).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let begun = Instant::now();
    for byte in b"GET / HTTP/1.1" {
        tokio::time::sleep(Duration::from_secs(4)).await;
        if client.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    assert_eq!(begun.elapsed().as_secs(), 36, "the first byte came after 4 s");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_closed() {
    let mut client = connected();
    client.write_all(b"GET /big HTTP/1.1\r\nhost: door\r\n\r\n").await.unwrap();
    // A client that keeps reading gets everything, however slowly.
    let mut read = vec![0; BIG / 8];
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(29)).await;
        client.read_exact(&mut read).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(31)).await;
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.ok();
    assert!(rest.len() < BIG / 8, "the rest was still sent: {}", rest.len());
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_is_read_on_and_the_client_sees_why() {
    for (path, status) in [("/fields", 413), ("/refused", 401), ("/nothing", 404), ("/", 405)] {
        let mut client = connected();
        client.write_all(post_with(path, "", BIG).as_bytes()).await.unwrap();
        // Like many clients: everything is sent before anything is read.
        client.write_all(&vec![b' '; BIG]).await.unwrap();
        assert_eq!(answer(&mut client).await.0, status, "{path}");
        client.write_all(GET).await.unwrap();
        assert_eq!(answer(&mut client).await.0, 200, "{path}: the connection can be used again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_body_is_not_read_for_ever() {
    // A body that stalls.
    let mut client = connected();
    client.write_all(post_with("/refused", "", BIG).as_bytes()).await.unwrap();
    assert_eq!(answer(&mut client).await.0, 401);
    assert_eq!(ends_after(&mut client).await, 10);
    // A body that does not end.
    let mut client = connected();
    let length = 1024 * 1024 * 1024;
    client.write_all(post_with("/refused", "", length).as_bytes()).await.unwrap();
    let (chunk, mut sent) = (vec![b' '; 1024 * 1024], 0);
    while sent < length && client.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
    }
    assert!((64..80).contains(&(sent / chunk.len())), "{sent} bytes were taken");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_not_asked_for_is_not_waited_for() {
    let mut client = connected();
    let head = post_with("/refused", "expect: 100-continue\r\n", 5);
    client.write_all(head.as_bytes()).await.unwrap();
    let (status, head) = answer(&mut client).await;
    assert_eq!(status, 401, "{head}");
    assert_eq!(ends_after(&mut client).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_is_bounded() {
    let mut client = connected();
    client.write_all(GET.strip_suffix(b"\r\n").unwrap()).await.unwrap();
    let mut sent = 0;
    let line = format!("x: {}\r\n", "y".repeat(1000));
    while sent < 384 * 1024 && client.write_all(line.as_bytes()).await.is_ok() {
        sent += line.len();
    }
    assert!(sent < 96 * 1024, "{sent} bytes were taken");
    assert_eq!(answer(&mut client).await.0, 431);

    let mut client = connected();
    let most = format!("GET / HTTP/1.1\r\nhost: door\r\nx: {}\r\n\r\n", "y".repeat(30 * 1024));
    client.write_all(most.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut client).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_reserved_place_is_for_health_checks() {
    let mut client = connect(ServerSettings::default(), PlaceKind::Reserved);
    for _ in 0..2 {
        client.write_all(b"GET /health/live HTTP/1.1\r\nhost: door\r\n\r\n").await.unwrap();
        assert_eq!(answer(&mut client).await.0, 200);
    }
    client.write_all(GET).await.unwrap();
    let (status, head) = answer(&mut client).await;
    assert_eq!(status, 503);
    assert!(head.contains("retry-after: 1") && head.contains("connection: close"), "{head}");
    assert_eq!(ends_after(&mut client).await, 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_accepted_connection_gives_up_a_client_that_acknowledges_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _client = tokio::net::TcpStream::connect(address).await.unwrap();
    let (Stream::Tcp(accepted), _) = Listener::from(listener).accept().await.unwrap() else {
        panic!("not over TCP")
    };
    // What the kernel reports, not what was asked for.
    let timeout = socket2::SockRef::from(&accepted).tcp_user_timeout().unwrap();
    assert_eq!(timeout, Some(Duration::from_secs(30)));
    assert!(accepted.nodelay().unwrap(), "a push does not wait for another");
}

//! One connection over TLS in virtual time, without a network.

use rustls::ServerConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tests::{BIG, GET, answer, connection_at, ends_after};
use super::*;

const CERTIFICATE: &[u8] = include_bytes!("../../../../tests/it/tls/other.pem");
const KEY: &[u8] = include_bytes!("../../../../tests/it/tls/other.key");

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(CERTIFICATE).unwrap()
}

fn configs() -> TlsConfigs {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate()], PrivateKeyDer::from_pem_slice(KEY).unwrap());
    watch::Sender::new(Arc::new(config.unwrap())).subscribe()
}

/// The client's end of this connection, whose server speaks TLS.
fn serve_tls(connection: HttpConnection) -> DuplexStream {
    let (client, server) = tokio::io::duplex(16 * 1024);
    tokio::spawn(connection.run_tls(server, configs()));
    client
}

fn connected() -> DuplexStream {
    let settings = ServerSettings::default();
    serve_tls(connection_at(&Arc::new(Places::new(&settings)), settings))
}

fn connector() -> TlsConnector {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), ring.clone());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_webpki_verifier(verifier.build().unwrap())
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn over_tls(socket: DuplexStream) -> TlsStream<DuplexStream> {
    connector().connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap()
}

/// The first message of a real client.
async fn hello() -> Vec<u8> {
    let (ours, mut theirs) = tokio::io::duplex(16 * 1024);
    let client = tokio::spawn(async move {
        connector().connect(ServerName::try_from("localhost").unwrap(), ours).await.map(drop)
    });
    let mut header = [0; 5];
    theirs.read_exact(&mut header).await.unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    theirs.read_exact(&mut body).await.unwrap();
    client.abort();
    [&header[..], &body].concat()
}

async fn send(socket: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    socket.write_all(bytes).await.unwrap();
    socket.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_handshake_has_the_time_of_a_head() {
    let hello = hello().await;
    for sent in [&[][..], &hello[..1], &hello[..hello.len() / 2], &hello] {
        let mut client = connected();
        client.write_all(sent).await.unwrap();
        assert_eq!(ends_after(&mut client).await, 30, "{} bytes", sent.len());
    }
    // Single bytes do not extend it.
    let mut client = connected();
    let begun = Instant::now();
    for byte in &hello {
        tokio::time::sleep(Duration::from_secs(4)).await;
        if client.write_all(&[*byte]).await.is_err() {
            break;
        }
    }
    assert_eq!(begun.elapsed().as_secs(), 32);
}

#[tokio::test(start_paused = true)]
async fn the_handshake_and_the_first_head_have_one_time_together() {
    let socket = connected();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let mut client = over_tls(socket).await;
    send(&mut client, b"GET / HTTP/1.1\r\nhost").await;
    assert_eq!(ends_after(&mut client).await, 10);

    let mut client = over_tls(connected()).await;
    for _ in 0..2 {
        send(&mut client, GET).await;
        assert_eq!(answer(&mut client).await.0, 200);
        tokio::time::sleep(Duration::from_secs(70)).await;
    }
    assert_eq!(ends_after(&mut client).await, 5, "75 s after the last answer");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_closed_and_one_that_reads_slowly_is_not() {
    let mut client = over_tls(connected()).await;
    send(&mut client, b"GET /big HTTP/1.1\r\nhost: door\r\n\r\n").await;
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
async fn plain_http_gets_an_answer_that_it_can_read() {
    let body = format!("POST / HTTP/1.1\r\ncontent-length: 40000\r\n\r\n{}", "x".repeat(40_000));
    for request in [GET, body.as_bytes(), b"G"] {
        let mut client = connected();
        client.write_all(request).await.unwrap();
        let (begun, mut answer) = (Instant::now(), String::new());
        client.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
        assert!(body.contains("https://"), "{answer}");
        assert_eq!(begun.elapsed().as_secs(), 0);
    }
    // What is neither HTTP nor TLS ends at once.
    let mut client = connected();
    client.write_all(&[0x80, 0x2e, 1, 0, 2]).await.unwrap();
    assert_eq!(ends_after(&mut client).await, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_plain_http_without_end_is_not_read_for_ever() {
    let mut client = connected();
    client.write_all(GET).await.unwrap();
    let mut sent = 0;
    while sent < 1024 * 1024 && client.write_all(&[b'x'; 1024]).await.is_ok() {
        sent += 1024;
    }
    assert!(sent < 256 * 1024, "{sent} bytes were taken");
    // Or that does not close.
    let mut client = connected();
    client.write_all(GET).await.unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap();
    let begun = Instant::now();
    while client.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_ends_with_the_server() {
    let settings = ServerSettings::default();
    let connection = connection_at(&Arc::new(Places::new(&settings)), settings);
    let stopping = connection.service.stopping.clone();
    let mut client = serve_tls(connection);
    client.write_all(&hello().await[..10]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    stopping.cancel();
    assert_eq!(ends_after(&mut client).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_gives_way_to_others_when_it_is_large() {
    // The beginning of a first message of 64 KiB.
    let mut large = vec![22, 3, 1, 64, 0, 1, 0, 255, 255];
    large.resize(5 + 16 * 1024, 0);
    let settings = ServerSettings::default();
    let places = Arc::new(Places::new(&settings));
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = serve_tls(connection_at(&places, settings.clone()));
        client.write_all(&large).await.unwrap();
        clients.push(client);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut closed = 0;
    for client in &mut clients {
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::ZERO, client.read(&mut byte));
        closed += usize::from(read.await.is_ok());
    }
    assert_eq!(closed, 300 - 256, "as for large heads");
}

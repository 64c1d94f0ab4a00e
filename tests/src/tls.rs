//! Clients that speak TLS, and the certificates of the tests.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A file in `tests/it/tls`, where all certificates are for `localhost` and `127.0.0.1`:
///
/// * `server.pem`, `server.key`: issued by the authority `ca.pem`
/// * `other.pem`, `other.key`: issued by itself
/// * `expired.pem`, `expired.key`: issued by itself, valid in January 2020
/// * `encrypted.key`: the key of `other.pem`, with the password `none`
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/it/tls")).join(name)
}

/// The lines of a configuration with which a node speaks TLS with these files.
pub fn section(certificate: &str, key: &str) -> String {
    format!("[server.tls]\ncert = {certificate:?}\nkey = {key:?}\n")
}

/// A client that trusts the authority and the certificate that the tests use.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl TlsClient {
    /// A client that offers these protocols (ALPN). It resumes no session, so that it is always shown a certificate.
    ///
    /// # Panics
    /// When a certificate of the tests is not there.
    pub fn offering(protocols: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        for name in ["ca.pem", "other.pem"] {
            let certificate = CertificateDer::from_pem_file(fixture(name)).expect("a certificate");
            roots.add(certificate).expect("a certificate that can be trusted");
        }
        let cryptography = tokio_rustls::rustls::crypto::ring::default_provider();
        let mut config = ClientConfig::builder_with_provider(Arc::new(cryptography))
            .with_safe_default_protocol_versions()
            .expect("the versions of TLS that everybody speaks")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
        Self(Arc::new(config))
    }

    /// A client of HTTP/1.1.
    ///
    /// # Panics
    /// As [`offering`](Self::offering).
    pub fn new() -> Self {
        Self::offering(&["http/1.1"])
    }

    /// Makes a TLS connection of a connection.
    ///
    /// # Errors
    /// When the server does not speak TLS, or its certificate cannot be trusted.
    pub async fn over(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        TlsConnector::from(self.0.clone()).connect(name, stream).await
    }

    /// Connects to a server.
    ///
    /// # Errors
    /// As [`over`](Self::over).
    pub async fn connect(&self, server: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(server).await?).await
    }

    /// The certificate that a server shows to a new connection.
    ///
    /// # Panics
    /// When it shows none that can be trusted.
    pub async fn certificate(&self, server: SocketAddr) -> CertificateDer<'static> {
        let stream = self.connect(server).await.expect("a TLS connection");
        let shown = stream.get_ref().1.peer_certificates().expect("the handshake is over");
        shown[0].clone().into_owned()
    }

    /// A URL at which clients without TLS reach this server. What they send goes to it over TLS.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn plain_url(&self, server: SocketAddr) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok((mut plain, _)) = listener.accept().await {
                let this = this.clone();
                // A client sees that the connection has ended, if it cannot be made.
                tokio::spawn(async move {
                    let mut tls = this.connect(server).await?;
                    copy_bidirectional(&mut plain, &mut tls).await
                });
            }
        });
        format!("http://{address}")
    }
}

impl Default for TlsClient {
    fn default() -> Self {
        Self::new()
    }
}

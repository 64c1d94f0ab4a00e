//! The client of a node's readiness probe, for supervisors that can only run a command.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::authorities::of_this_machine;
use crate::error_chain::said;

/// The path of the readiness probe.
const READY: &str = "/health/ready";
/// How much of an answer is read.
const ANSWER_BYTES: usize = 16 * 1024;

/// The node that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbedNode {
    /// This machine's own node on TCP.
    Own {
        /// Where it listens.
        address: SocketAddr,
        /// Whether it speaks TLS. Its certificate is not checked: it is for the name that clients use, and a probe sends
        /// no secret.
        tls: bool,
    },
    /// This machine's own node on a Unix socket.
    Socket(PathBuf),
    /// Any node, by an `http://` or `https://` URL. A URL without a path means its readiness probe. The certificate must
    /// be one that this machine trusts.
    Url(String),
}

/// Why a node is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The URL is not one of a node.
    #[error("{0:?} is not a URL like http://127.0.0.1:3000")]
    Url(String),
    /// Nobody answers there.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// The node says that it is not ready.
    #[error("not ready: {status}: {body}")]
    NotReady {
        /// The status of its answer.
        status: StatusCode,
        /// The body of its answer.
        body: String,
    },
}

/// Asks a node whether it is ready. The caller bounds the time.
pub async fn ready(node: &ProbedNode) -> Result<(), ProbeError> {
    match node {
        ProbedNode::Own { address, tls } => {
            let stream = TcpStream::connect(address).await.map_err(|e| refused(&e))?;
            if *tls {
                let any = Arc::new(AnyCertificate(rustls::crypto::ring::default_provider()));
                let config = builder()?.dangerous().with_custom_certificate_verifier(any);
                let host = address.ip().to_string();
                let stream = over_tls(stream, config.with_no_client_auth(), &host).await?;
                ask(stream, &address.to_string(), READY).await
            } else {
                ask(stream, &address.to_string(), READY).await
            }
        }
        #[cfg(unix)]
        ProbedNode::Socket(path) => {
            let stream = tokio::net::UnixStream::connect(path).await.map_err(|e| refused(&e))?;
            ask(stream, "localhost", READY).await
        }
        #[cfg(not(unix))]
        ProbedNode::Socket(path) => Err(ProbeError::Url(path.display().to_string())),
        ProbedNode::Url(url) => ask_url(url).await,
    }
}

async fn ask_url(text: &str) -> Result<(), ProbeError> {
    let wrong = || ProbeError::Url(text.to_owned());
    let url: Uri = text.parse().map_err(|_| wrong())?;
    let authority = url.authority().filter(|a| !a.host().is_empty()).ok_or_else(wrong)?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let (tls, port) = match url.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(wrong()),
    };
    let path = match url.path_and_query().map_or("/", |path| path.as_str()) {
        "/" => READY,
        path => path,
    };
    let address = (host, authority.port_u16().unwrap_or(port));
    let stream = TcpStream::connect(address).await.map_err(|e| refused(&e))?;
    if tls {
        let roots = of_this_machine()
            .ok_or_else(|| ProbeError::Unreachable("no authorities to trust".to_owned()))?;
        let config = builder()?.with_root_certificates(roots).with_no_client_auth();
        ask(over_tls(stream, config, host).await?, authority.as_str(), path).await
    } else {
        ask(stream, authority.as_str(), path).await
    }
}

type ClientBuilder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder() -> Result<ClientBuilder, ProbeError> {
    let cryptography = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(cryptography)
        .with_safe_default_protocol_versions()
        .map_err(unreachable)
}

async fn over_tls(
    stream: TcpStream,
    config: ClientConfig,
    host: &str,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, ProbeError> {
    let name = ServerName::try_from(host.to_owned()).map_err(unreachable)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(unreachable)
}

async fn ask<S>(stream: S, host: &str, path: &str) -> Result<(), ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(unreachable)?).await.map_err(unreachable)?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(());
    }
    let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
    let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    Err(ProbeError::NotReady { status, body: body.unwrap_or_default() })
}

fn refused(error: &io::Error) -> ProbeError {
    ProbeError::Unreachable(match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        _ => said(error),
    })
}

fn unreachable(error: impl std::error::Error + 'static) -> ProbeError {
    ProbeError::Unreachable(said(&error))
}

/// Accepts every certificate, and checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

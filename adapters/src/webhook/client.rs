use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::WebhookError;

/// What posts to the receiver. It follows no redirect: a receiver that has moved says so to its operator, not
/// to whoever listens at the new place.
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    timeout: Duration,
}

/// The receiver did not take a message.
pub(super) struct Untaken {
    pub(super) why: String,
    /// It answered 410: it wants no more of it, and asking again is no use.
    pub(super) unwanted: bool,
}

impl Client {
    /// A client for this URL. Over TLS it trusts the authorities in `authorities` (PEM), or else those that
    /// this machine trusts.
    pub(super) fn new(
        url: &str,
        authorities: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Self, WebhookError> {
        let url: Uri = url.parse().map_err(|_| WebhookError::Url)?;
        let authority = url.authority().ok_or(WebhookError::Url)?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(WebhookError::Url);
        }
        let roots = match (url.scheme_str(), authorities) {
            (Some("https"), Some(pem)) => given(pem)?,
            (Some("https"), None) => of_this_machine()?,
            (Some("http"), None) => RootCertStore::empty(),
            (Some("http"), Some(_)) => return Err(WebhookError::AuthoritiesWithoutTls),
            _ => return Err(WebhookError::Url),
        };
        let cryptography = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(cryptography)
            .with_safe_default_protocol_versions()
            .map_err(|e| WebhookError::Client(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let http = legacy::Client::builder(TokioExecutor::new()).build(connector.build());
        Ok(Self { http, url, timeout })
    }

    /// Posts one message.
    pub(super) async fn post(
        &self,
        headers: [(&'static str, String); 3],
        body: Bytes,
    ) -> Result<(), Untaken> {
        let untaken = |why| Untaken { why, unwanted: false };
        let mut request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("doorstep/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|e| untaken(e.to_string()))?;
        match tokio::time::timeout(self.timeout, self.http.request(request)).await {
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => {
                let status = response.status();
                let unwanted = status == StatusCode::GONE;
                Err(Untaken { why: format!("it answered {status}"), unwanted })
            }
            Ok(Err(error)) => Err(untaken(said(&error))),
            Err(_) => Err(untaken(format!("no answer within {:?}", self.timeout))),
        }
    }
}

fn given(pem: &[u8]) -> Result<RootCertStore, WebhookError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| WebhookError::Authorities)?;
        roots.add(certificate).map_err(|_| WebhookError::Authorities)?;
    }
    if roots.is_empty() { Err(WebhookError::Authorities) } else { Ok(roots) }
}

fn of_this_machine() -> Result<RootCertStore, WebhookError> {
    let mut roots = RootCertStore::empty();
    // A machine may have some that cannot be read; what counts is that there are others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(WebhookError::NoAuthorities) } else { Ok(roots) }
}

/// An error and what it comes from, in one line.
fn said(error: &legacy::Error) -> String {
    let first: &(dyn std::error::Error + 'static) = error;
    let chain = std::iter::successors(Some(first), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

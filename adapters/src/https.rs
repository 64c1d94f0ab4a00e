//! The HTTP client for other servers, with TLS where the URL asks for it. It follows no redirect: if a server
//! moves, its operator changes the URL, and until then nothing is sent to an address that is not configured.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::authorities::of_this_machine;

/// A client with its connection pool.
pub(crate) type HttpClient = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Why no client can be made for a URL.
#[derive(Debug)]
pub(crate) enum HttpsError {
    /// The URL is not an `http://` or `https://` URL, or contains a user or a password.
    Url,
    /// The authorities are not certificates in PEM.
    Authorities,
    /// Authorities were given for a URL without TLS.
    AuthoritiesWithoutTls,
    /// This machine has no certificate authorities.
    NoAuthorities,
    /// TLS could not be set up.
    Tls(String),
}

/// Returns a client for this URL. Over TLS it trusts the authorities in `authorities` (PEM), or else those of this
/// machine.
pub(crate) fn client(
    url: &str,
    authorities: Option<&[u8]>,
) -> Result<(HttpClient, Uri), HttpsError> {
    let url: Uri = url.parse().map_err(|_| HttpsError::Url)?;
    let authority = url.authority().ok_or(HttpsError::Url)?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(HttpsError::Url);
    }
    let roots = match (url.scheme_str(), authorities) {
        (Some("https"), Some(pem)) => given(pem)?,
        (Some("https"), None) => of_this_machine().ok_or(HttpsError::NoAuthorities)?,
        (Some("http"), None) => RootCertStore::empty(),
        (Some("http"), Some(_)) => return Err(HttpsError::AuthoritiesWithoutTls),
        _ => return Err(HttpsError::Url),
    };
    let cryptography = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(cryptography)
        .with_safe_default_protocol_versions()
        .map_err(|e| HttpsError::Tls(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    Ok((legacy::Client::builder(TokioExecutor::new()).build(connector.build()), url))
}

fn given(pem: &[u8]) -> Result<RootCertStore, HttpsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| HttpsError::Authorities)?;
        roots.add(certificate).map_err(|_| HttpsError::Authorities)?;
    }
    if roots.is_empty() { Err(HttpsError::Authorities) } else { Ok(roots) }
}

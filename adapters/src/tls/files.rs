use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, ServerConfig};

use super::validity::Validity;

/// The largest file that is read, in bytes. Chains of certificates have a few KiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where the certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate in PEM, followed by those of its issuers.
    pub certificate: PathBuf,
    /// The certificate's private key in PEM.
    pub key: PathBuf,
}

/// One of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFile {
    /// The certificate.
    Certificate,
    /// Its key.
    Key,
}

impl TlsFile {
    /// The setting that names the file.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Certificate => "server.tls.cert",
            Self::Key => "server.tls.key",
        }
    }
}

/// A file that cannot be used. Its text names the setting and the file, and nothing of what is in the file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {} {fault}", file.setting(), path.display())]
pub struct TlsError {
    /// Which of the two.
    pub file: TlsFile,
    /// Its path, as configured.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: TlsFault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// It cannot be read.
    #[error("cannot be read: {0}; it must exist, and be readable for the user that runs Doorstep")]
    Unreadable(io::Error),
    /// It is a directory or a device.
    #[error("is not a file")]
    NoFile,
    /// It is too large to be read.
    #[error("is larger than 1 MiB: give the file of one certificate or key")]
    TooLarge,
    /// It is PEM, but a part of it is cut off or changed.
    #[error("is damaged: a part of its PEM is cut off, or is not base64; copy it again")]
    Damaged,
    /// There is no certificate in it.
    #[error("contains no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----{0}")]
    NoCertificate(Hint),
    /// There is a certificate in it that cannot be used.
    #[error("contains a certificate that cannot be used: {0}")]
    BadCertificate(String),
    /// The key belongs to a certificate further down in the file.
    #[error(
        "does not begin with the server's own certificate, to which the key belongs: put it first, and those of its \
         issuers after it"
    )]
    WrongOrder,
    /// There is no key in it.
    #[error("contains no private key in PEM, which begins with -----BEGIN PRIVATE KEY-----{0}")]
    NoKey(Hint),
    /// The key is encrypted.
    #[error(
        "contains an encrypted key, and there is nobody to ask for its password: write it without one, with `openssl \
         pkey -in FILE -out PLAIN`, and let only Doorstep read the new file"
    )]
    EncryptedKey,
    /// The key is of an unknown kind, or damaged.
    #[error(
        "contains a key that cannot be used: it must be RSA (2048 to 8192 bits), ECDSA (P-256 or P-384) or Ed25519"
    )]
    BadKey,
    /// The key is that of another certificate.
    #[error(
        "is not the key of the certificate in {}: give the two files that belong together",
        certificate.display()
    )]
    OtherKey {
        /// The file of the certificate.
        certificate: PathBuf,
    },
}

/// What the file is instead, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// It is not known.
    Nothing,
    /// It has what belongs into the other file.
    Swapped,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "",
            Self::Swapped => {
                "; it has what belongs into the other file: are server.tls.cert and server.tls.key swapped?"
            }
        })
    }
}

/// A certificate and its key, ready to be used.
pub(super) struct Pair {
    pub(super) config: Arc<ServerConfig>,
    pub(super) validity: Option<Validity>,
}

impl TlsFiles {
    /// Reads both files, and checks that they belong together.
    pub(super) fn read(&self) -> Result<Pair, TlsError> {
        let of_certificate =
            |fault| TlsError { file: TlsFile::Certificate, path: self.certificate.clone(), fault };
        let of_key = |fault| TlsError { file: TlsFile::Key, path: self.key.clone(), fault };
        let chain = read(&self.certificate).and_then(|pem| certificates(&pem));
        let chain = chain.map_err(of_certificate)?;
        let key = read(&self.key).and_then(|pem| private_key(&pem)).map_err(of_key)?;

        let cryptography = rustls::crypto::ring::default_provider();
        let key = signing_key(&cryptography, key).map_err(of_key)?;
        let validity = chain.first().and_then(|own| Validity::of(own));
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            // Every kind of key that we can load tells its public key.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) if fits_another(&pair) => {
                return Err(of_certificate(TlsFault::WrongOrder));
            }
            Err(Error::InconsistentKeys(_)) => {
                return Err(of_key(TlsFault::OtherKey { certificate: self.certificate.clone() }));
            }
            Err(error) => return Err(of_certificate(TlsFault::BadCertificate(error.to_string()))),
        }
        let config = server_config(cryptography, pair)
            .map_err(|error| of_certificate(TlsFault::BadCertificate(error.to_string())))?;
        Ok(Pair { config: Arc::new(config), validity })
    }
}

/// Reads a file of a bounded size.
fn read(path: &Path) -> Result<Vec<u8>, TlsFault> {
    // Checked before it is opened, because opening a named pipe waits for a writer.
    if !std::fs::metadata(path).map_err(TlsFault::Unreadable)?.is_file() {
        return Err(TlsFault::NoFile);
    }
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(TlsFault::Unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut pem).map_err(TlsFault::Unreadable)?;
    let small = u64::try_from(pem.len()).is_ok_and(|bytes| bytes <= MAX_BYTES);
    if small { Ok(pem) } else { Err(TlsFault::TooLarge) }
}

/// A section of PEM. The reader's own errors are not passed on, because they repeat lines of the file.
type Section = (SectionKind, Vec<u8>);

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| TlsFault::Damaged)?;
    if chain.is_empty() {
        let key = private_key(pem).is_ok() || is_encrypted(pem);
        return Err(TlsFault::NoCertificate(if key { Hint::Swapped } else { Hint::Nothing }));
    }
    Ok(chain)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFault> {
    if is_encrypted(pem) {
        return Err(TlsFault::EncryptedKey);
    }
    let mut certificate = false;
    for section in Section::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|_| TlsFault::Damaged)?;
        certificate |= kind == SectionKind::Certificate;
        if let Some(key) = PrivateKeyDer::from_pem(kind, der) {
            return Ok(key);
        }
    }
    Err(TlsFault::NoKey(if certificate { Hint::Swapped } else { Hint::Nothing }))
}

/// Both forms: PKCS #8 (RFC 7468 section 11), and OpenSSL's older one.
fn is_encrypted(pem: &[u8]) -> bool {
    pem.split(|byte| *byte == b'\n').any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || line.starts_with(b"Proc-Type: 4,ENCRYPTED")
    })
}

fn signing_key(
    cryptography: &CryptoProvider,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<dyn rustls::sign::SigningKey>, TlsFault> {
    cryptography.key_provider.load_private_key(key).map_err(|_| TlsFault::BadKey)
}

/// Whether the key belongs to a certificate that is not the first.
fn fits_another(pair: &CertifiedKey) -> bool {
    let others = pair.cert.iter().skip(1);
    let alone = |other: &CertificateDer<'static>| vec![other.clone()];
    others.map(alone).any(|one| CertifiedKey::new(one, pair.key.clone()).keys_match().is_ok())
}

/// TLS 1.2 and 1.3. Only HTTP/1.1 is offered, because the server speaks nothing else. Each configuration has sessions of
/// its own: one that began with an old certificate is not resumed with a new one.
fn server_config(cryptography: CryptoProvider, pair: CertifiedKey) -> Result<ServerConfig, Error> {
    let certificate = Arc::new(rustls::sign::SingleCertAndKey::from(pair));
    let mut config = ServerConfig::builder_with_provider(Arc::new(cryptography))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

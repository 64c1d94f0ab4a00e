use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

#[cfg(feature = "tls")]
use super::refusal::MOST_OVER_TLS;

/// How long sent data may stay unacknowledged before the connection is given up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// The TLS configuration for the next connection.
#[cfg(feature = "tls")]
pub type TlsConfigs = tokio::sync::watch::Receiver<std::sync::Arc<rustls::ServerConfig>>;

/// What the TLS connections of a listener share.
#[cfg(feature = "tls")]
#[derive(Debug, Clone)]
pub(super) struct ListenerTls {
    pub(super) configs: TlsConfigs,
    /// The refusals that may be under way.
    pub(super) refusals: std::sync::Arc<tokio::sync::Semaphore>,
}

/// Accepts connections, over TCP, TLS or a Unix socket.
#[derive(Debug)]
pub struct Listener(ListenerSocket);

#[derive(Debug)]
enum ListenerSocket {
    Tcp(TcpListener),
    #[cfg(feature = "tls")]
    Tls(TcpListener, ListenerTls),
    Unix(UnixListener, SocketFile),
}

/// Where a [`Listener`] listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// An address and a port at which TLS is spoken.
    Tls(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Tls(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a Unix socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("another process listens on {}", .0.display())]
    InUse(PathBuf),
    /// The path exists and is not a socket. It is left alone.
    #[error("{} exists and is not a socket", .0.display())]
    NoSocket(PathBuf),
    /// The operating system reports an error.
    #[error("cannot listen on {}: {cause}", path.display())]
    System {
        /// The socket's path.
        path: PathBuf,
        /// The error.
        cause: io::Error,
    },
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A client at an address.
    Tcp(SocketAddr),
    /// A process on this machine.
    Unix,
}

/// One accepted connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    /// Before its handshake.
    #[cfg(feature = "tls")]
    Tls(TcpStream, ListenerTls),
    Unix(UnixStream),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self(ListenerSocket::Tcp(listener))
    }
}

impl Listener {
    /// Speaks TLS, and nothing else, on the connections of this listener.
    #[cfg(feature = "tls")]
    pub fn tls(listener: TcpListener, configs: TlsConfigs) -> Self {
        let refusals = std::sync::Arc::new(tokio::sync::Semaphore::new(MOST_OVER_TLS));
        Self(ListenerSocket::Tls(listener, ListenerTls { configs, refusals }))
    }

    /// Listens on a Unix socket to which its owner and group may connect. Replaces a socket that an earlier
    /// process left behind.
    pub async fn unix(path: &Path) -> Result<Self, BindError> {
        let system = |cause| BindError::System { path: path.to_owned(), cause };
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::NoSocket(path.to_owned()));
            }
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Ok(_) => return Err(BindError::InUse(path.to_owned())),
                Err(error) => return Err(system(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(system(error)),
        }
        // Bound under another name and then renamed: nobody can connect before the mode is set, and a stale socket
        // is replaced in one step.
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let bound = || {
            let listener = UnixListener::bind(&draft)?;
            std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o660))?;
            let file = SocketFile::new(path.to_owned(), &draft)?;
            std::fs::rename(&draft, path)?;
            Ok((listener, file))
        };
        let (listener, file) = bound().map_err(|cause| {
            std::fs::remove_file(&draft).ok();
            system(cause)
        })?;
        Ok(Self(ListenerSocket::Unix(listener, file)))
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<Address> {
        match &self.0 {
            ListenerSocket::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            #[cfg(feature = "tls")]
            ListenerSocket::Tls(listener, _) => listener.local_addr().map(Address::Tls),
            ListenerSocket::Unix(_, file) => Ok(Address::Unix(file.path.clone())),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.0 {
            ListenerSocket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                prepare(&stream);
                Ok((Stream::Tcp(stream), Peer::Tcp(peer)))
            }
            #[cfg(feature = "tls")]
            ListenerSocket::Tls(listener, tls) => {
                let (stream, peer) = listener.accept().await?;
                prepare(&stream);
                Ok((Stream::Tls(stream, tls.clone()), Peer::Tcp(peer)))
            }
            ListenerSocket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

/// Sets options that only improve a connection: it is served without them too.
fn prepare(stream: &TcpStream) {
    // A push is one small frame, which must not wait for another to share a packet with.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    // A client that vanished acknowledges nothing: without this, TCP retries for a quarter of an hour.
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED)) {
        tracing::debug!(%error, "could not set TCP_USER_TIMEOUT");
    }
}

/// The file of a Unix socket. It is removed with its listener, unless another process has replaced it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl SocketFile {
    /// The file that is at `now` and will be renamed to `path`.
    fn new(path: PathBuf, now: &Path) -> io::Result<Self> {
        let device_and_inode = device_and_inode(now)?;
        Ok(Self { path, device_and_inode })
    }
}

fn device_and_inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if device_and_inode(&self.path).is_ok_and(|found| found == self.device_and_inode) {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

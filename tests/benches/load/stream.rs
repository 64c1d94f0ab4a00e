//! A connection to a server, plain or over TLS, from an address of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;

use crate::servers::Running;

pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

pub(crate) type Stream = Box<dyn Duplex>;

/// The client number `n` has one of 250 addresses, so that ports do not run out: an address has about 28,000.
pub(crate) async fn connect(server: &Running, n: usize) -> io::Result<Stream> {
    let host = u8::try_from(n % 250).expect("below 250") + 1;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1, 0, host)), 0))?;
    let stream = socket.connect(server.address).await?;
    stream.set_nodelay(true)?;
    Ok(match &server.tls {
        Some(client) => Box::new(client.over(stream).await?),
        None => Box::new(stream),
    })
}

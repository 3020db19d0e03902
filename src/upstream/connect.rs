use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::tls::{Alpn, ClientTls};
use super::{ProxyHeader, Stream, is_of_reserve};

/// Why no connection could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Refused or unreachable.
    Refused,
    /// This machine has no descriptor, port or memory left for it: nothing is known of the endpoint.
    Exhausted,
    /// Not within the connect timeout.
    TimedOut,
    /// The TLS handshake failed: another name, an unknown authority, no common version or protocol.
    Tls,
}

/// How a connection is opened.
pub struct Connect<'c> {
    /// Where to.
    pub address: SocketAddr,
    /// What goes before everything else.
    pub proxy_header: Option<&'c ProxyHeader>,
    /// Within TLS, and with which protocol.
    pub tls: Option<(&'c ClientTls, Alpn)>,
}

/// How long a silent connection to an endpoint may be dead before the kernel finds out.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Opens a connection to an endpoint. The TLS handshake counts toward the timeout.
pub async fn connect(connect: &Connect<'_>, timeout: Duration) -> Result<Stream, ConnectError> {
    tokio::time::timeout(timeout, open(connect)).await.unwrap_or(Err(ConnectError::TimedOut))
}

async fn open(connect: &Connect<'_>) -> Result<Stream, ConnectError> {
    let mut stream = TcpStream::connect(connect.address).await.map_err(|error| match is_ours(&error) {
        true => ConnectError::Exhausted,
        false => ConnectError::Refused,
    })?;
    if is_of_reserve(&stream) {
        return Err(ConnectError::Exhausted);
    }
    prepare(&stream).map_err(|_| ConnectError::Refused)?;
    if let Some(header) = connect.proxy_header {
        stream.write_all(&header.bytes(connect.address)).await.map_err(|_| ConnectError::Refused)?;
    }
    match connect.tls {
        None => Ok(Stream::Plain(stream)),
        Some((tls, alpn)) => tls.handshake(stream, alpn).await.map_err(|error| {
            tracing::debug!(address = %connect.address, %error, "the TLS handshake with an endpoint failed");
            ConnectError::Tls
        }),
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

/// True for errors that say something of this machine, and nothing of the other one.
fn is_ours(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL, Errno::AGAIN];
    error.raw_os_error().is_some_and(|code| ours.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_out_here_is_not_the_endpoint_s() {
        for (code, ours) in [(24, true), (23, true), (111, false), (113, false), (110, false), (99, true)] {
            assert_eq!(is_ours(&io::Error::from_raw_os_error(code)), ours, "{code}");
        }
    }
}

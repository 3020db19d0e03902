use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Why no connection could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Refused, unreachable, or no descriptor left.
    Refused,
    /// Not within the connect timeout.
    TimedOut,
}

/// How long a silent connection to an endpoint may be dead before the kernel finds out.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Opens a TCP connection to an endpoint.
pub async fn connect(address: SocketAddr, timeout: Duration) -> Result<TcpStream, ConnectError> {
    match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Err(_) => Err(ConnectError::TimedOut),
        Ok(Err(_)) => Err(ConnectError::Refused),
        Ok(Ok(stream)) => prepare(&stream).map(|()| stream).map_err(|_| ConnectError::Refused),
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Why no connection could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Refused or unreachable.
    Refused,
    /// This machine has no descriptor, port or memory left for it: nothing is known of the endpoint.
    Exhausted,
    /// Not within the connect timeout.
    TimedOut,
}

/// How long a silent connection to an endpoint may be dead before the kernel finds out.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Opens a TCP connection to an endpoint.
pub async fn connect(address: SocketAddr, timeout: Duration) -> Result<TcpStream, ConnectError> {
    match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
        Err(_) => Err(ConnectError::TimedOut),
        Ok(Err(error)) if is_ours(&error) => Err(ConnectError::Exhausted),
        Ok(Err(_)) => Err(ConnectError::Refused),
        Ok(Ok(stream)) => prepare(&stream).map(|()| stream).map_err(|_| ConnectError::Refused),
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

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::connection::{self, Origin};
use super::worker::Worker;
use crate::upstream::is_of_reserve;

/// A running accept loop; it ends when this is dropped.
pub(super) struct Listening {
    _stop: oneshot::Sender<()>,
}

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long to wait when the process has no descriptor left: they come back as connections end.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);
/// How long a silent client may be dead before the kernel finds out.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Binds an address once for each worker. The kernel spreads connections among them (`SO_REUSEPORT`), so that
/// accepting needs no hand-over. With port 0 all share the port that the first one got.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let mut sockets: Vec<std::net::TcpListener> = Vec::with_capacity(workers);
    for _ in 0..workers {
        let address = match sockets.first() {
            Some(first) => first.local_addr()?,
            None => {
                refuse_if_taken(address)?;
                address
            }
        };
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        // set once here and inherited by every connection, rather than by three calls for each
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

/// With `SO_REUSEPORT` a second Ringway would bind the same address without an error and take half of the traffic,
/// so the address is bound once without it first.
fn refuse_if_taken(address: SocketAddr) -> io::Result<()> {
    let probe = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())
}

/// Starts to accept connections.
pub(super) fn start(worker: Rc<Worker>, address: SocketAddr, socket: std::net::TcpListener) -> io::Result<Listening> {
    let listener = TcpListener::from_std(socket)?;
    let (stop, stopped) = oneshot::channel();
    tokio::task::spawn_local(accept_all(worker, address, listener, stopped));
    Ok(Listening { _stop: stop })
}

async fn accept_all(
    worker: Rc<Worker>,
    address: SocketAddr,
    listener: TcpListener,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = &mut stopped => return,
        };
        match accepted {
            Ok((stream, _)) if is_of_reserve(&stream) => {
                drop(stream);
                worker.refuse_for_descriptors();
            }
            Ok((stream, peer)) => serve(&worker, address, stream, peer),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%address, %error, "cannot accept a connection now");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn serve(worker: &Rc<Worker>, address: SocketAddr, stream: TcpStream, peer: SocketAddr) {
    let current = worker.current();
    // the listener may just have left the file: its connections still end in peace
    let rules = current.rules(&address).cloned().unwrap_or_default();
    if !worker.open_connection(&rules) {
        return;
    }
    tokio::task::spawn_local(connection::serve(worker.clone(), address, rules, stream, peer, Origin::Clients));
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;

    /// What makes it needless to set them again for each connection.
    #[test]
    fn accepted_connections_inherit_the_options_of_the_listener() {
        let sockets = bind(([127, 0, 0, 1], 0).into(), 1).unwrap();
        let _client = std::net::TcpStream::connect(sockets[0].local_addr().unwrap()).unwrap();
        sockets[0].set_nonblocking(false).unwrap();
        let (accepted, _) = sockets[0].accept().unwrap();
        let options = SockRef::from(&accepted);
        assert!(options.tcp_nodelay().unwrap());
        assert!(options.keepalive().unwrap());
        assert_eq!(options.tcp_keepalive_time().unwrap(), KEEPALIVE);
    }
}

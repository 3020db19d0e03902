use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Hands connections of this process's own to the data plane, to be served as if they had come to a listener.
pub type Dialer = Arc<dyn Fn(SocketAddr, TcpStream) + Send + Sync>;

/// The data plane as the control thread sees it: it can be asked, and it never asks back.
pub trait DataPlane: Send {
    /// Binds an address, once for each worker. Nothing is accepted yet.
    fn bind(&self, address: SocketAddr) -> io::Result<Vec<TcpListener>>;

    /// Accepts connections on sockets that were bound for an address of the file.
    fn listen(&mut self, address: SocketAddr, sockets: Vec<TcpListener>);

    /// Stops to accept on an address of the file; open connections stay.
    fn close(&mut self, address: SocketAddr);

    /// Duplicates of the sockets of all listeners, by their address of the file.
    fn sockets(&self) -> Vec<(SocketAddr, TcpListener)>;

    /// For probes.
    fn dialer(&self) -> Dialer;

    /// Stops to accept, finishes what is in flight, and ends.
    fn drain(&mut self);

    /// How many workers there are, and how many of them are at work.
    fn workers(&self) -> (usize, usize);
}

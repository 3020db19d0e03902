use super::caller::Peer;
use crate::control::AdminAddress;
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A bound admin door. A socket in the file system is removed when it is dropped.
#[derive(Debug)]
pub struct Door {
    address: AdminAddress,
    listener: Listener,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a socket, while it is ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
    /// It belongs to another process now.
    is_given: Arc<AtomicBool>,
}

/// An accepted connection.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Binds the door. Must be called within a Tokio runtime.
///
/// A socket in the file system is for this user alone (mode 0600). One that was left behind by a process that is
/// gone is replaced; one that somebody answers on is not.
pub fn bind(address: &AdminAddress) -> io::Result<Door> {
    let listener = match address {
        AdminAddress::Tcp(address) => {
            let socket = std::net::TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            Listener::Tcp(TcpListener::from_std(socket)?)
        }
        AdminAddress::Unix(path) => {
            let (socket, file) = bind_unix(path)?;
            Listener::Unix(socket, file)
        }
    };
    let address = match &listener {
        Listener::Tcp(socket) => AdminAddress::Tcp(socket.local_addr()?),
        Listener::Unix(_, file) => AdminAddress::Unix(file.path.clone()),
    };
    Ok(Door { address, listener })
}

impl Door {
    /// The door of the process before this one, whose socket was handed over. Must be called within a Tokio runtime.
    pub fn inherited(address: &AdminAddress, socket: OwnedFd) -> io::Result<Door> {
        let (listener, address) = match address {
            AdminAddress::Tcp(_) => {
                let listener = TcpListener::from_std(socket.into())?;
                let at = AdminAddress::Tcp(listener.local_addr()?);
                (Listener::Tcp(listener), at)
            }
            AdminAddress::Unix(path) => {
                let file = SocketFile::of(path)?;
                (Listener::Unix(UnixListener::from_std(socket.into())?, file), address.clone())
            }
        };
        Ok(Door { address, listener })
    }

    /// A duplicate of its socket, for the process after this one.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        match &self.listener {
            Listener::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Listener::Unix(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// To be set once the socket belongs to another process: its file must stay. `None` for a door without a file.
    pub fn is_given(&self) -> Option<Arc<AtomicBool>> {
        match &self.listener {
            Listener::Tcp(_) => None,
            Listener::Unix(_, file) => Some(Arc::clone(&file.is_given)),
        }
    }

    /// The next connection on a door in the file system; never one on another.
    pub async fn accept_unix(&self) -> io::Result<UnixStream> {
        match &self.listener {
            Listener::Tcp(_) => std::future::pending().await,
            Listener::Unix(listener, _) => listener.accept().await.map(|(stream, _)| stream),
        }
    }

    /// Where it really is.
    pub fn address(&self) -> &AdminAddress {
        &self.address
    }

    /// Its address, when it has one.
    pub(super) fn bound(&self) -> Option<SocketAddr> {
        match self.address {
            AdminAddress::Tcp(bound) => Some(bound),
            AdminAddress::Unix(_) => None,
        }
    }

    /// The next connection, and who is at its other end.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match &self.listener {
            Listener::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Peer::Tcp(from.ip().to_canonical())))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok((Stream::Unix(stream), Peer::Unix(user)))
            }
        }
    }
}

/// The socket is made in a directory that only we can enter, and moved to its place with its rights: at no moment
/// can anybody else connect.
fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    refuse_if_in_use(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let closed = tempfile::Builder::new().prefix(".rw").rand_bytes(4).tempdir_in(parent)?;
    let made = closed.path().join("s");
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    std::fs::rename(&made, path)?;
    Ok((listener, SocketFile::of(path)?))
}

fn refuse_if_in_use(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of that name, and it is no socket"))
        }
        Ok(_) => match StdUnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
            Err(error) => Err(error),
        },
    }
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<SocketFile> {
        let metadata = path.symlink_metadata()?;
        Ok(SocketFile { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()), is_given: Arc::default() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = self.path.symlink_metadata().is_ok_and(|now| (now.dev(), now.ino()) == self.identity);
        if is_ours && !self.is_given.load(Ordering::Acquire) {
            // what cannot be removed is stale, and replaced at the next start
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

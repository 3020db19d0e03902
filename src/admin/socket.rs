use super::guard::Hosts;
use crate::control::AdminAddress;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
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
        AdminAddress::Tcp(address) if !address.ip().is_loopback() => {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the admin door is for this machine only"));
        }
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
    /// Where it really is.
    pub fn address(&self) -> &AdminAddress {
        &self.address
    }

    pub(super) fn hosts(&self) -> Hosts {
        match self.address {
            AdminAddress::Tcp(bound) => Hosts { bound: Some(bound) },
            AdminAddress::Unix(_) => Hosts { bound: None },
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match &self.listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Stream::Tcp(stream)),
            Listener::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
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
    let metadata = made.symlink_metadata()?;
    std::fs::rename(&made, path)?;
    Ok((listener, SocketFile { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) }))
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

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = self.path.symlink_metadata().is_ok_and(|now| (now.dev(), now.ino()) == self.identity);
        if is_ours {
            // what cannot be removed is stale, and replaced at the next start
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

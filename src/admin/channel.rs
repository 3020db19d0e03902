//! How the door is spoken to: plain, or within TLS with the certificate of the files in force.
//!
//! Each new connection asks anew, so a renewed certificate is presented as soon as it is loaded. Connections that are open
//! stay as they are.

use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::control::InForce;
use crate::routing::tls::ListenerTls;

/// How long a TLS handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// The content type of a handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
/// What a client that speaks plain HTTP is told.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 40\r\nconnection: close\r\n\r\nthis port speaks TLS; use an https: URL\n";

/// A request came within TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IsEncrypted(pub(super) bool);

/// How the next connection is spoken to.
#[derive(Clone)]
pub(super) enum Channel {
    Plain,
    Tls(Arc<ServerConfig>),
    /// The file wants TLS, and there is none: nobody is served.
    Shut,
}

/// The channel of the files that were in force at the last connection.
#[derive(Default)]
pub(super) struct Channels(Option<(Arc<InForce>, Channel)>);

impl Channels {
    /// The channel of the files in force.
    pub(super) fn of(&mut self, in_force: Arc<InForce>) -> Channel {
        if let Some((known, channel)) = &self.0
            && Arc::ptr_eq(known, &in_force)
        {
            return channel.clone();
        }
        let channel = match in_force.loaded.file.admin.as_ref().and_then(|admin| admin.tls.as_ref()) {
            None => Channel::Plain,
            Some(files) => match ListenerTls::of_door(files, in_force.references.tls()) {
                Ok(config) => Channel::Tls(config),
                Err(error) => {
                    tracing::error!(error, "the admin door cannot speak TLS and is shut: a bug of Ringway");
                    Channel::Shut
                }
            },
        };
        self.0 = Some((in_force, channel.clone()));
        channel
    }
}

/// A connection within TLS.
///
/// # Errors
/// The client speaks no TLS, another kind of it, or too slowly.
pub(super) async fn shake_hands(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    let shaking = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE {
            return Err(refuse(stream).await);
        }
        TlsAcceptor::from(config).accept(stream).await
    };
    tokio::time::timeout(HANDSHAKE_TIME_MAX, shaking).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

async fn refuse(mut stream: TcpStream) -> io::Error {
    // whoever it is may have gone
    let _ = stream.write_all(SPEAK_TLS).await;
    let _ = stream.shutdown().await;
    io::Error::new(io::ErrorKind::InvalidData, "the client speaks no TLS")
}

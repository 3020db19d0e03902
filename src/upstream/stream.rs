//! A connection's bytes, plain or within TLS.

use rustls::{ConnectionCommon, SideData};
use socket2::SockRef;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A connection, to a client or to an endpoint.
#[derive(Debug)]
pub enum Stream {
    /// Bytes as they are.
    Plain(TcpStream),
    /// Bytes within TLS. Boxed: most of it is rustls's.
    Tls(Box<TlsSocket>),
}

/// A TLS connection that says goodbye when it is dropped.
#[derive(Debug)]
pub struct TlsSocket {
    stream: TlsStream<TcpStream>,
    is_aborted: bool,
}

impl Stream {
    /// True for TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// Makes the close of the connection one that nobody takes for an end that was meant.
    pub fn abort(&mut self) {
        let socket = match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => {
                stream.is_aborted = true;
                stream.stream.get_ref().0
            }
        };
        // when even that fails, the connection is broken already
        let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Plain(stream)
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    fn from(stream: TlsStream<TcpStream>) -> Stream {
        Stream::Tls(Box::new(TlsSocket { stream, is_aborted: false }))
    }
}

impl TlsSocket {
    /// The TLS connection.
    pub fn connection(&self) -> &rustls::CommonState {
        self.stream.get_ref().1
    }
}

impl Drop for TlsSocket {
    /// Tells the other end that nothing is missing (RFC 8446 §6.1), as far as the socket takes it at once.
    fn drop(&mut self) {
        if self.is_aborted {
            return;
        }
        match &mut self.stream {
            TlsStream::Client(stream) => {
                let (socket, connection) = stream.get_mut();
                say_goodbye(connection, socket);
            }
            TlsStream::Server(stream) => {
                let (socket, connection) = stream.get_mut();
                say_goodbye(connection, socket);
            }
        }
    }
}

fn say_goodbye<D: SideData>(connection: &mut ConnectionCommon<D>, socket: &TcpStream) {
    connection.send_close_notify();
    // a socket that is full or gone takes nothing more, and the other end finds out by its end
    while connection.wants_write() && connection.write_tls(&mut AtOnce(socket)).is_ok_and(|count| count > 0) {}
}

/// Writes without waiting.
struct AtOnce<'s>(&'s TcpStream);

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(&mut stream.stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(&mut stream.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(&mut stream.stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(stream) => Pin::new(&mut stream.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(&mut stream.stream).poll_shutdown(cx),
        }
    }
}

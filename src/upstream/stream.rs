//! A connection's bytes, plain or within TLS.

use rustls::{ConnectionCommon, SideData};
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
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
pub struct TlsSocket(TlsStream<TcpStream>);

impl Stream {
    /// True for TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.0.get_ref().0,
        }
    }

    /// Waits until there may be something to read: bytes of the socket, or what rustls has decrypted already. Owns no
    /// buffer while it waits.
    pub async fn readable(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.readable().await,
            Stream::Tls(stream) => {
                if stream.has_decrypted() {
                    Ok(())
                } else {
                    stream.0.get_ref().0.readable().await
                }
            }
        }
    }

    /// Reads what is there, without waiting.
    pub async fn read_ready(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.try_read_buf(buffer),
            // with the task's own waker, since what is there may be a part of a record only
            Stream::Tls(stream) => {
                let polled = std::future::poll_fn(|cx| {
                    Poll::Ready(tokio_util::io::poll_read_buf(Pin::new(&mut stream.0), cx, buffer))
                });
                match polled.await {
                    Poll::Ready(result) => result,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Plain(stream)
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    fn from(stream: TlsStream<TcpStream>) -> Stream {
        Stream::Tls(Box::new(TlsSocket(stream)))
    }
}

impl TlsSocket {
    /// The TLS connection.
    pub fn connection(&self) -> &rustls::CommonState {
        self.0.get_ref().1
    }

    /// True when a read would give something, or fail, without the socket.
    fn has_decrypted(&mut self) -> bool {
        let state = match &mut self.0 {
            TlsStream::Client(stream) => stream.get_mut().1.process_new_packets(),
            TlsStream::Server(stream) => stream.get_mut().1.process_new_packets(),
        };
        state.map_or(true, |state| state.plaintext_bytes_to_read() > 0 || state.peer_has_closed())
    }
}

impl Drop for TlsSocket {
    /// Tells the other end that nothing is missing (RFC 8446 §6.1), as far as the socket takes it at once.
    fn drop(&mut self) {
        match &mut self.0 {
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
            Stream::Tls(stream) => Pin::new(&mut stream.0).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(&mut stream.0).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Tls(stream) => Pin::new(&mut stream.0).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(stream) => Pin::new(&mut stream.0).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(&mut stream.0).poll_shutdown(cx),
        }
    }
}

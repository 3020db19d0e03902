//! A client that speaks TLS as a test wants it to.

use crate::authority::{Authority, Issued};
use crate::support::raw::PATIENCE;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, ServerName};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// What a client offers. Connections of clones share their sessions.
#[derive(Clone)]
pub struct Client {
    pub config: ClientConfig,
    pub name: String,
}

/// A connection after its handshake.
pub struct Connected(pub StreamOwned<ClientConnection, TcpStream>);

/// An answer, as far as these tests look at it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Client {
    /// Believes an authority, and asks for this name; for an address it asks for none.
    pub fn new(authority: &Authority, name: &str) -> Client {
        Client::with(authority, name, None, rustls::DEFAULT_VERSIONS)
    }

    pub fn with(
        authority: &Authority,
        name: &str,
        certificate: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Client {
        Client::with_provider(authority, name, certificate, versions, rustls::crypto::aws_lc_rs::default_provider())
    }

    /// The same with cipher suites and groups in an order of its own.
    pub fn with_provider(
        authority: &Authority,
        name: &str,
        certificate: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
        provider: CryptoProvider,
    ) -> Client {
        let provider = Arc::new(provider);
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(authority.roots());
        let config = match certificate {
            Some(issued) => builder.with_client_auth_cert(issued.chain(), issued.private_key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        Client { config, name: name.to_owned() }
    }

    pub fn offering(mut self, protocols: &[&str]) -> Client {
        self.config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        self
    }

    /// A handshake, to its end on both sides: TLS 1.3 tells of a refused certificate after the client's own end.
    pub fn connect(&self, to: SocketAddr) -> Result<Connected, String> {
        self.connect_on(TcpStream::connect(to).unwrap())
    }

    pub fn connect_on(&self, socket: TcpStream) -> Result<Connected, String> {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from(self.name.clone()).unwrap();
        let connection = ClientConnection::new(Arc::new(self.config.clone()), name).unwrap();
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| error.to_string())?;
        }
        Ok(Connected(stream))
    }

    /// Connects, and asks for a host; an error when there is no answer.
    pub fn try_get(&self, to: SocketAddr, host: &str) -> Result<(Answer, HandshakeKind), String> {
        let mut connected = self.connect(to)?;
        let answer = connected.try_get(host)?;
        Ok((answer, connected.kind()))
    }

    pub fn get(&self, to: SocketAddr, host: &str) -> Answer {
        self.try_get(to, host).unwrap().0
    }

    /// Whether a connection resumes, after one that left a ticket.
    pub fn resumes(&self, to: SocketAddr) -> bool {
        let (answer, kind) = self.try_get(to, &self.name).unwrap();
        assert_eq!(answer.status, 200);
        kind == HandshakeKind::Resumed
    }
}

impl Connected {
    pub fn kind(&self) -> HandshakeKind {
        self.0.conn.handshake_kind().unwrap()
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.0.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    pub fn alpn(&self) -> Option<&[u8]> {
        self.0.conn.alpn_protocol()
    }

    pub fn get(&mut self, host: &str) -> Answer {
        self.try_get(host).unwrap()
    }

    pub fn try_get(&mut self, host: &str) -> Result<Answer, String> {
        self.send(&format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"))
    }

    /// Sends a request, and reads an answer with a `content-length`.
    pub fn send(&mut self, request: &str) -> Result<Answer, String> {
        self.0.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let head = self.read_until(|read| read.ends_with(b"\r\n\r\n"))?;
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length =
            head.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        let body = if length == 0 { Vec::new() } else { self.read_until(|read| read.len() == length)? };
        Ok(Answer { status, head, body: String::from_utf8(body).unwrap() })
    }

    pub fn read_until(&mut self, done: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, String> {
        let mut read = Vec::new();
        while !done(&read) {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(0) => return Err("closed".to_owned()),
                Ok(_) => read.push(byte[0]),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(read)
    }
}

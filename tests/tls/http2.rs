//! HTTP/2 within TLS, by a client of its own (h2).

use crate::authority::Authority;
use crate::client::Client;
use crate::handshakes::proxy;
use crate::service::Service;
use crate::support::recording::Recording;
use crate::support::server::{Proxy, Setup};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

async fn connect(client: &Client, to: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let connector = TlsConnector::from(Arc::new(client.clone().offering(&["h2"]).config));
    let name = ServerName::try_from(client.name.clone()).unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move {
        // it ends with the test
        let _ = connection.await;
    });
    sender
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

async fn ask(sender: &SendRequest<Bytes>, uri: &str, body: &[u8]) -> Answer {
    let mut sender = sender.clone().ready().await.unwrap();
    let request = Request::post(uri).body(()).unwrap();
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data(Bytes::copy_from_slice(body), true).unwrap();
    let (head, mut incoming) = response.await.unwrap().into_parts();
    let mut body = Vec::new();
    while let Some(piece) = incoming.data().await {
        let piece = piece.unwrap();
        incoming.flow_control().release_capacity(piece.len()).unwrap();
        body.extend_from_slice(&piece);
    }
    let trailers = incoming.trailers().await.unwrap();
    Answer { status: head.status, body, trailers }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn many_requests_and_large_bodies_on_one_connection() {
    let upstream = Recording::echo();
    let authority = Authority::new("test");
    let proxy = proxy(&upstream, &[&authority.issue(&["a.example"])], "", &[]);
    let client = Client::new(&authority, "a.example");
    run(async {
        let sender = connect(&client, proxy.address()).await;
        for size in [0, 1, 1000, 20_000, 1_000_000] {
            let body = vec![b'x'; size];
            let ask_one = || {
                let (sender, body) = (sender.clone(), body.clone());
                tokio::spawn(async move { ask(&sender, "https://a.example/", &body).await })
            };
            let answers: Vec<_> = (0..10).map(|_| ask_one()).collect();
            for answer in answers {
                let answer = answer.await.unwrap();
                assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, size));
            }
        }
    });
    assert_eq!(upstream.last().header("x-forwarded-proto"), Some("https"));
}

#[test]
fn a_connection_is_shared_by_the_hosts_of_its_certificate_and_no_others() {
    let upstream = Recording::text("hello");
    let authority = Authority::new("test");
    let proxy =
        proxy(&upstream, &[&authority.issue(&["a.example", "b.example"]), &authority.issue(&["c.example"])], "", &[]);
    let client = Client::new(&authority, "a.example");
    run(async {
        let sender = connect(&client, proxy.address()).await;
        for (host, status) in [("a.example", 200), ("b.example", 200), ("c.example", 421), ("a.example", 200)] {
            assert_eq!(ask(&sender, &format!("https://{host}/"), b"").await.status.as_u16(), status, "{host}");
        }
    });
}

#[test]
fn trailers_pass_from_tls_to_tls() {
    let authority = Authority::new("test");
    let (issued, internal) = (authority.issue(&["a.example"]), authority.issue(&["shop.internal"]));
    let service = Service::start(&internal, &["h2"], None);
    let setup = Setup {
        upstreams: vec![("stable", service.address)],
        files: vec![("a.crt", issued.certificate.clone()), ("a.key", issued.key.clone()), ("ca.pem", authority.pem())],
        workers: 1,
    };
    let yaml = "listeners: [{ address: 127.0.0.1:0, tls: { certificates: [{ certFile: a.crt, keyFile: a.key }] } }]\n\
                services: { shop: { variants: { stable: { endpoints: [$stable], protocol: http2, \
                tls: { caFile: ca.pem, serverName: shop.internal } } } } }\n";
    let proxy = Proxy::set_up(yaml, &setup);
    let client = Client::new(&authority, "a.example");
    run(async {
        let sender = connect(&client, proxy.address()).await;
        for _ in 0..20 {
            let answer = ask(&sender, "https://a.example/grpc", b"message").await;
            assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, &b"message"[..]));
            assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
        }
    });
    assert_eq!(service.connections(), 1);
}

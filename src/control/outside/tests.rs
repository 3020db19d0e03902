//! Row D25 of the threat model: everything that a destination can do to who asks it.

#![cfg(test)]

use super::testing::{Server, outside, outside_told};
use super::*;

fn get(url: impl Into<String>) -> Ask {
    Ask { method: Method::GET, url: url.into(), headers: Vec::new(), body: Bytes::new() }
}

const LOOPBACK: &[&str] = &["127.0.0.0/8"];

#[tokio::test]
async fn a_redirect_is_an_answer_and_leads_nowhere() {
    let inside = Server::with(&["HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret"]).await;
    for status in [301, 302, 303, 307, 308] {
        let location = inside.url("/admin");
        let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::with(&[&answer]).await;
        let answered = outside(LOOPBACK).ask(get(server.url("/hook"))).await.unwrap();
        assert_eq!((answered.status, answered.body.len()), (status, 0));
        assert_eq!(inside.seen(), [""; 0]);
    }
}

#[tokio::test]
async fn addresses_that_are_not_public_are_not_asked() {
    let server = Server::with(&["HTTP/1.1 200 OK\r\n\r\n"]).await;
    let port = server.address.port();
    for (url, address) in [
        (format!("http://127.0.0.1:{port}/"), "127.0.0.1"),
        (format!("https://127.0.0.1:{port}/"), "127.0.0.1"),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), "::ffff:127.0.0.1"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "169.254.169.254"),
        ("http://[::1]/".to_owned(), "::1"),
        ("https://10.0.0.1/".to_owned(), "10.0.0.1"),
    ] {
        let failed = outside(&[]).ask(get(&url)).await.unwrap_err();
        assert!(
            matches!(&failed, Failed::NotAllowed { address: refused, .. } if refused.to_string() == address),
            "{url}: {failed}"
        );
    }
    let named = outside_told(&[], &[&["127.0.0.1"]]).ask(get(format!("http://hooks.example:{port}/"))).await;
    assert!(matches!(named, Err(Failed::NotAllowed { .. })), "{named:?}");
    assert_eq!(server.seen(), [""; 0]);
}

#[tokio::test]
async fn without_encryption_only_networks_of_the_file_are_asked() {
    let failed = outside_told(LOOPBACK, &[&["8.8.8.8"]]).ask(get("http://hooks.example/")).await.unwrap_err();
    assert_eq!(failed, Failed::Plain { host: "hooks.example".to_owned(), address: "8.8.8.8".parse().unwrap() });
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_the_address_that_was_judged_is_the_one_that_is_asked() {
    let server = Server::with(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]).await;
    // a name server that answers in another way as soon as it was asked once
    let outside = outside_told(&["127.0.0.1/32"], &[&["10.9.9.9", "127.0.0.1"], &["127.0.0.2"]]);
    let url = format!("http://hooks.example:{}/hook", server.address.port());
    let answered = outside.ask(get(&url)).await.unwrap();
    assert_eq!((answered.status, &answered.body[..], outside.lookups()), (200, &b"ok"[..], 1));
    let request = server.seen().remove(0);
    assert!(request.starts_with("GET /hook HTTP/1.1\r\n") && request.contains("host: hooks.example"), "{request}");
    let failed = outside.ask(get(&url)).await.unwrap_err();
    assert!(matches!(failed, Failed::NotAllowed { .. }), "{failed}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n…",
        "HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n…",
        "HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\nfffffff0\r\n…",
    ] {
        let server = Server::with(&[head]).await;
        let answered = outside(LOOPBACK).ask(get(server.url("/"))).await.unwrap();
        assert_eq!((answered.body.len(), answered.is_cut), (ANSWER_BYTES_MAX, true), "{head}");
    }
}

#[tokio::test]
async fn nobody_is_waited_for_longer_than_that() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let outside = Outside { time_max: Duration::from_millis(50), ..outside(LOOPBACK) };
    // connected to, by the kernel, and never answered
    assert_eq!(outside.ask(get(url)).await, Err(Failed::TimedOut { host: "127.0.0.1".to_owned() }));
}

#[tokio::test]
async fn what_is_no_answer_is_none() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(HEADERS_MAX + 1));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(2 * HEAD_BYTES_MAX));
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc";
    for answer in ["", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\nx: …", &many, &long, cut] {
        let server = Server::with(&[answer]).await;
        let failed = outside(LOOPBACK).ask(get(server.url("/"))).await;
        assert_eq!(failed, Err(Failed::Broken { host: "127.0.0.1".to_owned() }), "{}", answer.len());
    }
    let nobody = outside(LOOPBACK).ask(get("http://127.0.0.1:1/")).await;
    assert_eq!(nobody, Err(Failed::Connect { host: "127.0.0.1".to_owned() }));
}

#[tokio::test]
async fn who_cannot_prove_its_name_is_not_asked() {
    let key = rcgen::generate_simple_self_signed(vec!["hooks.example".to_owned()]).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], key.signing_key.serialize_der().try_into().unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let mut known = RootCertStore::empty();
    known.add(key.cert.der().clone()).unwrap();
    let ask = |host: &'static str, roots: RootCertStore| async move {
        let mut outside = outside_told(LOOPBACK, &[&["127.0.0.1"]]);
        outside.roots = Arc::new(Roots { own: None, all: OnceCell::new_with(Some(Ok(Arc::new(roots)))) });
        outside.ask(get(format!("https://{host}:{port}/"))).await
    };
    assert_eq!(ask("hooks.example", known.clone()).await.unwrap().status, 204);
    let other = ask("other.example", known).await;
    assert_eq!(other, Err(Failed::Tls { host: "other.example".to_owned() }));
    let mut strange = RootCertStore::empty();
    strange.add(rcgen::generate_simple_self_signed(vec!["x".to_owned()]).unwrap().cert.der().clone()).unwrap();
    assert!(matches!(ask("hooks.example", strange).await, Err(Failed::Tls { .. })));
}

#[test]
fn urls_are_read_and_their_secrets_are_not_told() {
    let target = Target::of("https://bot:p%40ss@hooks.example:8443/a/b?c=d").unwrap();
    assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("hooks.example", 8443, "/a/b?c=d"));
    assert_eq!((target.host_field.as_str(), target.is_secure), ("hooks.example:8443", true));
    assert_eq!(target.authorization.as_ref().unwrap(), "Basic Ym90OnBAc3M=");
    assert_eq!(format!("{:?}", target.authorization), "Some(Sensitive)");
    assert_eq!(Target::of("http://[::1]:80\n").unwrap().host, "::1");
    for url in ["", "hooks.example", "/hook", "ftp://a/", "https://", "https:///x", "file:///etc/passwd"] {
        assert!(Target::of(url).is_err(), "{url}");
    }
}

#[test]
fn how_long_to_wait_is_told_in_two_ways_and_has_a_limit() {
    let now = httpdate::parse_http_date("Sat, 21 Nov 2026 12:00:00 GMT").unwrap();
    for (text, seconds) in [
        ("30", Some(30)),
        ("999999", Some(600)),
        ("Sat, 21 Nov 2026 12:01:00 GMT", Some(60)),
        ("Sat, 21 Nov 2026 11:00:00 GMT", Some(0)),
        ("soon", None),
        ("-1", None),
    ] {
        let wait = retry_after(&HeaderValue::from_static(text), now);
        assert_eq!(wait.map(|wait| wait.as_secs()), seconds, "{text}");
    }
}

//! Services that speak HTTP/2: shared connections, their loss, trailers, gRPC.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::net::TcpStream;

use crate::client::{Answer, Client2};
use crate::peer::Peer;
use crate::story::{DOORS, PATIENCE, Story};

fn story(peer: &Peer, protocol: &str) -> Story {
    let variant = format!("{{ endpoints: [\"{}\"], protocol: {protocol} }}", peer.address);
    Story::begin(&format!(
        "{DOORS}services: {{ shop: {{ variants: {{ stable: {variant} }} }} }}\n\
         routes: [{{ service: shop, timeouts: {{ request: 1s }} }}]\n"
    ))
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://shop{path}")).body(Full::default()).unwrap()
}

fn errors(story: &Story) -> f64 {
    story.metrics().sum("ringway_http_request_duration_seconds_count", &[("outcome", "error")])
}

#[test]
fn requests_share_a_connection() {
    let peer = Peer::start();
    let story = story(&peer, "h2c");
    let mut client = Client2::connect(story.at());
    let answers = client.ask_all((0..50).map(|_| get("/together/50")).collect());
    assert!(answers.iter().all(|answer| answer.is_ok() && answer.body == "peer /together/50"), "{answers:?}");
    assert_eq!((peer.connections(), peer.together.load(SeqCst)), (1, 50));
    assert_eq!(answers[0].trailer("grpc-status"), Some("0"));
    // clients of HTTP/1.1 share it as well
    let mut client = story.client();
    let answer = client.get("/one", "te: trailers\r\n");
    assert!(answer.is_ok() && answer.body == "peer /one" && answer.header("x-variant") == Some("stable"), "{answer:?}");
    assert_eq!(peer.connections(), 1);
}

/// After each loss the next request is served, on another connection.
#[test]
fn a_connection_that_is_lost_is_replaced() {
    let peer = Peer::start();
    let story = story(&peer, "h2c");
    let mut http2 = Client2::connect(story.at());
    let mut ask = |path: &str| {
        let mut http1 = story.client();
        [http1.get(path, ""), http2.get(path)]
    };
    let failed =
        |answers: &[Answer; 2], status| answers.iter().all(|answer| answer.status == status && answer.is_whole);
    for path in ["/break", "/drop", "/reset"] {
        let broken = ask(path);
        assert!(failed(&broken, 502), "{path}: {broken:?}");
        let next = ask("/next");
        assert!(failed(&next, 200), "after {path}: {next:?}");
    }
    let late = ask("/never");
    assert!(failed(&late, 504), "{late:?}");
    // a stream that is reset at once may be so before its head is seen
    let cut = ask("/cut");
    assert!(cut.iter().all(|answer| answer.status == 502 || !answer.is_whole), "{cut:?}");
    assert_eq!(errors(&story), 10.0);
    story.expect_metric("ringway_http_requests_in_flight", &[], 0.0);
    story.expect_metric("ringway_panics_total", &[], 0.0);
}

#[test]
fn a_service_that_says_goodbye_loses_no_request() {
    let peer = Peer::start();
    let story = story(&peer, "h2c");
    let mut client = Client2::connect(story.at());
    for round in 0..10 {
        let path = |at| if at == 5 { get("/goaway") } else { get("/a") };
        let answers = client.ask_all((0..10).map(path).collect());
        assert!(answers.iter().all(Answer::is_ok), "round {round}: {answers:?}");
    }
    assert!(peer.connections() >= 5, "{}", peer.connections());
    assert_eq!(errors(&story), 0.0);
}

/// What comes behind the head of an answer to HEAD is nobody's, whether it comes with the head or later, and costs neither
/// the answer nor the connection.
#[test]
fn a_body_in_an_answer_to_head_is_dropped() {
    let peer = Peer::start();
    let story = story(&peer, "h2c");
    let (mut http1, mut http2) = (story.client(), Client2::connect(story.at()));
    for _ in 0..20 {
        for path in ["/a", "/spared"] {
            let answer = http1.ask("HEAD", path, "", "");
            assert!(answer.is_ok() && answer.header("x-variant") == Some("stable"), "{path}: {answer:?}");
            let head = Request::head(format!("http://shop{path}")).body(Full::default()).unwrap();
            let answers = http2.ask_all(vec![head]);
            assert!(answers[0].is_ok() && answers[0].body.is_empty(), "{path}: {answers:?}");
        }
        assert!(http1.get("/next", "").is_ok());
    }
    assert_eq!((peer.connections(), errors(&story)), (1, 0.0));
}

/// RFC 9110 §8.6: a client of HTTP/1.1 would be told two ends of one answer.
#[test]
fn an_answer_with_two_lengths_is_refused() {
    let peer = Peer::start();
    let story = story(&peer, "h2c");
    let (mut http1, mut http2) = (story.client(), Client2::connect(story.at()));
    for path in ["/two-lengths", "/no-length"] {
        let answers = [http1.get(path, ""), http2.get(path)];
        assert!(answers.iter().all(|answer| answer.status == 502 && answer.is_whole), "{path}: {answers:?}");
        assert!(http1.get("/next", "").is_ok(), "after {path}");
    }
}

/// A stream that was refused, or is beyond the last one of a GOAWAY, was not looked at: it goes out again, whatever its
/// method, with its body (RFC 9113 §8.7).
#[test]
fn what_a_service_refuses_to_look_at_is_sent_again() {
    let peer = Peer::start();
    let story = story(&peer, "h2c");
    let mut client = Client2::connect(story.at());
    let post = |path: &str| Request::post(format!("http://shop{path}")).body(Full::from("ten bytes.")).unwrap();
    for round in 0..10 {
        let answers = client.ask_all(vec![post("/refuse-first"), post("/goaway"), post("/a"), post("/b")]);
        for (answer, path) in answers.iter().zip(["/refuse-first", "/goaway", "/a", "/b"]) {
            assert!(answer.is_ok() && answer.body == format!("peer {path} 10"), "round {round} {path}: {answer:?}");
        }
    }
    // one that was begun, and that its service has broken off, is not
    let answers = client.ask_all(vec![post("/reset")]);
    assert_eq!(answers[0].status, 502);
    assert_eq!(errors(&story), 1.0);
}

#[test]
fn a_service_that_is_restarted_is_found_again() {
    let peer = Peer::start();
    let story = story(&peer, "h2c");
    let mut client = Client2::connect(story.at());
    assert!(client.get("/a").is_ok());
    drop(peer);
    let answer = client.get("/a");
    assert!([502, 503].contains(&answer.status), "{answer:?}");
}

#[test]
fn auto_speaks_what_the_client_speaks() {
    let peer = Peer::start();
    let story = story(&peer, "auto");
    assert_eq!(story.client().get("/a", "").body, "http1");
    assert_eq!(Client2::connect(story.at()).get("/a").body, "peer /a");
    assert_eq!(peer.connections(), 2);
}

/// A gRPC stream in both directions: each message is back before the next one goes out.
#[test]
fn messages_of_grpc_go_both_ways_at_once() {
    let peer = Peer::start();
    let story = story(&peer, "h2c");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let talk = async {
        let stream = TcpStream::connect(story.at()).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request =
            Request::post("http://shop/echo").header("content-type", "application/grpc").header("te", "trailers");
        let mut sender = sender.ready().await.unwrap();
        let (response, mut send) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        send.send_data(Bytes::from_static(b"first"), false).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "first");
        for number in 0..100 {
            let message = Bytes::from(format!("message {number}"));
            send.send_data(message.clone(), false).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), message);
            let _ = body.flow_control().release_capacity(message.len());
        }
        // a stream of gRPC has no deadline of ours: this one outlives the route's by saying nothing for a while
        tokio::time::sleep(Duration::from_millis(100)).await;
        send.send_data(Bytes::new(), true).unwrap();
        assert!(body.data().await.is_none());
        body.trailers().await.unwrap().unwrap()
    };
    let trailers = runtime.block_on(async { tokio::time::timeout(PATIENCE, talk).await.expect("a hang") });
    assert_eq!(trailers["grpc-status"], "7");
}

//! A service that speaks HTTP/2 with prior knowledge, and does what the path says.

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::LocalSet;

/// A running service. It ends, with all its connections, when dropped.
pub struct Peer {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    /// The most requests in flight on one connection.
    pub together: Arc<AtomicUsize>,
    _end: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Counts {
    connections: Arc<AtomicUsize>,
    together: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    is_serving: bool,
}

/// What the requests of one connection share.
#[derive(Default)]
struct Shared {
    /// Answers the health protocol of gRPC.
    is_serving: bool,
    in_flight: Cell<usize>,
    arrived: Notify,
    wish: Cell<Option<Wish>>,
}

#[derive(Clone, Copy)]
enum Wish {
    GoAway,
    Break,
    Drop,
}

impl Peer {
    pub fn start() -> Peer {
        Peer::start_with(false)
    }

    /// One that says of `shop.Cart` that it is serving.
    pub fn start_serving() -> Peer {
        Peer::start_with(true)
    }

    fn start_with(is_serving: bool) -> Peer {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let counts =
            Counts { connections: Arc::default(), together: Arc::default(), refused: Arc::default(), is_serving };
        let (_end, ended) = oneshot::channel();
        let peer = Peer { address, connections: counts.connections.clone(), together: counts.together.clone(), _end };
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = LocalSet::new();
            local.spawn_local(async move { accept(TcpListener::from_std(listener).unwrap(), counts).await });
            let _ = runtime.block_on(local.run_until(ended));
        });
        peer
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

async fn accept(listener: TcpListener, counts: Counts) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        counts.connections.fetch_add(1, SeqCst);
        tokio::task::spawn_local(serve(stream, counts.clone()));
    }
}

async fn serve(stream: TcpStream, counts: Counts) {
    let mut first = [0; 3];
    while stream.peek(&mut first).await.is_ok_and(|count| (1..3).contains(&count)) {}
    if first != *b"PRI" {
        return serve_http1(stream).await;
    }
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let shared = Rc::new(Shared { is_serving: counts.is_serving, ..Shared::default() });
    loop {
        let arrived = shared.arrived.notified();
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = arrived => None,
        };
        if let Some(Ok((request, respond))) = accepted {
            shared.in_flight.set(shared.in_flight.get() + 1);
            counts.together.fetch_max(shared.in_flight.get(), SeqCst);
            tokio::task::spawn_local(answer(request, respond, shared.clone(), counts.refused.clone()));
            continue;
        }
        if !grant(&mut connection, shared.wish.take()).await {
            return;
        }
    }
}

/// Ends the connection in the wished way; false when it is over.
async fn grant(connection: &mut Connection<TcpStream, Bytes>, wish: Option<Wish>) -> bool {
    match wish {
        Some(Wish::GoAway) => connection.graceful_shutdown(),
        Some(Wish::Break) => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
        Some(Wish::Drop) | None => return false,
    }
    true
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: Rc<Shared>,
    refused: Arc<AtomicUsize>,
) {
    let (head, mut body) = request.into_parts();
    let wish = |wish| {
        shared.wish.set(Some(wish));
        shared.arrived.notify_one();
    };
    match head.uri.path() {
        "/goaway" => wish(Wish::GoAway),
        "/break" => return wish(Wish::Break),
        "/drop" => return wish(Wish::Drop),
        "/reset" => return respond.send_reset(Reason::INTERNAL_ERROR),
        "/refused" => return respond.send_reset(Reason::REFUSED_STREAM),
        "/never" => return std::future::pending().await,
        // every second one, as a service does that has as many as it wants
        path if path.starts_with("/refuse-first") && refused.fetch_add(1, SeqCst).is_multiple_of(2) => {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        path if path == serving_path() && shared.is_serving => return serving(respond, body).await,
        path if path.starts_with("/echo") => return echo(respond, body).await,
        _ => {}
    }
    let mut bytes = 0;
    while let Some(Ok(data)) = body.data().await {
        bytes += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    let path = head.uri.path();
    if let Some(count) = path.strip_prefix("/together/") {
        // nobody is answered before so many are there
        let count: usize = count.parse().unwrap();
        while shared.in_flight.get() < count {
            tokio::task::yield_now().await;
        }
    }
    let response = Response::builder().header("x-variant", head.headers["x-ringway-variant"].clone());
    // a length in one of two lines, and what is no number
    let response = match path {
        "/two-lengths" => response.header("content-length", "17").header("content-length", "0"),
        "/no-length" => response.header("content-length", ""),
        _ => response,
    };
    let Ok(mut stream) = respond.send_response(response.body(()).unwrap(), false) else { return };
    if path == "/spared" {
        // only then is it clear that the body comes after the head
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let told = if bytes > 0 { format!("peer {path} {bytes}") } else { format!("peer {path}") };
    let _ = stream.send_data(Bytes::from(told), false);
    if path == "/cut" {
        return stream.send_reset(Reason::INTERNAL_ERROR);
    }
    let _ = stream.send_trailers(status("0"));
}

/// Answers each message with itself, and ends as gRPC does.
async fn echo(mut respond: SendResponse<Bytes>, mut body: RecvStream) {
    let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        if stream.send_data(data, false).is_err() {
            return;
        }
    }
    let _ = stream.send_trailers(status("7"));
}

/// The path of the health protocol of gRPC.
pub fn serving_path() -> &'static str {
    "/grpc.health.v1.Health/Check"
}

/// Says that `shop.Cart` is serving, and of anything else that it is not.
async fn serving(mut respond: SendResponse<Bytes>, mut body: RecvStream) {
    let mut asked = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        asked.extend_from_slice(&data);
    }
    let is_known = asked == b"\x00\x00\x00\x00\x0b\x0a\x09shop.Cart";
    let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    let _ = stream.send_data(Bytes::from(vec![0, 0, 0, 0, 2, 8, if is_known { 1 } else { 2 }]), false);
    let _ = stream.send_trailers(status("0"));
}

fn status(code: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static(code));
    trailers
}

/// Enough of HTTP/1.1 to tell that it was spoken.
async fn serve_http1(stream: TcpStream) {
    let mut read = Vec::new();
    loop {
        if stream.readable().await.is_err() || !matches!(stream.try_read_buf(&mut read), Ok(1..)) {
            return;
        }
        if read.ends_with(b"\r\n\r\n") {
            read.clear();
            let _ = stream.try_write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhttp1");
        }
    }
}

//! Services that speak HTTP/2 over plain TCP: an echo for gRPC, with a thread and a runtime of its own.

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// A running service, and the heads of the requests that it got.
pub struct Service {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Request<()>>>>,
}

impl Service {
    /// Sends each piece of a request's body back as it comes, and then its trailers with `grpc-status: 0`.
    /// `/trailers-only` is answered with a status and nothing else, as gRPC does with errors.
    pub fn echo() -> Service {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, log.clone()));
                }
            });
        });
        Service { address, seen }
    }

    pub fn last(&self) -> Request<()> {
        let seen = self.seen.lock().unwrap();
        let last = seen.last().expect("the service got a request");
        let mut copy = Request::new(());
        *copy.method_mut() = last.method().clone();
        *copy.uri_mut() = last.uri().clone();
        *copy.headers_mut() = last.headers().clone();
        copy
    }
}

async fn serve(stream: tokio::net::TcpStream, log: Arc<Mutex<Vec<Request<()>>>>) {
    stream.set_nodelay(true).unwrap();
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (head, body) = request.into_parts();
        let is_trailers_only = head.uri.path() == "/trailers-only";
        log.lock().unwrap().push(Request::from_parts(head, ()));
        // how a stream ends is between its two ends
        tokio::spawn(async move {
            let _ = if is_trailers_only { refuse(respond) } else { echo(body, respond).await };
        });
    }
}

fn refuse(mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let answer = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "12")
        .header("grpc-message", "unimplemented");
    respond.send_response(answer.body(()).unwrap(), true).map(drop)
}

async fn echo(mut body: RecvStream, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let answer = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(answer, false)?;
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        stream.send_data(data, false)?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    for (name, value) in body.trailers().await?.unwrap_or_default() {
        trailers.append(name.unwrap(), value);
    }
    stream.send_trailers(trailers)
}

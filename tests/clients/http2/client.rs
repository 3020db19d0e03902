//! A client of HTTP/2 over plain TCP, on the library that people build theirs on.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Version};
use std::future::Future;
use std::net::SocketAddr;

pub type Sender = SendRequest<Bytes>;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: HeaderMap,
}

/// Runs a client, but not for ever. What it leaves running ends with it.
pub fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = async { tokio::time::timeout(crate::support::raw::PATIENCE * 2, client).await };
    let result = runtime.block_on(client).expect("the client is done in time");
    runtime.shutdown_background();
    result
}

/// Polls until something is so, while connections go on; [`run`] ends it when it never is.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

pub async fn connect(to: SocketAddr) -> Sender {
    connect_with(to, &mut h2::client::Builder::new()).await.0
}

/// A connection, and what tells how it ended.
pub async fn connect_with(
    to: SocketAddr,
    builder: &mut h2::client::Builder,
) -> (Sender, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

/// A request for `http://shop` and this path.
pub fn request(method: Method, path: &str, lines: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).version(Version::HTTP_2).uri(format!("http://shop{path}"));
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

pub fn get(path: &str, lines: &[(&'static str, &str)]) -> Request<()> {
    request(Method::GET, path, lines)
}

/// Sends a request without a body.
pub async fn ask(sender: &mut Sender, request: Request<()>) -> Result<Answer, h2::Error> {
    let (response, _) = begin(sender, request, true).await?;
    finish(response.await?).await
}

/// Sends a request with a body and, where there are any, trailers.
pub async fn ask_with(
    sender: &mut Sender,
    request: Request<()>,
    body: &[u8],
    trailers: Option<HeaderMap>,
) -> Result<Answer, h2::Error> {
    let (response, mut stream) = begin(sender, request, false).await?;
    stream.send_data(Bytes::copy_from_slice(body), trailers.is_none())?;
    if let Some(trailers) = trailers {
        stream.send_trailers(trailers)?;
    }
    finish(response.await?).await
}

/// Sends the head of a request.
pub async fn begin(
    sender: &mut Sender,
    request: Request<()>,
    is_all: bool,
) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), h2::Error> {
    let mut ready = sender.clone().ready().await?;
    ready.send_request(request, is_all)
}

pub async fn finish(response: http::Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?.unwrap_or_default();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, trailers })
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

//! What becomes of users when endpoints fail, are slow, or have too much to do: health checks, ejection, limits,
//! retries (batteries D16 and D22).

mod checks;
mod ejection;
mod limits;
mod retries;

use crate::client::{Answer, Client};
use crate::service::{Service, Wire};
use crate::story::{DOORS, Story};
use std::net::SocketAddr;

/// A service `shop` whose variants have these keys, with a route with these.
fn shop(variants: &[(&str, &str)], service: &str, route: &str) -> String {
    let variants: String = variants.iter().map(|(name, keys)| format!("      {name}: {{ {keys} }}\n")).collect();
    format!(
        "{DOORS}services:\n  shop:\n    hashOn: [{{ cookie: uid }}]\n{service}    variants:\n{variants}\
         routes: [{{ service: shop, {route} }}]\n"
    )
}

fn endpoints(services: &[&Service]) -> String {
    let all: Vec<String> = services.iter().map(|service| format!("\"{}\"", service.address)).collect();
    format!("endpoints: [{}]", all.join(", "))
}

/// Answers each request with this status.
fn answering(status: &'static str) -> impl Fn(&mut Wire) + Send + Sync + 'static {
    move |wire| {
        while let Some(request) = wire.request() {
            let body = format!("{status} {}", request.path);
            wire.send(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        }
    }
}

/// Users who ask one after the other on one connection each, many at a time.
fn ask_as_many(at: SocketAddr, clients: usize, requests: usize) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let ask = |client: usize| {
            let mut connection = Client::connect(at);
            let each = (0..requests).map(move |request| {
                let answer = connection.get("/a", &format!("cookie: uid=u-{client}-{request}\r\n"));
                if !answer.is_whole {
                    connection = Client::connect(at);
                }
                answer
            });
            each.collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..clients).map(|client| scope.spawn(move || ask(client))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn states(story: &Story, variant: &str) -> [f64; 3] {
    let metrics = story.metrics();
    let count = |state| metrics.sum("ringway_upstream_endpoints", &[("variant", variant), ("state", state)]);
    ["healthy", "unhealthy", "ejected"].map(count)
}

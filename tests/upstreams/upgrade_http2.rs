//! Restarts under a load of HTTP/2 that obeys RFC 9113 §6.8 (battery D18): what is not sent after a GOAWAY, or is beyond its
//! last stream, is asked again; everything else must be answered.

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rustix::process::{Pid, Signal, kill_process};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use tokio::task::{JoinSet, LocalSet};

use crate::binary::Binary;
use crate::service::Service;
use crate::story::{pause, shop};
use crate::upgrade::{Ends, wait_for_heirs};

const CONNECTIONS: usize = 4;
/// Requests that are under way on each of them.
const AT_ONCE: usize = 8;
const UPGRADES: usize = 5;
/// Bytes of an answer, and of every other request.
const BODY: usize = 30_000;

/// What came of the requests.
#[derive(Debug, Default)]
struct Count {
    answered: Cell<usize>,
    /// Beyond the last stream of a GOAWAY, or refused: nobody has looked at them (RFC 9113 §6.8, §8.7).
    asked_again: Cell<usize>,
    connections: Cell<usize>,
    lost: Cell<usize>,
}

fn one_more(count: &Cell<usize>) {
    count.set(count.get() + 1);
}

/// Asks on one connection after the other, until it is told to end.
async fn client(to: SocketAddr, ends: Arc<AtomicBool>, count: Rc<Count>) {
    while !ends.load(SeqCst) {
        one_more(&count.connections);
        let Ok(stream) = tokio::net::TcpStream::connect(to).await else {
            one_more(&count.lost);
            continue;
        };
        stream.set_nodelay(true).unwrap();
        let Ok((sender, connection)) = h2::client::Builder::new().handshake::<_, Bytes>(stream).await else {
            one_more(&count.lost);
            continue;
        };
        let connection = tokio::task::spawn_local(connection);
        let mut asking = JoinSet::new();
        for number in 0..AT_ONCE {
            asking.spawn_local(ask(sender.clone(), number % 2 == 0, ends.clone(), count.clone()));
        }
        drop(sender);
        while asking.join_next().await.is_some() {}
        connection.abort();
    }
}

/// Asks again and again, as long as requests may be sent.
async fn ask(sender: SendRequest<Bytes>, has_body: bool, ends: Arc<AtomicBool>, count: Rc<Count>) {
    while !ends.load(SeqCst) {
        let Ok(mut sender) = sender.clone().ready().await else { return };
        let method = if has_body { "POST" } else { "GET" };
        let request = Request::builder().method(method).uri("http://shop/").body(()).unwrap();
        let Ok((response, mut body)) = sender.send_request(request, !has_body) else { return };
        if has_body {
            let _ = body.send_data(Bytes::from(vec![b'a'; BODY]), true);
        }
        match answer(response).await {
            Ok(BODY) => one_more(&count.answered),
            Ok(bytes) => {
                println!("an answer of {bytes} bytes");
                one_more(&count.lost);
            }
            Err(error) if is_unseen(&error) => one_more(&count.asked_again),
            Err(error) => {
                println!("{method}: {error:?}");
                one_more(&count.lost);
            }
        }
    }
}

fn is_unseen(error: &h2::Error) -> bool {
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    is_refused || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
}

async fn answer(response: h2::client::ResponseFuture) -> Result<usize, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    assert_eq!(head.status, 200);
    let mut bytes = 0;
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        bytes += data.len();
    }
    Ok(bytes)
}

fn load(to: SocketAddr, ends: Arc<AtomicBool>) -> thread::JoinHandle<Count> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let count = Rc::<Count>::default();
        LocalSet::new().block_on(&runtime, async {
            let mut clients = JoinSet::new();
            for _ in 0..CONNECTIONS {
                clients.spawn_local(client(to, ends.clone(), count.clone()));
            }
            while clients.join_next().await.is_some() {}
        });
        Rc::into_inner(count).unwrap()
    })
}

#[test]
fn upgrades_under_a_load_of_http2_lose_nothing() {
    let answer: &'static str = Box::leak("x".repeat(BODY).into_boxed_str());
    let service = Service::wired(move |wire| {
        while wire.request().is_some() {
            wire.ok(answer);
        }
    });
    let address = service.address.to_string();
    let binary = Binary::start(&shop(&address, &address, 5), &["--workers", "2"]);
    let _ends = Ends(binary.dir.path().join("log"));
    let ends = Arc::<AtomicBool>::default();
    let load = load(binary.listener, ends.clone());
    let mut serving = binary.id();
    for number in 1..=UPGRADES {
        pause(std::time::Duration::from_millis(200));
        kill_process(Pid::from_raw(serving as i32).unwrap(), Signal::USR2).unwrap();
        serving = wait_for_heirs(&binary, number);
    }
    ends.store(true, SeqCst);
    let count = load.join().unwrap();
    println!("{UPGRADES} upgrades: {count:?}");
    assert_eq!(count.lost.get(), 0, "{}", binary.log());
    assert!(count.answered.get() > 100 && count.connections.get() > UPGRADES, "{count:?}");
    kill_process(Pid::from_raw(serving as i32).unwrap(), Signal::TERM).unwrap();
}

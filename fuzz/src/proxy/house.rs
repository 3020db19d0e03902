//! A whole proxy for the length of one input: a worker as it is in production, between a client and a service that do
//! what the input says.
//!
//! All three are tasks of one thread, on sockets of the loopback device: what one writes, another can read at once. Time
//! is virtual, and moves only when nobody has anything left to do; so no input waits, and each gives the same again.

use super::script::{Act, Script};
use super::service::{self, Connection};
use arc_swap::ArcSwap;
use ringway::config::{Loaded, Source, load_texts};
use ringway::proxy::{Command, Comparer, Shared, ViaName, bind, serve};
use ringway::routing::prepare::assemble;
use ringway::telemetry::Registry;
use ringway::upstream::Upstreams;
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tokio::task::{spawn_local, yield_now};

/// What came of an input.
#[derive(Debug, Default)]
pub struct Observed {
    /// What the client was sent.
    pub client: Vec<u8>,
    /// The proxy broke the client's connection, rather than closing it.
    pub was_reset: bool,
    /// The service's connections, in the order in which they were opened.
    pub connections: Vec<Connection>,
    /// Requests at the service, as places in its connections, in the order of their heads.
    pub order: Vec<(usize, usize)>,
}

/// What client and service tell while an input is tried.
#[derive(Default)]
pub struct Scene {
    pub script: Script,
    pub observed: RefCell<Observed>,
    /// Answers that were begun.
    pub answered: Cell<usize>,
    /// Reads and writes of client and service.
    pub activity: Cell<u64>,
}

/// Sockets that are opened once, since the kernel keeps each closed one for a while.
struct Doors {
    proxy: TcpListener,
    service: TcpListener,
    loaded: Loaded,
}

/// Turns in which everybody has had the chance to do something and to be told of it; a byte takes a few of them from
/// one end to the other.
const TURNS: usize = 16;
/// How far time moves when nobody has anything to do: little where something has just happened, then more and more.
const STEP_MIN: Duration = Duration::from_millis(1);
const STEP_MAX: Duration = Duration::from_millis(250);
/// In virtual time. Each of the proxy's patiences is at most two seconds, and an input has at most some hundred requests.
const HANG: Duration = Duration::from_secs(30 * 60);

const LISTENER: &str = "127.0.0.1:0";

impl Doors {
    fn open() -> Doors {
        let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        service.set_nonblocking(true).expect("a socket");
        let address = service.local_addr().expect("an address");
        let text = format!(
            "listeners: [{{ address: {LISTENER}, timeouts: {{ requestHeaders: 1s, keepAlive: 2s, idle: 1s, tunnel: 1s }} }}]\n\
             services: {{ shop: {{ variants: {{ stable: {{ endpoints: [\"{address}\"] }} }} }} }}\n\
             routes: [{{ service: shop, timeouts: {{ request: 2s, idle: 1s }} }}]\n"
        );
        let loaded = load_texts(vec![Source::new("fuzz.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"));
        let at = LISTENER.parse().expect("an address");
        Doors { proxy: bind(at, 1).expect("a port").remove(0), service, loaded }
    }
}

thread_local! {
    static DOORS: Doors = Doors::open();
}

/// Tries an input. Panics when something hangs, panics, or stays open.
pub fn run(script: Script) -> Observed {
    DOORS.with(|doors| {
        // whoever came after the end of the last input
        while doors.service.accept().is_ok() {}
        let mut builder = Builder::new_current_thread();
        builder.enable_io().enable_time().start_paused(true);
        let runtime = builder.build_local(LocalOptions::default()).expect("a runtime");
        let scene = Rc::new(Scene { script, ..Scene::default() });
        runtime.block_on(drive(&scene, play(doors, scene.clone())));
        drop(runtime);
        Rc::into_inner(scene).expect("the end of all tasks").observed.into_inner()
    })
}

/// Lets everybody do what they can, and then lets time pass.
async fn drive(scene: &Scene, played: impl Future<Output = ()>) {
    let mut played = std::pin::pin!(played);
    let begun = tokio::time::Instant::now();
    let (mut step, mut activity) = (STEP_MIN, 0);
    loop {
        let turns = async {
            for _ in 0..TURNS {
                yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = &mut played => return,
            () = turns => {}
        }
        let is_quiet = activity == scene.activity.replace(activity);
        activity = scene.activity.get();
        step = if is_quiet { STEP_MAX.min(step * 2) } else { STEP_MIN };
        tokio::time::advance(step).await;
        assert!(begun.elapsed() < HANG, "the proxy hangs: {:?}", scene.observed.borrow());
    }
}

async fn play(doors: &Doors, scene: Rc<Scene>) {
    let (upstreams, registry) = (Upstreams::default(), Registry::new(1, 100));
    let prepared = assemble(doors.loaded.clone(), &upstreams, &registry).unwrap_or_else(|errors| panic!("{errors}"));
    let shared = Arc::new(Shared {
        snapshot: Arc::new(ArcSwap::from_pointee(prepared.snapshot)),
        registry: registry.clone(),
        connections: AtomicUsize::new(0),
        client_counts: Arc::default(),
        connections_max: 100,
        overload: Arc::default(),
        via: ViaName::random(),
        comparer: Comparer::default(),
    });
    let (commands, inbox) = mpsc::unbounded_channel();
    let worker = spawn_local(serve(0, shared.clone(), None, inbox));
    let socket = doors.proxy.try_clone().expect("a socket");
    let listener: SocketAddr = LISTENER.parse().expect("an address");
    assert!(commands.send(Command::Listen(listener, socket)).is_ok());
    let service = spawn_local(service::accept(doors.service.try_clone().expect("a socket"), scene.clone()));
    let at = doors.proxy.local_addr().expect("an address");
    client(at, &scene).await;
    assert!(commands.send(Command::Drain).is_ok());
    worker.await.expect("a worker");
    assert_eq!(shared.connections.load(SeqCst), 0, "connections are open after the end");
    let totals = registry.totals();
    assert_eq!((totals.panics, totals.downstream_opened), (0, totals.downstream_closed));
    service.abort();
    let _ = service.await;
}

/// Does what the script says, and reads until the proxy closes.
async fn client(at: SocketAddr, scene: &Scene) {
    let mut stream = TcpStream::connect(at).await.expect("the proxy accepts connections");
    let (mut read, mut write) = stream.split();
    let act = async {
        for act in &scene.script.client {
            match act {
                Act::Wait(time) => tokio::time::sleep(*time).await,
                Act::Finish => {
                    // whoever has closed already needs not be told
                    let _ = write.shutdown().await;
                }
                Act::Send(bytes) => {
                    if write.write_all(bytes).await.is_err() {
                        break;
                    }
                    scene.noticed();
                }
            }
        }
        // nothing is left to be said, and the connection stays open
        std::future::pending::<()>().await;
    };
    let take = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match read.read(&mut buffer).await {
                Ok(count @ 1..) => scene.observed.borrow_mut().client.extend_from_slice(&buffer[..count]),
                Ok(_) => return,
                Err(_) => {
                    scene.observed.borrow_mut().was_reset = true;
                    return;
                }
            }
            scene.noticed();
        }
    };
    tokio::select! {
        biased;
        () = take => {}
        () = act => {}
    }
}

impl Scene {
    /// Something was read or written.
    pub fn noticed(&self) {
        self.activity.set(self.activity.get() + 1);
    }
}

//! Stands in for the data plane on this branch only: every connection is told the revision in force.
#![allow(missing_docs)]

use crate::routing::Snapshot;
use crate::telemetry::Registry;
use crate::telemetry::access_log::LogShard;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

pub struct ViaName;
impl ViaName {
    pub fn random() -> ViaName {
        ViaName
    }
}
pub struct Shared {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub registry: Arc<Registry>,
    pub connections: AtomicUsize,
    pub connections_max: usize,
    pub via: ViaName,
}
pub enum Command {
    Listen(SocketAddr, TcpListener),
    Close(SocketAddr),
    Drain,
}
pub struct WorkerHandle {
    commands: Sender<Command>,
    thread: std::thread::JoinHandle<()>,
}
impl WorkerHandle {
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
    pub fn join(self) {
        let _ = self.thread.join();
    }
}

pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind(address)?;
    first.set_nonblocking(true)?;
    (0..workers).map(|_| first.try_clone()).collect()
}

pub fn start(number: usize, shared: Arc<Shared>, _log: Option<LogShard>) -> io::Result<WorkerHandle> {
    let (commands, inbox) = channel();
    let name = format!("worker-{number}");
    let thread = std::thread::Builder::new().name(name).spawn(move || run(&shared, &inbox))?;
    Ok(WorkerHandle { commands, thread })
}

fn run(shared: &Shared, inbox: &Receiver<Command>) {
    let mut listeners: HashMap<SocketAddr, TcpListener> = HashMap::new();
    loop {
        match inbox.try_recv() {
            Ok(Command::Listen(address, socket)) => {
                listeners.insert(address, socket);
            }
            Ok(Command::Close(address)) => {
                listeners.remove(&address);
            }
            Ok(Command::Drain) | Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                for listener in listeners.values() {
                    while let Ok((mut stream, _)) = listener.accept() {
                        let _ = stream.set_nonblocking(false);
                        let _ = stream.read(&mut [0; 4096]);
                        let rev = shared.snapshot.load().rev.clone();
                        let _ = write!(
                            stream,
                            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{rev}",
                            rev.len()
                        );
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

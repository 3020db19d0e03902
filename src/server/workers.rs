//! The workers, as the control thread asks them. The only place that names the proxy.

use crate::control::{DataPlane, Dialer};
use crate::proxy::{self, Command, Shared, WorkerHandle};
use crate::telemetry::access_log::AccessLog;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// All workers and the access log that they write. Ends with the process.
pub(super) struct Workers {
    handles: Vec<WorkerHandle>,
    /// Duplicates of the sockets on which the workers accept, for the process after this one.
    open: BTreeMap<SocketAddr, Vec<TcpListener>>,
    log: Option<AccessLog>,
}

impl Workers {
    /// Starts workers that have no listener yet. When one cannot start, those before it end.
    pub(super) fn start(count: usize, shared: &Arc<Shared>, log: Option<AccessLog>) -> io::Result<Workers> {
        let start = |number| proxy::start(number, Arc::clone(shared), log.as_ref().map(AccessLog::shard));
        let handles = (0..count).map(start).collect::<io::Result<Vec<_>>>()?;
        Ok(Workers { handles, open: BTreeMap::new(), log })
    }

    fn tell(&self, command: impl Fn() -> Command) {
        self.handles.iter().for_each(|worker| worker.send(command()));
    }
}

impl DataPlane for Workers {
    fn bind(&self, address: SocketAddr) -> io::Result<Vec<TcpListener>> {
        proxy::bind(address, self.handles.len())
    }

    /// There may be more or fewer sockets than workers when another process had them before: every socket has a
    /// queue, so each needs somebody who accepts, and a worker without one shares another's.
    fn listen(&mut self, address: SocketAddr, sockets: Vec<TcpListener>) {
        let rounds = self.handles.len().max(sockets.len());
        for (worker, socket) in self.handles.iter().cycle().zip(sockets.iter().cycle()).take(rounds) {
            match socket.try_clone() {
                Ok(socket) => worker.send(Command::Listen(address, socket)),
                Err(error) => tracing::error!(%address, %error, "a worker cannot accept connections"),
            }
        }
        self.open.insert(address, sockets);
    }

    fn sockets(&self) -> Vec<(SocketAddr, TcpListener)> {
        let all = self.open.iter().flat_map(|(address, sockets)| sockets.iter().map(move |socket| (address, socket)));
        all.filter_map(|(address, socket)| Some((*address, socket.try_clone().ok()?))).collect()
    }

    fn close(&mut self, address: SocketAddr) {
        // ours first: the last one that is closed is the one that still accepts
        self.open.remove(&address);
        self.tell(|| Command::Close(address));
    }

    /// One worker after the other.
    fn dialer(&self) -> Dialer {
        let workers: Vec<_> = self.handles.iter().map(WorkerHandle::commands).collect();
        let next = AtomicUsize::new(0);
        Arc::new(move |listener, stream| {
            if let Some(worker) = workers.get(next.fetch_add(1, Relaxed) % workers.len().max(1)) {
                // one that has ended serves nobody, and whoever probes finds that out
                let _ = worker.send(Command::Serve(listener, stream));
            }
        })
    }

    fn drain(&mut self) {
        self.open.clear();
        self.tell(|| Command::Drain);
    }

    fn workers(&self) -> (usize, usize) {
        (self.handles.len(), self.handles.iter().filter(|worker| !worker.has_ended()).count())
    }
}

impl Drop for Workers {
    /// Waits for the workers that have ended, and writes the rest of the access log.
    ///
    /// When the control thread breaks off, the workers go on with their last snapshot: a process that cannot be
    /// told anything new is better than one that refuses connections.
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget((std::mem::take(&mut self.handles), self.log.take()));
            return;
        }
        self.drain();
        for worker in self.handles.drain(..).filter(WorkerHandle::has_ended) {
            worker.join();
        }
        if let Some(log) = self.log.take() {
            log.finish();
        }
    }
}

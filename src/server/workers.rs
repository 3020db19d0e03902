//! The workers, as the control thread asks them. The only place that names the proxy.

use crate::control::DataPlane;
use crate::proxy::{self, Command, Shared, WorkerHandle};
use crate::telemetry::access_log::AccessLog;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// All workers and the access log that they write. Ends with the process.
pub(super) struct Workers {
    handles: Vec<WorkerHandle>,
    log: Option<AccessLog>,
}

impl Workers {
    /// Starts workers that have no listener yet. When one cannot start, those before it end.
    pub(super) fn start(count: usize, shared: &Arc<Shared>, log: Option<AccessLog>) -> io::Result<Workers> {
        let start = |number| proxy::start(number, Arc::clone(shared), log.as_ref().map(AccessLog::shard));
        let handles = (0..count).map(start).collect::<io::Result<Vec<_>>>()?;
        Ok(Workers { handles, log })
    }

    fn tell(&self, command: impl Fn() -> Command) {
        self.handles.iter().for_each(|worker| worker.send(command()));
    }
}

impl DataPlane for Workers {
    fn bind(&self, address: SocketAddr) -> io::Result<Vec<TcpListener>> {
        proxy::bind(address, self.handles.len())
    }

    fn listen(&mut self, address: SocketAddr, sockets: Vec<TcpListener>) {
        for (worker, socket) in self.handles.iter().zip(sockets) {
            worker.send(Command::Listen(address, socket));
        }
    }

    fn close(&mut self, address: SocketAddr) {
        self.tell(|| Command::Close(address));
    }

    fn drain(&mut self) {
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

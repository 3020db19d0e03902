//! The doors that are not for requests: telemetry, admin, and the one at which the next process asks.
//!
//! Doors that were handed over stay shut until this process serves: meanwhile the one before it answers there.

use std::cell::Cell;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use super::handover::{Beginning, Estate, Inheritance};
use super::{StartError, Started, system, upgrade};
use crate::admin;
use crate::config::schema::File;
use crate::control::reload::reason;
use crate::control::supervisor::{self, News};
use crate::control::{AdminAddress, Handle, telemetry_address};
use crate::ofrep;
use crate::telemetry::door;
use socket2::{Domain, Protocol, Socket, Type};

/// What is known of the doors before the control thread runs.
pub(super) struct Doors {
    telemetry: (SocketAddr, TcpListener),
    admin: (AdminAddress, Option<OwnedFd>),
    ofrep: Option<TcpListener>,
    upgrade: (Option<PathBuf>, Option<OwnedFd>),
    inheritance: Option<Inheritance>,
}

/// Doors that people can knock at.
pub(super) struct Open {
    /// Where the telemetry door really is.
    pub(super) telemetry: SocketAddr,
    /// Where the admin door really is.
    pub(super) admin: AdminAddress,
    /// Where the door for feature flags really is, if the file asks for one.
    pub(super) ofrep: Option<SocketAddr>,
    /// Links to sign in there.
    pub(super) sessions: admin::Sessions,
    /// All that can be handed over.
    pub(super) estate: Arc<Estate>,
}

/// The tasks behind the doors.
pub(super) struct Tasks {
    pub(super) inheritance: Cell<Option<Inheritance>>,
    open: Cell<Option<Open>>,
    may_answer: watch::Sender<bool>,
    close: oneshot::Sender<()>,
    telling: JoinHandle<()>,
    flags: JoinHandle<()>,
    admin: JoinHandle<()>,
    offering: JoinHandle<()>,
}

impl Doors {
    /// Opens what was not handed over.
    pub(super) fn of(file: &File, mut inheritance: Option<Inheritance>) -> Result<Doors, StartError> {
        let telemetry = telemetry_address(file);
        let admin = AdminAddress::to_open(file).map_err(StartError::System)?;
        let upgrade = upgrade::path_of(file);
        let of_path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let old = inheritance.as_mut();
        let (old_telemetry, old_admin, old_upgrade) = old.map_or((None, None, None), |old| {
            let upgrade = upgrade.as_ref().and_then(|path| old.upgrade(&of_path(path)));
            (old.telemetry(telemetry), old.admin(&admin.to_string()), upgrade)
        });
        let socket = match old_telemetry {
            Some(socket) => socket,
            None => bind_tcp(telemetry)?,
        };
        let ofrep = file.ofrep.as_ref().map(|ofrep| bind_shared(ofrep.address)).transpose()?;
        let (admin, upgrade) = ((admin, old_admin), (upgrade, old_upgrade));
        Ok(Doors { telemetry: (telemetry, socket), admin, ofrep, upgrade, inheritance })
    }

    /// Starts the tasks behind the doors. Must be called within a Tokio runtime.
    pub(super) fn open(self, telling: door::Door, handle: Handle, is_demo: bool) -> Result<Tasks, StartError> {
        let (at, socket) = self.telemetry;
        let telemetry = tokio::net::TcpListener::from_std(socket.try_clone().map_err(system)?).map_err(system)?;
        let telemetry_at = telemetry.local_addr().map_err(system)?;
        let (address, inherited) = self.admin;
        let bound = match inherited {
            Some(socket) => admin::Door::inherited(&address, socket),
            None => admin::bind(&address),
        };
        let admin = bound.map_err(|error| StartError::Bind { address: address.to_string(), reason: reason(&error) })?;
        let admin_at = admin.address().clone();
        let path = self.upgrade.0.clone();
        let upgrade = upgrade::door(self.upgrade.0, self.upgrade.1);
        let keep_files = [Some(&admin), upgrade.as_ref()].into_iter().flatten().filter_map(admin::Door::is_given);
        let given = Arc::new(Notify::new());
        let estate = Arc::new(Estate {
            handle: handle.clone(),
            telemetry: (at, socket),
            admin: (address.to_string(), admin.socket().map_err(system)?),
            upgrade: match (path, &upgrade) {
                (Some(path), Some(door)) => Some((path.to_string_lossy().into_owned(), door.socket().map_err(system)?)),
                _ => None,
            },
            keep_files: keep_files.collect(),
            given: Arc::clone(&given),
            is_busy: AtomicBool::new(false),
        });

        let (may_answer, allowed) = watch::channel(self.inheritance.is_none());
        let (close, closed) = oneshot::channel::<()>();
        let until_given = Box::pin(wait(Arc::clone(&given)));
        let telling = tokio::spawn(after(allowed.clone(), async move {
            let end = async {
                tokio::select! {
                    _ = closed => {}
                    () = until_given => {}
                }
            };
            door::serve(telemetry, telling, end).await;
        }));
        let until_given = Box::pin(wait(Arc::clone(&given)));
        let flags = self.ofrep.map(tokio::net::TcpListener::from_std).transpose().map_err(system)?;
        let ofrep = flags.as_ref().and_then(|listener| listener.local_addr().ok());
        let flags = tokio::spawn(after(allowed.clone(), answer_flags(flags, handle.clone(), until_given)));
        let until_given = Box::pin(wait(given));
        let sessions = admin::Sessions::default();
        let terms = admin::Terms { sessions: sessions.clone(), is_demo };
        let admin = tokio::spawn(after(allowed.clone(), admin::serve(admin, handle, terms, until_given)));
        let offering = tokio::spawn(after(allowed, upgrade::offer(upgrade, Arc::clone(&estate))));
        let open = Cell::new(Some(Open { telemetry: telemetry_at, admin: admin_at, ofrep, sessions, estate }));
        Ok(Tasks { inheritance: Cell::new(self.inheritance), open, may_answer, close, telling, flags, admin, offering })
    }
}

impl Tasks {
    /// All listeners accept connections: tells everybody, the process before this one first.
    pub(super) fn start(&self, beginning: Option<Beginning>, started: Sender<Started>, status: String) {
        self.may_answer.send_replace(true);
        let Some(open) = self.open.take() else { return };
        let tell = move || {
            supervisor::tell(News::Ready(&status));
            let _ = started.send(Ok(open));
        };
        let Some(beginning) = beginning else { return tell() };
        tokio::task::spawn_blocking(move || {
            if let Err(problem) = beginning.finish() {
                tracing::error!(%problem, "the process before this one did not say that it ends; both serve");
            }
            tell();
        });
    }

    /// Closes the doors, and waits until what is being told is told.
    pub(super) async fn close(self) {
        self.admin.abort();
        self.flags.abort();
        self.offering.abort();
        let _ = self.close.send(());
        // they end within a second; a panic of theirs is in the log already
        let _ = self.admin.await;
        let _ = self.flags.await;
        let _ = self.telling.await;
        let _ = self.offering.await;
    }
}

/// Asks the process before this one, if there is one, whether connections may be accepted.
pub(super) async fn begin(inheritance: Option<Inheritance>) -> Result<Option<Beginning>, StartError> {
    let Some(inheritance) = inheritance else { return Ok(None) };
    let begun = tokio::task::spawn_blocking(move || inheritance.begin()).await.map_err(system)?;
    begun.map(Some).map_err(|problem| StartError::Upgrade(problem.to_string()))
}

async fn after(mut allowed: watch::Receiver<bool>, task: impl Future<Output = ()>) {
    if allowed.wait_for(|is_allowed| *is_allowed).await.is_ok() {
        task.await;
    }
}

fn wait(given: Arc<Notify>) -> impl Future<Output = ()> {
    given.notified_owned()
}

async fn answer_flags(listener: Option<tokio::net::TcpListener>, handle: Handle, end: impl Future<Output = ()>) {
    if let Some(listener) = listener {
        ofrep::serve(listener, handle, end).await;
    }
}

/// Binds an address that the process before this one may have too: it is not handed over.
fn bind_shared(address: SocketAddr) -> Result<TcpListener, StartError> {
    const BACKLOG: i32 = 128;
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    bound().map_err(|error| StartError::Bind { address: address.to_string(), reason: reason(&error) })
}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(address).and_then(|socket| {
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    bound.map_err(|error| StartError::Bind { address: address.to_string(), reason: reason(&error) })
}

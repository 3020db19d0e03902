//! What is reached, and who listens.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use super::Finding;
use crate::cli::out::counted;
use crate::cli::words::word;
use crate::config::schema::File;
use crate::control::client::{self, ClientError, Door};
use crate::control::reachable;

/// Endpoints that are tried; of a larger file, the first.
const ENDPOINTS_MAX: usize = 500;
/// Endpoints that are tried at the same time.
const AT_ONCE: usize = 16;
/// Endpoints that are named when they do not answer.
const NAMED_MAX: usize = 5;

/// Whether a process runs with this file, and what its doors say.
pub(super) fn doors(admin: &Door, telemetry: SocketAddr, patience: Duration) -> (bool, Vec<Finding>) {
    let asked = client::status(admin, patience);
    let ready = client::ready(telemetry, patience);
    let is_away = |error: &ClientError| matches!(error, ClientError::Unreachable { .. });
    if asked.as_ref().is_err_and(is_away) && ready.as_ref().is_err_and(is_away) {
        let text = format!("nobody answers at {admin} or {telemetry}: no process runs with this file");
        return (false, vec![Finding::skipped("doors", text)]);
    }
    let admin = match asked {
        Ok(status) if status["problem"].is_string() => {
            let text = format!("the last reload was rejected: {}", word(&status["problem"]));
            Finding::problem("admin door", text, "`ringway check` shows where; the configuration of before is in force")
        }
        Ok(status) => Finding::good("admin door", format!("answers at {admin}: {}", word(&status["sentence"]))),
        Err(ClientError::Denied { detail, help, .. }) => Finding::problem("admin door", detail, help),
        Err(error) => {
            Finding::problem("admin door", error.to_string(), "is `admin.address` of the file the one in force?")
        }
    };
    let telemetry = match ready {
        Ok(()) => Finding::good("telemetry door", format!("answers at {telemetry}: ready")),
        Err(ClientError::Refused { detail, text, .. }) => Finding::problem("telemetry door", detail, text),
        Err(error) => Finding::problem(
            "telemetry door",
            error.to_string(),
            "is `telemetry.address` of the file the one in force?",
        ),
    };
    (true, vec![admin, telemetry])
}

/// Somebody listens when a process runs; else the address is free.
pub(super) fn listeners(file: &File, is_running: bool, patience: Duration) -> Vec<Finding> {
    let known = file.listeners.iter().map(|listener| listener.address).filter(|address| address.port() != 0);
    known.map(|address| if is_running { bound(address, patience) } else { bindable(address) }).collect()
}

fn bound(address: SocketAddr, patience: Duration) -> Finding {
    match TcpStream::connect_timeout(&reachable(address), patience) {
        Ok(_) => Finding::good("listener", format!("{address} takes connections")),
        Err(error) => {
            let help = "`ringway reload` tells why it is not bound; is it another network's address?";
            Finding::problem("listener", format!("{address}: {error}"), help)
        }
    }
}

fn bindable(address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::good("listener", format!("{address} is free")),
        Err(error) => {
            let help = match error.kind() {
                ErrorKind::AddrInUse => format!("another process has it: ss -ltnp 'sport = :{}'", address.port()),
                ErrorKind::PermissionDenied => {
                    "ports below 1024 need AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit".to_owned()
                }
                _ => "the address must be one of this machine's: ip address".to_owned(),
            };
            Finding::problem("listener", format!("{address}: {error}"), help)
        }
    }
}

/// Each endpoint takes a connection.
pub(super) fn endpoints(file: &File, patience: Duration) -> Finding {
    let all = file.services.values().flat_map(|service| service.variants.values());
    let all: BTreeSet<&str> = all.flat_map(|variant| variant.endpoints.iter().map(String::as_str)).collect();
    let tried: Vec<&str> = all.iter().copied().take(ENDPOINTS_MAX).collect();
    let away = Mutex::new(Vec::new());
    let noted = &away;
    thread::scope(|scope| {
        for part in tried.chunks(tried.len().div_ceil(AT_ONCE).max(1)) {
            scope.spawn(move || {
                for endpoint in part {
                    if let Err(why) = answers(endpoint, patience) {
                        noted.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{endpoint} ({why})"));
                    }
                }
            });
        }
    });
    let mut away = away.into_inner().unwrap_or_else(PoisonError::into_inner);
    away.sort();
    let of = counted(tried.len(), "endpoint");
    if away.is_empty() {
        return Finding::good("endpoints", format!("{of} take connections"));
    }
    let named = away.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    let more = if away.len() > NAMED_MAX { ", .." } else { "" };
    let text = format!("{} of {of} do not answer: {named}{more}", away.len());
    Finding::problem("endpoints", text, "are they started, and reached from this machine? try curl from here")
}

/// One of the addresses of `host:port` takes a connection.
fn answers(endpoint: &str, patience: Duration) -> Result<(), String> {
    let addresses = endpoint.to_socket_addrs().map_err(|error| error.to_string())?;
    let mut why = "no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(_) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

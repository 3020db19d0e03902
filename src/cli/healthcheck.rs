use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::Exit;
use super::out::say;
use super::prepared::ConfigPath;
use crate::config::{load, values};

/// Ask a running instance whether it is ready.
///
/// For images without a shell: `HEALTHCHECK CMD ["ringway", "healthcheck"]`. Exit code 0 ready, 1 not ready,
/// 3 nobody answers.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigPath,
    /// The address of the telemetry door [default: the file's, else 127.0.0.1:9902]
    #[arg(long, value_name = "IP:PORT")]
    address: Option<SocketAddr>,
    /// Ask whether the process lives, not whether it is ready
    #[arg(long)]
    live: bool,
    /// How long to wait for the answer
    #[arg(long, default_value = "2s", value_name = "DURATION")]
    timeout: values::Duration,
}

/// The telemetry door of a file that names none.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9902);
/// The most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 4096;

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let address = self.address.unwrap_or_else(|| of_file(&self.config));
        let path = if self.live { "/livez" } else { "/readyz" };
        let timeout = self.timeout.0.max(Duration::from_millis(1));
        match ask(reachable(address), path, timeout) {
            Ok(200) => Ok(Exit::Yes),
            Ok(status) => {
                say(&format!("{path} of {address} answers {status}; more by: curl http://{address}{path}?verbose"));
                Ok(Exit::No)
            }
            Err(error) => {
                say(&format!("{path} of {address} cannot be asked: {error}; is ringway running?"));
                Ok(Exit::Unreachable)
            }
        }
    }
}

/// The door of the file. A file that is being edited says nothing about the process, so it is not looked at closely.
fn of_file(config: &ConfigPath) -> SocketAddr {
    let loaded = load(&config.path()).ok();
    loaded.and_then(|loaded| loaded.file.telemetry).and_then(|telemetry| telemetry.address).unwrap_or(DEFAULT)
}

/// A door that is open on all addresses is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The status of an answer.
fn ask(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut limited = stream.take(ANSWER_BYTES_MAX);
    while !answer.contains(&b'\n') {
        let mut part = [0; 256];
        match limited.read(&mut part)? {
            0 => break,
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    status(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.split(|byte| *byte == b'\r').next()?).ok()?;
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line() {
        for (answer, expected) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], Some(200)),
            (b"HTTP/1.0 503 \r\n", Some(503)),
            (b"SSH-2.0-x\r\n", None),
            (b"", None),
            (b"\xff\r\n", None),
        ] {
            assert_eq!(status(answer), expected);
        }
    }

    #[test]
    fn an_open_door_is_asked_on_loopback() {
        assert_eq!(reachable("0.0.0.0:9902".parse().unwrap()).to_string(), "127.0.0.1:9902");
        assert_eq!(reachable("[::]:9902".parse().unwrap()).to_string(), "[::1]:9902");
        assert_eq!(reachable("192.0.2.1:9902".parse().unwrap()).to_string(), "192.0.2.1:9902");
    }
}

use crate::config::schema::File;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where the admin door is when the file does not say.
pub const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);
/// Where the telemetry door is when the file does not say.
pub const TELEMETRY_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9902);

/// Where the admin door is: for people on this machine only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl AdminAddress {
    /// The address of a file, or the default.
    pub fn of(file: &File) -> Result<AdminAddress, String> {
        file.admin.as_ref().map_or(Ok(AdminAddress::Tcp(ADMIN_DEFAULT)), |admin| admin.address.parse())
    }
}

/// The telemetry address of a file, or the default.
pub fn telemetry_address(file: &File) -> SocketAddr {
    file.telemetry.as_ref().and_then(|telemetry| telemetry.address).unwrap_or(TELEMETRY_DEFAULT)
}

/// The address under which this machine reaches a door that is bound to `bound`.
pub fn reachable(bound: SocketAddr) -> SocketAddr {
    match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, bound.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, bound.port()).into(),
        _ => bound,
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminAddress::Tcp(address) => write!(f, "{address}"),
            AdminAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for AdminAddress {
    type Err = String;

    /// Reads `127.0.0.1:9901`, `[::1]:9901`, `localhost:9901` or `unix:/path/to.sock`.
    fn from_str(text: &str) -> Result<AdminAddress, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(AdminAddress::Unix(path.into()));
        }
        let written = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let parsed = written.as_deref().unwrap_or(text).parse::<SocketAddr>();
        let address = parsed.map_err(|_| {
            format!("`{text}` is no admin address: write it like {ADMIN_DEFAULT} or unix:/run/ringway/admin.sock")
        })?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "`{address}` is beyond this machine: an admin address is a loopback address or unix:PATH"
            ));
        }
        Ok(AdminAddress::Tcp(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["127.0.0.1:9901", "[::1]:9901", "unix:/run/ringway/admin.sock"] {
            assert_eq!(text.parse::<AdminAddress>().unwrap().to_string(), text);
        }
        assert_eq!("localhost:9901".parse::<AdminAddress>().unwrap().to_string(), "127.0.0.1:9901");
        for text in ["", "unix:", "9901", "10.0.0.1:9901", "0.0.0.0:9901", "example.com:9901"] {
            assert!(text.parse::<AdminAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_door_for_everybody_is_reached_by_loopback() {
        let cases = [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.9:1", "10.0.0.9:1")];
        for (bound, expected) in cases {
            assert_eq!(reachable(bound.parse().unwrap()).to_string(), expected);
        }
    }
}

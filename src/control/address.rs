use crate::config::load_what_fits;
use crate::config::schema::File;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where the admin door is when the file does not say.
pub const ADMIN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901);
/// Where the telemetry door is when the file does not say.
pub const TELEMETRY_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9902);

/// Where the admin door is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// An address, of this machine or for others.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl AdminAddress {
    /// The address of a file, or the default.
    pub fn of(file: &File) -> Result<AdminAddress, String> {
        file.admin.as_ref().map_or(Ok(AdminAddress::Tcp(ADMIN_DEFAULT)), |admin| admin.address.parse())
    }

    /// The same as far as a process may open it: beyond this machine only when the file says who may ask, and that nobody
    /// reads it on the way. `check` says so first; this is for whatever comes around it.
    pub fn to_open(file: &File) -> Result<AdminAddress, String> {
        let address = AdminAddress::of(file)?;
        let is_guarded = file
            .admin
            .as_ref()
            .is_some_and(|admin| admin.tokens_file.is_some() && (admin.tls.is_some() || admin.plaintext.is_some()));
        match &address {
            AdminAddress::Tcp(bound) if !bound.ip().is_loopback() && !is_guarded => Err(format!(
                "the admin door at {bound} would be open to other machines: add `tokensFile`, and `tls` or `plaintext`"
            )),
            _ => Ok(address),
        }
    }
}

/// The telemetry address of a file, or the default.
pub fn telemetry_address(file: &File) -> SocketAddr {
    file.telemetry.as_ref().and_then(|telemetry| telemetry.address).unwrap_or(TELEMETRY_DEFAULT)
}

/// Where the doors of a process are that runs with this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doors {
    /// The admin door, as this machine reaches it.
    pub admin: AdminAddress,
    /// The certificate that it presents; `None` where it speaks plain HTTP.
    pub admin_certificate: Option<PathBuf>,
    /// The telemetry door, as this machine reaches it.
    pub telemetry: SocketAddr,
    /// The file cannot be read, so these are the defaults: to be told when nobody answers there.
    pub are_guessed: bool,
}

impl Doors {
    /// The doors of a file or directory. One with errors must not keep anyone from asking the process that still
    /// runs with the one before, so the addresses count even if nothing else in it is right.
    pub fn of(config: &Path) -> Doors {
        let found = load_what_fits(config).and_then(|file| Some((AdminAddress::of(&file).ok()?, file)));
        match found {
            Some((admin, file)) => Doors {
                admin: match admin {
                    AdminAddress::Tcp(bound) => AdminAddress::Tcp(reachable(bound)),
                    AdminAddress::Unix(path) => AdminAddress::Unix(path),
                },
                admin_certificate: file.admin.as_ref().and_then(|admin| Some(admin.tls.as_ref()?.cert_file.clone())),
                telemetry: reachable(telemetry_address(&file)),
                are_guessed: false,
            },
            None => Doors {
                admin: AdminAddress::Tcp(ADMIN_DEFAULT),
                admin_certificate: None,
                telemetry: TELEMETRY_DEFAULT,
                are_guessed: true,
            },
        }
    }
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
        Ok(AdminAddress::Tcp(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{Admin, Plaintext};

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["127.0.0.1:9901", "[::1]:9901", "unix:/run/ringway/admin.sock"] {
            assert_eq!(text.parse::<AdminAddress>().unwrap().to_string(), text);
        }
        assert_eq!("localhost:9901".parse::<AdminAddress>().unwrap().to_string(), "127.0.0.1:9901");
        for text in ["", "unix:", "9901", "example.com:9901"] {
            assert!(text.parse::<AdminAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn beyond_this_machine_a_door_opens_only_when_somebody_guards_it() {
        let admin = |address: &str, tokens: bool, plaintext: bool| {
            let admin = Admin {
                address: address.to_owned(),
                tokens_file: tokens.then(PathBuf::new),
                plaintext: plaintext.then_some(Plaintext::Allow),
                ..Admin::default()
            };
            AdminAddress::to_open(&File { admin: Some(admin), ..File::default() }).is_ok()
        };
        assert!(admin("127.0.0.1:1", false, false) && admin("unix:/a", false, false) && admin("[::1]:1", false, false));
        for address in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1"] {
            assert!(!admin(address, false, false) && !admin(address, true, false) && !admin(address, false, true));
            assert!(admin(address, true, true), "{address}");
        }
    }

    #[test]
    fn doors_are_those_of_the_file_or_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        let shop = "listeners: [{ address: 127.0.0.1:81 }]\n\
            services: { shop: { variants: { stable: { endpoints: [127.0.0.1:1] } } } }\n";
        let doors = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let doors = Doors::of(&path);
            (doors.admin.to_string(), doors.telemetry.to_string(), doors.are_guessed)
        };
        let expect = |admin: &str, telemetry: &str, guessed| (admin.to_owned(), telemetry.to_owned(), guessed);
        assert_eq!(doors(shop), expect("127.0.0.1:9901", "127.0.0.1:9902", false));
        let own = format!("{shop}admin: {{ address: \"unix:a.sock\" }}\ntelemetry: {{ address: 0.0.0.0:7 }}\n");
        let socket = format!("unix:{}", dir.path().join("a.sock").display());
        assert_eq!(doors(&own), expect(&socket, "127.0.0.1:7", false));
        let with_errors = own.replace("endpoints", "endpionts") + "bogus: 1\n";
        assert_eq!(doors(&with_errors), expect(&socket, "127.0.0.1:7", false));
        assert_eq!(doors("broken: ["), expect("127.0.0.1:9901", "127.0.0.1:9902", true));
    }

    #[test]
    fn a_door_for_everybody_is_reached_by_loopback() {
        let cases = [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.9:1", "10.0.0.9:1")];
        for (bound, expected) in cases {
            assert_eq!(reachable(bound.parse().unwrap()).to_string(), expected);
        }
    }
}

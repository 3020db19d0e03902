//! The file that the demo runs on: written once, and never over something that a person wrote.

use super::DemoError;
use super::users;
use crate::config::schema::File;
use crate::config::{Loaded, load};
use crate::control::{ADMIN_DEFAULT, TELEMETRY_DEFAULT};
use crate::server::StartError;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file, ready to be served.
pub(super) struct DemoFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What stands in it.
    pub(super) loaded: Loaded,
    /// It is as the demo writes it, so that it may be written again with other ports.
    pub(super) is_own: bool,
    /// What a person should know about it, one line each.
    pub(super) notes: Vec<String>,
}

/// The port of the listener when nobody wishes for another one.
pub(super) const PORT_DEFAULT: u16 = 8080;

/// With [`Ports::default`] in it. A valid file as it stands.
const TEMPLATE: &str = include_str!("ringway.yaml");
const COUNTRIES: &str = include_str!("countries.csv");

/// The port of each address in the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    listener: u16,
    admin: u16,
    telemetry: u16,
    stable: u16,
    canary: u16,
}

impl DemoFile {
    /// Opens the file in `dir`, or writes it. `port`: where the listener should be.
    ///
    /// # Errors
    /// It cannot be written, or somebody wrote one there that has errors.
    pub(super) fn open(dir: &Path, port: Option<u16>) -> Result<DemoFile, DemoError> {
        fs::create_dir_all(dir).map_err(|error| DemoError::write(dir, error))?;
        write_new(&dir.join("countries.csv"), COUNTRIES)?;
        write_new(&dir.join("beta.txt"), &users::beta_list())?;
        let path = dir.join("ringway.yaml");
        let is_own = match fs::read_to_string(&path) {
            Ok(text) => is_own(&path, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(_) => false,
        };
        let mut notes = Vec::new();
        if is_own {
            let ports = Ports::free(port, &mut notes).map_err(DemoError::Ports)?;
            write(&path, &ports.write())?;
        } else {
            notes.push(format!("{} is yours, so it stays as it is; remove it to get a new one", path.display()));
        }
        let loaded = load(&path).map_err(|errors| DemoError::Start(StartError::Config(errors)))?;
        let listens_at = loaded.file.listeners.first().map_or(0, |listener| listener.address.port());
        if let Some(port) = port.filter(|port| !is_own && *port != listens_at) {
            notes.push(format!("--port {port} is not used: the file says {listens_at}"));
        }
        Ok(DemoFile { path, loaded, is_own, notes })
    }
}

impl Default for Ports {
    fn default() -> Ports {
        let (admin, telemetry) = (ADMIN_DEFAULT.port(), TELEMETRY_DEFAULT.port());
        Ports { listener: PORT_DEFAULT, admin, telemetry, stable: 9041, canary: 9042 }
    }
}

impl Ports {
    /// The usual ports, and free ones for those that are taken; the ones that people type are noted.
    fn free(listener: Option<u16>, notes: &mut Vec<String>) -> std::io::Result<Ports> {
        let usual = Ports { listener: listener.unwrap_or(PORT_DEFAULT), ..Ports::default() };
        // all stay bound until each is chosen: none is chosen twice
        let mut bound = Vec::new();
        let mut free = |wanted: u16, what: Option<&str>| {
            let (socket, is_wanted) = match TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)) {
                Ok(socket) => (socket, true),
                Err(_) => (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, false),
            };
            let port = socket.local_addr()?.port();
            if let (false, Some(what)) = (is_wanted, what) {
                notes.push(format!("port {wanted} is taken, so {what} is on port {port}"));
            }
            bound.push(socket);
            Ok::<u16, std::io::Error>(port)
        };
        Ok(Ports {
            listener: free(usual.listener, Some("the listener"))?,
            admin: free(usual.admin, Some("the admin door"))?,
            telemetry: free(usual.telemetry, Some("the telemetry door"))?,
            stable: free(usual.stable, None)?,
            canary: free(usual.canary, None)?,
        })
    }

    /// The ports that a file names where the template does.
    fn of(file: &File) -> Option<Ports> {
        let shop = file.services.get("shop")?;
        let endpoint = |variant: &str| {
            let address: SocketAddr = shop.variants.get(variant)?.endpoints.first()?.to_string().parse().ok()?;
            Some(address.port())
        };
        let admin: SocketAddr = file.admin.as_ref()?.address.parse().ok()?;
        Some(Ports {
            listener: file.listeners.first()?.address.port(),
            admin: admin.port(),
            telemetry: file.telemetry.as_ref()?.address?.port(),
            stable: endpoint("stable")?,
            canary: endpoint("canary")?,
        })
    }

    /// The template with these ports.
    fn write(self) -> String {
        let usual = Ports::default();
        let pairs = [
            (usual.listener, self.listener),
            (usual.admin, self.admin),
            (usual.telemetry, self.telemetry),
            (usual.stable, self.stable),
            (usual.canary, self.canary),
        ];
        let address = |port: u16| format!("127.0.0.1:{port}");
        // in two steps, as a new port may be one of the usual ones
        let mark = |port: u16| format!("<{port}>");
        let marked = pairs.iter().fold(TEMPLATE.to_owned(), |text, (old, _)| text.replace(&address(*old), &mark(*old)));
        pairs.iter().fold(marked, |text, (old, new)| text.replace(&mark(*old), &address(*new)))
    }
}

/// True for a text that the demo wrote and nobody has touched.
fn is_own(path: &Path, text: &str) -> bool {
    let ports = load(path).ok().and_then(|loaded| Ports::of(&loaded.file));
    ports.is_some_and(|ports| ports.write() == text)
}

/// Writes a file unless there is one.
fn write_new(path: &Path, text: &str) -> Result<(), DemoError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(()),
        Err(_) => write(path, text),
    }
}

/// Not writable by others, whatever the umask says: `check` warns of such files.
fn write(path: &Path, text: &str) -> Result<(), DemoError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| DemoError::write(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> DemoFile {
        DemoFile::open(dir, Some(0)).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_new_directory_gets_a_file_without_warnings() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir.path().join("deep/down"));
        assert!(file.is_own);
        assert!(file.loaded.warnings.is_empty(), "{:?}", file.loaded.warnings);
        assert_ne!(file.loaded.file.listeners[0].address.port(), 0);
    }

    #[test]
    fn what_nobody_touched_is_written_again_and_what_somebody_edited_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = open(dir.path()).path;
        assert!(open(dir.path()).is_own);
        let edited = fs::read_to_string(&path).unwrap().replace("weight: 5,", "weight: 7,");
        fs::write(&path, &edited).unwrap();
        fs::write(dir.path().join("beta.txt"), "me\n").unwrap();
        let file = DemoFile::open(dir.path(), Some(1)).unwrap_or_else(|error| panic!("{error}"));
        assert!(!file.is_own);
        assert_eq!(file.notes.len(), 2, "it stays, and --port is not used: {:?}", file.notes);
        assert_eq!(fs::read_to_string(&path).unwrap(), edited);
        assert_eq!(fs::read_to_string(dir.path().join("beta.txt")).unwrap(), "me\n");
    }

    #[test]
    fn a_file_with_errors_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringway.yaml");
        fs::write(&path, "services: [").unwrap();
        assert!(matches!(DemoFile::open(dir.path(), None), Err(DemoError::Start(StartError::Config(_)))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "services: [");
    }

    #[test]
    fn a_taken_port_is_told_with_the_one_that_stands_in() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wanted = taken.local_addr().unwrap().port();
        let mut notes = Vec::new();
        let ports = Ports::free(Some(wanted), &mut notes).unwrap();
        assert_ne!(ports.listener, wanted);
        assert_eq!(notes[0], format!("port {wanted} is taken, so the listener is on port {}", ports.listener));
    }

    #[test]
    fn ports_are_put_in_and_found_again() {
        let ports = Ports { listener: 9901, admin: 9902, telemetry: 8080, stable: 1, canary: 2 };
        let text = ports.write();
        let loaded = crate::config::load_texts(vec![crate::config::Source::new("a.yaml", text)]).unwrap();
        assert_eq!(Ports::of(&loaded.file), Some(ports));
        assert_eq!(Ports::default().write(), TEMPLATE);
    }
}

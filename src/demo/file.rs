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
    /// What the demo writes into it; `None` when somebody has edited it, so that it stays as it is.
    pub(super) form: Option<Form>,
    /// What a person should know about it, one line each.
    pub(super) notes: Vec<String>,
}

/// The port of the listener when nobody wishes for another one.
pub(super) const PORT_DEFAULT: u16 = 8080;

/// With [`Form::default`] in it. A valid file as it stands.
const TEMPLATE: &str = include_str!("ringway.yaml");
const COUNTRIES: &str = include_str!("countries.csv");
/// As the template has it.
const STATE_DIR: &str = "state";

/// What the template leaves open: the ports, and which versions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) listener: u16,
    pub(super) admin: u16,
    pub(super) telemetry: u16,
    pub(super) stable: Release,
    pub(super) canary: Release,
}

/// A version of the sample service, and the port of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) version: u32,
    pub(super) port: u16,
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
        let form = is_own.then(|| Form::free(port, &mut notes)).transpose().map_err(DemoError::Ports)?;
        if let Some(form) = form {
            // releases begin anew, so what is known of them does as well
            match fs::remove_dir_all(dir.join(STATE_DIR)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(DemoError::write(dir, error)),
                _ => form.write_to(&path)?,
            }
        } else {
            notes.push(format!("{} is yours, so it stays as it is; remove it to get a new one", path.display()));
        }
        let loaded = load(&path).map_err(|errors| DemoError::Start(StartError::Config(errors)))?;
        let listens_at = loaded.file.listeners.first().map_or(0, |listener| listener.address.port());
        if let Some(port) = port.filter(|port| form.is_none() && *port != listens_at) {
            notes.push(format!("--port {port} is not used: the file says {listens_at}"));
        }
        Ok(DemoFile { path, loaded, form, notes })
    }
}

impl Default for Form {
    fn default() -> Form {
        let (admin, telemetry) = (ADMIN_DEFAULT.port(), TELEMETRY_DEFAULT.port());
        let release = |version, port| Release { version, port };
        Form { listener: PORT_DEFAULT, admin, telemetry, stable: release(41, 9041), canary: release(42, 9042) }
    }
}

impl Form {
    /// The usual ports, and free ones for those that are taken; the ones that people type are noted.
    fn free(listener: Option<u16>, notes: &mut Vec<String>) -> std::io::Result<Form> {
        let usual = Form { listener: listener.unwrap_or(PORT_DEFAULT), ..Form::default() };
        // who lets the system choose one wants to be in nobody's way
        let is_free = listener == Some(0);
        // all stay bound until each is chosen: none is chosen twice
        let mut bound = Vec::new();
        let mut free = |wanted: u16, what: Option<&str>| {
            let wanted = if is_free { 0 } else { wanted };
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
        Ok(Form {
            listener: free(usual.listener, Some("the listener"))?,
            admin: free(usual.admin, Some("the admin door"))?,
            telemetry: free(usual.telemetry, Some("the telemetry door"))?,
            stable: Release { port: free(usual.stable.port, None)?, ..usual.stable },
            canary: Release { port: free(usual.canary.port, None)?, ..usual.canary },
        })
    }

    /// What a file has where the template leaves it open.
    fn of(file: &File) -> Option<Form> {
        let shop = file.services.get("shop")?;
        let release = |variant: &str| {
            let variant = shop.variants.get(variant)?;
            let address: SocketAddr = variant.endpoints.first()?.to_string().parse().ok()?;
            let version = variant.version.as_ref()?.strip_prefix('v')?.parse().ok()?;
            Some(Release { version, port: address.port() })
        };
        let admin: SocketAddr = file.admin.as_ref()?.address.parse().ok()?;
        Some(Form {
            listener: file.listeners.first()?.address.port(),
            admin: admin.port(),
            telemetry: file.telemetry.as_ref()?.address?.port(),
            stable: release("stable")?,
            canary: release("canary")?,
        })
    }

    /// The text of the file.
    fn text(self) -> String {
        let words = |form: Form| {
            let address = |port: u16| format!("127.0.0.1:{port}");
            let of =
                |release: Release| format!("version: v{}, endpoints: [\"{}\"]", release.version, address(release.port));
            let id = format!("release-v{}", form.canary.version);
            let doors = [form.listener, form.admin, form.telemetry].map(address);
            doors.into_iter().chain([of(form.stable), of(form.canary), id])
        };
        // in two steps, as what is put in may be one of the usual words
        let mark = |at: usize| format!("<{at}>");
        let usual = words(Form::default()).enumerate();
        let marked = usual.fold(TEMPLATE.to_owned(), |text, (at, word)| text.replace(&word, &mark(at)));
        words(self).enumerate().fold(marked, |text, (at, word)| text.replace(&mark(at), &word))
    }

    /// Writes the file: all of it or nothing, as whoever watches it would see half of it.
    pub(super) fn write_to(self, path: &Path) -> Result<(), DemoError> {
        let next = path.with_extension("next");
        write(&next, &self.text())?;
        fs::rename(&next, path).map_err(|error| DemoError::write(path, error))
    }

    /// True while the file is as this was written.
    pub(super) fn is_at(self, path: &Path) -> bool {
        fs::read_to_string(path).is_ok_and(|text| text == self.text())
    }
}

/// True for a text that the demo wrote and nobody has touched.
fn is_own(path: &Path, text: &str) -> bool {
    let form = load(path).ok().and_then(|loaded| Form::of(&loaded.file));
    form.is_some_and(|form| form.text() == text)
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
        assert!(file.form.is_some());
        assert!(file.loaded.warnings.is_empty(), "{:?}", file.loaded.warnings);
        assert_ne!(file.loaded.file.listeners[0].address.port(), 0);
    }

    #[test]
    fn what_nobody_touched_is_written_again_and_what_somebody_edited_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = open(dir.path()).path;
        let first = open(dir.path()).form.unwrap();
        let canary = Release { version: 43, port: first.stable.port };
        Form { stable: first.canary, canary, ..first }.write_to(&path).unwrap();
        assert_eq!(open(dir.path()).form.map(|form| form.canary.version), Some(42), "releases begin anew");
        let edited = fs::read_to_string(&path).unwrap().replace("weight: 0,", "weight: 7,");
        fs::write(&path, &edited).unwrap();
        fs::write(dir.path().join("beta.txt"), "me\n").unwrap();
        let file = DemoFile::open(dir.path(), Some(1)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(file.form, None);
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
        let form = Form::free(Some(wanted), &mut notes).unwrap();
        assert_ne!(form.listener, wanted);
        assert_eq!(notes[0], format!("port {wanted} is taken, so the listener is on port {}", form.listener));
    }

    #[test]
    fn what_is_put_in_is_found_again() {
        let (stable, canary) = (Release { version: 42, port: 9042 }, Release { version: 43, port: 9041 });
        let form = Form { listener: 9901, admin: 9902, telemetry: 8080, stable, canary };
        let text = form.text();
        let loaded = crate::config::load_texts(vec![crate::config::Source::new("a.yaml", text)]).unwrap();
        assert_eq!(Form::of(&loaded.file), Some(form));
        assert_eq!(loaded.file.services["shop"].rollout.as_ref().unwrap().id, "release-v43");
        assert_eq!(Form::default().text(), TEMPLATE);
    }
}

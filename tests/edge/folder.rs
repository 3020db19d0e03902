//! A folder with a copy of `config/edge.yaml` and the certificates that it names.

use crate::authority::{Authority, Issued};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder, and who vouches for what is in it.
pub struct Folder {
    pub dir: tempfile::TempDir,
    /// Of servers.
    pub authority: Authority,
    /// Of clients.
    pub clients: Authority,
    /// A client's certificate that counts, and one that was revoked.
    pub member: Issued,
    pub revoked: Issued,
    /// Of the canary's endpoints.
    pub upstream: Issued,
}

impl Folder {
    pub fn new() -> Folder {
        Folder::with(str::to_owned)
    }

    /// With a file that was changed first.
    pub fn with(change: impl Fn(&str) -> String) -> Folder {
        let dir = tempfile::tempdir().unwrap();
        let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
        std::fs::create_dir(dir.path().join("certs")).unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        for (name, issued) in [
            ("shop", authority.issue(&["shop.example.com"])),
            ("wildcard", authority.issue(&["*.api.example.com"])),
            ("ringway", clients.issue(&["ringway"])),
        ] {
            write(&format!("certs/{name}.crt"), &issued.certificate);
            write(&format!("certs/{name}.key"), &issued.key);
        }
        write("certs/authority.crt", &authority.pem());
        write("certs/clients.crt", &clients.pem());
        write("certs/revoked.crl", &clients.revoke(&[9]));
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/edge.yaml")).unwrap();
        write("edge.yaml", &change(&text));
        let upstream = authority.issue(&["shop.internal"]);
        let (member, revoked) = (clients.issue(&["member"]), clients.issue_with(&["gone"], 9, (2020, 2040)));
        Folder { dir, authority, clients, member, revoked, upstream }
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("edge.yaml")
    }
}

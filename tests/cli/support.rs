use assert_cmd::Command;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory in which commands are run.
pub struct Desk(TempDir);

/// What a command did.
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A file with a cohort and two variants.
pub const SHOP: &str = r#"listeners: [{ address: "127.0.0.1:8080", trustedProxies: [10.0.0.0/8] }]
services:
  shop:
    salt: shop-v42
    hashOn: [{ header: x-user-id }, { cookie: uid }]
    override: { header: x-canary, secretFile: override.key }
    variants:
      stable: { weight: 95, endpoints: ["127.0.0.1:3001"] }
      canary: { weight: 5, endpoints: ["127.0.0.1:3002"] }
    cohorts:
      - { name: staff, when: { header: { name: x-employee, exact: "1" } }, weights: { canary: 100 } }
tests:
  - name: staff gets the canary
    request: { url: "http://a/", headers: { x-employee: "1" } }
    expect: { cohort: staff, variant: canary }
"#;

impl Desk {
    pub fn new() -> Desk {
        let desk = Desk(tempfile::tempdir().unwrap());
        desk.write("override.key", "open sesame\n");
        desk
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    pub fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, "")
    }

    pub fn run_with(&self, args: &[&str], stdin: &str) -> Done {
        let mut command = Command::cargo_bin("ringway").unwrap();
        command.current_dir(self.directory()).env_remove("RINGWAY_CONFIG").args(args).write_stdin(stdin);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Done { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Done {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    pub fn ended_with(self, code: i32) -> Done {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

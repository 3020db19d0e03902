//! The real program in a process of its own.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use tempfile::TempDir;

use crate::client::Client;
use crate::story::{Metrics, door, eventually, replace};

/// A running `ringway run`. Killed when dropped.
pub struct Binary {
    pub dir: TempDir,
    pub listener: SocketAddr,
    pub telemetry: SocketAddr,
    process: Child,
}

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ringway");

impl Binary {
    /// Starts it, and waits until it is ready.
    pub fn start(text: &str, args: &[&str]) -> Binary {
        Binary::start_with(text, args, &[])
    }

    /// The same, with more in its environment.
    pub fn start_with(text: &str, args: &[&str], environment: &[(&str, &str)]) -> Binary {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ringway.yaml"), text).unwrap();
        Binary::spawn(dir, args, environment)
    }

    /// Starts it as another user of this machine, where we may.
    pub fn start_as(user: u32, text: &str) -> Binary {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ringway.yaml"), text).unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let process = Binary::command_of(dir.path(), &["--workers", "1"], &[]).uid(user).spawn().unwrap();
        Binary::ready(dir, process)
    }

    /// The same, in a folder that is there already.
    pub fn start_in(dir: TempDir, text: &str) -> Binary {
        std::fs::write(dir.path().join("ringway.yaml"), text).unwrap();
        Binary::spawn(dir, &[], &[])
    }

    fn spawn(dir: TempDir, args: &[&str], environment: &[(&str, &str)]) -> Binary {
        let process = Binary::command_of(dir.path(), args, environment).spawn().unwrap();
        Binary::ready(dir, process)
    }

    fn ready(dir: TempDir, process: Child) -> Binary {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut binary = Binary { dir, listener: nowhere, telemetry: nowhere, process };
        binary.wait_until_ready();
        binary
    }

    /// Starts again what has ended or was killed, in the same folder.
    pub fn restart(&mut self) {
        let _ = self.process.wait();
        std::fs::remove_file(self.dir.path().join("log")).unwrap();
        self.process = Binary::command_of(self.dir.path(), &[], &[]).spawn().unwrap();
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let binary = self;
        eventually("the start", || {
            assert!(binary.is_alive(), "{}", binary.log());
            if binary.log_has("\"ready\"") { Ok(()) } else { Err(binary.log()) }
        });
        binary.listener = binary.address_of("listening");
        binary.telemetry = binary.address_of("telemetry door");
    }

    fn command_of(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Command {
        // several processes may write to it, one after the other
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("run").args(args).args(["--log-format", "json"]).current_dir(dir);
        command.env_remove("RINGWAY_CONFIG").env_remove("RINGWAY_LOG").envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("ringway.yaml")
    }

    pub fn write(&self, text: &str) {
        replace(&self.path(), text);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    pub fn log_has(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id() as i32).unwrap(), signal).unwrap();
    }

    /// Waits for the end.
    pub fn exit_code(&mut self) -> i32 {
        let ended: ExitStatus = eventually("the end", || match self.process.try_wait().unwrap() {
            Some(ended) => Ok(ended),
            None => Err(std::fs::read_to_string(self.dir.path().join("log")).unwrap()),
        });
        ended.code().unwrap()
    }

    /// Another command beside it.
    pub fn command(&self, args: &[&str]) -> Output {
        run(self.dir.path(), args)
    }

    pub fn client(&self) -> Client {
        Client::connect(self.listener)
    }

    pub fn metrics(&self) -> Metrics {
        Metrics::of(door(self.telemetry, "/metrics"))
    }

    pub fn page(&self, path: &str) -> (u16, String) {
        let answer = Client::connect(self.telemetry).get(path, "");
        (answer.status, answer.body)
    }

    fn address_of(&self, said: &str) -> SocketAddr {
        let log = self.log();
        let line = log.lines().find(|line| line.contains(said)).unwrap_or_else(|| panic!("no `{said}` in {log}"));
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let address = line["fields"]["address"].as_str().or(line["address"].as_str());
        address.unwrap_or_else(|| panic!("{line:#}")).parse().unwrap()
    }
}

/// Runs a command in a directory to its end.
pub fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir(dir).env_remove("RINGWAY_CONFIG").stdin(Stdio::null());
    command.output().unwrap()
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

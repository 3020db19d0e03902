//! The wrapper of rustc that has release builds follow the recorded profile.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const RELEASE: [&str; 4] = ["--crate-name", "a", "-C", "opt-level=3"];
const DEBUG: [&str; 4] = ["--crate-name", "a", "-C", "opt-level=0"];

/// The wrapper, with a compiler that says its version and tells what it was asked for.
struct Wrapper {
    directory: tempfile::TempDir,
}

fn profile(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/profile").join(file)
}

fn recorded_with() -> String {
    std::fs::read_to_string(profile("version")).unwrap().trim().to_owned()
}

impl Wrapper {
    fn of(version: &str) -> Wrapper {
        let directory = tempfile::tempdir().unwrap();
        let script = format!("#!/bin/sh\n[ \"$1\" = --version ] && echo '{version}' && exit\nprintf '%s\\n' \"$@\"\n");
        let compiler = directory.path().join("rustc");
        std::fs::write(&compiler, script).unwrap();
        std::fs::set_permissions(&compiler, std::fs::Permissions::from_mode(0o755)).unwrap();
        Wrapper { directory }
    }

    /// What the compiler was asked for beyond `asked`.
    fn adds(&self, asked: [&str; 4], variable: Option<&str>) -> Vec<String> {
        let mut command = Command::new(profile("rustc"));
        command.arg(self.directory.path().join("rustc")).args(asked).env_remove("RINGWAY_PROFILE");
        command.envs(variable.map(|value| ("RINGWAY_PROFILE", value)));
        // cargo runs it in the folder of whatever it compiles
        let output = command.current_dir(self.directory.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let words: Vec<_> = text.lines().collect();
        assert_eq!(words[..asked.len()], asked);
        words[asked.len()..].iter().map(|&word| word.to_owned()).collect()
    }
}

#[test]
fn what_is_optimized_follows_the_profile_and_the_rest_does_not() {
    let same = Wrapper::of(&recorded_with());
    let used = format!("-Cprofile-use={}", profile("ringway.profdata").canonicalize().unwrap().display());
    assert_eq!(same.adds(RELEASE, None), [used.as_str(), "-Cllvm-args=-no-pgo-warn-mismatch"]);
    assert_eq!(same.adds(DEBUG, None), [""; 0]);
    assert_eq!(same.adds(RELEASE, Some("off")), [""; 0]);
    assert_eq!(same.adds(RELEASE, Some("/tmp/raw")), ["-Cprofile-generate=/tmp/raw"]);
    let other = Wrapper::of("rustc 1.0.0 (a59de37e9 2015-05-13)");
    assert_eq!(other.adds(RELEASE, None), [""; 0]);
}

#[test]
fn a_compiler_that_fails_is_not_asked_for_more() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(profile("rustc"));
    let output = command.arg(directory.path().join("absent")).args(RELEASE).output().unwrap();
    assert!(!output.status.success());
}

/// The compiler at hand reads the profile, if it is the one that the profile is for, and says nothing of it.
#[test]
fn the_profile_is_one_that_the_compiler_reads() {
    let compiler = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let version = Command::new(&compiler).arg("--version").output().unwrap();
    if String::from_utf8_lossy(&version.stdout).trim() != recorded_with() {
        eprintln!("skipped: the profile is for {}", recorded_with());
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("a.rs");
    std::fs::write(&source, "pub fn twice(number: u32) -> u32 { number * 2 }\n").unwrap();
    let mut command = Command::new(profile("rustc"));
    command.arg(&compiler).args(["--crate-type", "lib", "-C", "opt-level=3"]).arg(&source);
    let output = command.env_remove("RINGWAY_PROFILE").current_dir(directory.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn cargo_is_told_of_the_wrapper() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cargo/config.toml");
    let config = std::fs::read_to_string(config).unwrap();
    let set = config
        .lines()
        .skip_while(|line| *line != "[build]")
        .any(|line| line == "rustc-wrapper = \"benches/profile/rustc\"");
    assert!(set, "{config}");
}

/// In a copy of the folders, so that a changed Cargo.lock of ours is no failure.
#[test]
fn a_profile_of_other_dependencies_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["benches/profile/record.py", "benches/profile/version", "benches/peers/compare.py"] {
        std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        std::fs::copy(root.join(name), at(name)).unwrap();
    }
    let wrapper = Wrapper::of(&recorded_with());
    let check = |lock: &str| {
        std::fs::write(at("Cargo.lock"), lock).unwrap();
        let mut command = Command::new("python3");
        let path = format!("{}:{}", wrapper.directory.path().display(), std::env::var("PATH").unwrap());
        command.arg("-B").arg(at("benches/profile/record.py")).arg("--check").env("PATH", path);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // SHA-256 of "abc" (FIPS 180-4)
    let recorded = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n";
    std::fs::write(at("benches/profile/dependencies"), recorded).unwrap();
    assert_eq!(check("abc"), (true, String::new()));
    let (fits, told) = check("abd");
    assert!(!fits && told.contains("not for this Cargo.lock"), "{told}");
}

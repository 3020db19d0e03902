//! The commands of a page as a script for bash, and running it.

use super::blocks::{Block, read, root};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// By these an indented block is known to be commands; others are what a program prints, or figures.
const COMMANDS: &[&str] = &[
    "ringway",
    "cargo",
    "curl",
    "sed",
    "touch",
    "rm",
    "printf",
    "chmod",
    "kill",
    "git",
    "gunzip",
    "cp",
    "ssh",
    "sudo",
    "sudoedit",
    "systemctl",
    "systemd-analyze",
    "docker",
    "kubectl",
    "helm",
    "promtool",
    "cd",
    "python3",
    "./tests/run.sh",
    "for",
    "while",
    "until",
    "apt",
    "export",
    "make",
    "npm",
];

/// Ports in the pages that are replaced by free ones.
const PORTS: &[&str] = &["8080", "8443", "9901", "9902", "3001", "3002", "3003", "9041", "9042"];

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(100);

pub struct Script {
    page: String,
    text: String,
    /// The pages' ports, and the free ones that take their place.
    ports: Vec<(&'static str, u16)>,
}

/// What a page says to type; nothing when that is nothing.
pub fn of(page: &str, blocks: &[&Block], not_run: &[(&str, &str, &str)], used: &mut BTreeSet<usize>) -> Option<Script> {
    let mut text = String::new();
    let mut has_commands = false;
    for block in blocks {
        if block.word.contains('.') {
            save(&mut text, block);
            continue;
        }
        let Some(commands) = commands_of(block) else { continue };
        for (line, command) in joined(&commands) {
            let listed =
                not_run.iter().position(|(of, prefix, _)| *of == page && command.trim_start().starts_with(prefix));
            if let Some(at) = listed {
                used.insert(at);
                continue;
            }
            has_commands = true;
            add(&mut text, &format!("{page}:{}", block.line + line), &command);
        }
    }
    if !has_commands {
        return None;
    }
    Some(Script { page: page.to_owned(), text, ports: free_ports() })
}

fn save(text: &mut String, block: &Block) {
    writeln!(text, "__at='{block}'\n__save '{}' <<'END_OF_FILE'\n{}END_OF_FILE", block.word, block.text).unwrap();
}

/// The text of a block that is commands.
fn commands_of(block: &Block) -> Option<String> {
    let first = block.text.split_whitespace().next().unwrap_or_default();
    let is_command = COMMANDS.contains(&first) || first.starts_with("RINGWAY_");
    match block.language.as_str() {
        "sh" => Some(block.text.clone()),
        "console" => {
            let typed = block.text.lines().map(|line| line.strip_prefix("$ ").unwrap_or(""));
            Some(typed.collect::<Vec<_>>().join("\n"))
        }
        "" if block.is_indented && is_command => Some(block.text.clone()),
        _ => None,
    }
}

/// Commands with the line on which they begin: a line, or several that end with a backslash or stand within a loop.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut commands: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    let mut depth = 0_i32;
    for (at, line) in text.lines().enumerate() {
        if !is_open && depth == 0 {
            commands.push((at, String::new()));
        }
        let last = &mut commands.last_mut().unwrap().1;
        *last += line;
        last.push('\n');
        is_open = line.ends_with('\\');
        let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || c == ';').collect();
        depth += words.iter().filter(|word| matches!(**word, "do" | "then" | "{")).count() as i32;
        depth -= words.iter().filter(|word| matches!(**word, "done" | "fi" | "}")).count() as i32;
    }
    commands.retain(|(_, command)| !command.trim().is_empty());
    commands
}

fn add(text: &mut String, at: &str, command: &str) {
    let code = command
        .split_once("# exit code ")
        .map_or("0", |(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap());
    writeln!(text, "__at='{at}'").unwrap();
    // it stays in the background anyway, and the next command waits until it serves
    let serves = ["ringway run", "ringway demo"].iter().any(|serve| command.starts_with(serve));
    let command = if serves { command.trim_end().trim_end_matches('&') } else { command };
    match code {
        "0" => writeln!(text, "{}", command.trim_end()).unwrap(),
        code => {
            writeln!(text, "__code=0; {{ {}\n}} || __code=$?; __expect {code} \"$__code\"", command.trim_end()).unwrap()
        }
    }
}

/// Free ports, one for each of the pages' ports; all are held together, so that they differ.
fn free_ports() -> Vec<(&'static str, u16)> {
    let held: Vec<TcpListener> = PORTS.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    PORTS.iter().zip(&held).map(|(port, listener)| (*port, listener.local_addr().unwrap().port())).collect()
}

/// The text with this machine's free ports, on loopback only.
fn localized(text: &str, ports: &[(&'static str, u16)]) -> String {
    let mut found = text.replace("0.0.0.0:", "127.0.0.1:");
    for (port, free) in ports {
        let pieces: Vec<&str> = found.split(port).collect();
        let mut next = pieces[0].to_owned();
        for pair in pieces.windows(2) {
            let is_whole = !pair[0].ends_with(|c: char| c.is_alphanumeric() || c == '.')
                && !pair[1].starts_with(|c: char| c.is_alphanumeric());
            next += &if is_whole { free.to_string() } else { (*port).to_string() };
            next += pair[1];
        }
        found = next;
    }
    found
}

/// Runs all of them, three at a time; tells what failed.
pub fn run_all(scripts: Vec<Script>) -> Vec<String> {
    let only = std::env::var("RINGWAY_TEST_PAGE").unwrap_or_default();
    let waiting = Mutex::new(scripts.into_iter().filter(|script| script.page.contains(&only)).collect::<Vec<_>>());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some(script) = waiting.lock().unwrap().pop() else { return };
                    let began = std::time::Instant::now();
                    let problem = run(&script);
                    println!("{}: {:.1} s", script.page, began.elapsed().as_secs_f32());
                    failed.lock().unwrap().extend(problem);
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn run(script: &Script) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let name = Path::new(&script.page).file_stem().unwrap().to_str().unwrap();
    let before = root().join(format!("tests/docs/{name}.sh"));
    let before = std::fs::read_to_string(before).unwrap_or_default();
    let text = read("tests/docs/prelude.sh") + &before + &script.text + "__at=''\n";
    let path = folder.path().join(".script");
    std::fs::write(&path, localized(&text, &script.ports)).unwrap();
    let log = std::fs::File::create(folder.path().join(".log")).unwrap();
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5").arg(PATIENCE.as_secs().to_string()).arg("bash").arg(&path);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.env("RINGWAY", assert_cmd::cargo::cargo_bin("ringway")).env("REPOSITORY", root());
    command.env_remove("RINGWAY_CONFIG").env_remove("RINGWAY_LOG");
    let ended = command.status().unwrap();
    let said = std::fs::read_to_string(folder.path().join(".log")).unwrap();
    (!ended.success()).then(|| format!("{}: {ended}\n{said}", script.page))
}

//! The files of the repository, and Rust text with its comments and literals blanked.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the repository.
pub struct File {
    /// Its path from the root, with `/` on every system.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

/// Folders that are made, not written.
const SKIPPED: [&str; 5] = [".git", "target", "artifacts", "coverage", "node_modules"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder. Bytes that are not UTF-8 become U+FFFD.
pub fn all(folder: &str) -> Vec<File> {
    let mut files = Vec::new();
    walk(&root().join(folder), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Every Rust file below a folder.
pub fn rust(folder: &str) -> Vec<File> {
    all(folder).into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

fn walk(folder: &Path, files: &mut Vec<File>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.unwrap()) {
        let (path, name) = (entry.path(), entry.file_name());
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue; // `.git` is a file in a worktree
        }
        if path.is_dir() {
            walk(&path, files);
        } else if let Ok(bytes) = fs::read(&path) {
            files.push(File { path: from_root(&path), text: String::from_utf8_lossy(&bytes).into_owned() });
        }
    }
}

fn from_root(path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root()).unwrap().iter().collect();
    path.to_string_lossy().replace('\\', "/")
}

/// The text without its unit tests: all from the first `#[cfg(test)]` of a module; nothing of a file of tests, which
/// says so by `#![cfg(test)]` after its first lines.
///
/// Tests stand at the end of a file, as the house has it.
pub fn without_tests(text: &str) -> &str {
    let is_module = |at: &usize| {
        let declaration = text[*at..].lines().nth(2).unwrap_or_default();
        declaration.contains("mod ") && (declaration.ends_with('{') || declaration.ends_with("mod tests;"))
    };
    let module = text.match_indices("\n#[cfg(test)]\n").map(|(at, _)| at).find(is_module);
    module.into_iter().chain(text.find("\n#![cfg(test)]")).min().map_or(text, |at| &text[..at])
}

/// Rust text of the same length in lines, in which comments and what stands in literals are blanks.
pub fn code_of(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = end_of_literal_or_comment(&bytes, at);
        if end == at {
            code.push(bytes[at]);
            at += 1;
        } else {
            code.extend(bytes[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// One past the literal or comment that begins here; `at` when none does.
fn end_of_literal_or_comment(text: &[char], at: usize) -> usize {
    let starts = |with: &str| with.chars().enumerate().all(|(i, c)| text.get(at + i) == Some(&c));
    let is_in_word = at > 0 && (text[at - 1].is_alphanumeric() || text[at - 1] == '_');
    if starts("//") {
        return find(text, at, "\n");
    }
    if starts("/*") {
        return find(text, at + 2, "*/") + 2;
    }
    if !is_in_word && (starts("r\"") || starts("r#") || starts("br\"") || starts("br#")) {
        let hashes_from = at + if starts("b") { 2 } else { 1 };
        let hashes = text[hashes_from..].iter().take_while(|c| **c == '#').count();
        if text.get(hashes_from + hashes) != Some(&'"') {
            return at; // a raw identifier
        }
        let end = format!("\"{}", "#".repeat(hashes));
        return find(text, hashes_from + hashes + 1, &end) + end.len();
    }
    if starts("\"") {
        return end_of_quoted(text, at, '"');
    }
    // 'a' and '\n' are characters, 'a is a lifetime
    if starts("'") && (text.get(at + 1) == Some(&'\\') || text.get(at + 2) == Some(&'\'')) {
        return end_of_quoted(text, at, '\'');
    }
    at
}

fn end_of_quoted(text: &[char], at: usize, quote: char) -> usize {
    let mut end = at + 1;
    while end < text.len() && text[end] != quote {
        end += if text[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(text.len())
}

fn find(text: &[char], from: usize, wanted: &str) -> usize {
    let wanted: Vec<char> = wanted.chars().collect();
    let found = (from..text.len()).find(|at| text[*at..].starts_with(&wanted));
    found.unwrap_or(text.len().saturating_sub(wanted.len() - 1).max(from))
}

#[test]
fn literals_and_comments_are_blank() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b */ c", "a         c"),
        ("f(\"x.unwrap()\", 'y')", "f(            ,    )"),
        ("f(r#\"a\"b\"#, '\\'')", "f(        ,     )"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("b\"\\\"\" + r\"\\\"", "b     +     "),
        ("r#type", "r#type"),
    ] {
        assert_eq!(code_of(text), code);
    }
}
